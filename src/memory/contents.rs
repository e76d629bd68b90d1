//! The contents of RAM in chunks, and RAM that maps a file.
//!
//! RAM that is not committed is never read ([`GuestMemory::committed`]).

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::PoisonError;

use super::file_faults::FileFaults;
use super::{GuestMemory, MemoryError, PageSet};
use crate::arch::PAGE_SIZE;

/// RAM is saved and mapped in chunks of this many bytes: large enough for a short table of them, small enough to
/// waste little around a single page.
pub const CHUNK: u64 = 64 << 10;

/// RAM that maps files, and what became of the files.
#[derive(Debug, Default)]
pub(super) struct FromFile {
    ranges: Vec<Range<u64>>,
    faults: FileFaults,
    /// The file that was mapped last, its name, and how long it has to be.
    last: Option<(OwnedFd, String, u64)>,
}

impl GuestMemory {
    /// Calls `visit` for every chunk of RAM that is not all zeros, ascending, with its guest-physical address and
    /// contents. No vCPU may be running.
    ///
    /// # Errors
    ///
    /// What `visit` returns.
    pub fn for_each_chunk<E>(&self, mut visit: impl FnMut(u64, &[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut bytes = vec![0; CHUNK as usize];
        let mut done = 0;
        for page in self.committed().iter() {
            // Its chunk has been visited.
            if page < done {
                continue;
            }
            let at = page / CHUNK * CHUNK;
            done = at + CHUNK;
            // The chunk lies in RAM: the size of RAM is a multiple of the size of a chunk.
            if self.read(at, &mut bytes).is_ok() && !is_zero(&bytes) {
                visit(at, &bytes)?;
            }
        }
        Ok(())
    }

    /// Maps `file`, called `name`, from `offset` on, to the RAM of `range`. Its pages are read on first access, and writes to the
    /// RAM are not written to the file. `offset` and both ends of `range` are multiples of 4096.
    ///
    /// The file must keep its length while it is mapped: an access behind its end reads zeros, and is a
    /// [`Self::file_failure`].
    ///
    /// No vCPU may be running.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotRam`] for other ranges, [`MemoryError::Map`] if the host refuses or the file is
    /// too short.
    pub fn map_file(
        &self,
        range: Range<u64>,
        name: &str,
        file: BorrowedFd<'_>,
        offset: u64,
    ) -> Result<(), MemoryError> {
        let length = range.end.saturating_sub(range.start);
        let whole = [range.start, length, offset].iter().all(|n| n.is_multiple_of(PAGE_SIZE)) && length > 0;
        let host = self.host_address(range.start).filter(|_| whole && self.is_ram(range.start, length));
        let Some(host) = host else {
            return Err(MemoryError::NotRam { start: range.start, length });
        };
        let refused = |source| MemoryError::Map { start: range.start, length, source };
        let file_end = rustix::fs::fstat(file).map_err(|e| refused(e.into()))?.st_size;
        if offset.checked_add(length).is_none_or(|end| end > file_end.max(0) as u64) {
            return Err(refused(io::Error::new(ErrorKind::UnexpectedEof, "the file is too short")));
        }
        let mut from_file = self.from_file.lock().unwrap_or_else(PoisonError::into_inner);
        if !from_file.faults.is_watching() {
            let ram = self.parts().filter_map(|range| {
                let host = self.host_address(range.start)? as usize;
                Some(host..host + (range.end - range.start) as usize)
            });
            from_file.faults.watch(ram).map_err(refused)?;
        }
        let end = offset + length;
        match &mut from_file.last {
            Some((_, known, least)) if known == name => *least = end.max(*least),
            last => *last = Some((file.try_clone_to_owned().map_err(refused)?, name.to_owned(), end)),
        }
        // SAFETY: the range lies in one private mapping that `self.map` owns. All access to it goes through volatile
        // copies that hold no references into it. The new mapping is private, allows the same access, and is
        // unmapped together with the rest.
        let result = unsafe {
            libc::mmap(
                host as *mut libc::c_void,
                length as usize,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE,
                file.as_raw_fd(),
                offset as libc::off_t,
            )
        };
        if result == libc::MAP_FAILED {
            return Err(refused(io::Error::last_os_error()));
        }
        from_file.ranges.push(range.clone());
        drop(from_file);
        self.mark_blocks_written(range.start, length);
        self.host_writes.add(range.start, length);
        Ok(())
    }

    /// Replaces all RAM that maps a file by anonymous memory, which is all zeros.
    pub(super) fn unmap_files(&self) -> Result<(), MemoryError> {
        let mut from_file = self.from_file.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(range) = from_file.ranges.pop() {
            let Some(host) = self.host_address(range.start) else { continue };
            let length = range.end - range.start;
            // SAFETY: as in `map_file`; the new mapping is like the one that `self.map` has made.
            let result = unsafe {
                libc::mmap(
                    host as *mut libc::c_void,
                    length as usize,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                )
            };
            if result == libc::MAP_FAILED {
                let source = io::Error::last_os_error();
                return Err(MemoryError::Map { start: range.start, length, source });
            }
        }
        *from_file = FromFile::default();
        Ok(())
    }

    /// The access that has found its file truncated or unreadable, if there was one: memory has zeros there that are
    /// not the guest's, and the run must end.
    pub fn file_failure(&self) -> Option<MemoryError> {
        let from_file = self.from_file.lock().unwrap_or_else(PoisonError::into_inner);
        let host = from_file.faults.failed_at()? as u64;
        let address = self.parts().find_map(|range| {
            let offset = host.checked_sub(self.host_address(range.start)?)?;
            Some(range.start + offset).filter(|address| range.contains(address))
        });
        let file = from_file.last.as_ref().map(|(_, name, _)| name.clone()).unwrap_or_default();
        Some(MemoryError::FileLost { file, address })
    }

    /// The same for an access of the kernel, which has failed for an unknown reason: also if the file is too short
    /// now.
    pub fn suspected_file_failure(&self) -> Option<MemoryError> {
        self.file_failure().or_else(|| {
            let from_file = self.from_file.lock().unwrap_or_else(PoisonError::into_inner);
            let (file, name, least) = from_file.last.as_ref()?;
            let length = rustix::fs::fstat(file).map_or(0, |stat| stat.st_size.max(0) as u64);
            (length < *least).then(|| MemoryError::FileLost { file: name.clone(), address: None })
        })
    }

    /// Name of the file that RAM maps.
    pub fn mapped_file(&self) -> Option<String> {
        let from_file = self.from_file.lock().unwrap_or_else(PoisonError::into_inner);
        from_file.last.as_ref().map(|(_, name, _)| name.clone())
    }

    /// Adds the RAM that maps a file to `pages`.
    pub(super) fn add_from_file(&self, pages: &mut PageSet) {
        let from_file = self.from_file.lock().unwrap_or_else(PoisonError::into_inner);
        from_file.ranges.iter().for_each(|range| pages.insert_range(range.clone()));
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<64>();
    words.iter().all(|word| *word == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
#[path = "contents_test.rs"]
mod tests;
