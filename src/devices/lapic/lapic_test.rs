//! The statements of the SDM's chapter on the local APIC. [`ipi_test`] and [`timer_test`] have the rest.

use super::*;
use crate::devices::transcript::accesses;
use crate::devices::{Snapshot, StateError};

#[path = "ipi_test.rs"]
mod ipi_test;
#[path = "saved_test.rs"]
mod saved_test;
#[path = "timer_test.rs"]
mod timer_test;

const ID: u64 = 0x20;
const TPR: u64 = 0x80;
const PPR: u64 = 0xA0;
const EOI: u64 = 0xB0;
const LDR: u64 = 0xD0;
const DFR: u64 = 0xE0;
const SVR: u64 = 0xF0;
const ISR: u64 = 0x100;
const TMR: u64 = 0x180;
const IRR: u64 = 0x200;
const ESR: u64 = 0x280;
const ICR_LOW: u64 = 0x300;
const ICR_HIGH: u64 = 0x310;
const LVT_TIMER: u64 = 0x320;
const LVT_LINT0: u64 = 0x350;
const LVT_LINT1: u64 = 0x360;
const LVT_ERROR: u64 = 0x370;
const INITIAL: u64 = 0x380;
const CURRENT: u64 = 0x390;
const DIVIDE: u64 = 0x3E0;
const MASKED: u32 = 1 << 16;

fn write(apics: &mut LocalApics, writes: &[(u64, u32)]) {
    for (offset, value) in writes {
        assert!(apics.mmio_write(*offset, 4, u64::from(*value)).is_some(), "{offset:#x}");
    }
}

fn read(apics: &mut LocalApics, offset: u64) -> u32 {
    apics.mmio_read(offset, 4).unwrap().0 as u32
}

/// `cpus` local APICs that are software-enabled.
fn machine(cpus: u8) -> LocalApics {
    let mut apics = LocalApics::default();
    apics.set_count(cpus);
    for cpu in 0..cpus {
        apics.select(cpu);
        write(&mut apics, &[(SVR, 0x1FF)]);
    }
    apics.select(0);
    apics
}

fn message(vector: u8) -> InterruptMessage {
    InterruptMessage {
        destination: 0,
        logical: false,
        mode: DeliveryMode::Fixed,
        vector,
        level_triggered: false,
    }
}

fn level(vector: u8) -> InterruptMessage {
    InterruptMessage { level_triggered: true, ..message(vector) }
}

fn pending(apics: &LocalApics) -> Option<u8> {
    apics.apic(0).pending_vector()
}

#[test]
fn accesses_have_the_answers_of_qemu() {
    let mut apics = LocalApics::default();
    for access in accesses(include_str!("transcript.txt")) {
        let offset = access.address - BASE;
        if access.is_write {
            write(&mut apics, &[(offset, access.value as u32)]);
        } else {
            assert_eq!(u64::from(read(&mut apics, offset)), access.value, "{}", access.line);
        }
    }
}

#[test]
fn registers_have_their_values_of_power_on() {
    let mut apics = LocalApics::default();
    apics.set_count(3);
    for (cpu, id, spurious, lint) in [(0, 0, 0x1FF, [0x8700, 0x8400]), (2, 0x0200_0000, 0xFF, [MASKED; 2])] {
        apics.select(cpu);
        for (offset, value) in [
            (ID, id),
            (0x30, 0x0005_0014),
            (TPR, 0),
            (LDR, 0),
            (DFR, u32::MAX),
            (SVR, spurious),
            (ESR, 0),
            (ICR_LOW, 0),
            (LVT_TIMER, MASKED),
            (0x330, MASKED),
            (0x340, MASKED),
            (LVT_LINT0, lint[0]),
            (LVT_LINT1, lint[1]),
            (LVT_ERROR, MASKED),
            (INITIAL, 0),
            (CURRENT, 0),
            (DIVIDE, 0),
        ] {
            assert_eq!(read(&mut apics, offset), value, "register {offset:#x} of processor {cpu}");
        }
        assert_eq!(apics.apic(cpu).accepts_pic(), cpu == 0);
    }
}

#[test]
fn registers_keep_their_writable_bits_only() {
    let mut apics = LocalApics::default();
    for (offset, value) in [
        (ID, 0xFF00_0000),
        (0x30, 0x0005_0014),
        (TPR, 0xFF),
        (EOI, 0),
        (LDR, 0xFF00_0000),
        (DFR, u32::MAX),
        (SVR, 0x13FF),
        (ICR_HIGH, 0xFF00_0000),
        (LVT_TIMER, 0x0007_00FF),
        (0x330, 0x0001_07FF),
        (0x340, 0x0001_07FF),
        (LVT_LINT0, 0x0001_A7FF),
        (LVT_LINT1, 0x0001_A7FF),
        (LVT_ERROR, 0x0001_00FF),
        (DIVIDE, 0xB),
    ] {
        write(&mut apics, &[(offset, u32::MAX)]);
        assert_eq!(read(&mut apics, offset), value, "{offset:#x}");
    }
    // What is between the registers reads as 0, and other widths are no accesses to the APIC.
    write(&mut apics, &[(0xF4, 1)]);
    assert_eq!((read(&mut apics, 0xF4), read(&mut apics, SVR)), (0, 0x13FF));
    assert_eq!((apics.mmio_read(TPR, 1), apics.mmio_write(TPR, 8, 0)), (None, None));
}

#[test]
fn an_interrupt_goes_from_irr_to_isr_to_its_end() {
    let mut apics = machine(1);
    apics.deliver(&message(0x65));
    assert_eq!((read(&mut apics, IRR + 0x30), pending(&apics)), (0x20, Some(0x65)));
    assert_eq!(apics.apic_mut(0).acknowledge(), 0x65);
    assert_eq!((read(&mut apics, IRR + 0x30), read(&mut apics, ISR + 0x30)), (0, 0x20));
    assert_eq!((read(&mut apics, PPR), pending(&apics)), (0x60, None));
    write(&mut apics, &[(EOI, 0)]);
    assert_eq!((read(&mut apics, ISR + 0x30), read(&mut apics, PPR)), (0, 0));
    assert_eq!(apics.take_ended().count(), 0);
    // Without a request there is the spurious vector, and nothing in service.
    assert_eq!((apics.apic_mut(0).acknowledge(), read(&mut apics, ISR + 0x70)), (0xFF, 0));
}

#[test]
fn priority_decides_by_class() {
    let mut apics = machine(1);
    for vector in [0x31, 0x45, 0x47] {
        apics.deliver(&message(vector));
    }
    assert_eq!(apics.apic_mut(0).acknowledge(), 0x47);
    // The same class waits, a higher one does not.
    assert_eq!(pending(&apics), None);
    apics.deliver(&message(0x50));
    assert_eq!(apics.apic_mut(0).acknowledge(), 0x50);
    for (vector, next) in [(0x50, None), (0x47, Some(0x45))] {
        write(&mut apics, &[(EOI, 0)]);
        assert_eq!(pending(&apics), next, "after {vector:#x}");
    }
    assert_eq!(apics.apic_mut(0).acknowledge(), 0x45);
    write(&mut apics, &[(EOI, 0)]);
    assert_eq!(pending(&apics), Some(0x31));
}

#[test]
fn the_task_priority_holds_interrupts_back() {
    let mut apics = machine(1);
    apics.deliver(&message(0x4F));
    for (priority, expected) in [(0x40, None), (0x3F, Some(0x4F)), (0x50, None), (0, Some(0x4F))] {
        write(&mut apics, &[(TPR, priority)]);
        assert_eq!(pending(&apics), expected, "{priority:#x}");
        assert_eq!(read(&mut apics, PPR), priority);
    }
    apics.apic_mut(0).set_cr8(4);
    assert_eq!((pending(&apics), apics.apic(0).cr8(), read(&mut apics, TPR)), (None, 4, 0x40));
    apics.apic_mut(0).set_cr8(3);
    assert_eq!(pending(&apics), Some(0x4F));
    // The processor priority is the higher one of task priority and vector in service.
    let _ = apics.apic_mut(0).acknowledge();
    for (priority, expected) in [(0x2A, 0x40), (0x4A, 0x4A), (0x5A, 0x5A)] {
        write(&mut apics, &[(TPR, priority)]);
        assert_eq!(read(&mut apics, PPR), expected);
    }
}

#[test]
fn the_end_of_a_level_triggered_interrupt_is_broadcast_unless_suppressed() {
    for (spurious, ended) in [(0x1FF, vec![0x71]), (0x11FF, vec![])] {
        let mut apics = machine(1);
        write(&mut apics, &[(SVR, spurious)]);
        apics.deliver(&level(0x71));
        assert_eq!(read(&mut apics, TMR + 0x30), 0x2_0000);
        let _ = apics.apic_mut(0).acknowledge();
        write(&mut apics, &[(EOI, 0)]);
        assert_eq!(apics.has_output(), spurious == 0x1FF);
        assert_eq!(apics.take_ended().collect::<Vec<_>>(), ended);
        assert!(!apics.has_output());
        // The next one of this vector is an edge.
        apics.deliver(&message(0x71));
        assert_eq!(read(&mut apics, TMR + 0x30), 0);
    }
}

#[test]
fn a_disabled_apic_masks_its_vectors_and_takes_no_interrupts() {
    let mut apics = machine(1);
    write(&mut apics, &[(LVT_LINT1, 0x400)]);
    apics.deliver(&message(0x40));
    write(&mut apics, &[(SVR, 0xFF)]);
    assert_eq!([LVT_LINT0, LVT_LINT1].map(|lvt| read(&mut apics, lvt)), [MASKED | 0x8700, MASKED | 0x400]);
    write(&mut apics, &[(LVT_ERROR, 0x33)]);
    assert_eq!(read(&mut apics, LVT_ERROR), MASKED | 0x33);
    assert!(!apics.apic(0).accepts_pic());
    // What was requested stays, what comes is lost; an NMI arrives.
    apics.deliver(&message(0x50));
    assert_eq!(pending(&apics), Some(0x40));
    apics.deliver(&InterruptMessage { mode: DeliveryMode::Nmi, ..message(0) });
    assert_eq!(apics.take_requests().collect::<Vec<_>>(), [(0, ProcessorRequest::Nmi)]);
}

#[test]
fn lint_pins_request_what_their_entries_say() {
    let mut apics = machine(1);
    for (entry, requests, vector) in [
        (0x400, vec![(0, ProcessorRequest::Nmi)], None),
        (0x500, vec![(0, ProcessorRequest::Init)], None),
        (0x700, vec![], None),
        (0x200, vec![], None),
        (MASKED | 0x400, vec![], None),
        (0x066, vec![], Some(0x66)),
    ] {
        write(&mut apics, &[(LVT_LINT0, entry)]);
        apics.set_lint(0, 0, true);
        apics.set_lint(0, 0, true);
        assert_eq!(apics.take_requests().collect::<Vec<_>>(), requests, "{entry:#x}");
        assert_eq!((pending(&apics), apics.apic(0).accepts_pic()), (vector, entry == 0x700));
        apics.set_lint(0, 0, false);
    }
    // Level-triggered, it requests again after its end while it is high.
    let mut apics = machine(1);
    write(&mut apics, &[(LVT_LINT1, 0x8066)]);
    apics.set_lint(0, 1, true);
    for high in [true, false] {
        assert_eq!(apics.apic_mut(0).acknowledge(), 0x66);
        apics.set_lint(0, 1, high);
        write(&mut apics, &[(EOI, 0)]);
        assert_eq!(pending(&apics), high.then_some(0x66));
    }
    apics.set_lint(7, 1, true);
}

#[test]
fn an_extint_message_lets_one_interrupt_of_the_8259a_in() {
    let mut apics = machine(2);
    apics.deliver(&InterruptMessage { destination: 1, mode: DeliveryMode::ExtInt, ..message(0) });
    assert!(apics.apic(1).accepts_pic());
    apics.apic_mut(1).pic_acknowledged();
    assert!(!apics.apic(1).accepts_pic());
}

#[test]
fn errors_show_after_a_write_and_interrupt_once() {
    let mut apics = machine(1);
    write(&mut apics, &[(LVT_ERROR, 0x3E)]);
    // A register that does not exist; a vector that is illegal, received and sent.
    let _ = read(&mut apics, 0x040);
    assert_eq!((read(&mut apics, ESR), pending(&apics)), (0, Some(0x3E)));
    let _ = apics.apic_mut(0).acknowledge();
    write(&mut apics, &[(0x3F0, 0), (EOI, 0)]);
    assert_eq!(pending(&apics), None);
    apics.deliver(&message(0x0F));
    write(&mut apics, &[(ICR_LOW, 0x0004_000F)]);
    assert_eq!(pending(&apics), Some(0x3E));
    write(&mut apics, &[(ESR, 0)]);
    assert_eq!(read(&mut apics, ESR), 0xE0);
    write(&mut apics, &[(ESR, 0)]);
    assert_eq!(read(&mut apics, ESR), 0);
    // An illegal vector in the error entry itself is an error.
    write(&mut apics, &[(LVT_ERROR, 3), (0x040, 0), (ESR, 0)]);
    assert_eq!(read(&mut apics, ESR), 0xC0);
}

#[test]
fn the_apic_base_register_has_its_modes_and_transitions() {
    const ON: u64 = 0xFEE0_0800;
    const X2: u64 = 0xFEE0_0C00;
    const OFF: u64 = 0xFEE0_0000;
    // From, to, and whether this is a general protection fault.
    for (from, to, allowed) in [
        (ON, ON, true),
        (ON, X2, true),
        (ON, OFF, true),
        (X2, X2, true),
        (X2, ON, false),
        (X2, OFF, true),
        (OFF, ON, true),
        (OFF, X2, false),
        (ON, 0xFEE0_0400, false),
        (ON, 0xFED0_0800, false),
        (ON, ON | 1, false),
        (ON, ON | 1 << 40, false),
    ] {
        let mut apics = machine(2);
        let _ = (apics.write_msr(1, APIC_BASE_MSR, from), apics.write_msr(0, APIC_BASE_MSR, from));
        assert_eq!(apics.read_msr(1, APIC_BASE_MSR), Some(from));
        assert_eq!(apics.read_msr(0, APIC_BASE_MSR), Some(from | 0x100));
        let after = if allowed { to } else { from };
        assert_eq!(apics.write_msr(1, APIC_BASE_MSR, to).is_some(), allowed, "{from:#x} to {to:#x}");
        assert_eq!(apics.read_msr(1, APIC_BASE_MSR), Some(after));
    }
    // Off: nothing arrives, the page is gone, and the 8259A is wired to the processor.
    let mut apics = machine(1);
    write(&mut apics, &[(LVT_LINT0, MASKED), (TPR, 0x20)]);
    apics.deliver(&message(0x90));
    let _ = apics.write_msr(0, APIC_BASE_MSR, OFF).unwrap();
    apics.deliver(&InterruptMessage { mode: DeliveryMode::Nmi, ..message(0) });
    assert_eq!((pending(&apics), apics.has_output(), apics.apic(0).accepts_pic()), (None, false, true));
    assert_eq!((apics.mmio_read(TPR, 4), apics.mmio_write(TPR, 4, 0)), (None, None));
    let _ = apics.write_msr(0, APIC_BASE_MSR, ON).unwrap();
    assert_eq!((read(&mut apics, TPR), read(&mut apics, IRR + 0x40)), (0, 0));
}

#[test]
fn x2apic_registers_are_msrs_with_strict_bits() {
    let mut apics = machine(18);
    assert_eq!((apics.read_msr(17, 0x802), apics.write_msr(17, 0x808, 0)), (None, None));
    let _ = apics.write_msr(17, APIC_BASE_MSR, 0xFEE0_0C00).unwrap();
    apics.select(17);
    assert_eq!(apics.mmio_read(ID, 4), None);
    for (msr, value) in [(0x802, 17), (0x803, 0x0005_0014), (0x80D, 0x0001_0002), (0x80F, 0x1FF), (0x80A, 0)]
    {
        assert_eq!(apics.read_msr(17, msr), Some(value), "{msr:#x}");
    }
    for msr in [0x800, 0x804, 0x809, 0x80B, 0x80C, 0x80E, 0x82F, 0x831, 0x83A, 0x83F, 0x840, 0x8FF] {
        assert_eq!(apics.read_msr(17, msr), None, "{msr:#x}");
    }
    for (msr, value, allowed) in [
        (0x802, 17, false),
        (0x803, 0, false),
        (0x808, 0x30, true),
        (0x808, 0x130, false),
        (0x80A, 0, false),
        (0x80B, 0, true),
        (0x80B, 1, false),
        (0x80D, 0, false),
        (0x80F, 0x1FF, true),
        (0x80F, 0x3_0000, false),
        (0x810, 0, false),
        (0x828, 0, true),
        (0x828, 1, false),
        (0x831, 0, false),
        (0x832, 0x2_0030, true),
        (0x832, 0x430, false),
        (0x832, 1 << 32, false),
        (0x838, u64::from(u32::MAX), true),
        (0x839, 0, false),
        (0x83E, 0xB, true),
        (0x83E, 0x4, false),
        (0x83F, 0x130, false),
        (0x830, 1 << 20, false),
        (0x83F, 0x55, true),
    ] {
        assert_eq!(apics.write_msr(17, msr, value).is_some(), allowed, "{value:#x} to {msr:#x}");
    }
    assert_eq!((apics.read_msr(17, 0x808), apics.apic(17).pending_vector()), (Some(0x30), Some(0x55)));
    assert_eq!(apics.read_msr(17, 0x822), Some(0x20_0000));
    assert!(is_apic_msr(0x1B) && is_apic_msr(0x6E0) && is_apic_msr(0x83F) && !is_apic_msr(0x900));
    assert_eq!(apics.read_msr(99, 0x1B), None);
}
