//! Dirty pages as reported by the type itself and by a machine on the host's KVM.

use super::super::inputs::Input;
use super::super::testing::{ENTRY, machine, run_to_halt};
use super::super::{Event, WatchRange};
use super::*;
use crate::arch::PAGE_SIZE;

fn pages(addresses: &[u64]) -> PageSet {
    addresses.iter().copied().collect()
}

#[test]
fn pages_taken_by_one_tracker_are_queued_for_the_others() {
    let mut trackers = DirtyTrackers::default();
    assert!(!trackers.any());
    trackers.0[DirtyTracker::Snapshots as usize] = Some(PageSet::default());
    assert_eq!(trackers.take(DirtyTracker::Snapshots, pages(&[0x1000])), pages(&[0x1000]));
    trackers.0[DirtyTracker::Migration as usize] = Some(PageSet::default());
    assert_eq!(trackers.take(DirtyTracker::Snapshots, pages(&[0x2000])), pages(&[0x2000]));
    assert_eq!(trackers.take(DirtyTracker::Migration, pages(&[0x3000])), pages(&[0x2000, 0x3000]));
    assert_eq!(trackers.take(DirtyTracker::Migration, pages(&[])), pages(&[]));
    assert_eq!(trackers.take(DirtyTracker::Snapshots, pages(&[])), pages(&[0x3000]));
}

#[test]
fn an_inactive_tracker_gets_no_pages_and_takes_none() {
    let mut trackers = DirtyTrackers::default();
    trackers.0[DirtyTracker::Migration as usize] = Some(PageSet::default());
    assert_eq!(trackers.take(DirtyTracker::Snapshots, pages(&[0x1000])), pages(&[]));
    assert_eq!(trackers.take(DirtyTracker::Migration, pages(&[])), pages(&[0x1000]));
}

/// A guest that sets a byte at each address and halts after each.
fn writer(addresses: &[u32]) -> Vec<u8> {
    let mut code = Vec::new();
    for address in addresses {
        // movb $1, address; hlt
        code.extend([0xC6, 0x04, 0x25]);
        code.extend(address.to_le_bytes());
        code.extend([1, 0xF4]);
    }
    code
}

/// What lies above the guest's code: below there are page tables, which some hosts count as written.
fn data(pages: &PageSet) -> Vec<u64> {
    pages.iter().filter(|address| *address > ENTRY + PAGE_SIZE).collect()
}

const NONE: [u64; 0] = [];

/// In the second block of RAM, which is mapped on first access.
const FAR: u32 = 200 << 20;

#[test]
fn guest_writes_are_reported_once_also_in_ram_that_is_mapped_later() {
    let Some(mut machine) =
        machine(256 << 20, &writer(&[0x30_0FFF, 0x30_5000, FAR, FAR + 0x1000, 0x30_9000]))
    else {
        return;
    };
    run_to_halt(&mut machine);
    assert!(machine.take_dirty(DirtyTracker::Snapshots).unwrap().is_empty(), "the tracker is inactive");
    machine.start_dirty_tracking(DirtyTracker::Snapshots).unwrap();
    run_to_halt(&mut machine);
    machine.memory().write(0x40_0FFF, &[1, 2]).unwrap();
    let dirty = machine.take_dirty(DirtyTracker::Snapshots).unwrap();
    assert_eq!(data(&dirty), [0x30_5000, 0x40_0000, 0x40_1000]);
    assert_eq!(data(&machine.take_dirty(DirtyTracker::Snapshots).unwrap()), NONE);
    // The first write there is an MMIO exit; KVM logs the second one.
    run_to_halt(&mut machine);
    run_to_halt(&mut machine);
    let dirty = machine.take_dirty(DirtyTracker::Snapshots).unwrap();
    assert_eq!(data(&dirty), [u64::from(FAR), u64::from(FAR) + 0x1000]);
    machine.stop_dirty_tracking(DirtyTracker::Snapshots).unwrap();
    run_to_halt(&mut machine);
    machine.start_dirty_tracking(DirtyTracker::Snapshots).unwrap();
    assert_eq!(
        data(&machine.take_dirty(DirtyTracker::Snapshots).unwrap()),
        NONE,
        "written while no tracker was active"
    );
}

#[test]
fn no_dirty_page_is_lost_when_watchpoints_split_slots() {
    let Some(mut machine) = machine(16 << 20, &writer(&[0x30_0000, 0x30_4000, 0x30_8000])) else { return };
    machine.start_dirty_tracking(DirtyTracker::Snapshots).unwrap();
    run_to_halt(&mut machine);
    let watch = WatchRange { start: 0x30_4000, length: 8, reads: false, writes: true };
    machine.watch(vec![watch]).unwrap();
    assert!(matches!(machine.run_to_event(), Event::WatchedAccess(_)));
    run_to_halt(&mut machine);
    run_to_halt(&mut machine);
    machine.watch(Vec::new()).unwrap();
    let dirty = machine.take_dirty(DirtyTracker::Snapshots).unwrap();
    assert_eq!(data(&dirty), [0x30_0000, 0x30_4000, 0x30_8000]);
}

/// On a host that refuses instructions with vector registers they are emulated.
#[test]
fn pages_written_by_vector_instructions_are_reported_executed_or_emulated() {
    // movhps %xmm0, 0x305ffc, which KVM never emulates; hlt
    let Some(mut machine) = machine(16 << 20, &[0x0F, 0x17, 0x04, 0x25, 0xFC, 0x5F, 0x30, 0, 0xF4]) else {
        return;
    };
    machine.start_dirty_tracking(DirtyTracker::Migration).unwrap();
    run_to_halt(&mut machine);
    assert_eq!(data(&machine.take_dirty(DirtyTracker::Migration).unwrap()), [0x30_5000, 0x30_6000]);
}

/// A reader may have read its page while the breakpoint was inserted.
#[test]
fn a_page_with_a_removed_breakpoint_counts_as_written() {
    let Some(mut machine) = machine(16 << 20, &[0xF4]) else { return };
    machine.memory().write(0x30_5000, &[0x90]).unwrap();
    machine.start_dirty_tracking(DirtyTracker::Migration).unwrap();
    assert!(machine.memory().insert_breakpoint(0x30_5000, 0xCC));
    machine.take_dirty(DirtyTracker::Migration).unwrap();
    machine.memory().remove_breakpoints();
    assert_eq!(data(&machine.take_dirty(DirtyTracker::Migration).unwrap()), [0x30_5000]);
}

#[test]
fn a_reset_dirties_all_pages_in_use_and_tracking_continues() {
    let Some(mut machine) = machine(16 << 20, &writer(&[0x30_0000, 0x30_4000])) else { return };
    run_to_halt(&mut machine);
    machine.start_dirty_tracking(DirtyTracker::Migration).unwrap();
    machine.inputs().push(Input::Reset);
    assert!(matches!(machine.wait(), Event::Reset));
    let dirty = machine.take_dirty(DirtyTracker::Migration).unwrap();
    assert!(dirty.contains(0x30_0000) && dirty.contains(ENTRY), "{dirty:?}");
    run_to_halt(&mut machine);
    run_to_halt(&mut machine);
    assert_eq!(data(&machine.take_dirty(DirtyTracker::Migration).unwrap()), [0x30_0000, 0x30_4000]);
}

#[test]
fn each_tracker_gets_all_pages_since_its_start() {
    let Some(mut machine) = machine(16 << 20, &writer(&[0x30_0000, 0x30_4000, 0x30_8000])) else { return };
    machine.start_dirty_tracking(DirtyTracker::Snapshots).unwrap();
    run_to_halt(&mut machine);
    machine.start_dirty_tracking(DirtyTracker::Migration).unwrap();
    run_to_halt(&mut machine);
    assert_eq!(data(&machine.take_dirty(DirtyTracker::Migration).unwrap()), [0x30_4000]);
    assert_eq!(data(&machine.take_dirty(DirtyTracker::Snapshots).unwrap()), [0x30_0000, 0x30_4000]);
    machine.stop_dirty_tracking(DirtyTracker::Migration).unwrap();
    run_to_halt(&mut machine);
    assert_eq!(data(&machine.take_dirty(DirtyTracker::Snapshots).unwrap()), [0x30_8000]);
}
