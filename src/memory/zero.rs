//! Filling memory with zeros without committing pages for them.

use super::{GuestMemory, MemoryError};
use crate::arch::PAGE_SIZE;

impl GuestMemory {
    /// Makes `length` bytes from `start` zero. Pages that hold zeros are read and not written.
    ///
    /// While writes are tracked ([`Self::track_host_writes`]), pages that were not written since are not even read:
    /// the host would allocate page tables for them, and an incoming migration announces many pages of zeros. For
    /// that, memory must have been all zeros when tracking began, and no guest may have run since.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotRam`]; nothing is written then.
    pub fn zero(&self, start: u64, length: u64) -> Result<(), MemoryError> {
        if !self.is_ram(start, length) {
            return Err(MemoryError::NotRam { start, length });
        }
        if let Some(written) = self.tracked_writes(start..start + length) {
            // The first and the last may lie in the range only in part.
            return written.into_iter().try_for_each(|page| {
                let from = page.max(start);
                self.make_zero(from, (page + PAGE_SIZE).min(start + length) - from)
            });
        }
        self.make_zero(start, length)
    }

    fn make_zero(&self, start: u64, length: u64) -> Result<(), MemoryError> {
        let mut found = [0; PAGE_SIZE as usize];
        let (mut at, end) = (start, start + length);
        while at < end {
            let length = (PAGE_SIZE - at % PAGE_SIZE).min(end - at);
            let found = &mut found[..length as usize];
            self.read(at, found)?;
            if found.iter().any(|byte| *byte != 0) {
                found.fill(0);
                self.write(at, found)?;
            }
            at += length;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_were_never_written_are_not_read_while_writes_are_tracked() {
        // Reading all of this would take 16 MiB of page tables.
        let memory = GuestMemory::new(16 << 30).unwrap();
        let before = page_tables_kib();
        memory.track_host_writes(true);
        memory.write(1 << 33, &[7; 16]).unwrap();
        memory.write(0x1_2340_0FF8, &[7; 16]).unwrap();
        memory.zero(1 << 32, 8 << 30).unwrap();
        assert_eq!(memory.read_u64(1 << 33).unwrap(), 0);
        assert_eq!(memory.read_u64(0x1_2340_1000).unwrap(), 0);
        // Less than a page at both ends.
        memory.write(1 << 33, &[7; 32]).unwrap();
        memory.zero((1 << 33) + 8, 16).unwrap();
        let found = [0, 8, 16, 24].map(|at| memory.read_u64((1 << 33) + at).unwrap());
        assert_eq!(found.map(|word| word == 0), [false, true, true, false]);
        assert!(page_tables_kib() < before + (8 << 10), "{} KiB", page_tables_kib());
    }

    /// Size of the page tables of this process in KiB.
    fn page_tables_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmPTE:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn exactly_the_bytes_of_the_range_become_zero() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        memory.write(0, &[7; 3 * PAGE_SIZE as usize]).unwrap();
        memory.zero(PAGE_SIZE - 1, PAGE_SIZE + 2).unwrap();
        let mut found = [0; 3 * PAGE_SIZE as usize];
        memory.read(0, &mut found).unwrap();
        let zeros: Vec<usize> = (0..found.len()).filter(|at| found[*at] == 0).collect();
        assert_eq!(zeros, (PAGE_SIZE as usize - 1..2 * PAGE_SIZE as usize + 1).collect::<Vec<_>>());
        assert!(memory.zero(1 << 20, 1).is_err());
    }
}
