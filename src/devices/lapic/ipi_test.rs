//! Interprocessor interrupts: shorthands, modes and destinations.

use super::*;

/// Which of `count` processors have `vector` pending.
fn receivers(apics: &LocalApics, vector: u8) -> Vec<u8> {
    let pending = |cpu: &u8| apics.apic(*cpu).pending_vector() == Some(vector);
    (0..apics.count() as u8).filter(pending).collect()
}

fn requests(apics: &mut LocalApics) -> Vec<(u8, ProcessorRequest)> {
    apics.take_requests().collect()
}

#[test]
fn shorthands_name_the_receivers() {
    for (shorthand, expected) in [(0, vec![2]), (1, vec![1]), (2, vec![0, 1, 2, 3]), (3, vec![0, 2, 3])] {
        let mut apics = machine(4);
        apics.select(1);
        write(&mut apics, &[(ICR_HIGH, 0x0200_0000), (ICR_LOW, 0x4060 | shorthand << 18)]);
        assert_eq!(receivers(&apics, 0x60), expected, "shorthand {shorthand}");
        assert_eq!(read(&mut apics, ICR_LOW), 0x4060 | shorthand << 18);
    }
}

#[test]
fn physical_destinations_are_one_or_all() {
    for (destination, expected) in [(0, vec![0]), (3, vec![3]), (9, vec![]), (0xFF, vec![0, 1, 2, 3])] {
        let mut apics = machine(4);
        write(&mut apics, &[(ICR_HIGH, destination << 24), (ICR_LOW, 0x60)]);
        assert_eq!(receivers(&apics, 0x60), expected, "{destination:#x}");
    }
    // The identification can be written.
    let mut apics = machine(2);
    write(&mut apics, &[(ID, 0x0900_0000), (ICR_HIGH, 0x0900_0000), (ICR_LOW, 0x60)]);
    assert_eq!(receivers(&apics, 0x60), [0]);
}

#[test]
fn logical_destinations_follow_the_model() {
    let flat = [
        (0x0F, 0x01, vec![0]),
        (0x0F, 0x06, vec![1, 2]),
        (0x0F, 0xFF, vec![0, 1, 2, 3]),
        (0x0F, 0x30, vec![]),
    ];
    let cluster = [
        (0x00, 0x01, vec![0]),
        (0x00, 0x13, vec![2, 3]),
        (0x00, 0x0F, vec![0, 1]),
        (0x00, 0xFF, vec![0, 1, 2, 3]),
    ];
    let none = [(0x05, 0x01, vec![])];
    for (model, destination, expected) in flat.into_iter().chain(cluster).chain(none) {
        let mut apics = machine(4);
        for cpu in 0..4 {
            let logical = if model == 0 { u32::from(cpu / 2) << 4 | 1 << (cpu % 2) } else { 1 << cpu };
            apics.select(cpu);
            write(&mut apics, &[(DFR, model << 28), (LDR, logical << 24)]);
        }
        write(&mut apics, &[(ICR_HIGH, destination << 24), (ICR_LOW, 0x860)]);
        assert_eq!(receivers(&apics, 0x60), expected, "model {model:#x}, {destination:#x}");
    }
}

#[test]
fn x2apic_destinations_have_32_bits() {
    let mut apics = machine(40);
    for cpu in 0..40 {
        let _ = apics.write_msr(cpu, APIC_BASE_MSR, 0xFEE0_0C00).unwrap();
    }
    let all: Vec<u8> = (0..40).collect();
    for (vector, command, expected) in [
        (0x61, 35_u64 << 32, vec![35]),
        (0x62, 0xFF << 32, vec![]),
        (0x63, 0xFFFF_FFFF << 32, all.clone()),
        (0x64, 0x0002_0081 << 32 | 0x800, vec![32, 39]),
        (0x65, 0x0003_0001 << 32 | 0x800, vec![]),
        (0x66, 0xFFFF_FFFF << 32 | 0x800, all.clone()),
    ] {
        let _ = apics.write_msr(5, 0x830, command | vector).unwrap();
        assert_eq!(apics.read_msr(5, 0x830), Some(command | vector));
        assert_eq!(receivers(&apics, vector as u8), expected, "{command:#x}");
    }
    // A message with 8 bits of destination.
    apics.deliver(&InterruptMessage { destination: 0xFF, ..message(0x67) });
    assert_eq!(receivers(&apics, 0x67), all);
    apics.deliver(&InterruptMessage { destination: 0x05, logical: true, ..message(0x68) });
    assert_eq!(receivers(&apics, 0x68), [0, 2]);
}

#[test]
fn the_lowest_priority_takes_an_interrupt_for_several() {
    let mut apics = machine(4);
    for (cpu, priority) in (0..).zip([0x40, 0x20, 0x20, 0x10]) {
        apics.select(cpu);
        write(&mut apics, &[(TPR, priority)]);
    }
    // The last one is disabled.
    write(&mut apics, &[(SVR, 0xFF)]);
    let lowest = InterruptMessage { destination: 0xFF, mode: DeliveryMode::LowestPriority, ..message(0x60) };
    apics.deliver(&lowest);
    assert_eq!(receivers(&apics, 0x60), [1]);
    // It now serves a higher priority than the next.
    assert_eq!(apics.apic_mut(1).acknowledge(), 0x60);
    apics.deliver(&lowest);
    assert_eq!(receivers(&apics, 0x60), [2]);
    apics.deliver(&InterruptMessage { destination: 3, ..lowest });
    assert_eq!(receivers(&apics, 0x60), [2]);
}

#[test]
fn init_and_start_up_reach_the_processors() {
    let mut apics = machine(3);
    // INIT, its de-assertion, which does nothing, and two start-ups, to all but the sender.
    write(&mut apics, &[(ICR_LOW, 0x000C_4500)]);
    assert_eq!(requests(&mut apics), [(1, ProcessorRequest::Init), (2, ProcessorRequest::Init)]);
    write(&mut apics, &[(ICR_LOW, 0x000C_8500)]);
    assert!(!apics.has_output());
    write(&mut apics, &[(ICR_HIGH, 0x0200_0000), (ICR_LOW, 0x4608), (ICR_LOW, 0x4609)]);
    assert_eq!(requests(&mut apics), [(2, ProcessorRequest::StartUp(9))]);
    // Not taken in between, the start-up comes after the INIT, and one before the INIT is void.
    write(&mut apics, &[(ICR_LOW, 0x4608), (ICR_LOW, 0x4500), (ICR_LOW, 0x4400)]);
    assert_eq!(requests(&mut apics), [(2, ProcessorRequest::Init), (2, ProcessorRequest::Nmi)]);
    write(&mut apics, &[(ICR_LOW, 0x4500), (ICR_LOW, 0x4608)]);
    assert_eq!(requests(&mut apics), [(2, ProcessorRequest::Init), (2, ProcessorRequest::StartUp(8))]);
    // SMI, remote read and ExtINT do nothing.
    write(&mut apics, &[(ICR_LOW, 0x4200), (ICR_LOW, 0x4300), (ICR_LOW, 0x4700)]);
    assert!(!apics.has_output() && !apics.apic(2).accepts_pic());
}

#[test]
fn init_returns_an_apic_to_power_on_but_for_mode_and_identification() {
    let mut apics = machine(2);
    apics.select(1);
    write(&mut apics, &[(ID, 0x0700_0000), (TPR, 0x20), (LVT_TIMER, 0x40), (INITIAL, 1000)]);
    apics.deliver(&InterruptMessage { destination: 7, ..message(0x60) });
    apics.apic_mut(1).init();
    assert_eq!(
        [ID, TPR, SVR, LVT_TIMER, INITIAL, CURRENT].map(|offset| read(&mut apics, offset)),
        [0x0700_0000, 0, 0xFF, MASKED, 0, 0]
    );
    assert_eq!(apics.apic(1).pending_vector(), None);
    let _ = apics.write_msr(1, APIC_BASE_MSR, 0xFEE0_0C00).unwrap();
    apics.apic_mut(1).init();
    assert_eq!(apics.apic(1).mode(), ApicMode::X2Apic);
}
