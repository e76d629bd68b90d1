//! What is in RAM, chunk by chunk, and RAM whose contents are those of a file.
//!
//! RAM that nobody has touched is not looked at ([`GuestMemory::committed`]).

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::PoisonError;

use super::{GuestMemory, MemoryError, PAGE, PageSet};

/// RAM is looked at, kept and mapped in chunks of this many bytes: few enough for a table of them, small
/// enough that those around a page in use cost little.
pub const CHUNK: u64 = 64 << 10;

impl GuestMemory {
    /// Shows every chunk of RAM that holds something else than zeros to `visit`, ascending, with its
    /// guest-physical address. No vCPU may be running.
    ///
    /// # Errors
    ///
    /// What `visit` returns.
    pub fn for_each_chunk<E>(&self, mut visit: impl FnMut(u64, &[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut bytes = vec![0; CHUNK as usize];
        let mut done = 0;
        for page in self.committed().iter() {
            // One of a chunk that has been looked at.
            if page < done {
                continue;
            }
            let at = page / CHUNK * CHUNK;
            done = at + CHUNK;
            // All of it is RAM, whose size is a multiple of a chunk's.
            if self.read(at, &mut bytes).is_ok() && !is_zero(&bytes) {
                visit(at, &bytes)?;
            }
        }
        Ok(())
    }

    /// Has the RAM of `range` hold what `file` holds from `offset` on. Nothing is read before it is
    /// looked at, and nothing is ever written to the file. All three are multiples of 4096.
    ///
    /// The file must keep its length as long as the memory is there: where it is cut, this process is
    /// killed when it looks at the page.
    ///
    /// No vCPU may be running.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotRam`] for other ranges, [`MemoryError::Map`] if the host refuses or the file is
    /// too short.
    pub fn map_file(&self, range: Range<u64>, file: BorrowedFd<'_>, offset: u64) -> Result<(), MemoryError> {
        let length = range.end.saturating_sub(range.start);
        let whole = [range.start, length, offset].iter().all(|n| n.is_multiple_of(PAGE)) && length > 0;
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
        // SAFETY: the range lies in one private mapping that `self.map` owns, all access to which goes
        // through volatile copies that hold no references into it; what replaces a part of it is a
        // private mapping with the same access, which is unmapped together with the rest.
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
        from_file.push(range.clone());
        drop(from_file);
        self.note_written(range.start, length);
        self.host_writes.note(range.start, length);
        Ok(())
    }

    /// Gives the RAM that [`Self::map_file`] took its place again, full of zeros.
    pub(super) fn unmap_files(&self) -> Result<(), MemoryError> {
        let mut from_file = self.from_file.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(range) = from_file.pop() {
            let Some(host) = self.host_address(range.start) else { continue };
            let length = range.end - range.start;
            // SAFETY: as in `map_file`: a part of the mapping is replaced by one like the first.
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
        Ok(())
    }

    /// Adds the RAM that is what a file holds to `pages`.
    pub(super) fn add_from_file(&self, pages: &mut PageSet) {
        let from_file = self.from_file.lock().unwrap_or_else(PoisonError::into_inner);
        from_file.iter().for_each(|range| pages.insert_range(range.clone()));
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<64>();
    words.iter().all(|word| *word == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileExt;

    use super::*;

    fn chunks(memory: &GuestMemory) -> Vec<(u64, u8)> {
        let mut found = Vec::new();
        let told: Result<(), ()> = memory.for_each_chunk(|at, bytes| {
            found.push((at, bytes.iter().copied().max().unwrap_or(0)));
            Ok(())
        });
        told.unwrap();
        found
    }

    fn file(bytes: &[u8]) -> File {
        let path = std::env::temp_dir().join(format!("kvm-contents-{}-{}", std::process::id(), bytes.len()));
        std::fs::write(&path, bytes).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    #[test]
    fn only_chunks_with_something_in_them_are_shown() {
        let memory = GuestMemory::new(64 << 30).unwrap();
        memory.write(0x1_2345, &[7]).unwrap();
        memory.write(0x9_0000, &[0]).unwrap();
        memory.write(super::super::HIGH_RAM_BASE + (50 << 30) + 0xFFFF, &[9]).unwrap();
        assert_eq!(chunks(&memory), [(0x1_0000, 7), (super::super::HIGH_RAM_BASE + (50 << 30), 9)]);
        // All of a megabyte, up to its end.
        let memory = GuestMemory::new(1 << 20).unwrap();
        memory.write((1 << 20) - 1, &[5]).unwrap();
        assert_eq!(chunks(&memory), [((1 << 20) - CHUNK, 5)]);
    }

    #[test]
    fn memory_from_a_file_is_that_of_the_file_until_it_is_written_or_discarded() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        let mut bytes = vec![3; 2 * CHUNK as usize];
        bytes[CHUNK as usize..].fill(4);
        let file = file(&bytes);
        memory.map_file(0x2_0000..0x4_0000, file.as_fd(), 0).unwrap();
        memory.map_file(0x8_0000..0x8_1000, file.as_fd(), CHUNK).unwrap();
        // Nobody has touched a page yet.
        assert_eq!(chunks(&memory), [(0x2_0000, 3), (0x3_0000, 4), (0x8_0000, 4)]);
        memory.write(0x2_0000, &[9]).unwrap();
        assert_eq!(memory.read_word(0x2_0000, 2).unwrap(), 0x0309);
        let mut kept = [0];
        file.read_exact_at(&mut kept, 0).unwrap();
        assert_eq!(kept, [3], "the file stays as it is");
        memory.discard().unwrap();
        assert_eq!(chunks(&memory), []);
        assert_eq!(memory.read_word(0x3_0000, 8).unwrap(), 0);
    }

    #[test]
    fn a_file_that_is_too_short_is_not_mapped() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        let file = file(&[1; 4097]);
        for (range, offset) in [
            (0..0x2000, 0),
            (0..0x1000, 0x1000),
            (0..0x1000, u64::MAX - 0xFFF),
            (0..0x800, 0),
            (0..0, 0),
            (0xF_F000..0x10_1000, 0),
        ] {
            assert!(memory.map_file(range.clone(), file.as_fd(), offset).is_err(), "{range:x?} {offset:#x}");
        }
        memory.map_file(0..0x1000, file.as_fd(), 0).unwrap();
    }
}
