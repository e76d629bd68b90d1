//! The image of a disk that is received: the file that its pages are written to.
//!
//! The file is open, empty and as long as the disk, so that pages that are never sent are zero. The thread that reads
//! from the network writes to it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, fallocate};

use super::pages::{PageTarget, PagesError};

/// Zeros that are written at once where the file system cannot make a hole.
const ZEROS: usize = 64 << 10;

/// The file of an image that is received.
#[derive(Debug)]
pub struct DiskTarget {
    /// The number of the disk.
    pub unit: u8,
    /// Its size in bytes.
    pub size: u64,
    /// The file, of this size.
    pub file: File,
}

impl DiskTarget {
    /// The part of `length` bytes at `start` that the disk has: the last page of a disk may be shorter.
    fn part(&self, start: u64, length: u64) -> Result<u64, PagesError> {
        let end = start.checked_add(length).filter(|end| *end <= self.size.next_multiple_of(4096));
        match end {
            Some(end) if start < self.size => Ok(end.min(self.size) - start),
            _ => Err(PagesError::BeyondDisk { start, size: self.size }),
        }
    }

    fn write_zeros(&self, start: u64, length: u64) -> io::Result<()> {
        let mut done = 0;
        while done < length {
            let count = (length - done).min(ZEROS as u64);
            self.file.write_all_at(&[0; ZEROS][..count as usize], start + done)?;
            done += count;
        }
        Ok(())
    }
}

impl PageTarget for DiskTarget {
    fn write(&self, start: u64, data: &[u8]) -> Result<(), PagesError> {
        let part = self.part(start, data.len() as u64)?;
        self.file.write_all_at(&data[..part as usize], start).map_err(PagesError::Disk)
    }

    fn zero(&self, start: u64, bytes: u64) -> Result<(), PagesError> {
        let part = self.part(start, bytes)?;
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(&self.file, hole, start, part) {
            Ok(()) => Ok(()),
            Err(_) => self.write_zeros(start, part).map_err(PagesError::Disk),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_go_to_the_file_and_never_beyond_the_disk() {
        let path = std::env::temp_dir().join(format!("kvm-disk-target-{}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let size = 3 * 4096 + 512;
        file.set_len(size).unwrap();
        let target = DiskTarget { unit: 0, size, file };
        target.write(4096, &[7; 8192]).unwrap();
        target.zero(8192, 4096).unwrap();
        // The last page is shorter.
        target.write(3 * 4096, &[8; 4096]).unwrap();
        let mut contents = vec![1; size as usize];
        target.file.read_exact_at(&mut contents, 0).unwrap();
        assert!(contents[..4096] == [0; 4096] && contents[4096..8192] == [7; 4096]);
        assert!(contents[8192..12288] == [0; 4096] && contents[12288..] == [8; 512]);
        assert_eq!(target.file.metadata().unwrap().len(), size);
        target.write_zeros(4096, 4096).unwrap();
        for (start, length) in [(4 * 4096, 4096), (0, 5 * 4096), (u64::MAX - 4095, 4096), (3 * 4096, 8192)] {
            let data = vec![1; length];
            assert!(
                target.write(start, &data).is_err() && target.zero(start, length as u64).is_err(),
                "{start}"
            );
        }
        assert_eq!(target.file.metadata().unwrap().len(), size);
    }
}
