//! The figures and tables of the 8254 datasheet, one test each.

use super::counting::Counting;
use super::*;

/// What happens before a clock pulse.
#[derive(Clone, Copy)]
enum Event {
    /// A count is written.
    Count(u16),
    /// The gate changes.
    Gate(bool),
    /// The gate falls, if it is high, and rises.
    Trigger,
}

use Event::*;

/// A figure: mode, gate at the start, events by pulse number; count in hexadecimal after each pulse, and output
/// during it (`-` high, `_` low).
type Figure<'a> = (u8, bool, &'a [(usize, Event)], &'a str, &'a str);

fn check_figure(&(mode, gate, events, counts, outputs): &Figure) {
    let mut counting = Counting::new(gate);
    counting.program(mode << 1);
    let (mut seen, mut out) = (Vec::new(), String::new());
    for pulse in 0..outputs.len() {
        for (_, event) in events.iter().filter(|(at, _)| *at == pulse) {
            match *event {
                Count(value) => counting.write(value),
                Gate(level) => counting.set_gate(level),
                Trigger => {
                    counting.set_gate(false);
                    counting.set_gate(true);
                }
            }
        }
        counting.clock(1);
        seen.push(format!("{:X}", counting.read()));
        out.push(if counting.out() { '-' } else { '_' });
        counting.check().unwrap();
    }
    assert_eq!((seen.join(" "), out), (counts.to_owned(), outputs.to_owned()), "mode {mode}");
}

#[test]
fn mode_0_is_as_in_figure_15() {
    let figures: &[Figure] = &[
        (0, true, &[(0, Count(4))], "4 3 2 1 0 FFFF FFFE", "____---"),
        (0, true, &[(0, Count(3)), (2, Gate(false)), (4, Gate(true))], "3 2 2 2 1 0 FFFF", "_____--"),
        (0, true, &[(0, Count(3)), (3, Count(2))], "3 2 1 2 1 0 FFFF", "_____--"),
        // Loaded while the gate is low; a new count after terminal count.
        (0, false, &[(0, Count(2)), (2, Gate(true))], "2 2 1 0 FFFF", "___--"),
        (0, true, &[(0, Count(1)), (3, Count(2))], "1 0 FFFF 2 1 0", "_--__-"),
    ];
    figures.iter().for_each(check_figure);
}

#[test]
fn mode_1_is_as_in_figure_16() {
    let figures: &[Figure] = &[
        (1, false, &[(0, Count(3)), (1, Trigger), (6, Trigger)], "0 3 2 1 0 FFFF 3 2", "-___--__"),
        (1, false, &[(0, Count(3)), (1, Trigger), (3, Trigger)], "0 3 2 3 2 1 0", "-_____-"),
        (
            1,
            false,
            &[(0, Count(2)), (1, Trigger), (2, Count(4)), (5, Trigger)],
            "0 2 1 0 FFFF 4 3",
            "-__--__",
        ),
        // A low gate does not stop the count.
        (1, false, &[(0, Count(2)), (1, Trigger), (2, Gate(false))], "0 2 1 0", "-__-"),
        // A trigger without a count has no effect.
        (1, false, &[(0, Trigger), (1, Count(2))], "0 0 0", "---"),
    ];
    figures.iter().for_each(check_figure);
}

#[test]
fn mode_2_is_as_in_figure_17() {
    let figures: &[Figure] = &[
        (2, true, &[(0, Count(3))], "3 2 1 3 2 1 3", "--_--_-"),
        (2, true, &[(0, Count(3)), (2, Gate(false)), (3, Gate(true))], "3 2 2 3 2 1 3", "-----_-"),
        (2, true, &[(0, Count(4)), (2, Count(5))], "4 3 2 1 5 4 3", "---_---"),
        // A gate that falls during the pulse ends it at once; a trigger loads a new count.
        (2, true, &[(0, Count(2)), (2, Gate(false))], "2 1 1 1", "-_--"),
        (
            2,
            true,
            &[(0, Count(9)), (2, Count(3)), (3, Gate(false)), (4, Gate(true))],
            "9 8 7 7 3 2 1",
            "------_",
        ),
    ];
    figures.iter().for_each(check_figure);
}

#[test]
fn mode_3_is_as_in_figure_18() {
    let figures: &[Figure] = &[
        (3, true, &[(0, Count(4))], "4 2 4 2 4 2 4 2", "--__--__"),
        (3, true, &[(0, Count(5))], "4 2 0 4 2 4 2 0 4 2 4", "---__---__-"),
        (3, true, &[(0, Count(4)), (4, Gate(false)), (6, Gate(true))], "4 2 4 2 2 2 4 2 4", "--__----_"),
        // A new count is loaded at the end of a half.
        (3, true, &[(0, Count(4)), (1, Count(6))], "4 2 6 4 2 6 4 2 6", "--___---_"),
        (3, true, &[(0, Count(2))], "2 2 2 2", "-_-_"),
        (3, true, &[(0, Count(3))], "2 0 2 2 0 2", "--_--_"),
    ];
    figures.iter().for_each(check_figure);
}

#[test]
fn mode_4_is_as_in_figure_19() {
    let figures: &[Figure] = &[
        (4, true, &[(0, Count(3))], "3 2 1 0 FFFF FFFE", "---_--"),
        (4, false, &[(0, Count(3)), (3, Gate(true))], "3 3 3 2 1 0 FFFF", "-----_-"),
        (4, true, &[(0, Count(3)), (3, Count(2))], "3 2 1 2 1 0 FFFF", "-----_-"),
        // The gate does not change the output.
        (4, true, &[(0, Count(1)), (2, Gate(false))], "1 0 0 0", "-_--"),
    ];
    figures.iter().for_each(check_figure);
}

#[test]
fn mode_5_is_as_in_figure_20() {
    let figures: &[Figure] = &[
        (5, false, &[(0, Count(3)), (1, Trigger), (6, Trigger)], "0 3 2 1 0 FFFF 3", "----_--"),
        (5, false, &[(0, Count(3)), (1, Trigger), (3, Trigger)], "0 3 2 3 2 1 0 FFFF", "------_-"),
        (
            5,
            false,
            &[(0, Count(3)), (1, Trigger), (2, Count(5)), (7, Trigger)],
            "0 3 2 1 0 FFFF FFFE 5 4",
            "----_----",
        ),
    ];
    figures.iter().for_each(check_figure);
}

#[test]
fn modes_6_and_7_are_2_and_3_and_read_back_as_written() {
    for (mode, like) in [(6, 2), (7, 3)] {
        let mut pit = Pit::default();
        write(&mut pit, &[(0x43, 0x10 | mode << 1), (0x40, 7), (0x43, 0xE2)]);
        assert_eq!(pit.read(0x40).0 & 0x3F, 0x10 | mode << 1);
        let mut other = Pit::default();
        write(&mut other, &[(0x43, 0x10 | like << 1), (0x40, 7)]);
        assert_eq!(pit.next_deadline(), other.next_deadline());
    }
}

fn write(pit: &mut Pit, writes: &[(u16, u8)]) {
    for (port, value) in writes {
        let _ = pit.write(*port, *value);
    }
}

fn read<const N: usize>(pit: &mut Pit, ports: [u16; N]) -> [u8; N] {
    ports.map(|port| pit.read(port).0)
}

/// Lets `count` more clock pulses come.
fn clock(pit: &mut Pit, count: u64) {
    let _ = pit.advance(time_of(pulses(pit.now) + count).unwrap());
}

#[test]
fn counts_are_accessed_in_the_order_of_the_control_word() {
    // Access order, bytes written, initial count, bytes read of it.
    let orders: [(u8, &[u8], u32, &[u8]); 3] = [
        (0x10, &[0x34], 0x0034, &[0x34, 0x34]),
        (0x20, &[0x12], 0x1200, &[0x12, 0x12]),
        (0x30, &[0x34, 0x12], 0x1234, &[0x34, 0x12, 0x34, 0x12]),
    ];
    for (access, written, initial, bytes) in orders {
        for (number, port) in (0..3).zip(FIRST_PORT..) {
            let mut pit = Pit::default();
            // The count is loaded by the first pulse, and not changed until the second.
            let _ = pit.write(0x43, number << 6 | access | 4 << 1);
            for byte in written {
                let _ = pit.write(port, *byte);
            }
            clock(&mut pit, 1);
            assert_eq!(pit.counters[usize::from(number)].counting.initial(), Some(initial));
            let seen: Vec<u8> = bytes.iter().map(|_| pit.read(port).0).collect();
            assert_eq!(seen, bytes, "counter {number}, access {access:#x}");
        }
    }
}

#[test]
fn reads_and_writes_of_two_bytes_may_be_interleaved() {
    // The datasheet's example: read the low byte, write the new one, read the high byte, write the new one.
    let mut pit = Pit::default();
    write(&mut pit, &[(0x43, 0x34), (0x40, 0x78), (0x40, 0x56)]);
    clock(&mut pit, 1);
    assert_eq!(pit.read(0x40).0, 0x78);
    let _ = pit.write(0x40, 0xCD);
    assert_eq!(pit.read(0x40).0, 0x56);
    let _ = pit.write(0x40, 0xAB);
    assert_eq!(pit.counters[0].counting.initial(), Some(0xABCD));
}

#[test]
fn a_latched_count_stays_until_it_is_read() {
    let mut pit = Pit::default();
    write(&mut pit, &[(0x43, 0x34), (0x40, 0x00), (0x40, 0x10)]);
    clock(&mut pit, 1);
    let _ = pit.write(0x43, 0x00);
    clock(&mut pit, 0x10);
    // A second latch command is ignored.
    let _ = pit.write(0x43, 0x00);
    assert_eq!(read(&mut pit, [0x40, 0x40, 0x40, 0x40]), [0x00, 0x10, 0xF0, 0x0F]);
    // A control word ends it.
    write(&mut pit, &[(0x43, 0x00), (0x43, 0x10), (0x40, 5)]);
    clock(&mut pit, 2);
    assert_eq!(pit.read(0x40).0, 4);
}

#[test]
fn the_read_back_example_is_as_in_the_datasheet() {
    let mut pit = Pit::default();
    for port in 0..3 {
        write(&mut pit, &[(0x43, (port as u8) << 6 | 0x34), (0x40 + port, 0x34), (0x40 + port, 0x12)]);
    }
    // Command, and which counts and statuses are latched afterwards (bit by counter).
    for (command, counts, statuses) in [
        (0b1100_0010, 0b001, 0b001),
        (0b1110_0100, 0b001, 0b011),
        (0b1110_1100, 0b001, 0b111),
        (0b1101_1000, 0b101, 0b111),
        (0b1100_0100, 0b111, 0b111),
        (0b1110_0010, 0b111, 0b111),
    ] {
        let _ = pit.write(0x43, command);
        let latched =
            |field: fn(&Counter) -> bool| (0..3).filter(|n| field(&pit.counters[*n])).map(|n| 1 << n).sum();
        assert_eq!(
            (latched(Counter::has_latched_count), latched(Counter::has_latched_status)),
            (counts, statuses),
            "{command:#b}"
        );
    }
    // The status comes first, then the latched count, then the count.
    clock(&mut pit, 2);
    assert_eq!(read(&mut pit, [0x40; 5]), [0xF4, 0x00, 0x00, 0x33, 0x12]);
}

#[test]
fn the_null_count_flag_is_as_in_figure_12() {
    let status = |pit: &mut Pit| {
        let _ = pit.write(0x43, 0xE2);
        pit.read(0x40).0
    };
    let mut pit = Pit::default();
    // Set by the control word and by the second byte of a count, cleared when the count is loaded.
    let _ = pit.write(0x43, 0x30);
    assert_eq!(status(&mut pit), 0x70);
    write(&mut pit, &[(0x40, 3), (0x40, 0)]);
    assert_eq!(status(&mut pit), 0x70);
    clock(&mut pit, 1);
    assert_eq!(status(&mut pit), 0x30);
    let _ = pit.write(0x40, 9);
    assert_eq!(status(&mut pit), 0x30);
    let _ = pit.write(0x40, 0);
    assert_eq!(status(&mut pit), 0x70);
    clock(&mut pit, 10);
    assert_eq!(status(&mut pit), 0xB0);
    // In a periodic mode a new count is loaded at the end of the period.
    write(&mut pit, &[(0x43, 0x14), (0x40, 10)]);
    clock(&mut pit, 5);
    let _ = pit.write(0x40, 20);
    assert_eq!(status(&mut pit), 0xD4);
    clock(&mut pit, 5);
    assert_eq!(status(&mut pit), 0x54);
    clock(&mut pit, 1);
    assert_eq!(status(&mut pit), 0x94);
}

#[test]
fn a_count_of_zero_is_the_largest() {
    for (control, initial, after_three) in [(0x30, 65_536, [0xFD, 0xFF]), (0x31, 10_000, [0x97, 0x99])] {
        let mut pit = Pit::default();
        write(&mut pit, &[(0x43, control), (0x40, 0), (0x40, 0)]);
        assert_eq!(pit.counters[0].counting.initial(), Some(initial));
        clock(&mut pit, 1);
        assert_eq!(read(&mut pit, [0x40, 0x40]), [0, 0]);
        clock(&mut pit, 3);
        assert_eq!(read(&mut pit, [0x40, 0x40]), after_three);
        clock(&mut pit, u64::from(initial) - 4);
        assert!(!pit.line());
        clock(&mut pit, 1);
        assert!(pit.line());
    }
}

#[test]
fn bcd_counts_borrow_between_digits_and_wrap_to_9999() {
    let mut pit = Pit::default();
    write(&mut pit, &[(0x43, 0x31), (0x40, 0x01), (0x40, 0x10)]);
    for (pulses, count) in [(1, 0x1001), (1, 0x1000), (1, 0x0999), (999, 0), (1, 0x9999)] {
        clock(&mut pit, pulses);
        assert_eq!(u16::from_le_bytes(read(&mut pit, [0x40, 0x40])), count);
    }
}
