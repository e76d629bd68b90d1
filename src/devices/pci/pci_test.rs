//! The registers of the chipset's functions after power-on, and what the guest can change of them.

use super::*;
use crate::devices::{Device, Snapshot};

fn read(bus: &PciBus, at: PciAddress, register: u8, size: u8) -> u32 {
    bus.function(at).unwrap().space().read(register, size)
}

fn write(bus: &mut PciBus, at: PciAddress, register: u8, size: u8, value: u32) {
    let _ = bus.function_mut(at).unwrap().write(register, size, value);
}

/// The 64 dwords of a function that are not zero.
fn dwords(bus: &PciBus, at: PciAddress) -> Vec<(u8, u32)> {
    let all = (0..=0xFC).step_by(4).map(|register| (register, read(bus, at, register, 4)));
    all.filter(|(_, value)| *value != 0).collect()
}

/// The same after ones were written to all of them.
fn after_ones(at: PciAddress) -> Vec<(u8, u32)> {
    let mut bus = PciBus::default();
    for register in (0..=0xFC).step_by(4) {
        write(&mut bus, at, register, 4, 0xFFFF_FFFF);
    }
    dwords(&bus, at)
}

#[test]
fn the_host_bridge_is_that_of_the_440fx() {
    let at = PciAddress::HOST_BRIDGE;
    let initial = [
        (0x00, 0x1237_8086),
        (0x04, 0x0280_0006),
        (0x08, 0x0600_0002),
        (0x60, 0x0101_0101),
        (0x64, 0x0101_0101),
        (0x70, 0x0002_0000),
    ];
    assert_eq!(dwords(&PciBus::default(), at), initial);
    let writable = [
        (0x00, 0x1237_8086),
        (0x04, 0x0280_0146),
        (0x08, 0x0600_0002),
        (0x0C, 0x0000_F800),
        (0x58, 0x3333_3000),
        (0x5C, 0x3333_3333),
        (0x60, 0xFFFF_FFFF),
        (0x64, 0xFFFF_FFFF),
        (0x70, 0x0002_0000),
    ];
    assert_eq!(after_ones(at), writable);
}

#[test]
fn the_attribute_registers_read_back() {
    let (mut bus, at) = (PciBus::default(), PciAddress::HOST_BRIDGE);
    for register in host_bridge::FIRST_ATTRIBUTES..=host_bridge::LAST_ATTRIBUTES {
        assert_eq!(read(&bus, at, register, 1), 0);
        write(&mut bus, at, register, 1, 0x30);
        assert_eq!(read(&bus, at, register, 1), 0x30);
    }
}

#[test]
fn the_isa_bridge_is_that_of_the_piix3() {
    let at = PciAddress::ISA_BRIDGE;
    let initial = [
        (0x00, 0x7000_8086),
        (0x04, 0x0200_0007),
        (0x08, 0x0601_0000),
        (0x0C, 0x0080_0000),
        (0x4C, 0x0003_004D),
        (0x60, 0x8080_8080),
        (0x68, 0x0000_0200),
        (0x70, 0x0000_0080),
    ];
    assert_eq!(dwords(&PciBus::default(), at), initial);
    let writable = [
        (0x00, 0x7000_8086),
        (0x04, 0x0200_010F),
        (0x08, 0x0601_0000),
        (0x0C, 0x0080_0000),
        (0x4C, 0x01FF_00FF),
        (0x60, 0x8F8F_8F8F),
        (0x68, 0x0000_FE00),
        (0x70, 0x0000_00EF),
    ];
    assert_eq!(after_ones(at), writable);
}

#[test]
fn the_ide_function_is_in_compatibility_mode_with_a_bus_master_bar() {
    let at = PciAddress::IDE;
    let initial = [(0x00, 0x7010_8086), (0x04, 0x0280_0000), (0x08, 0x0101_8000), (0x20, 0x0000_0001)];
    assert_eq!(dwords(&PciBus::default(), at), initial);
    let writable = [
        (0x00, 0x7010_8086),
        (0x04, 0x0280_0005),
        (0x08, 0x0101_8000),
        (0x0C, 0x0000_F000),
        (0x20, 0xFFFF_FFF1),
        (0x40, 0xF3FF_F3FF),
        (0x44, 0x0000_00FF),
    ];
    assert_eq!(after_ones(at), writable);
}

#[test]
fn flat_bars_are_port_numbers_that_stay() {
    let (mut bus, at) = (PciBus::default(), PciAddress::IDE);
    bus.set_flat_ide_bars(true);
    for _ in 0..2 {
        assert_eq!((read(&bus, at, 0x10, 4), read(&bus, at, 0x14, 4)), (0x1F0, 0x3F6));
        assert_eq!((read(&bus, at, 0x18, 4), read(&bus, at, 0x1C, 4)), (0, 0));
        assert_eq!(read(&bus, at, 0x08, 4) >> 8, 0x01_01_80);
        write(&mut bus, at, 0x10, 4, 0xFFFF_FFFF);
        write(&mut bus, at, 0x14, 4, 0);
        bus = bus.after_reset();
    }
}

#[test]
fn interrupts_are_routed_by_slot_pin_and_route_control() {
    let mut bus = PciBus::default();
    let slot = |device| PciAddress { device, function: 0 };
    for pin in 0..=5 {
        assert_eq!(bus.route(slot(3), pin), None, "nothing is routed after power-on");
    }
    for (input, line) in [10, 11, 9, 5].into_iter().enumerate() {
        write(&mut bus, PciAddress::ISA_BRIDGE, 0x60 + input as u8, 1, line);
    }
    // INTA# to INTD# of each slot.
    for (device, lines) in [
        (1, [10, 11, 9, 5]),
        (2, [11, 9, 5, 10]),
        (3, [9, 5, 10, 11]),
        (4, [5, 10, 11, 9]),
        (5, [10, 11, 9, 5]),
        (0, [5, 10, 11, 9]),
        (31, [9, 5, 10, 11]),
        (255, [9, 5, 10, 11]),
    ] {
        assert_eq!([1, 2, 3, 4].map(|pin| bus.route(slot(device), pin)), lines.map(Some), "slot {device}");
        assert_eq!([0, 5, 255].map(|pin| bus.route(slot(device), pin)), [None; 3]);
    }
}

#[test]
fn the_wiring_of_interrupt_pins_turns_from_slot_to_slot() {
    let wired = |device| [0, 1, 2, 3].map(|pin| Pirq::of(device, pin).number());
    assert_eq!([1, 3, 5, 0].map(wired), [[0, 1, 2, 3], [2, 3, 0, 1], [0, 1, 2, 3], [3, 0, 1, 2]]);
}

#[test]
fn the_machine_leaves_the_bus_as_firmware_does() {
    let mut bus = PciBus::default();
    bus.set_up();
    assert_eq!(read(&bus, PciAddress::ISA_BRIDGE, 0x60, 4), 0x0B0B_0A0A);
    assert_eq!(read(&bus, PciAddress::IDE, 0x20, 4), 0xC001);
    assert_eq!(read(&bus, PciAddress::IDE, 0x04, 2), 0x0005);
    assert_eq!(read(&bus, PciAddress::HOST_BRIDGE, 0x04, 2), 0x0006);
    assert_eq!(
        [1, 2, 3, 4].map(|device| bus.route(PciAddress { device, function: 0 }, 1)),
        [Some(10), Some(10), Some(11), Some(11)]
    );
    let once = bus.save();
    bus.set_up();
    assert_eq!(bus.save(), once);
}

#[test]
fn reserved_lines_and_bit_7_route_nowhere() {
    let mut bus = PciBus::default();
    for control in 0..=255 {
        write(&mut bus, PciAddress::ISA_BRIDGE, 0x60, 1, control);
        let line = control as u8 & 0x0F;
        let routed = control < 0x80 && [3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15].contains(&line);
        assert_eq!(
            bus.route(PciAddress { device: 1, function: 0 }, 1),
            routed.then_some(line),
            "{control:#x}"
        );
    }
}

#[test]
fn the_bus_is_restored_between_address_and_data() {
    let mut bus = PciBus::new(true);
    write(&mut bus, PciAddress::IDE, 0x20, 4, 0xC040);
    write(&mut bus, PciAddress::ISA_BRIDGE, 0x61, 1, 0x0B);
    assert!(bus.write_wide(0, 4, 0x8000_0920).is_some());
    let saved = bus.save();
    let mut copy = PciBus::default();
    copy.restore(&saved).unwrap();
    assert_eq!(copy.save(), saved);
    assert_eq!(copy.read_wide(4, 4).map(|(value, _)| value), Some(0xC041));
    assert_eq!(copy.route(PciAddress { device: 2, function: 0 }, 1), Some(0x0B));
    assert_eq!(read(&copy, PciAddress::IDE, 0x10, 4), 0x1F0);
}

#[test]
fn impossible_states_are_refused_and_change_nothing() {
    let mut bus = PciBus::default();
    let before = bus.save();
    for (position, value) in [
        // The first byte of the address register; function 0 of device 1.
        (0, 0x03),
        (0, 0x80),
    ] {
        let mut damaged = before.clone();
        damaged.bytes[position] = value;
        assert!(bus.restore(&damaged).is_err(), "byte {position}");
        assert_eq!(bus.save(), before);
    }
    for length in 0..before.bytes.len() {
        let mut cut = before.clone();
        cut.bytes.truncate(length);
        assert!(bus.restore(&cut).is_err());
    }
    // Flat registers without the setting.
    let mut flat = PciBus::new(true).save();
    let flag = flat.bytes.iter().zip(&before.bytes).position(|(one, other)| one != other).unwrap();
    flat.bytes[flag] = 0;
    let error = bus.restore(&flat).unwrap_err().to_string();
    assert!(error.contains("register 0x10 of 8086:7010 is 0xf0"), "{error}");
    assert_eq!(bus.save(), before);
}
