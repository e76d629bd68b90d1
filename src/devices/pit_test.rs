use super::counting::Counting;
use super::*;
use crate::devices::transcript::accesses;
use crate::fuzzing::Random;

/// A timer whose counter 0 is in `mode` with `count`.
fn programmed(mode: u8, count: u16) -> Pit {
    let mut pit = Pit::default();
    let _ = pit.write(0x43, 0x30 | mode << 1);
    for byte in count.to_le_bytes() {
        let _ = pit.write(0x40, byte);
    }
    pit
}

/// Edges that the board sees in `action`, whose line was at `level`.
fn edges(pit: &Pit, level: &mut bool, action: Action) -> u32 {
    let levels = action.line.map(|line| [line, pit.line()]);
    let mut count = 0;
    for now in levels.into_iter().flatten() {
        count += u32::from(now && !*level);
        *level = now;
    }
    assert_eq!(*level, pit.line(), "the board and the device agree on the level");
    count
}

/// Ticks in a second of a guest that is woken at each deadline.
fn ticks_in_a_second(pit: &mut Pit) -> u32 {
    let (end, mut level, mut count) = (pit.now.as_nanos() + 1_000_000_000, pit.line(), 0);
    while let Some(deadline) = pit.next_deadline().filter(|deadline| deadline.as_nanos() < end) {
        let action = pit.advance(deadline);
        let new = edges(pit, &mut level, action);
        assert_eq!(new, 1, "each deadline is an edge");
        count += new;
    }
    count
}

#[test]
fn a_periodic_timer_ticks_the_right_number_of_times_in_a_second() {
    for (mode, count, ticks) in
        [(2, 11_932, 99), (3, 11_932, 99), (2, 1193, 1000), (3, 1193, 1000), (2, 0, 18)]
    {
        assert_eq!(ticks_in_a_second(&mut programmed(mode, count)), ticks, "mode {mode}, count {count}");
    }
}

#[test]
fn terminal_count_is_one_edge() {
    let mut pit = programmed(0, 1000);
    assert!(!pit.line());
    assert_eq!(pit.next_deadline(), time_of(1001));
    assert_eq!(ticks_in_a_second(&mut pit), 1);
    assert!(pit.line() && pit.is_stopped());
    let action = pit.write(0x40, 5);
    assert_eq!((action.line, action.deadline), (Some(false), false));
    assert!(pit.write(0x40, 0).deadline);
}

#[test]
fn the_strobe_of_mode_4_is_one_edge() {
    let mut pit = programmed(4, 1000);
    assert_eq!(pit.next_deadline(), time_of(1002));
    assert_eq!(ticks_in_a_second(&mut pit), 1);
    // Without a trigger the other modes do nothing, and the gate of counter 0 is tied high.
    assert!(programmed(1, 1000).is_stopped() && programmed(5, 1000).is_stopped());
}

#[test]
fn a_long_stop_delivers_one_edge_and_keeps_the_phase() {
    for mode in [2, 3] {
        let mut pit = programmed(mode, 11_932);
        let first = pit.next_deadline().unwrap();
        let _ = pit.advance(first);
        let mut level = pit.line();
        let action = pit.advance(MachineTime::from_nanos(600_000_000_000));
        assert_eq!(edges(&pit, &mut level, action), 1);
        let next = pulses(pit.next_deadline().unwrap());
        assert_eq!((next - 1) % 11_932, 0, "mode {mode}");
        // Nothing is left over.
        let action = pit.advance(pit.now);
        assert_eq!(edges(&pit, &mut level, action), 0);
    }
}

#[test]
fn an_edge_is_delivered_even_if_the_output_is_low_again() {
    let mut pit = programmed(3, 1000);
    let mut level = pit.line();
    let action = pit.advance(time_of(1001 + 700).unwrap());
    assert_eq!(edges(&pit, &mut level, action), 1);
    assert!(!pit.counters[0].counting.out());
    let action = pit.advance(pit.now);
    assert_eq!((edges(&pit, &mut level, action), level), (0, false));
}

#[test]
fn the_end_of_time_is_no_deadline() {
    let mut pit = programmed(2, 1000);
    let _ = pit.advance(MachineTime::from_nanos(u64::MAX));
    assert_eq!(pit.next_deadline(), None);
    let _ = pit.advance(MachineTime::from_nanos(0));
    assert_eq!(pit.now.as_nanos(), u64::MAX);
}

#[test]
fn port_61_controls_gate_2_and_the_speaker_and_shows_output_2() {
    let mut pit = Pit::default();
    assert_eq!(pit.read(0x61).0, 0x20);
    assert_eq!(pit.write(0x61, 0xFE), Action::NONE);
    assert_eq!((pit.read(0x61).0, pit.speaker_is_on()), (0x22, true));
    // The calibration loop of common kernels: mode 0 on counter 2, wait for its output.
    for (port, value) in [(0x61, 0x01), (0x43, 0xB0), (0x42, 0x9B), (0x42, 0x2E)] {
        let _ = pit.write(port, value);
    }
    assert_eq!(pit.read(0x61).0 & !REFRESH, 0x01);
    assert_eq!(pit.next_deadline(), None);
    let _ = pit.advance(time_of(0x2E9B).unwrap());
    assert_eq!(pit.read(0x61).0 & !REFRESH, 0x01);
    let _ = pit.advance(time_of(0x2E9C).unwrap());
    assert_eq!(pit.read(0x61).0 & !REFRESH, 0x21);
}

#[test]
fn the_refresh_bit_toggles_every_15_microseconds() {
    let mut pit = Pit::default();
    let mut changes = 0;
    let mut last = pit.read(0x61).0 & REFRESH;
    for microsecond in 0..=1_000 {
        let _ = pit.advance(MachineTime::from_nanos(microsecond * 1000));
        let now = pit.read(0x61).0 & REFRESH;
        changes += u32::from(now != last);
        last = now;
    }
    assert_eq!(changes, 66);
}

#[test]
fn unprogrammed_counters_stand_still() {
    let mut pit = Pit::default();
    assert!(pit.is_stopped() && pit.line());
    assert_eq!(pit.advance(MachineTime::from_nanos(1 << 60)), Action::NONE);
    assert_eq!((pit.read(0x40).0, pit.read(0x43).0), (0, OPEN_BUS));
    assert_eq!(pit.describe()[0], "counter 0: stopped: no count was written");
    let pit = programmed(2, 11_932);
    assert_eq!(
        pit.describe()[0],
        "counter 0: mode 2 (rate generator), initial count 11932, count 0x0000, 99.998 Hz, gate high, output high"
    );
    assert_eq!(
        (pit.frequency(0).map(f64::round), pit.frequency(1), pit.frequency(9)),
        (Some(100.0), None, None)
    );
}

/// A counting element after random events.
fn random_counting(random: &mut Random) -> Counting {
    let mut counting = Counting::new(random.below(2) == 1);
    counting.program(random.below(16) as u8);
    for _ in 0..random.below(8) {
        match random.below(4) {
            0 => counting.set_gate(random.below(2) == 1),
            1 => counting.write(random.below(12) as u16),
            2 if random.below(8) == 0 => counting.write_first_byte(),
            _ => counting.clock(random.next() % 9),
        }
        counting.check().unwrap();
    }
    counting
}

#[test]
fn many_pulses_at_once_are_the_same_as_one_after_another() {
    let mut random = Random::new(1);
    for _ in 0..4000 {
        let start = random_counting(&mut random);
        let (mut single, mut rose_at, mut out) = (start.clone(), None, start.out());
        for pulse in 1..60 {
            single.clock(1);
            let mut at_once = start.clone();
            at_once.clock(pulse);
            assert_eq!(at_once, single, "{pulse} pulses after {start:?}");
            if single.out() && !out {
                rose_at = rose_at.or(Some(pulse));
            }
            out = single.out();
        }
        let expected = start.pulses_to_rising_edge();
        assert_eq!(rose_at, expected.filter(|pulse| *pulse < 60), "{start:?}");
    }
}

#[test]
fn any_sequence_of_accesses_and_times_is_saved_and_restored() {
    let mut random = Random::new(2);
    let mut pit = Pit::default();
    let mut level = pit.line();
    for step in 0..60_000 {
        let port = [0x40, 0x41, 0x42, 0x43, 0x43, 0x61][random.below(6)];
        let action = match random.below(4) {
            0 => pit.read(port).1,
            1 => {
                let far = random.below(64);
                pit.advance(MachineTime::from_nanos(
                    pit.now.as_nanos().saturating_add(random.next() >> (20 + far % 44)),
                ))
            }
            _ => pit.write(port, random.next() as u8),
        };
        edges(&pit, &mut level, action);
        assert!(pit.next_deadline().is_none_or(|deadline| deadline > pit.now));
        if step % 16 == 0 {
            let mut copy = Pit::default();
            copy.restore(&pit.save()).unwrap();
            assert_eq!(copy, pit);
        }
        if pit.now.as_nanos() > 1 << 62 {
            pit.now = MachineTime::default();
        }
    }
}

#[test]
fn impossible_states_are_refused() {
    let damaged = |change: fn(&mut Pit)| {
        let mut state = programmed(2, 10);
        change(&mut state);
        let kept = programmed(0, 1);
        let mut pit = kept.clone();
        assert!(pit.set_state(state).is_err());
        assert_eq!(pit, kept);
    };
    damaged(|pit| pit.line = false);
    damaged(|pit| pit.counters[1].counting.set_gate(false));
    let bytes = programmed(2, 10).save().bytes;
    let mut refused = 0;
    for at in 0..bytes.len() {
        for value in [0x00, 0x01, 0x05, 0x7F, 0xFF] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            let payload = crate::devices::Payload { kind: "pit".into(), version: 1, bytes };
            let mut pit = Pit::default();
            if pit.restore(&payload).is_err() {
                refused += 1;
                continue;
            }
            // What is accepted works.
            let _ = pit.advance(MachineTime::from_nanos(u64::MAX));
        }
    }
    assert!(refused > 50, "{refused}");
}

#[test]
fn accesses_have_the_answers_of_qemu() {
    let mut pit = Pit::default();
    for access in accesses(include_str!("pit/transcript.txt")) {
        let port = access.address as u16;
        if access.is_write {
            let _ = pit.write(port, access.value as u8);
            // The next clock pulse loads a count; in the transcript it is loaded at once.
            let _ = pit.advance(time_of(pulses(pit.now) + 1).unwrap());
        } else {
            assert_eq!(u64::from(pit.read(port).0), access.value, "{}", access.line);
        }
    }
}
