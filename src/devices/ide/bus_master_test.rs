use super::*;
use crate::fuzzing::Random;

const TO_MEMORY: DmaDemand = DmaDemand { to_memory: true, length: 1000 };

fn read(bus_master: &mut BusMaster, port: u16) -> u8 {
    bus_master.read(port).0
}

fn write(bus_master: &mut BusMaster, writes: &[(u16, u8)]) {
    for (port, value) in writes {
        let _ = bus_master.write(*port, *value);
    }
}

/// A bus master that was started on channel 0, towards memory, with its table at 0x1000.
fn started() -> BusMaster {
    let mut bus_master = BusMaster::default();
    write(&mut bus_master, &[(TABLE + 1, 0x10), (COMMAND, COMMAND_TO_MEMORY | COMMAND_START)]);
    bus_master
}

fn descriptor(address: u32, length: u16, last: bool) -> [u8; 8] {
    let [a0, a1, a2, a3] = address.to_le_bytes();
    let [c0, c1] = length.to_le_bytes();
    [a0, a1, a2, a3, c0, c1, 0, if last { LAST } else { 0 }]
}

#[test]
fn the_registers_keep_what_the_manual_lets_them() {
    for channel in [0, 8] {
        let mut bus_master = BusMaster::default();
        assert!((0..8).all(|port| read(&mut bus_master, channel + port) == 0));
        write(&mut bus_master, &[(channel + COMMAND, 0xF6), (channel + STATUS, 0xFF), (channel + 1, 0xFF)]);
        assert_eq!([0, 1, 2, 3].map(|port| read(&mut bus_master, channel + port)), [0, 0, 0x60, 0]);
        for (port, value) in [(4, 0xFF), (5, 0x12), (6, 0x34), (7, 0x56)] {
            write(&mut bus_master, &[(channel + port, value)]);
        }
        assert_eq!([4, 5, 6, 7].map(|port| read(&mut bus_master, channel + port)), [0xFC, 0x12, 0x34, 0x56]);
        // The other channel has registers of its own.
        assert!((0..8).all(|port| read(&mut bus_master, (channel ^ 8) + port) == 0));
    }
}

#[test]
fn the_interrupt_bit_follows_rising_edges_and_is_cleared_by_a_one() {
    let mut bus_master = BusMaster::default();
    bus_master.set_line(1, true);
    assert_eq!([2, 10].map(|port| read(&mut bus_master, port)), [0, STATUS_INTERRUPT]);
    write(&mut bus_master, &[(8 + STATUS, 0)]);
    assert_eq!(read(&mut bus_master, 10), STATUS_INTERRUPT);
    write(&mut bus_master, &[(8 + STATUS, STATUS_INTERRUPT)]);
    bus_master.set_line(1, true);
    assert_eq!(read(&mut bus_master, 10), 0, "no edge");
    bus_master.set_line(1, false);
    bus_master.set_line(1, true);
    assert_eq!(read(&mut bus_master, 10), STATUS_INTERRUPT);
}

#[test]
fn a_transfer_goes_through_the_table() {
    let mut bus_master = started();
    assert_eq!(read(&mut bus_master, STATUS), STATUS_ACTIVE);
    assert_eq!(bus_master.step(0, DmaDemand { to_memory: false, length: 5 }), None, "the other direction");
    assert_eq!(bus_master.step(1, TO_MEMORY), None, "the other channel");
    assert_eq!(bus_master.step(0, TO_MEMORY), Some(DmaStep::Descriptor { address: 0x1000 }));
    bus_master.descriptor_read(0, descriptor(0x1_2345, 601, false));
    // Address and length are even.
    assert_eq!(bus_master.step(0, TO_MEMORY), Some(DmaStep::Data { address: 0x1_2344, length: 600 }));
    bus_master.transferred(0, 600);
    assert_eq!(bus_master.step(0, TO_MEMORY), Some(DmaStep::Descriptor { address: 0x1008 }));
    bus_master.descriptor_read(0, descriptor(0x2_0000, 0, true));
    assert_eq!(bus_master.step(0, TO_MEMORY), Some(DmaStep::Data { address: 0x2_0000, length: 1000 }));
    bus_master.transferred(0, 1000);
    assert_eq!(bus_master.step(0, TO_MEMORY), Some(DmaStep::Data { address: 0x2_03E8, length: 1000 }));
    let rest = DmaDemand { to_memory: true, length: 1 << 20 };
    assert_eq!(bus_master.step(0, rest), Some(DmaStep::Data { address: 0x2_03E8, length: 0x1_0000 - 1000 }));
    assert!(bus_master.is_active(0));
    bus_master.transferred(0, 0x1_0000 - 1000);
    assert!(!bus_master.is_active(0), "the last region is full");
    assert_eq!((bus_master.step(0, TO_MEMORY), read(&mut bus_master, COMMAND)), (None, 9));
    // It starts again at the beginning of the table, once the guest has stopped it.
    write(&mut bus_master, &[(COMMAND, 9)]);
    assert!(!bus_master.is_active(0));
    write(&mut bus_master, &[(COMMAND, 0), (COMMAND, 9)]);
    assert_eq!(bus_master.step(0, TO_MEMORY), Some(DmaStep::Descriptor { address: 0x1000 }));
}

#[test]
fn stopping_ends_the_transfer_and_the_direction_stays_until_then() {
    let mut bus_master = started();
    bus_master.descriptor_read(0, descriptor(0x2_0000, 512, true));
    write(&mut bus_master, &[(COMMAND, COMMAND_START)]);
    assert_eq!(read(&mut bus_master, COMMAND), COMMAND_START | COMMAND_TO_MEMORY);
    write(&mut bus_master, &[(COMMAND, 0)]);
    assert_eq!((bus_master.step(0, TO_MEMORY), read(&mut bus_master, STATUS)), (None, 0));
}

#[test]
fn memory_that_does_not_exist_sets_the_error_bit() {
    let mut bus_master = started();
    bus_master.failed(0);
    assert_eq!((bus_master.step(0, TO_MEMORY), read(&mut bus_master, STATUS)), (None, STATUS_ERROR));
    write(&mut bus_master, &[(STATUS, STATUS_ERROR)]);
    assert_eq!(read(&mut bus_master, STATUS), 0);
}

#[test]
fn addresses_wrap_at_4_gib() {
    let mut bus_master = started();
    bus_master.descriptor_read(0, descriptor(0xFFFF_FFF0, 32, true));
    assert_eq!(bus_master.step(0, TO_MEMORY), Some(DmaStep::Data { address: 0xFFFF_FFF0, length: 16 }));
    bus_master.transferred(0, 16);
    assert_eq!(bus_master.step(0, TO_MEMORY), Some(DmaStep::Data { address: 0, length: 16 }));
}

#[test]
fn it_is_saved_in_the_middle_of_a_region_and_impossible_states_are_refused() {
    let mut bus_master = started();
    bus_master.descriptor_read(0, descriptor(0x2_0000, 512, true));
    bus_master.transferred(0, 100);
    let mut copy = BusMaster::default();
    copy.restore(&bus_master.save()).unwrap();
    assert_eq!(copy, bus_master);
    assert_eq!(copy.step(0, TO_MEMORY), Some(DmaStep::Data { address: 0x2_0064, length: 412 }));
    let changes: [fn(&mut Registers); 6] = [
        |registers| registers.command = 0x10,
        |registers| registers.command = 0,
        |registers| registers.status = 0x80,
        |registers| registers.table = 2,
        |registers| registers.next = 1,
        |registers| registers.length = MOST_IN_REGION + 1,
    ];
    for change in changes {
        let mut state = bus_master;
        change(&mut state.channels[0]);
        assert!(copy.restore(&state.save()).is_err());
        assert_eq!(copy, bus_master);
    }
}

#[test]
fn any_accesses_and_descriptors_leave_a_valid_state_and_bounded_steps() {
    let mut random = Random::new(13);
    let mut bus_master = BusMaster::default();
    for _ in 0..20_000 {
        let value = random.next();
        let channel = (value >> 4 & 1) as usize;
        let demand =
            DmaDemand { to_memory: value >> 5 & 1 == 0, length: (value >> 8 & 0x3_FFFF) as usize + 1 };
        match value % 4 {
            0 | 1 => write(&mut bus_master, &[((value >> 8) as u16 & 15, (value >> 32) as u8)]),
            2 => bus_master.set_line(channel, value >> 6 & 1 == 1),
            _ => match bus_master.step(channel, demand) {
                Some(DmaStep::Descriptor { .. }) => bus_master.descriptor_read(channel, value.to_le_bytes()),
                Some(DmaStep::Data { address, length }) => {
                    assert!((1..=65_536).contains(&length) && length <= demand.length);
                    assert!(address + length as u64 <= 1 << 32);
                    bus_master.transferred(channel, length);
                }
                None => {}
            },
        }
        BusMaster::default().restore(&bus_master.save()).unwrap();
    }
}
