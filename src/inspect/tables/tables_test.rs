use super::*;
use crate::arch::flags::{CR0_PE, CR0_PG, CR4_PAE, EFER_LMA, EFER_NXE};
use crate::arch::{SegmentRegister, TableRegister};
use crate::inspect::names::NoNames;

const GDT: u64 = 0x20_0000;
const IDT: u64 = 0x20_1000;
const TSS: u64 = 0x20_2000;

/// Long mode with 2 MiB of RAM at 0x200000, page 0x1000 not executable, and the descriptors `gdt`.
fn long(gdt: &[u64]) -> (GuestMemory, Registers) {
    let memory = GuestMemory::new(4 << 20).unwrap();
    for (at, entry) in [
        (0x1000, 0x2003),
        (0x2000, 0x3003),
        (0x3000, 0x4003),
        (0x3008, 0x20_0083),
        (0x4008, 0x5003 | 1 << 63),
    ] {
        memory.write_u64(at, entry).unwrap();
    }
    for (at, entry) in (GDT..).step_by(8).zip(gdt) {
        memory.write_u64(at, *entry).unwrap();
    }
    let mut registers = Registers::default();
    let system = &mut registers.system;
    (system.cr0, system.cr3) = (CR0_PG | CR0_PE, 0x1000);
    (system.cr4, system.efer) = (CR4_PAE, EFER_LMA | EFER_NXE);
    (system.cs.l, system.cs.selector, system.tr.unusable, system.ldt.unusable) = (1, 8, 1, 1);
    system.gdt = TableRegister { base: GDT, limit: (8 * gdt.len()) as u16 - 1 };
    system.idt = TableRegister { base: IDT, limit: 0xFFF };
    (memory, registers)
}

const CODE: u64 = 0x00AF_9B00_0000_FFFF;

fn load_task(registers: &mut Registers, type_: u8) {
    registers.system.tr =
        SegmentRegister { base: TSS, limit: 0x67, selector: 0x18, type_, present: 1, ..Default::default() };
}

#[test]
fn descriptors_are_decoded_with_what_is_wrong() {
    let (memory, registers) = long(&[
        0,
        CODE,
        CODE | 1 << 54,
        0x00CF_9300_0000_FFFF & !(1 << 47),
        0x0000_8920_0000_0020,
        0x00CF_9300_0000_FFFF,
        0x00CF_9700_1234_FFFF,
    ]);
    let text = GdtView::of(&memory, &registers).to_string();
    assert_eq!(
        text,
        "GDT at 0x200000, limit 0x37\n\
         0x0008: 64-bit code, ring 0, base 0x0, limit 0xffffffff\n        in CS\n\
         0x0010: 64-bit code, ring 0, base 0x0, limit 0xffffffff\n        \
         ! L and D are both set, which is reserved: loading it raises #GP; clear bit 54\n\
         0x0018: data, not present, ring 0, base 0x0, limit 0xffffffff\n\
         0x0020: TSS (available), ring 0, base 0xffff00200000, limit 0x20\n        \
         ! bits 8 to 12 of its upper half are not 0: a descriptor of 8 bytes where long mode needs 16\n        \
         ! its limit is below 0x67: a task state segment has 104 bytes\n\
         0x0030: data, grows downwards, ring 0, base 0x1234, limit 0xffffffff\n        \
         ! 64-bit mode ignores this base, except in FS and GS\n"
    );
}

#[test]
fn a_table_that_is_cut_off_or_not_mapped_is_named() {
    let (memory, mut registers) = long(&[0, CODE, 0x0000_8900_0000_0067]);
    registers.system.gdt.limit = 0x1A;
    let text = GdtView::of(&memory, &registers).to_string();
    assert!(text.contains("! the limit 0x1a cuts the last descriptor off"), "{text}");
    registers.system.gdt.limit = 0x17;
    let text = GdtView::of(&memory, &registers).to_string();
    assert!(
        text.contains("! in long mode it has 16 bytes, and the limit of the table cuts it in half"),
        "{text}"
    );
    registers.system.gdt.base = 0x40_0000;
    assert!(
        GdtView::of(&memory, &registers).to_string().ends_with("0x0000: nothing is mapped at 0x400000\n")
    );
}

/// An interrupt gate of long mode.
fn gate(memory: &GuestMemory, vector: u64, offset: u64, selector: u64, ist: u64) {
    let at = IDT + 16 * vector;
    let low = offset & 0xFFFF | selector << 16 | ist << 32 | 0x8E << 40 | (offset >> 16 & 0xFFFF) << 48;
    memory.write_u64(at, low).unwrap();
    memory.write_u64(at + 8, offset >> 32).unwrap();
}

#[test]
fn gates_are_decoded_with_what_is_wrong() {
    let (memory, mut registers) = long(&[0, CODE, 0x00CF_9300_0000_FFFF]);
    gate(&memory, 0, 0x20_0100, 8, 0);
    gate(&memory, 3, 0x20_0100, 0x10, 0);
    gate(&memory, 6, 0x40_0000, 8, 0);
    gate(&memory, 8, 0x20_0100, 8, 1);
    gate(&memory, 13, 0x1000, 8, 0);
    gate(&memory, 14, 0x1234_0000_0000_0000, 8, 0);
    memory.write_u64(IDT + 16 * 32, 0x0000_8500_0008_0000).unwrap();
    memory.write_u64(IDT + 16 * 4, 0x0020_0E00_0008_0000).unwrap();
    let text = IdtView::of(&memory, &registers, &NoNames).to_string();
    assert_eq!(
        text,
        "IDT at 0x201000, limit 0xfff\n\
         0x00: interrupt gate to 0x200100, selector 0x8, ring 0\n\
         0x03: interrupt gate to 0x200100, selector 0x10, ring 0\n        \
         ! the descriptor of selector 0x10 has a type or ring that does not fit; name the code segment of the handler\n\
         0x04: interrupt gate to 0x200000, selector 0x8, ring 0, not present\n        \
         ! #OF without it becomes #NP or a double fault; set bit 47\n\
         0x06: interrupt gate to 0x400000, selector 0x8, ring 0\n        \
         ! nothing is mapped at the handler's address 0x400000\n\
         0x08: interrupt gate to 0x200100, selector 0x8, ring 0, IST 1\n        \
         ! the task state segment has no IST 1; load TR with one of 104 bytes\n\
         0x0d: interrupt gate to 0x1000, selector 0x8, ring 0\n        \
         ! the handler's page at 0x1000 is not executable\n\
         0x0e: interrupt gate to 0x1234000000000000, selector 0x8, ring 0\n        \
         ! the handler's address 0x1234000000000000 is not canonical\n\
         0x20: no valid gate\n        \
         ! its type is none that the table may hold: use 0xE for interrupts\n"
    );
    load_task(&mut registers, 11);
    let note = |registers: &Registers| {
        let view = IdtView::of(&memory, registers, &NoNames);
        view.entries.iter().find(|entry| entry.vector == 8).unwrap().notes.join("")
    };
    assert_eq!(note(&registers), "IST 1 is 0; write the top of a stack to the task state segment");
    memory.write_u64(TSS + 36, 0x40_0010).unwrap();
    assert_eq!(note(&registers), "IST 1 is 0x400010, below which nothing writable is mapped");
    memory.write_u64(TSS + 36, 0x30_0000).unwrap();
    assert_eq!(note(&registers), "");
}

#[test]
fn vectors_of_real_mode_are_shown() {
    let memory = GuestMemory::new(4 << 20).unwrap();
    memory.write_u64(0x20, 0x1234_0010_0000_0000).unwrap();
    let mut registers = Registers::default();
    registers.system.idt.limit = 0x3FF;
    assert_eq!(
        IdtView::of(&memory, &registers, &NoNames).to_string(),
        "IDT at 0x0, limit 0x3ff\n0x09: 1234:0010, 0x12350\n"
    );
    registers.system.idt.base = 0x40_0000;
    let text = IdtView::of(&memory, &registers, &NoNames).to_string();
    assert!(text.ends_with("0x00: nothing is mapped at 0x400000\n"), "{text}");
}

#[test]
fn the_task_state_segment_is_decoded_with_what_is_wrong() {
    let (memory, mut registers) = long(&[0, CODE]);
    assert_eq!(
        TssView::of(&memory, &registers, &NoNames).to_string(),
        "TR holds no task state segment (selector 0x0)\n"
    );
    load_task(&mut registers, 11);
    for (at, value) in [(4, 0x30_0000), (36, 0x30_1008), (44, 0x40_0010), (52, 0x8000_0000_0000_0000)] {
        memory.write_u64(TSS + at, value).unwrap();
    }
    memory.write_u64(TSS + 96, 0x68 << 48).unwrap();
    let text = TssView::of(&memory, &registers, &NoNames).to_string();
    assert_eq!(
        text,
        "64-bit TSS at 0x202000, limit 0x67, selector 0x18\n\
         RSP0: 0x300000\n\
         IST1: 0x301008\n        \
         ! it is no multiple of 16: the processor aligns the frame, code that restores it may not\n\
         IST2: 0x400010\n        \
         ! nothing writable is mapped below it: the first push is a double fault\n\
         IST3: 0x8000000000000000\n        ! it is not canonical: the switch to it raises #SS\n\
         not set: RSP1 RSP2 IST4 IST5 IST6 IST7\n\
         I/O bitmap: none (base 0x68 is beyond the limit): ring 3 may use no port\n"
    );
    // A bitmap behind the stacks that opens port 0x3F9.
    registers.system.tr.limit = 0x67 + 0x81;
    for at in (0x68..0xF0).step_by(8) {
        memory.write_u64(TSS + at, u64::MAX).unwrap();
    }
    memory.write(TSS + 0x68 + 0x3F9 / 8, &[!2]).unwrap();
    let text = TssView::of(&memory, &registers, &NoNames).to_string();
    assert!(text.ends_with("I/O bitmap: base 0x68, 1 ports open to ring 3, the first 0x3f9\n"), "{text}");
    registers.system.tr.limit = 0x20;
    let text = TssView::of(&memory, &registers, &NoNames).to_string();
    assert!(text.contains("! it is too short for IST1; a limit of 0x67 has room for all stacks\n"), "{text}");
}

#[test]
fn a_task_state_segment_of_32_bits_has_selectors() {
    let memory = GuestMemory::new(4 << 20).unwrap();
    let mut registers = Registers::default();
    (registers.system.cr0, registers.system.cs.db) = (CR0_PE, 1);
    load_task(&mut registers, 9);
    memory.write_u64(TSS + 4, 0x10_0030_0000).unwrap();
    let text = TssView::of(&memory, &registers, &NoNames).to_string();
    assert!(
        text.starts_with(
            "32-bit TSS at 0x202000, limit 0x67, selector 0x18\nESP0: 0x10:0x300000\nnot set: ESP1 ESP2\n"
        ),
        "{text}"
    );
}
