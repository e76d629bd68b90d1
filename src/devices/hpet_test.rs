use super::*;
use crate::devices::transcript::accesses;
use crate::fuzzing::Random;

const TIMER_0: u64 = 0x100;
const TIMER_1: u64 = 0x120;
const TIMER_2: u64 = 0x140;
const LEVEL: u64 = 1 << 1;
const ON: u64 = 1 << 2;
const PERIODIC: u64 = 1 << 3;
const VALUE_SET: u64 = 1 << 6;
const MODE_32: u64 = 1 << 8;

fn route(pin: u64) -> u64 {
    pin << 9
}

fn read(hpet: &mut Hpet, offset: u64) -> u64 {
    hpet.mmio_read(offset, 8).unwrap().0
}

fn write(hpet: &mut Hpet, writes: &[(u64, u64)]) {
    for (offset, value) in writes {
        let _ = hpet.mmio_write(*offset, 8, *value).unwrap();
    }
}

/// A running HPET after these writes.
fn running(writes: &[(u64, u64)]) -> Hpet {
    let mut hpet = Hpet::default();
    write(&mut hpet, writes);
    let configuration = hpet.configuration | ENABLE;
    write(&mut hpet, &[(CONFIGURATION, configuration)]);
    hpet
}

/// Advances to `tick` of the machine's clock; pulses, levels.
fn advance(hpet: &mut Hpet, tick: u64) -> (u32, u32) {
    let _ = hpet.advance(at(tick));
    (hpet.take_pulses(), hpet.lines())
}

fn at(tick: u64) -> MachineTime {
    MachineTime::from_nanos(tick * TICK_NANOS)
}

#[test]
fn the_capabilities_are_three_timers_of_64_bits_at_100_mhz() {
    let mut hpet = Hpet::default();
    assert_eq!(read(&mut hpet, CAPABILITIES), 0x0098_9680_8086_A201);
    for timer in [TIMER_0, TIMER_1, TIMER_2] {
        assert_eq!(read(&mut hpet, timer), 0x00FF_0104_0000_0030);
        assert_eq!(read(&mut hpet, timer + 8), u64::MAX);
        assert_eq!(read(&mut hpet, timer + 16), 0);
    }
    for reserved in [0x008, 0x018, 0x028, 0x0F8, 0x160, 0x3F8] {
        write(&mut hpet, &[(reserved, u64::MAX)]);
        assert_eq!(read(&mut hpet, reserved), 0);
    }
    assert_eq!(hpet, Hpet::default());
}

#[test]
fn registers_keep_the_bits_that_exist() {
    let mut hpet = Hpet::default();
    write(&mut hpet, &[(CAPABILITIES, 0), (CONFIGURATION, u64::MAX), (TIMER_0, !MODE_32)]);
    assert_eq!(read(&mut hpet, CAPABILITIES), 0x0098_9680_8086_A201);
    assert_eq!(read(&mut hpet, CONFIGURATION), 3);
    // Pin 31 does not exist, and there is no front-side bus delivery.
    assert_eq!(read(&mut hpet, TIMER_0), 0x00FF_0104_0000_007E);
    for (pin, kept) in [(2, 2), (8, 8), (16, 16), (23, 23), (0, 23), (3, 23), (24, 23)] {
        write(&mut hpet, &[(TIMER_0, route(pin))]);
        assert_eq!(read(&mut hpet, TIMER_0) >> 9 & 0x1F, kept);
    }
}

#[test]
fn the_main_counter_runs_while_enabled() {
    let mut hpet = Hpet::default();
    let _ = hpet.advance(at(1000));
    assert_eq!(read(&mut hpet, MAIN_COUNTER), 0);
    write(&mut hpet, &[(MAIN_COUNTER, 0xFFFF_FFFF_FFFF_FFF0), (CONFIGURATION, 1)]);
    let _ = hpet.advance(MachineTime::from_nanos(10_159));
    assert_eq!(read(&mut hpet, MAIN_COUNTER), u64::MAX);
    let _ = hpet.advance(at(1020));
    assert_eq!(read(&mut hpet, MAIN_COUNTER), 4);
    write(&mut hpet, &[(CONFIGURATION, 0)]);
    let _ = hpet.advance(at(2000));
    assert_eq!(read(&mut hpet, MAIN_COUNTER), 4);
}

#[test]
fn registers_are_accessed_in_halves_or_as_a_whole() {
    let mut hpet = Hpet::default();
    for (offset, size, value) in [(0x0F0, 4, 0x1111_2222), (0x0F4, 4, 0x3333_4444)] {
        let _ = hpet.mmio_write(offset, size, value).unwrap();
    }
    assert_eq!(read(&mut hpet, MAIN_COUNTER), 0x3333_4444_1111_2222);
    assert_eq!(hpet.mmio_read(0x004, 4).unwrap().0, 0x0098_9680);
    assert_eq!(hpet.mmio_read(0x104, 4).unwrap().0, 0x00FF_0104);
    for (offset, size) in [(0, 1), (0, 2), (2, 4), (4, 8), (0xF1, 4), (0, 3), (0, 0)] {
        assert!(hpet.mmio_read(offset, size).is_none() && hpet.mmio_write(offset, size, 0).is_none());
    }
}

#[test]
fn a_one_shot_timer_pulses_once() {
    let mut hpet = running(&[(TIMER_0, ON | route(2)), (TIMER_0 + 8, 500)]);
    assert_eq!(hpet.next_deadline(), Some(at(500)));
    assert_eq!(advance(&mut hpet, 499), (0, 0));
    assert_eq!(advance(&mut hpet, 500), (1 << 2, 0));
    assert_eq!(hpet.next_deadline(), None, "after the end of time");
    assert_eq!(advance(&mut hpet, 1_000_000_000), (0, 0));
    assert_eq!(read(&mut hpet, INTERRUPT_STATUS), 0);
    // In 32 bits, it matches again after each turn of the counter.
    let mut hpet = running(&[(TIMER_2, ON | MODE_32 | route(23)), (TIMER_2 + 8, 500)]);
    for turn in 0..3 {
        assert_eq!(hpet.next_deadline(), Some(at((turn << 32) + 500)));
        assert_eq!(advance(&mut hpet, (turn << 32) + 500), (1 << 23, 0));
    }
}

#[test]
fn a_timer_whose_interrupt_is_disabled_has_no_output() {
    let mut hpet =
        running(&[(TIMER_0, route(2)), (TIMER_0 + 8, 5), (TIMER_1, LEVEL | route(8)), (TIMER_1 + 8, 5)]);
    assert_eq!(hpet.next_deadline(), None);
    assert_eq!(advance(&mut hpet, 10), (0, 0));
    // The status is set all the same.
    assert_eq!(read(&mut hpet, INTERRUPT_STATUS), 0b010);
    write(&mut hpet, &[(TIMER_1, LEVEL | ON | route(8))]);
    assert_eq!(hpet.lines(), 1 << 8);
    write(&mut hpet, &[(CONFIGURATION, 0)]);
    assert_eq!(hpet.lines(), 0);
}

#[test]
fn a_level_triggered_timer_holds_its_line_until_the_status_is_cleared() {
    let mut hpet = running(&[(TIMER_1, ON | LEVEL | PERIODIC | VALUE_SET | route(20)), (TIMER_1 + 8, 100)]);
    assert_eq!(advance(&mut hpet, 100), (0, 1 << 20));
    assert_eq!((read(&mut hpet, INTERRUPT_STATUS), hpet.next_deadline()), (0b010, None));
    assert_eq!(advance(&mut hpet, 350), (0, 1 << 20));
    write(&mut hpet, &[(INTERRUPT_STATUS, 0b101)]);
    assert_eq!(hpet.lines(), 1 << 20);
    assert!(hpet.mmio_write(INTERRUPT_STATUS, 4, 0b010).unwrap().deadline);
    assert_eq!((hpet.lines(), hpet.next_deadline()), (0, Some(at(400))));
}

#[test]
fn a_periodic_timer_adds_its_period_to_the_accumulator() {
    // Accumulator 1000, then period 300.
    let mut hpet = running(&[(TIMER_0, ON | PERIODIC | VALUE_SET | route(16))]);
    assert_eq!(read(&mut hpet, TIMER_0) & VALUE_SET, VALUE_SET);
    write(&mut hpet, &[(TIMER_0 + 8, 1000), (TIMER_0 + 8, 300)]);
    assert_eq!(read(&mut hpet, TIMER_0) & VALUE_SET, 0);
    for tick in [1000, 1300, 1600, 1900] {
        assert_eq!((hpet.next_deadline(), read(&mut hpet, TIMER_0 + 8)), (Some(at(tick)), tick));
        assert_eq!(advance(&mut hpet, tick - 1), (0, 0));
        assert_eq!(advance(&mut hpet, tick), (1 << 16, 0));
    }
    // A stop of ten minutes delivers one pulse and keeps the phase.
    assert_eq!(advance(&mut hpet, 60_000_000_150), (1 << 16, 0));
    assert_eq!(hpet.next_deadline(), Some(at(60_000_000_400)));
    // A write without the bit changes the period alone.
    write(&mut hpet, &[(TIMER_0 + 8, 7)]);
    assert_eq!(hpet.next_deadline(), Some(at(60_000_000_400)));
    let _ = advance(&mut hpet, 60_000_000_400);
    assert_eq!(hpet.next_deadline(), Some(at(60_000_000_407)));
}

#[test]
fn the_accumulator_is_also_set_in_halves() {
    let config = ON | PERIODIC | VALUE_SET | route(16);
    // Both halves of the accumulator, then of the period; and low halves alone, in 32 bits or not.
    let halves: &[(u64, u64)] = &[(0x108, 5), (0x10C, 1), (0x108, 9), (0x10C, 2)];
    let low: &[(u64, u64)] = &[(0x108, 5), (0x108, 9)];
    for (config, writes, accumulator, period) in [
        (config, halves, 0x1_0000_0005, 0x2_0000_0009),
        (config, low, 0xFFFF_FFFF_0000_0005, 9),
        (config | MODE_32, low, 5, 9),
        (config | MODE_32, halves, 5, 9),
    ] {
        let mut hpet = Hpet::default();
        write(&mut hpet, &[(TIMER_0, config)]);
        for (offset, value) in writes {
            let _ = hpet.mmio_write(*offset, 4, *value).unwrap();
        }
        assert_eq!(read(&mut hpet, TIMER_0 + 8), accumulator);
        write(&mut hpet, &[(MAIN_COUNTER, accumulator - 1), (CONFIGURATION, ENABLE)]);
        assert_eq!(advance(&mut hpet, 1), (1 << 16, 0));
        assert_eq!(read(&mut hpet, TIMER_0 + 8), accumulator.wrapping_add(period));
    }
}

#[test]
fn legacy_replacement_takes_the_interrupts_of_the_pit_and_the_rtc() {
    let mut hpet = running(&[
        (CONFIGURATION, LEGACY_REPLACEMENT),
        (TIMER_0, ON | route(16)),
        (TIMER_0 + 8, 10),
        (TIMER_1, ON | LEVEL),
        (TIMER_1 + 8, 10),
        (TIMER_2, ON | route(21)),
        (TIMER_2 + 8, 10),
    ]);
    assert_eq!(hpet.legacy(), Some((false, false)));
    assert_eq!(advance(&mut hpet, 10), (LEGACY_IRQ_0 | 1 << 21, 0));
    assert_eq!(hpet.legacy(), Some((false, true)));
    write(&mut hpet, &[(CONFIGURATION, ENABLE)]);
    assert_eq!((hpet.legacy(), hpet.lines()), (None, 0));
}

#[test]
fn the_value_set_bit_can_be_taken_back() {
    let config = ON | PERIODIC | route(16);
    let mut hpet = running(&[(TIMER_0, config | VALUE_SET), (TIMER_0, config), (TIMER_0 + 8, 7)]);
    assert_eq!(read(&mut hpet, TIMER_0 + 8), u64::MAX);
}

#[test]
fn a_timer_without_a_route_has_no_output() {
    let mut hpet = running(&[(TIMER_0, ON), (TIMER_0 + 8, 10)]);
    assert_eq!(hpet.next_deadline(), None);
    assert_eq!(advance(&mut hpet, 10), (0, 0));
}

#[test]
fn it_describes_its_timers() {
    let hpet = running(&[(TIMER_0, ON | PERIODIC | VALUE_SET | route(2)), (TIMER_0 + 8, 0x10)]);
    let lines = hpet.describe();
    assert_eq!(lines[0], "counter 0x0, running");
    assert_eq!(lines[1], "timer 0: periodic, edge, comparator 0x10, interrupt enabled");
}

#[test]
fn a_timer_in_mid_operation_survives_save_and_restore() {
    let mut hpet = running(&[
        (TIMER_0, ON | PERIODIC | VALUE_SET | route(16)),
        (TIMER_0 + 8, 1000),
        (TIMER_1, ON | LEVEL | route(20)),
        (TIMER_1 + 8, 10),
        (TIMER_2, ON | PERIODIC | VALUE_SET | route(21)),
    ]);
    let _ = hpet.advance(at(1003));
    let _ = hpet.mmio_write(TIMER_2 + 8, 4, 2000);
    let mut copy = Hpet::default();
    copy.restore(&hpet.save()).unwrap();
    assert_eq!(copy, hpet);
    for device in [&mut hpet, &mut copy] {
        let _ = device.mmio_write(TIMER_2 + 12, 4, 0);
        assert_eq!(device.take_pulses(), 1 << 16);
        assert_eq!(device.next_deadline(), Some(at(2000)));
        assert_eq!(advance(device, 2000), (1 << 16 | 1 << 21, 1 << 20));
    }
    assert_eq!(copy, hpet);
}

#[test]
fn impossible_states_are_refused() {
    let changes: [fn(&mut Hpet); 3] =
        [|hpet| hpet.configuration = 4, |hpet| hpet.status = 8, |hpet| hpet.pulses = 1];
    for change in changes {
        let mut state = Hpet::default();
        change(&mut state);
        assert!(matches!(Hpet::default().set_state(state), Err(StateError::Damaged { .. })));
    }
    let bytes = running(&[(TIMER_0, ON | MODE_32 | PERIODIC | route(16)), (TIMER_0 + 8, 10)]).save().bytes;
    let mut refused = 0;
    for at in 0..bytes.len() {
        for value in [0x00, 0x01, 0x7F, 0xFF] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            let mut hpet = Hpet::default();
            refused += usize::from(
                hpet.restore(&crate::devices::Payload { kind: "hpet".into(), version: 1, bytes }).is_err(),
            );
            let _ = hpet.advance(MachineTime::from_nanos(u64::MAX));
        }
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn any_sequence_of_accesses_and_times_is_saved_and_restored() {
    let mut random = Random::new(4);
    let mut next = || random.next();
    let mut hpet = Hpet::default();
    for step in 0..60_000 {
        let offset = match next() % 8 {
            0 => next() % LENGTH,
            1 => CONFIGURATION,
            2 => INTERRUPT_STATUS,
            3 => MAIN_COUNTER,
            _ => TIMER_0 + next() % 12 * 8,
        };
        let (size, value) = ([1, 2, 4, 4, 8, 8, 8, 8][(next() % 8) as usize], next() >> (next() % 64));
        match next() % 4 {
            0 => drop(hpet.mmio_read(offset, size)),
            1 => {
                let nanos = hpet.now.as_nanos().saturating_add(next() >> (20 + next() % 44));
                let _ = hpet.advance(MachineTime::from_nanos(nanos));
            }
            _ => drop(hpet.mmio_write(offset, size, value)),
        }
        if step % 16 == 0 {
            let mut copy = Hpet::default();
            copy.restore(&hpet.save()).unwrap();
            assert_eq!(copy, hpet);
        }
        let _ = hpet.take_pulses();
        if let Some(deadline) = hpet.next_deadline() {
            assert!(deadline > hpet.now);
            let mut copy = hpet.clone();
            let before = copy.levels();
            let _ = copy.advance(MachineTime::from_nanos(deadline.as_nanos() - 1));
            assert_eq!((copy.levels(), copy.take_pulses()), (before, 0), "nothing before the deadline");
            let _ = copy.advance(deadline);
            // Another timer may hold the same pin.
            let shared = copy.status != hpet.status;
            assert!(
                copy.levels() != before || copy.take_pulses() != 0 || shared,
                "an output at the deadline"
            );
        }
        if hpet.now.as_nanos() > 1 << 62 {
            hpet.now = MachineTime::default();
        }
    }
}

#[test]
fn accesses_have_the_answers_of_qemu() {
    let mut hpet = Hpet::default();
    for access in accesses(include_str!("hpet/transcript.txt")) {
        let offset = access.address - BASE;
        if access.is_write {
            let _ = hpet.mmio_write(offset, 4, access.value).unwrap();
        } else {
            assert_eq!(hpet.mmio_read(offset, 4).unwrap().0, access.value, "{}", access.line);
        }
    }
}
