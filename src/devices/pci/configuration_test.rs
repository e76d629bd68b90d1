use super::*;
use crate::devices::transcript::accesses;
use crate::fuzzing::Random;

fn address(bus: &mut PciBus, address: u32) {
    assert_eq!(bus.write_wide(0, 4, address), Some(Action::NONE));
}

/// Selects register 0 of the host bridge with configuration cycles enabled.
fn selected(register: u32) -> PciBus {
    let mut bus = PciBus::default();
    address(&mut bus, 0x8000_0000 | register);
    bus
}

fn read(bus: &mut PciBus, port: u16, size: u8) -> Option<u32> {
    let offset = port - ADDRESS_PORT;
    match size {
        1 => Some(bus.read(offset).0.into()),
        _ => bus.read_wide(offset, size).map(|(value, _)| value),
    }
}

#[test]
fn the_address_register_is_one_dword_with_reserved_bits_zero() {
    let mut bus = PciBus::default();
    assert_eq!(read(&mut bus, 0xCF8, 4), Some(0));
    address(&mut bus, 0xFFFF_FFFF);
    assert_eq!(read(&mut bus, 0xCF8, 4), Some(0x80FF_FFFC));
    address(&mut bus, 0x8000_0000);
    assert_eq!(read(&mut bus, 0xCF8, 4), Some(0x8000_0000));
}

#[test]
fn narrow_accesses_pass_the_address_register_by() {
    let mut bus = selected(0x40);
    assert_eq!(bus.write_wide(0, 2, 0x0600), Some(Action::NONE), "port 0xCF9 is not reached");
    for offset in [0, 2, 3] {
        assert_eq!(bus.write(offset, 0xAA), Action::NONE);
        assert_eq!(bus.read(offset), (OPEN_BUS, Action::NONE));
    }
    // Split into bytes, of which some may belong to other devices.
    assert_eq!((bus.read_wide(0, 2), bus.read_wide(2, 2), bus.read_wide(2, 4)), (None, None, None));
    assert_eq!((bus.write_wide(2, 2, 0), bus.write_wide(2, 4, 0)), (None, None));
    assert_eq!(read(&mut bus, 0xCF8, 4), Some(0x8000_0040));
}

#[test]
fn the_data_ports_give_the_bytes_that_the_access_covers() {
    let mut bus = selected(0x00);
    assert_eq!(read(&mut bus, 0xCFC, 4), Some(0x1237_8086));
    assert_eq!(
        [0xCFC, 0xCFD, 0xCFE, 0xCFF].map(|port| read(&mut bus, port, 1)),
        [0x86, 0x80, 0x37, 0x12].map(Some)
    );
    assert_eq!([0xCFC, 0xCFD, 0xCFE].map(|port| read(&mut bus, port, 2)), [0x8086, 0x3780, 0x1237].map(Some));
    // These cover ports beyond, too.
    assert_eq!((read(&mut bus, 0xCFF, 2), read(&mut bus, 0xCFD, 4)), (None, None));
    // Bits 1 and 0 of an address are reserved.
    address(&mut bus, 0x8000_0003);
    assert_eq!(read(&mut bus, 0xCFC, 4), Some(0x1237_8086));
}

#[test]
fn writes_of_every_width_reach_their_bytes_alone() {
    let mut bus = selected(0x60);
    assert!(bus.write_wide(4, 4, 0x4433_2211).is_some());
    let _ = bus.write(5, 0xAA);
    assert!(bus.write_wide(6, 2, 0xCCBB).is_some());
    assert_eq!(read(&mut bus, 0xCFC, 4), Some(0xCCBB_AA11));
    assert!(bus.write_wide(5, 2, 0x7766).is_some());
    assert_eq!(read(&mut bus, 0xCFC, 4), Some(0xCC77_6611));
    assert_eq!((bus.write_wide(7, 2, 0), bus.write_wide(5, 4, 0)), (None, None));
    address(&mut bus, 0x8000_0064);
    assert_eq!(read(&mut bus, 0xCFC, 4), Some(0x0101_0101), "the next register is untouched");
}

#[test]
fn disabled_cycles_and_absent_functions_read_as_all_ones() {
    // Cycles disabled; other functions and devices; another bus.
    let absent = [0x0000_0000, 0x8000_0100, 0x8000_0A00, 0x8000_1000, 0x8000_F800, 0x8001_0000, 0x80FF_0000];
    for absent in absent {
        let mut bus = PciBus::default();
        address(&mut bus, absent);
        for (port, size, expected) in [(0xCFC, 4, 0xFFFF_FFFF), (0xCFD, 1, 0xFF)] {
            assert_eq!(read(&mut bus, port, size), Some(expected), "{absent:#x}");
        }
        assert_eq!(bus.read_wide(6, 2).map(|(value, _)| value & 0xFFFF), Some(0xFFFF));
        let before = PciBus::default().functions().len();
        assert!(bus.write_wide(4, 4, 0).is_some());
        assert_eq!(bus.functions().len(), before);
    }
}

#[test]
fn a_transcript_of_qemu_gives_the_same_answers() {
    let mut bus = PciBus::default();
    for access in accesses(include_str!("transcript.txt")) {
        let (port, size) = (access.address as u16, access.size);
        let (offset, value) = (port - ADDRESS_PORT, access.value as u32);
        if !access.is_write {
            let mask = u32::MAX >> (32 - 8 * size);
            let found = read(&mut bus, port, size).map(|found| found & mask);
            assert_eq!(found, Some(value), "{}", access.line);
        } else if size == 1 {
            let _ = bus.write(offset, value as u8);
        } else if bus.write_wide(offset, size, value).is_none() {
            // The board splits it into bytes.
            for (byte, offset) in value.to_le_bytes().into_iter().zip(offset..offset + u16::from(size)) {
                let _ = bus.write(offset, byte);
            }
        }
    }
}

#[test]
fn a_scan_finds_three_functions() {
    let mut bus = PciBus::default();
    let mut found = Vec::new();
    for function in 0..0x1_0000 {
        address(&mut bus, 0x8000_0000 | function << 8);
        if read(&mut bus, 0xCFC, 2).is_some_and(|vendor| vendor & 0xFFFF != 0xFFFF) {
            found.push((function, read(&mut bus, 0xCFC, 4)));
        }
    }
    let expected = [(0x00, 0x1237_8086), (0x08, 0x7000_8086), (0x09, 0x7010_8086)];
    assert_eq!(found, expected.map(|(function, identity)| (function, Some(identity))));
}

#[test]
fn no_sequence_of_accesses_panics_or_makes_a_state_that_cannot_be_restored() {
    use crate::devices::Snapshot;
    let mut random = Random::new(0x0440);
    let mut bus = PciBus::default();
    for step in 0..20_000 {
        let value = random.next() as u32;
        let (offset, size) = (value as u16 % 8, [1, 2, 4][(value >> 8) as usize % 3]);
        let written = random.next() as u32;
        match (value >> 16) % 3 {
            // Functions of device 0 and 1 are met often.
            0 => address(&mut bus, written & 0x8000_09FC | 0x8000_0000),
            1 if size == 1 => drop(bus.read(offset)),
            1 => drop(bus.read_wide(offset, size)),
            _ if size == 1 => drop(bus.write(offset, written as u8)),
            _ => drop(bus.write_wide(offset, size, written)),
        }
        if step % 100 == 0 {
            let mut copy = PciBus::default();
            copy.restore(&bus.save()).unwrap();
            assert_eq!(copy.save(), bus.save());
        }
    }
}
