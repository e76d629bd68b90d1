use super::*;
use crate::devices::transcript::accesses;
use crate::fuzzing::Random;

const NANOS: u64 = SECOND_NANOS;

/// A clock at `time` (seconds since 1970) with these bits of register B.
fn clock(time: i64, b: u8) -> Rtc {
    let mut rtc = Rtc::default();
    let _ = set(&mut rtc, B, b);
    rtc.set_time_of_day(time);
    rtc
}

fn get(rtc: &mut Rtc, index: u8) -> u8 {
    let _ = rtc.write(0, index);
    rtc.read(1).0
}

fn set(rtc: &mut Rtc, index: u8, value: u8) -> Action {
    let _ = rtc.write(0, index);
    rtc.write(1, value)
}

fn at(nanos: u64) -> MachineTime {
    MachineTime::from_nanos(nanos)
}

/// Second, minute, hour, day of the week, day, month, year, century.
fn time(rtc: &mut Rtc) -> [u8; 8] {
    [0x00, 0x02, 0x04, 0x06, 0x07, 0x08, 0x09, 0x32].map(|index| get(rtc, index))
}

#[test]
fn the_time_is_encoded_in_each_of_the_four_formats() {
    // The example of the datasheet's table of data modes: 5:58:21 on Thursday, February 15, 1979.
    let example = 287_906_301;
    for (b, hour, rest) in [
        (0x00, 0x05, [0x21, 0x58, 0x05, 0x15, 0x02, 0x79, 0x19]),
        (0x02, 0x05, [0x21, 0x58, 0x05, 0x15, 0x02, 0x79, 0x19]),
        (0x04, 0x05, [21, 58, 5, 15, 2, 79, 19]),
        (0x06, 0x05, [21, 58, 5, 15, 2, 79, 19]),
    ] {
        let mut rtc = clock(example, b);
        let [second, minute, weekday, day, month, year, century] = rest;
        assert_eq!(time(&mut rtc), [second, minute, hour, weekday, day, month, year, century], "B {b:#x}");
        // Twelve hours later.
        let mut rtc = clock(example + 43_200, b);
        assert_eq!(time(&mut rtc)[2], [0x85, 0x17, 0x85, 17][usize::from(b / 2)], "B {b:#x}");
        assert_eq!(rtc.time_of_day(), example + 43_200);
    }
}

#[test]
fn the_default_time_is_the_year_2000() {
    assert_eq!(time(&mut Rtc::default()), [0, 0, 0, 7, 1, 1, 0, 0x20]);
}

#[test]
fn updates_carry_through_all_fields() {
    for (b, before, after) in [
        (0x02, [0x59, 0x59, 0x23, 7, 0x31, 0x12, 0x99, 0x19], [0, 0, 0, 1, 1, 1, 0, 0x20]),
        (0x00, [0x59, 0x59, 0x91, 1, 0x28, 0x02, 0x24, 0x20], [0, 0, 0x12, 2, 0x29, 2, 0x24, 0x20]),
        (0x06, [59, 59, 11, 4, 28, 2, 23, 20], [0, 0, 12, 4, 28, 2, 23, 20]),
        (0x04, [59, 59, 0x0B, 4, 28, 2, 0, 21], [0, 0, 0x8C, 4, 28, 2, 0, 21]),
        (0x04, [59, 59, 0x8B, 4, 28, 2, 0, 21], [0, 0, 0x0C, 5, 1, 3, 0, 21]),
    ] {
        let mut rtc = Rtc::default();
        set_time(&mut rtc, b, before);
        assert_eq!(time(&mut rtc), before);
        let _ = rtc.advance(at(NANOS - 1));
        assert_eq!(time(&mut rtc), before);
        let _ = rtc.advance(at(NANOS));
        assert_eq!(time(&mut rtc), after, "B {b:#x}");
    }
}

/// Sets the time as a guest does.
fn set_time(rtc: &mut Rtc, b: u8, fields: [u8; 8]) {
    let _ = set(rtc, B, B_SET | b);
    for (index, value) in [0x00, 0x02, 0x04, 0x06, 0x07, 0x08, 0x09, 0x32].into_iter().zip(fields) {
        let _ = set(rtc, index, value);
    }
    let _ = set(rtc, B, b);
}

#[test]
fn the_time_stands_while_it_is_set() {
    let mut rtc = Rtc::default();
    let _ = set(&mut rtc, B, 0x92);
    assert_eq!(get(&mut rtc, B), 0x82, "SET disables the update interrupt");
    let _ = rtc.advance(at(10 * NANOS));
    assert_eq!((time(&mut rtc)[0], get(&mut rtc, C)), (0, 0x40), "the periodic flag alone");
    let _ = set(&mut rtc, SECONDS, 0x30);
    let _ = set(&mut rtc, B, 0x02);
    let _ = rtc.advance(at(12 * NANOS));
    assert_eq!(time(&mut rtc)[0], 0x32);
}

#[test]
fn a_change_of_the_format_encodes_the_time_anew() {
    let mut rtc = clock(DEFAULT_TIME + 23 * 3600 + 45 * 60 + 56, 0x02);
    assert_eq!(time(&mut rtc), [0x56, 0x45, 0x23, 7, 1, 1, 0, 0x20]);
    let _ = set(&mut rtc, B, 0x06);
    assert_eq!(time(&mut rtc), [56, 45, 23, 7, 1, 1, 0, 20]);
    let _ = set(&mut rtc, B, 0x00);
    assert_eq!(time(&mut rtc), [0x56, 0x45, 0x91, 7, 1, 1, 0, 0x20]);
    // Not while the time is set: the guest writes it in the new format.
    set_time(&mut rtc, 0x06, [1, 2, 3, 4, 5, 6, 7, 20]);
    assert_eq!(time(&mut rtc), [1, 2, 3, 4, 5, 6, 7, 20]);
}

#[test]
fn an_update_is_announced_244_microseconds_before() {
    let mut rtc = Rtc::default();
    for (nanos, a) in
        [(0, 0x26), (999_755_859, 0x26), (999_755_860, 0xA6), (999_999_999, 0xA6), (NANOS, 0x26)]
    {
        let _ = rtc.advance(at(nanos));
        assert_eq!(get(&mut rtc, A), a, "at {nanos} ns");
    }
    let _ = rtc.advance(at(2 * NANOS - 1));
    let _ = set(&mut rtc, B, 0x82);
    assert_eq!(get(&mut rtc, A), 0x26, "SET ends it");
}

#[test]
fn the_first_update_comes_half_a_second_after_a_divider_reset() {
    let mut rtc = Rtc::default();
    let _ = rtc.advance(at(300_000_000));
    let _ = set(&mut rtc, A, 0x76);
    let _ = set(&mut rtc, B, 0x52);
    assert_eq!(get(&mut rtc, C), 0xC0);
    let _ = rtc.advance(at(5 * NANOS));
    assert_eq!((time(&mut rtc)[0], get(&mut rtc, C), rtc.next_deadline()), (0, 0, None));
    let _ = rtc.advance(at(5_700_000_000));
    let _ = set(&mut rtc, B, 0x12);
    let action = set(&mut rtc, A, 0x26);
    assert_eq!((action.deadline, rtc.next_deadline()), (true, Some(at(6_200_000_000))));
    assert_eq!(rtc.advance(at(6_200_000_000)).line, Some(true));
    assert_eq!(time(&mut rtc)[0], 1);
}

#[test]
fn the_periodic_rates_are_as_in_the_datasheet() {
    // Periods in nanoseconds, for 32.768 kHz.
    let periods = [
        0.0,
        3_906_250.0,
        7_812_500.0,
        122_070.312_5,
        244_140.625,
        488_281.25,
        976_562.5,
        1_953_125.0,
        3_906_250.0,
        7_812_500.0,
        15_625_000.0,
        31_250_000.0,
        62_500_000.0,
        125_000_000.0,
        250_000_000.0,
        500_000_000.0,
    ];
    for (rate, period) in (0..).zip(periods) {
        let mut rtc = Rtc::default();
        let _ = set(&mut rtc, A, 0x20 | rate);
        let _ = set(&mut rtc, B, 0x42);
        for event in 1..=20 {
            let expected = (rate != 0).then(|| at((period * f64::from(event)).ceil() as u64));
            assert_eq!(rtc.next_deadline(), expected, "rate {rate}");
            let Some(deadline) = expected else { break };
            let _ = rtc.advance(at(deadline.as_nanos() - 1));
            assert!(!rtc.line());
            assert_eq!(rtc.advance(deadline).line, Some(true));
            assert_eq!((get(&mut rtc, C) & 0xC0, rtc.line()), (0xC0, false));
        }
    }
}

#[test]
fn reading_register_c_ends_the_interrupt() {
    let mut rtc = Rtc::default();
    // The flags are set without being enabled.
    let _ = rtc.advance(at(NANOS));
    assert!(!rtc.line());
    assert_eq!(set(&mut rtc, B, 0x12).line, Some(true));
    let _ = set(&mut rtc, C, 0xFF);
    let _ = rtc.write(0, C);
    let (value, action) = rtc.read(1);
    assert_eq!((value, action.line, action.deadline), (0xD0, Some(false), true));
    assert_eq!((get(&mut rtc, C), rtc.next_deadline()), (0, Some(at(2 * NANOS))));
    // A pending interrupt needs no further deadline.
    assert_eq!(rtc.advance(at(2 * NANOS)).line, Some(true));
    assert_eq!(rtc.next_deadline(), None);
    let action = rtc.advance(at(600 * NANOS));
    assert_eq!((action.line, rtc.line()), (None, true));
    assert_eq!(get(&mut rtc, C), 0xD0);
}

#[test]
fn alarms_match_once_a_day_an_hour_a_minute_or_a_second() {
    // Alarm second, minute, hour; seconds to the first alarm and between the first and the second.
    for (alarm, first, between) in [
        ([0x10, 0x00, 0x00], 10, 86_400),
        ([0x00, 0x00, 0x00], 86_400, 86_400),
        ([0x05, 0x30, 0xFF], 1805, 3600),
        ([0x05, 0xC0, 0xC0], 5, 60),
        ([0xFF, 0xFF, 0xFF], 1, 1),
        ([0xC0, 0x02, 0x01], 3720, 1),
    ] {
        let mut rtc = Rtc::default();
        for (index, byte) in [SECONDS_ALARM, MINUTES_ALARM, HOURS_ALARM].into_iter().zip(alarm) {
            let _ = set(&mut rtc, index, byte);
        }
        assert!(set(&mut rtc, B, 0x22).deadline);
        assert_eq!(rtc.next_deadline(), Some(at(first * NANOS)), "{alarm:x?}");
        let _ = rtc.advance(at(first * NANOS - 1));
        assert_eq!(get(&mut rtc, C) & 0x20, 0);
        assert_eq!(rtc.advance(at(first * NANOS)).line, Some(true));
        assert_eq!(get(&mut rtc, C) & 0xA0, 0xA0);
        assert_eq!(rtc.next_deadline(), Some(at((first + between) * NANOS)));
    }
    let mut rtc = Rtc::default();
    let _ = set(&mut rtc, HOURS_ALARM, 0x24);
    let _ = set(&mut rtc, B, 0x22);
    assert_eq!(rtc.next_deadline(), None);
    let _ = rtc.advance(at(u64::MAX));
    assert_eq!(get(&mut rtc, C), 0x50);
}

#[test]
fn there_is_no_deadline_without_an_enabled_interrupt() {
    let mut rtc = Rtc::default();
    let _ = set(&mut rtc, A, 0x2F);
    assert_eq!(rtc.next_deadline(), None);
    let _ = set(&mut rtc, B, 0x42);
    assert_eq!(rtc.next_deadline(), Some(at(NANOS / 2)));
    let _ = set(&mut rtc, A, 0x20);
    assert_eq!(rtc.next_deadline(), None);
    let _ = rtc.advance(at(u64::MAX));
    let _ = get(&mut rtc, C);
    let _ = set(&mut rtc, B, 0x12);
    assert_eq!(rtc.next_deadline(), None, "after the end of time");
}

#[test]
fn the_index_port_masks_nmis_and_cannot_be_read() {
    let mut rtc = Rtc::default();
    let _ = rtc.write(0, 0x80 | D);
    assert!(rtc.nmi_masked());
    assert_eq!((rtc.read(0).0, rtc.read(1).0), (0xFF, 0x80));
    let _ = rtc.write(0, D);
    assert!(!rtc.nmi_masked());
    let _ = rtc.write(1, 0);
    assert_eq!(rtc.read(1).0, 0x80);
}

#[test]
fn firmware_bytes_report_memory_disks_and_processors() {
    const MIB: u64 = 1 << 20;
    let mut rtc = Rtc::default();
    let word = |rtc: &mut Rtc, index: u8| u16::from_le_bytes([get(rtc, index), get(rtc, index + 1)]);
    // Memory below and above 4 GiB, base, extended, above 16 MiB, above 4 GiB (low word).
    for (sizes, words) in [
        ((MIB, 0), [640, 0, 0, 0]),
        ((512 << 10, 0), [512, 0, 0, 0]),
        ((16 * MIB, 0), [640, 15 * 1024, 0, 0]),
        ((128 * MIB, 0), [640, 0xFFFF, 112 * 16, 0]),
        ((3072 * MIB, 1024 * MIB), [640, 0xFFFF, 3056 * 16, 16384]),
    ] {
        rtc.set_memory_size(sizes.0, sizes.1);
        assert_eq!([0x15, 0x17, 0x34, 0x5B].map(|index| word(&mut rtc, index)), words);
        assert_eq!(word(&mut rtc, 0x30), words[1]);
    }
    rtc.set_memory_size(0, u64::MAX);
    assert_eq!([0x5B, 0x5C, 0x5D].map(|index| get(&mut rtc, index)), [0xFF; 3]);
    rtc.set_hard_disks([true, false]);
    assert_eq!([0x12, 0x19, 0x1A].map(|index| get(&mut rtc, index)), [0xF0, 47, 0]);
    rtc.set_floppies([4, 0]);
    assert_eq!([0x10, 0x14].map(|index| get(&mut rtc, index)), [0x40, 0x07]);
    rtc.set_boot_order([2, 3, 1]);
    assert_eq!([0x3D, 0x38].map(|index| get(&mut rtc, index)), [0x32, 0x10]);
    rtc.set_cpus(4);
    assert_eq!(get(&mut rtc, 0x5F), 3);
    let sum: u16 = (0x10..=0x2D).map(|index| u16::from(get(&mut rtc, index))).sum();
    assert_eq!([get(&mut rtc, 0x2E), get(&mut rtc, 0x2F)], sum.to_be_bytes());
}

#[test]
fn the_time_of_day_is_that_of_power_on() {
    let mut rtc = Rtc::default();
    let _ = rtc.advance(at(90 * NANOS));
    rtc.set_time_of_day(1_000_000_000);
    assert_eq!(rtc.time_of_day(), 1_000_000_090);
    let mut other = Rtc::default();
    other.set_time_of_day(1_000_000_000);
    let _ = other.advance(at(90 * NANOS));
    assert_eq!(time(&mut other), time(&mut rtc));
    assert!(other.describe().starts_with("time 1000000090 s since 1970, enabled interrupts: none"));
}

#[test]
fn a_clock_in_mid_operation_survives_save_and_restore() {
    let mut rtc = clock(1_000_000_000, 0x32);
    let _ = rtc.advance(at(1_500_000_000));
    let _ = rtc.write(0, 0x80 | C);
    let mut copy = Rtc::default();
    copy.restore(&rtc.save()).unwrap();
    assert_eq!((&copy, copy.line(), copy.nmi_masked()), (&rtc, true, true));
    assert_eq!(copy.read(1), rtc.read(1));
    assert_eq!(copy.advance(at(2 * NANOS)), rtc.advance(at(2 * NANOS)));
    assert_eq!(time(&mut copy), time(&mut rtc));
}

#[test]
fn impossible_states_are_refused() {
    let changes: [fn(&mut Rtc); 7] = [
        |rtc| rtc.cmos.truncate(64),
        |rtc| rtc.index = 0x80,
        |rtc| rtc.phase = NANOS,
        |rtc| rtc.cmos[usize::from(A)] |= 0x80,
        |rtc| rtc.cmos[usize::from(B)] |= 0x90,
        |rtc| rtc.cmos[usize::from(C)] |= 0x80,
        |rtc| rtc.cmos[usize::from(D)] |= 0x80,
    ];
    for change in changes {
        let mut state = Rtc::default();
        change(&mut state);
        assert!(matches!(Rtc::default().set_state(state), Err(StateError::Damaged { .. })));
    }
}

#[test]
fn any_sequence_of_accesses_and_times_is_saved_and_restored() {
    let mut random = Random::new(3);
    let mut next = || random.next();
    let mut rtc = Rtc::default();
    let mut level = false;
    for step in 0..60_000 {
        let value = next();
        let action = match next() % 5 {
            0 => rtc.read((value % 3) as u16).1,
            1 => rtc.advance(at(rtc.now.as_nanos().saturating_add(value >> (20 + next() % 44)))),
            2 => rtc.write(0, if next() % 4 == 0 { value as u8 } else { value as u8 % 14 }),
            _ => rtc.write(1, value as u8),
        };
        level = action.line.unwrap_or(level);
        assert_eq!(level, rtc.line());
        if let Some(deadline) = rtc.next_deadline() {
            assert!(deadline > rtc.now);
            if step % 8 == 0 {
                let mut copy = rtc.clone();
                let _ = copy.advance(at(deadline.as_nanos() - 1));
                assert!(!copy.line(), "no interrupt before the deadline");
                let _ = copy.advance(deadline);
                assert!(copy.line(), "an interrupt at the deadline");
            }
        }
        if step % 16 == 0 {
            let mut copy = Rtc::default();
            copy.restore(&rtc.save()).unwrap();
            assert_eq!(copy, rtc);
        }
        if rtc.now.as_nanos() > 1 << 62 {
            rtc.now = MachineTime::default();
        }
    }
}

#[test]
fn accesses_have_the_answers_of_qemu() {
    let mut rtc = Rtc::default();
    rtc.set_time_of_day(1_000_000_000);
    for access in accesses(include_str!("rtc/transcript.txt")) {
        let offset = access.address as u16 - FIRST_PORT;
        if access.is_write {
            let _ = rtc.write(offset, access.value as u8);
        } else {
            assert_eq!(u64::from(rtc.read(offset).0), access.value, "{}", access.line);
        }
    }
}
