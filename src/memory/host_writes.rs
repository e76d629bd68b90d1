//! Which pages of RAM are written from this side: by chips, by instructions carried out in place of
//! KVM, by the loader and by a debugger.
//!
//! What the guest writes by itself KVM knows ([`crate::kvm::Vm::take_dirty_pages`]). Together they are
//! all pages that have changed; [`crate::machine::Machine::take_dirty`] puts them together.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::{GuestMemory, PAGE, PageSet};

/// Pages whose state is read from the kernel at once.
const AT_ONCE: u64 = 8192;

/// In the kernel's description of a page: it is in memory, or swapped out (bits 63 and 62; "pagemap" in
/// Documentation/admin-guide/mm/pagemap.rst).
const IN_USE: u64 = 3 << 62;

/// The pages that were written from this side, while that is wanted.
#[derive(Debug, Default)]
pub(super) struct HostWrites {
    wanted: AtomicBool,
    pages: Mutex<PageSet>,
}

impl HostWrites {
    /// `length` bytes from `start` were written. Costs one load if nobody wants to know.
    #[inline]
    pub(super) fn note(&self, start: u64, length: u64) {
        if self.wanted.load(Ordering::Relaxed) {
            self.pages().insert_range(start..start + length);
        }
    }

    fn pages(&self) -> MutexGuard<'_, PageSet> {
        self.pages.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl GuestMemory {
    /// From now on notes the pages that are written from this side, or forgets them.
    pub fn track_host_writes(&self, wanted: bool) {
        self.host_writes.wanted.store(wanted, Ordering::Relaxed);
        *self.host_writes.pages() = PageSet::default();
    }

    /// The pages that were written from this side since the last call, or since [`Self::track_host_writes`].
    pub fn take_host_writes(&self) -> PageSet {
        std::mem::take(&mut *self.host_writes.pages())
    }

    /// The pages with a byte of `range` that were written from this side and not taken yet, if that is noted.
    pub(super) fn noted_writes(&self, range: Range<u64>) -> Option<Vec<u64>> {
        if !self.host_writes.wanted.load(Ordering::Relaxed) {
            return None;
        }
        let pages = self.host_writes.pages();
        let first = range.start / PAGE * PAGE;
        Some((first..range.end).step_by(PAGE as usize).filter(|page| pages.contains(*page)).collect())
    }

    /// Counts `pages` as written from this side, if that is noted: what was found out about them would
    /// be lost otherwise.
    pub fn mark_written(&self, pages: &PageSet) {
        if self.host_writes.wanted.load(Ordering::Relaxed) {
            self.host_writes.pages().extend(pages);
        }
    }

    /// All of RAM is about to become zero.
    pub(super) fn note_discarded(&self) {
        if self.host_writes.wanted.load(Ordering::Relaxed) {
            let pages = self.committed();
            self.host_writes.pages().extend(&pages);
        }
    }

    /// All pages that the host has committed: those that are missing hold zeros, and have never been
    /// written since the machine was built or reset. RAM that a file is mapped to counts as committed. Where
    /// the host does not tell, all of RAM.
    ///
    /// Looking at a page that was never written makes the host set up tables for it, so whoever wants
    /// all contents of RAM looks at these only.
    pub fn committed(&self) -> PageSet {
        let mut found = PageSet::default();
        let told = File::open("/proc/self/pagemap")
            .and_then(|map| self.ram().iter().try_for_each(|range| self.ask(&map, range, &mut found)));
        if told.is_err() {
            found = PageSet::default();
            self.ram().iter().for_each(|range| found.insert_range(range.clone()));
        }
        self.add_from_file(&mut found);
        found
    }

    fn ask(&self, map: &File, range: &Range<u64>, found: &mut PageSet) -> std::io::Result<()> {
        let mut entries = vec![0; AT_ONCE as usize * 8];
        let mut start = range.start;
        while start < range.end {
            let count = AT_ONCE.min((range.end - start) / PAGE);
            let host = self.host_address(start).unwrap_or(0);
            let bytes = &mut entries[..count as usize * 8];
            map.read_exact_at(bytes, host / PAGE * 8)?;
            for (page, entry) in (0..).zip(bytes.as_chunks().0) {
                if u64::from_le_bytes(*entry) & IN_USE != 0 {
                    found.insert(start + page * PAGE);
                }
            }
            start += count * PAGE;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HIGH_RAM_BASE, LOW_RAM_LIMIT};
    use super::*;

    fn addresses(pages: &PageSet) -> Vec<u64> {
        pages.iter().collect()
    }

    #[test]
    fn every_way_to_write_from_this_side_is_noted_while_it_is_wanted() {
        let memory = GuestMemory::new(2 << 20).unwrap();
        memory.write(0x9000, &[1]).unwrap();
        memory.track_host_writes(true);
        assert!(memory.take_host_writes().is_empty(), "written before");
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
    fn what_a_reset_throws_away_counts_as_written() {
        let memory = GuestMemory::new(LOW_RAM_LIMIT + (1 << 20)).unwrap();
        memory.write(0x9000, &[1]).unwrap();
        memory.write(HIGH_RAM_BASE + 0x1000, &[1]).unwrap();
        memory.track_host_writes(true);
        memory.discard().unwrap();
        let changed = memory.take_host_writes();
        assert!(changed.contains(0x9000) && changed.contains(HIGH_RAM_BASE + 0x1000));
    }

    #[test]
    fn memory_that_was_never_touched_is_not_committed() {
        let memory = GuestMemory::new(8 << 30).unwrap();
        memory.write(0x9000, &[1]).unwrap();
        memory.write(HIGH_RAM_BASE + (3 << 30), &[1]).unwrap();
        let committed = memory.committed();
        assert!(committed.contains(0x9000) && committed.contains(HIGH_RAM_BASE + (3 << 30)));
        // The host may give a huge page for each.
        assert!(committed.len() <= 2 * 512, "{} pages", committed.len());
        memory.discard().unwrap();
        assert!(memory.committed().is_empty());
    }

    #[test]
    fn pages_whose_contents_are_in_question_are_counted_only_if_somebody_wants_to_know() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        let pages: PageSet = [0x3000].into_iter().collect();
        memory.mark_written(&pages);
        memory.track_host_writes(true);
        assert!(memory.take_host_writes().is_empty());
        memory.mark_written(&pages);
        assert_eq!(memory.take_host_writes(), pages);
    }
}
