//! The initial RAM disk: one file, or several that the kernel gets as one, as GRUB's `initrd` does it.

use std::ops::Range;

use super::problem::LinuxProblem;
use crate::arch::PAGE_SIZE;
use crate::boot::BootOptions;
use crate::boot::error::{BootError, GuestProblem};
use crate::boot::image::{self, FileImage, Image};
use crate::memory::{GuestMemory, LOW_RAM_LIMIT, RAM_GRANULE};

/// Archives of a RAM disk begin at a multiple of this.
const ALIGNMENT: u64 = 4;
/// It begins above what a PC has below 1 MiB.
const LOWEST: u64 = 1 << 20;

/// The files of a RAM disk.
pub(super) struct Initrd {
    files: Vec<FileImage>,
    /// Modules with a command line, which the kernel does not get.
    unused: Vec<String>,
}

impl Initrd {
    /// Opens the files.
    pub(super) fn open(options: &BootOptions) -> Result<Initrd, BootError> {
        let mut initrd = Initrd { files: Vec::new(), unused: Vec::new() };
        for (path, arguments) in options.all_modules() {
            initrd.files.push(FileImage::open(path)?);
            if !arguments.is_empty() {
                initrd.unused.push(format!(
                    "Linux takes the file {} as a part of its initrd; its command line {arguments:?} is not used",
                    path.display()
                ));
            }
        }
        Ok(initrd)
    }

    /// The total size in bytes: files begin at a multiple of [`ALIGNMENT`].
    fn size(&self) -> u64 {
        self.files.iter().fold(0, |sum: u64, file| {
            sum.checked_next_multiple_of(ALIGNMENT).unwrap_or(u64::MAX).saturating_add(file.len())
        })
    }

    /// Where it goes: as high as possible below `limit`, the highest address that the kernel accepts, and behind
    /// the kernel. An empty range if there is none.
    pub(super) fn place(
        &self,
        memory: &GuestMemory,
        kernel_end: u64,
        limit: u32,
    ) -> Result<Range<u64>, LinuxProblem> {
        let size = self.size();
        if size == 0 {
            return Ok(0..0);
        }
        let limit_end = u64::from(limit) + 1;
        let start = kernel_end.max(LOWEST).next_multiple_of(PAGE_SIZE);
        let highest = |ram_end: u64| {
            let end = ram_end.min(limit_end).min(LOW_RAM_LIMIT) & !(PAGE_SIZE - 1);
            end.saturating_sub(start)
        };
        let room = highest(memory.size());
        if size <= room {
            let at = (start + room - size) & !(PAGE_SIZE - 1);
            return Ok(at..at + size);
        }
        if size > highest(LOW_RAM_LIMIT) {
            let room = highest(LOW_RAM_LIMIT);
            return Err(LinuxProblem::InitrdLimit { size, room, limit: limit_end.min(LOW_RAM_LIMIT) - 1 });
        }
        let needed = (start + size.next_multiple_of(PAGE_SIZE)).next_multiple_of(RAM_GRANULE);
        Err(LinuxProblem::InitrdMemory { size, room, memory: memory.size(), needed })
    }

    /// Copies the files to `start` and what follows.
    pub(super) fn load(&self, memory: &GuestMemory, start: u64) -> Result<(), BootError> {
        let mut at = start;
        for file in &self.files {
            let wrap = |problem: GuestProblem| BootError::Module { file: file.name().to_owned(), problem };
            image::copy(file, 0, file.len(), memory, at, wrap)?;
            at += file.len().next_multiple_of(ALIGNMENT);
        }
        Ok(())
    }

    /// Notes for the user.
    pub(super) fn warnings(self) -> Vec<String> {
        self.unused
    }
}
