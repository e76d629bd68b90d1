//! Which pages of RAM the host writes: devices, emulated instructions, the loader and a debugger do. Also which
//! pages are committed.
//!
//! The pages that the guest writes are in KVM's dirty log. The machine adds up both to all pages that have changed.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::{GuestMemory, PageSet};
use crate::arch::PAGE_SIZE;

/// How many entries of the page map are read at a time.
const ENTRIES: u64 = 8192;

/// In an entry of the page map: the page is present or swapped out (bits 63 and 62; "pagemap" in
/// Documentation/admin-guide/mm/pagemap.rst).
const IN_USE: u64 = 3 << 62;

/// The pages that the host has written while they were tracked.
#[derive(Debug, Default)]
pub(super) struct HostWrites {
    tracked: AtomicBool,
    pages: Mutex<PageSet>,
}

impl HostWrites {
    /// Adds the pages of `length` bytes from `start`. Costs one load if writes are not tracked.
    #[inline]
    pub(super) fn add(&self, start: u64, length: u64) {
        if self.tracked.load(Ordering::Relaxed) {
            self.pages().insert_range(start..start + length);
        }
    }

    fn pages(&self) -> MutexGuard<'_, PageSet> {
        self.pages.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl GuestMemory {
    /// Starts or stops to track the pages that the host writes. Forgets those that were tracked before.
    pub fn track_host_writes(&self, tracked: bool) {
        self.host_writes.tracked.store(tracked, Ordering::Relaxed);
        *self.host_writes.pages() = PageSet::default();
    }

    /// The pages that the host has written since the last call, or since [`Self::track_host_writes`].
    pub fn take_host_writes(&self) -> PageSet {
        std::mem::take(&mut *self.host_writes.pages())
    }

    /// The pages with a byte of `range` that the host has written and that were not taken yet; `None` if writes are
    /// not tracked.
    pub(super) fn tracked_writes(&self, range: Range<u64>) -> Option<Vec<u64>> {
        if !self.host_writes.tracked.load(Ordering::Relaxed) {
            return None;
        }
        let pages = self.host_writes.pages();
        let first = range.start / PAGE_SIZE * PAGE_SIZE;
        Some((first..range.end).step_by(PAGE_SIZE as usize).filter(|page| pages.contains(*page)).collect())
    }

    /// Adds `pages` to those that the host has written, if writes are tracked: for pages whose dirty bits were taken
    /// and that have to be reported again.
    pub fn mark_written(&self, pages: &PageSet) {
        if self.host_writes.tracked.load(Ordering::Relaxed) {
            self.host_writes.pages().extend(pages);
        }
    }

    /// Adds all committed pages, if writes are tracked: they are about to become zero.
    pub(super) fn mark_committed_written(&self) {
        if self.host_writes.tracked.load(Ordering::Relaxed) {
            let pages = self.committed();
            self.host_writes.pages().extend(&pages);
        }
    }

    /// All pages that the host has committed. All others hold zeros: they were never written since the machine was
    /// built or reset. RAM that maps a file counts as committed. Without /proc/self/pagemap, all of RAM does.
    ///
    /// Reading a page that is not committed makes the host allocate page tables for it, so readers of all of RAM
    /// read these pages only.
    pub fn committed(&self) -> PageSet {
        let mut found = PageSet::default();
        let result = File::open("/proc/self/pagemap")
            .and_then(|map| self.parts().try_for_each(|range| self.add_committed(&map, range, &mut found)));
        if result.is_err() {
            found = PageSet::default();
            self.parts().for_each(|range| found.insert_range(range.clone()));
        }
        self.add_from_file(&mut found);
        found
    }

    fn add_committed(&self, map: &File, range: &Range<u64>, found: &mut PageSet) -> std::io::Result<()> {
        let mut entries = vec![0; ENTRIES as usize * 8];
        let mut start = range.start;
        while start < range.end {
            let count = ENTRIES.min((range.end - start) / PAGE_SIZE);
            let host = self.host_address(start).unwrap_or(0);
            let bytes = &mut entries[..count as usize * 8];
            map.read_exact_at(bytes, host / PAGE_SIZE * 8)?;
            for (page, entry) in (0..).zip(bytes.as_chunks().0) {
                if u64::from_le_bytes(*entry) & IN_USE != 0 {
                    found.insert(start + page * PAGE_SIZE);
                }
            }
            start += count * PAGE_SIZE;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "host_writes_test.rs"]
mod tests;
