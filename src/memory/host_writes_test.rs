//! Which pages are tracked, and which are committed.

use super::super::{HIGH_RAM_BASE, LOW_RAM_LIMIT};
use super::*;

fn addresses(pages: &PageSet) -> Vec<u64> {
    pages.iter().collect()
}

#[test]
fn every_host_write_is_tracked_while_tracking_is_on() {
    let memory = GuestMemory::new(2 << 20).unwrap();
    memory.write(0x9000, &[1]).unwrap();
    memory.track_host_writes(true);
    assert!(memory.take_host_writes().is_empty(), "written before tracking");
    memory.write(0x1FFF, &[1, 2]).unwrap();
    memory.write_u64(0x5000, 1).unwrap();
    memory.write_word(0x7FFE, 1, 4).unwrap();
    memory.write(0xA000, &[]).unwrap();
    assert!(memory.write((2 << 20) - 1, &[1, 2]).is_err());
    assert_eq!(addresses(&memory.take_host_writes()), [0x1000, 0x2000, 0x5000, 0x7000, 0x8000]);
    assert!(memory.take_host_writes().is_empty());
    memory.write(0x3000, &[1]).unwrap();
    memory.track_host_writes(false);
    memory.write(0x4000, &[1]).unwrap();
    assert!(memory.take_host_writes().is_empty());
}

#[test]
fn committed_pages_count_as_written_when_memory_is_discarded() {
    let memory = GuestMemory::new(LOW_RAM_LIMIT + (1 << 20)).unwrap();
    memory.write(0x9000, &[1]).unwrap();
    memory.write(HIGH_RAM_BASE + 0x1000, &[1]).unwrap();
    memory.track_host_writes(true);
    memory.discard().unwrap();
    let changed = memory.take_host_writes();
    assert!(changed.contains(0x9000) && changed.contains(HIGH_RAM_BASE + 0x1000));
}

#[test]
fn memory_that_was_never_written_is_not_committed() {
    let memory = GuestMemory::new(8 << 30).unwrap();
    memory.write(0x9000, &[1]).unwrap();
    memory.write(HIGH_RAM_BASE + (3 << 30), &[1]).unwrap();
    let committed = memory.committed();
    assert!(committed.contains(0x9000) && committed.contains(HIGH_RAM_BASE + (3 << 30)));
    // The host may commit a huge page for each.
    assert!(committed.len() <= 2 * 512, "{} pages", committed.len());
    memory.discard().unwrap();
    assert!(memory.committed().is_empty());
}

#[test]
fn marked_pages_count_only_while_tracking_is_on() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let pages: PageSet = [0x3000].into_iter().collect();
    memory.mark_written(&pages);
    memory.track_host_writes(true);
    assert!(memory.take_host_writes().is_empty());
    memory.mark_written(&pages);
    assert_eq!(memory.take_host_writes(), pages);
}
