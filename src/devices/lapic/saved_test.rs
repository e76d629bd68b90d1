//! Saving and restoring, and any sequence of accesses.

use serde::Serialize;

use super::*;
use crate::devices::Payload;
use crate::fuzzing::Random;

/// A payload of version 1, with these registers.
fn version_1(registers: Vec<u32>) -> Payload {
    #[derive(Serialize)]
    struct Old {
        registers: Vec<u32>,
    }
    let bytes = postcard::to_stdvec(&Old { registers }).unwrap();
    Payload { kind: "lapic".to_owned(), version: 1, bytes }
}

#[test]
fn version_1_is_read() {
    let mut registers = vec![0; 64];
    for (offset, value) in [
        (ID, 0),
        (TPR, 0x20),
        (LDR, 0x0100_0000),
        (DFR, u32::MAX),
        (SVR, 0x1FF),
        (ICR_LOW, 0x4500),
        (ICR_HIGH, 0x0100_0000),
        (LVT_TIMER, 0x0007_A7FF),
        (LVT_LINT0, MASKED),
        (INITIAL, 1000),
        (DIVIDE, 0xB),
    ] {
        registers[offset as usize / 16] = value;
    }
    let mut apics = machine(1);
    apics.restore(&version_1(registers)).unwrap();
    for (offset, value) in [
        (TPR, 0x20),
        (LDR, 0x0100_0000),
        (DFR, u32::MAX),
        (SVR, 0x1FF),
        (ICR_LOW, 0x4500),
        (ICR_HIGH, 0x0100_0000),
        (LVT_TIMER, 0x0007_00FF),
        (LVT_LINT0, MASKED),
        (INITIAL, 1000),
        (CURRENT, 0),
        (DIVIDE, 0xB),
    ] {
        assert_eq!(read(&mut apics, offset), value, "{offset:#x}");
    }
    assert!(apics.restore(&version_1(vec![0; 63])).is_err());
    // One that was disabled has its local vectors masked.
    apics.restore(&version_1(vec![0; 64])).unwrap();
    assert_eq!((read(&mut apics, SVR), read(&mut apics, LVT_LINT1)), (0, MASKED));
}

fn operate(apics: &mut LocalApics, random: &mut Random, now: &mut u64) -> Option<u64> {
    let cpu = random.below(3) as u8;
    apics.select(cpu);
    let value = match random.below(4) {
        0 => random.next(),
        1 => random.next() & 0xFF,
        2 => random.next() & 0x7_00FF,
        _ => random.next() & 0xC_4FFF | (random.next() & 3) << 56,
    };
    let msr = match random.below(8) {
        0 => TSC_DEADLINE_MSR,
        1 => APIC_BASE_MSR,
        _ => 0x800 + random.below(0x48) as u32,
    };
    match random.below(12) {
        0..3 => {
            let _ = apics.mmio_write(random.below(0x40) as u64 * 16, 4, value);
        }
        3 => {
            let _ = apics.mmio_write(random.below(0x1000) as u64, *random.pick(&[1, 2, 4, 8]), value);
        }
        4 => return Some(apics.mmio_read(random.below(0x110) as u64 * 16, 4)?.0),
        5 => return apics.read_msr(cpu, msr),
        6 => {
            let base = 0xFEE0_0000 | (value & 3) << 10;
            let _ = apics.write_msr(cpu, msr, if msr == APIC_BASE_MSR { base } else { value });
        }
        7 => {
            let longest = *random.pick(&[100, 1_000_000, u64::MAX / 4]);
            *now = now.saturating_add(random.next() % longest);
            let _ = apics.advance(MachineTime::from_nanos(*now));
        }
        8 => {
            apics.deliver(&InterruptMessage {
                destination: random.below(6) as u32,
                logical: random.below(2) == 0,
                mode: *random.pick(&[
                    DeliveryMode::Fixed,
                    DeliveryMode::LowestPriority,
                    DeliveryMode::ExtInt,
                ]),
                vector: random.next() as u8,
                level_triggered: random.below(2) == 0,
            });
        }
        9 => return Some(apics.apic_mut(cpu).acknowledge().into()),
        10 => {
            apics.set_lint(cpu, random.next() as u8, random.below(2) == 0);
            apics.apic_mut(cpu).set_cr8(random.next() as u8);
            if random.below(50) == 0 {
                apics.apic_mut(cpu).init();
            }
        }
        _ => return Some(apics.take_requests().count() as u64 * 256 + apics.take_ended().count() as u64),
    }
    apics.next_deadline().map(MachineTime::as_nanos)
}

#[test]
fn a_copy_restored_in_mid_operation_behaves_alike() {
    for seed in 0..200 {
        let random = &mut Random::new(seed);
        let mut now = 0;
        let mut apics = machine(3);
        for _ in 0..random.below(600) {
            let _ = operate(&mut apics, random, &mut now);
        }
        let mut copy = LocalApics::default();
        copy.restore(&apics.save()).unwrap();
        let mut now_copy = now;
        let [one, other] = &mut [Random::new(seed + 1000), Random::new(seed + 1000)];
        for step in 0..300 {
            let expected = operate(&mut apics, one, &mut now);
            assert_eq!(operate(&mut copy, other, &mut now_copy), expected, "seed {seed}, step {step}");
            for cpu in 0..3 {
                let vector = apics.apic(cpu).pending_vector();
                assert_eq!(copy.apic(cpu).pending_vector(), vector);
                let mut renewed = apics.apic(cpu).clone();
                renewed.update();
                assert_eq!(renewed.pending_vector(), vector);
            }
        }
        assert_eq!(copy, apics);
        copy.restore(&apics.save()).unwrap();
    }
}

#[test]
fn impossible_states_are_refused() {
    let changes: [fn(&mut LocalApics); 12] = [
        |apics| apics.apics.clear(),
        |apics| apics.requests.clear(),
        |apics| apics.apics[1].id = 0,
        |apics| apics.apics[1].bootstrap = true,
        |apics| apics.apics[0].model = 0x10,
        |apics| apics.apics[0].spurious = 0x800,
        |apics| apics.apics[0].lvt[0] = 0x100,
        |apics| apics.apics[0].spurious = 0xFF,
        |apics| apics.apics[0].requests.set(15, true),
        |apics| apics.apics[0].errors = 1,
        |apics| apics.apics[0].command = 1 << 12,
        |apics| apics.ended.set(0, true),
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut state = machine(2);
        change(&mut state);
        let mut apics = machine(2);
        assert!(matches!(apics.set_state(state.state()), Err(StateError::Damaged { .. })), "change {index}");
        assert_eq!(apics, machine(2));
    }
    let mut many = machine(64);
    many.apics.push(LocalApic::new(64, false));
    many.requests.push(PendingRequests::default());
    assert!(machine(1).set_state(many.state()).is_err());
}
