//! What is assigned to registers and pages, and which hits come of it.

use super::*;

const WRITE: WatchKind = WatchKind::Write;

/// Page 0 is mapped at 0x5000, page 1 nowhere.
fn mapped() -> (GuestMemory, Registers) {
    let memory = GuestMemory::new(1 << 20).unwrap();
    for (at, entry) in [(0x1000, 0x2003), (0x2000, 0x3003), (0x3000, 0x4003), (0x4000, 0x5003)] {
        memory.write_u64(at, entry).unwrap();
    }
    let mut registers = Registers::default();
    (registers.system.cr0, registers.system.cr3) = (1 << 31 | 1, 0x1000);
    (registers.system.cr4, registers.system.efer) = (1 << 5, 1 << 10);
    (memory, registers)
}

fn watch(address: u64, length: u64, kind: WatchKind) -> Watch {
    Watch { address, length, kind, physical: false }
}

fn with(watches: &[Watch]) -> Watchpoints {
    let mut watchpoints = Watchpoints::default();
    for watch in watches {
        watchpoints.add(*watch).unwrap();
    }
    watchpoints
}

fn write(physical: u64, size: u64) -> WatchedAccess {
    WatchedAccess { physical, size, write: true }
}

#[test]
fn registers_go_to_those_that_fit_and_pages_watch_the_rest() {
    let (memory, registers) = mapped();
    memory.write_u64(0x4008, 0x9003).unwrap();
    let fitting = [watch(8, 8, WRITE), watch(0x10, 4, WRITE), watch(0x20, 1, WatchKind::ReadWrite)];
    let others = [watch(0x1041, 50, WRITE), watch(0x1080, 64, WRITE), watch(0x10C0, 8, WRITE)];
    let mut watchpoints = with(&[&others[..2], &fitting, &others[2..]].concat());
    let pages = watchpoints.assign(&memory, &registers, [true, false, true, true]);
    assert_eq!(
        pages.iter().map(|page| (page.start, page.length)).collect::<Vec<_>>(),
        [(0x9041, 50), (0x9080, 64), (0x90C0, 8)]
    );
    let used: Vec<_> = watchpoints.in_registers(&Breakpoints::default()).into_iter().collect();
    let addresses: Vec<_> = used.iter().map(|used| used.map(|w| (w.address, w.length, w.reads))).collect();
    assert_eq!(
        addresses,
        [
            Some((8, WatchLength::Eight, false)),
            None,
            Some((0x10, WatchLength::Four, false)),
            Some((0x20, WatchLength::One, true))
        ]
    );
}

#[test]
fn what_lies_in_a_protected_page_is_watched_by_it() {
    let (memory, registers) = mapped();
    memory.write_u64(0x4008, 0x9003).unwrap();
    memory.write_u64(0x4010, 0x5003).unwrap();
    // The first shares a page, through another mapping of it, with the last, which fits in no register.
    let shared = [watch(0x2008, 8, WRITE), watch(0x1010, 4, WRITE), watch(0x31, 50, WRITE)];
    let mut watchpoints = with(&shared);
    let pages = watchpoints.assign(&memory, &registers, [true; 4]);
    assert_eq!(pages.iter().map(|page| page.start).collect::<Vec<_>>(), [0x5008, 0x5031]);
    let used = watchpoints.in_registers(&Breakpoints::default()).map(|used| used.map(|w| w.address));
    assert_eq!(used, [Some(0x1010), None, None, None]);
}

#[test]
fn what_is_longer_than_a_register_gets_several_and_is_told_once() {
    let (memory, registers) = mapped();
    let mut watchpoints = with(&[watch(0x16, 11, WRITE), watch(0x40, 8, WRITE)]);
    assert_eq!(watchpoints.assign(&memory, &registers, [true; 4]), []);
    let used =
        watchpoints.in_registers(&Breakpoints::default()).map(|used| used.map(|w| (w.address, w.length)));
    let (two, eight, one) = (WatchLength::Two, WatchLength::Eight, WatchLength::One);
    assert_eq!(used, [Some((0x16, two)), Some((0x18, eight)), Some((0x20, one)), Some((0x40, eight))]);
    watchpoints.reported(&memory, &registers, 0b0110);
    assert_eq!(watchpoints.next_hit(), Some(Hit { kind: WRITE, address: 0x18 }));
    assert_eq!(watchpoints.next_hit(), None);
}

#[test]
fn what_is_not_mapped_is_watched_once_it_is() {
    let (memory, registers) = mapped();
    let mut watchpoints = with(&[watch(0xFF8, 16, WRITE)]);
    assert_eq!(watchpoints.assign(&memory, &registers, [false; 4]).len(), 1);
    memory.write_u64(0x4008, 0x9003).unwrap();
    let pages = watchpoints.assign(&memory, &registers, [false; 4]);
    assert_eq!(
        pages.iter().map(|page| (page.start, page.length)).collect::<Vec<_>>(),
        [(0x5FF8, 8), (0x9000, 8)]
    );
    watchpoints.accessed(&[write(0x9004, 4)]);
    assert_eq!(watchpoints.next_hit(), Some(Hit { kind: WRITE, address: 0x1004 }));
}

#[test]
fn one_store_over_two_watchpoints_is_told_twice_and_over_one_once() {
    let (memory, registers) = mapped();
    let mut watchpoints = with(&[watch(0, 4, WRITE), watch(4, 4, WRITE), watch(8, 4, WatchKind::Read)]);
    watchpoints.assign(&memory, &registers, [false; 4]);
    watchpoints.accessed(&[write(0x5002, 8), write(0x5006, 1)]);
    assert_eq!(watchpoints.next_hit(), Some(Hit { kind: WRITE, address: 2 }));
    // The client has deleted the second one meanwhile.
    assert!(watchpoints.remove(4, 4, WRITE));
    assert_eq!(watchpoints.next_hit(), None);
}

#[test]
fn a_read_watchpoint_in_a_register_passes_over_what_changes_the_value() {
    let (memory, registers) = mapped();
    let mut watchpoints = with(&[watch(8, 8, WatchKind::Read)]);
    watchpoints.assign(&memory, &registers, [true; 4]);
    memory.write_u64(0x5008, 7).unwrap();
    watchpoints.reported(&memory, &registers, 1);
    assert_eq!(watchpoints.next_hit(), None);
    watchpoints.reported(&memory, &registers, 1);
    assert_eq!(watchpoints.next_hit(), Some(Hit { kind: WatchKind::Read, address: 8 }));
}

#[test]
fn what_cannot_be_watched_is_refused_with_the_reason() {
    let mut watchpoints = Watchpoints::default();
    for wrong in [watch(0, 0, WRITE), watch(u64::MAX, 2, WRITE), watch(0, u64::MAX, WRITE)] {
        assert!(watchpoints.add(wrong).is_err());
    }
    watchpoints.add(watch(u64::MAX, 1, WRITE)).unwrap();
    for n in 1..MOST as u64 {
        watchpoints.add(watch(n * 8, 8, WRITE)).unwrap();
        watchpoints.add(watch(n * 8, 8, WRITE)).unwrap();
    }
    assert_eq!(
        watchpoints.add(watch(0, 1, WRITE)).unwrap_err(),
        "there are 64 watchpoints already; delete one"
    );
    assert!(!watchpoints.remove(0, 1, WRITE));
}
