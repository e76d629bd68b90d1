//! A machine that has stood for ten minutes: every timer delivers one interrupt late, not those that it has missed, and
//! goes on in its phase.

use super::*;
use crate::devices::lapic::TSC_DEADLINE_MSR;

const TEN_MINUTES: u64 = 600_000_000_000;
const VECTOR: u64 = 0x51;

/// A timer as a guest programs it.
struct Case {
    name: &'static str,
    program: fn(&mut Board),
    /// Nanoseconds between two interrupts; `None` if there is only one.
    period: Option<u64>,
}

fn out(board: &mut Board, writes: &[(u16, u8)]) {
    writes.iter().for_each(|(port, value)| _ = board.port_out(*port, 1, u32::from(*value)));
}

fn store(board: &mut Board, writes: &[(u64, u64)]) {
    writes.iter().for_each(|(address, value)| _ = board.memory_write(*address, 4, *value));
}

/// The HPET's timer 2 with this configuration interrupts at pin 20 of the IOAPIC, first after a millisecond.
fn hpet(board: &mut Board, configuration: u64, redirection: u64) {
    store(board, &[(0xFEC0_0000, 0x10 + 2 * 20), (0xFEC0_0010, VECTOR | redirection)]);
    store(board, &[(0xFED0_0140, 20 << 9 | 1 << 2 | configuration), (0xFED0_0148, 100_000)]);
    store(board, &[(0xFED0_014C, 0), (0xFED0_0010, 1)]);
}

fn apic_timer(board: &mut Board, mode: u64) {
    store(board, &[(0xFEE0_03E0, 0xB), (0xFEE0_0320, mode << 17 | VECTOR), (0xFEE0_0380, 1_000_000)]);
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { name: "PIT, mode 2", program: |board| out(board, &[(0x43, 0x34), (0x40, 0xA9), (0x40, 0x04)]), period: Some(1_000_000) },
    Case { name: "PIT, mode 3", program: |board| out(board, &[(0x43, 0x36), (0x40, 0xA9), (0x40, 0x04)]), period: Some(1_000_000) },
    Case { name: "PIT, mode 0", program: |board| out(board, &[(0x43, 0x30), (0x40, 0xA9), (0x40, 0x04)]), period: None },
    Case { name: "RTC, periodic", program: |board| out(board, &[(0x70, 0xA), (0x71, 0x26), (0x70, 0xB), (0x71, 0x42)]), period: Some(976_563) },
    Case { name: "RTC, update ended", program: |board| out(board, &[(0x70, 0xB), (0x71, 0x12)]), period: Some(1_000_000_000) },
    Case { name: "RTC, alarm in each minute", program: |board| out(board, &[(0x70, 5), (0x71, 0xC0), (0x70, 3), (0x71, 0xC0), (0x70, 1), (0x71, 0x30), (0x70, 0xB), (0x71, 0x22)]), period: Some(60_000_000_000) },
    Case { name: "HPET, periodic", program: |board| hpet(board, 1 << 6 | 1 << 3, 0), period: Some(1_000_000) },
    Case { name: "HPET, periodic, level-triggered", program: |board| hpet(board, 1 << 6 | 1 << 3 | 1 << 1, 1 << 15), period: Some(1_000_000) },
    Case { name: "HPET, one-shot", program: |board| hpet(board, 0, 0), period: None },
    Case { name: "local APIC, periodic", program: |board| apic_timer(board, 1), period: Some(1_000_000) },
    Case { name: "local APIC, one-shot", program: |board| apic_timer(board, 0), period: None },
    Case { name: "local APIC, TSC deadline", program: |board| {
        store(board, &[(0xFEE0_0320, 2 << 17 | VECTOR)]);
        board.set_tsc(0, 1_000_000, 0);
        assert!(board.write_msr(0, TSC_DEADLINE_MSR, 1_000_000).is_some());
    }, period: None },
    Case { name: "PM timer", program: |board| out(board, &[(0x602, 1)]), period: Some(2_343_484_437) },
];

/// Takes all interrupts as a guest does that handles them; their number.
fn handle(board: &mut Board) -> usize {
    let mut count = 0;
    while board.has_vector(0) {
        let _ = board.acknowledge_interrupt(0);
        count += 1;
        assert!(count < 10);
        out(board, &[(0x70, 0xC), (0x600, 1)]);
        let _ = board.port_in(0x71, 1);
        store(board, &[(0xFED0_0020, 4)]);
        out(board, &[(0xA0, 0x20), (0x20, 0x20)]);
        store(board, &[(0xFEE0_00B0, 0)]);
    }
    count
}

fn programmed(case: &Case) -> Board {
    let mut board = Board::default();
    out(&mut board, &[(0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1)]);
    out(&mut board, &[(0xA0, 0x11), (0xA1, 0x28), (0xA1, 2), (0xA1, 1)]);
    store(&mut board, &[(0xFEE0_00F0, 0x1FF)]);
    (case.program)(&mut board);
    assert_eq!(handle(&mut board), 0, "{}", case.name);
    board
}

#[test]
fn every_timer_delivers_one_interrupt_after_ten_minutes_and_keeps_its_phase() {
    for case in CASES {
        let Case { name, period, .. } = case;
        let mut board = programmed(case);
        let first = board.next_deadline().unwrap_or_else(|| panic!("{name}: nothing is to come")).as_nanos();
        assert!(first <= period.unwrap_or(1_100_000) + 1_000, "{name}: {first}");
        let now = MachineTime::from_nanos(TEN_MINUTES);
        board.advance(now, |_| {});
        assert_eq!(handle(&mut board), 1, "{name}");
        board.advance(now, |_| {});
        assert_eq!(handle(&mut board), 0, "{name}: none is left");
        let Some(period) = *period else { continue };
        let next = board.next_deadline().unwrap_or_else(|| panic!("{name}: it has stopped"));
        let wait = next.as_nanos() - now.as_nanos();
        assert!(wait <= period + 1_000, "{name}: {wait} ns to the next, of {period}");
        board.advance(next, |_| {});
        assert_eq!(handle(&mut board), 1, "{name}: the next one");
    }
}

#[test]
fn a_board_restored_during_a_long_stop_delivers_the_same() {
    for case in CASES {
        let board = programmed(case);
        let mut restored = Board::restored(&board.save()).unwrap();
        restored.advance(MachineTime::from_nanos(TEN_MINUTES), |_| {});
        assert_eq!(handle(&mut restored), 1, "{}", case.name);
    }
}
