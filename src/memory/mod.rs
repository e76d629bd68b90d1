//! Guest-physical memory: where RAM is, bounds-checked access to it, and the memory slots that KVM is to map.
//!
//! RAM starts at address 0 and has no hole below 1 MiB. What does not fit below [`LOW_RAM_LIMIT`]
//! continues at [`HIGH_RAM_BASE`], as on a PC; device windows lie in the gap. RAM is reserved, not committed: the
//! host allocates a page when it is first written, so a large guest starts as fast as a small one.
//!
//! Every access of the host goes through [`GuestMemory`], which checks it and tracks the pages that are written.
//! Any thread may read; the vCPUs' thread writes.
//!
//! | file | what it owns |
//! |---|---|
//! | `slots` | the division of RAM into slots that are mapped on first access |
//! | `slot_holes` | slots with protected pages |
//! | `host_writes` | the pages that the host has written, and those that are committed |
//! | `page_set` | a set of pages |
//! | `contents` | chunks of RAM that are not zero; RAM that maps a file |
//! | `file_faults` | access to RAM whose file cannot be read any more |
//! | `image` | copies of RAM that share equal pages |
//! | `rom` | firmware in ROM, and the shadow RAM under it |
//! | `video` | video memory, and the window below 1 MiB through which it is seen |
//! | `breakpoint_bytes` | bytes that a debugger has inserted, and the bytes that they replace |
//! | `zero` | filling with zeros without committing pages |

mod breakpoint_bytes;
mod contents;
mod file_faults;
mod host_writes;
mod image;
mod page_set;
mod physical;
mod rom;
mod slot_holes;
mod slots;
mod video;
mod zero;

use std::error::Error;
use std::io;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

pub use contents::CHUNK;
pub use file_faults::{notify_file_faults, take_file_fault};
pub use image::{ImageBudget, ImageError, MemoryImage};
pub use page_set::PageSet;
pub use rom::{MAX_OPTION_ROM, MAX_ROM, ROM_GRANULE, RomState, SHADOW, ShadowControl};
pub use slot_holes::{MAX_PROTECTED_RANGES, ProtectedPages, Protection, SlotChange, SlotMapping};
pub use slots::{AttachedSlots, MemorySlot};
pub use video::{VIDEO_MEMORY, VIDEO_WINDOW};

pub use crate::settings::{MAX_RAM, RAM_GRANULE};

use breakpoint_bytes::BreakpointBytes;

/// First guest-physical address that is never RAM below 4 GiB.
pub const LOW_RAM_LIMIT: u64 = 0xC000_0000;

/// Guest-physical address at which RAM continues above the device windows.
pub const HIGH_RAM_BASE: u64 = 0x1_0000_0000;

/// Why guest memory could not be created or accessed.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The size is 0, not a multiple of 1 MiB, or beyond [`MAX_RAM`].
    #[error(
        "{size} bytes of guest memory: the size must be a multiple of 1 MiB, from 1 MiB to {} GiB",
        MAX_RAM >> 30
    )]
    Size {
        /// The requested size, in bytes.
        size: u64,
    },
    /// The host does not reserve the address space.
    #[error(
        "the host cannot reserve {} MiB of guest memory ({source}); use a smaller --memory",
        size >> 20
    )]
    Reserve {
        /// The requested size, in bytes.
        size: u64,
        /// The host's reason.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The range is not entirely RAM.
    #[error("guest-physical {start:#x}..{:#x} is not all RAM", start.saturating_add(*length))]
    NotRam {
        /// First guest-physical address.
        start: u64,
        /// Length in bytes.
        length: u64,
    },
    /// The host does not map a file as guest memory.
    #[error(
        "the host cannot map {} KiB of a file as guest memory at {start:#x}: {source}",
        length >> 10
    )]
    Map {
        /// First guest-physical address.
        start: u64,
        /// Length in bytes.
        length: u64,
        /// The host's reason.
        source: io::Error,
    },
    /// The contents that memory should get cannot be read.
    #[error("the contents of memory from {start:#x} on cannot be read: {source}")]
    Fill {
        /// First guest-physical address.
        start: u64,
        /// Length in bytes.
        length: u64,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The file that RAM maps has become shorter, or the host cannot read it.
    #[error(
        "{file}, from which guest memory is read while the guest runs, was truncated or cannot be read{}; restore \
         an intact copy, and leave a snapshot unchanged while a guest runs from it",
        address.map(|address| format!(" (guest-physical {address:#x})")).unwrap_or_default()
    )]
    FileLost {
        /// The file.
        file: String,
        /// The guest-physical address that was accessed, if it is known.
        address: Option<u64>,
    },
    /// Saved ROM cannot be what it is said to be.
    #[error("ROM that a machine cannot have: {problem}; save the machine again")]
    Rom {
        /// What is wrong.
        problem: String,
    },
    /// More than [`MAX_PROTECTED_RANGES`] ranges of pages should be protected.
    #[error(
        "{ranges} separate ranges of pages cannot be watched, only {MAX_PROTECTED_RANGES}; delete a watchpoint"
    )]
    TooManyRanges {
        /// How many ranges.
        ranges: usize,
    },
}

/// The RAM of one guest.
#[derive(Debug)]
pub struct GuestMemory {
    map: GuestMemoryMmap,
    ram: Vec<Range<u64>>,
    /// Size of the blocks of RAM that are mapped as a slot each.
    block_size: u64,
    /// One bit for each block: the host has written to it.
    written: Vec<AtomicU64>,
    /// RAM that maps files.
    from_file: Mutex<contents::FromFile>,
    host_writes: host_writes::HostWrites,
    inserted: BreakpointBytes,
    roms: rom::Roms,
    video: video::Video,
}

impl GuestMemory {
    /// Reserves `size` bytes of zeroed RAM.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Size`] and [`MemoryError::Reserve`].
    pub fn new(size: u64) -> Result<GuestMemory, MemoryError> {
        let ram = GuestMemory::ram_of(size).ok_or(MemoryError::Size { size })?;
        let ranges: Vec<(GuestAddress, usize)> =
            ram.iter().map(|range| (GuestAddress(range.start), (range.end - range.start) as usize)).collect();
        let map = GuestMemoryMmap::from_ranges(&ranges)
            .map_err(|e| MemoryError::Reserve { size, source: e.into() })?;
        let end = ram.last().map_or(0, |range| range.end);
        let block_size = slots::block_size(end);
        // Video memory is below 4 GiB, whatever the size of RAM.
        let written = (0..end.max(HIGH_RAM_BASE).div_ceil(block_size).div_ceil(64))
            .map(|_| AtomicU64::new(0))
            .collect();
        Ok(GuestMemory {
            map,
            ram,
            block_size,
            written,
            host_writes: host_writes::HostWrites::default(),
            from_file: Mutex::default(),
            inserted: BreakpointBytes::default(),
            roms: rom::Roms::default(),
            video: video::Video::default(),
        })
    }

    /// The guest-physical ranges that `size` bytes of RAM take; `None` for a size that RAM cannot have.
    pub fn ram_of(size: u64) -> Option<Vec<Range<u64>>> {
        (size > 0 && size.is_multiple_of(RAM_GRANULE) && size <= MAX_RAM).then(|| ram_ranges(size))
    }

    /// RAM for readers of the rust-vmm crates. What they write would not be tracked.
    pub fn backend(&self) -> &GuestMemoryMmap {
        &self.map
    }

    /// Size of RAM in bytes.
    pub fn size(&self) -> u64 {
        self.ram.iter().map(|range| range.end - range.start).sum()
    }

    /// The guest-physical ranges that are RAM, ascending: one, or two with more than 3 GiB.
    pub fn ram(&self) -> &[Range<u64>] {
        &self.ram
    }

    /// The guest-physical ranges of everything that is accessed as RAM: [`Self::ram`], and video memory.
    pub fn parts(&self) -> impl Iterator<Item = &Range<u64>> {
        self.ram.iter().chain(self.video.range())
    }

    /// True if `length` bytes from `start` are all RAM, or video memory. An empty range at a RAM address is.
    pub fn is_ram(&self, start: u64, length: u64) -> bool {
        let Some(end) = start.checked_add(length) else { return false };
        self.parts().any(|range| range.start <= start && start < range.end && end <= range.end)
    }

    /// The mapping of the memory at `address`.
    #[inline]
    fn map_at(&self, address: u64) -> &GuestMemoryMmap {
        self.video.at(address).unwrap_or(&self.map)
    }

    /// Copies `bytes` to `start`.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotRam`]; nothing is written then.
    pub fn write(&self, start: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        self.check(start, bytes.len() as u64)?;
        self.mark_blocks_written(start, bytes.len() as u64);
        self.map_at(start)
            .write_slice(bytes, GuestAddress(start))
            .map_err(|_| MemoryError::NotRam { start, length: bytes.len() as u64 })?;
        self.host_writes.add(start, bytes.len() as u64);
        Ok(())
    }

    /// Fills `bytes` from `start`, which is RAM or the ROM below 4 GiB.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotRam`].
    pub fn read(&self, start: u64, bytes: &mut [u8]) -> Result<(), MemoryError> {
        if !self.is_ram(start, bytes.len() as u64) {
            return self.read_rom(start, bytes);
        }
        self.map_at(start)
            .read_slice(bytes, GuestAddress(start))
            .map_err(|_| MemoryError::NotRam { start, length: bytes.len() as u64 })
    }

    /// Reads the little-endian 64-bit word at `start`.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotRam`].
    pub fn read_u64(&self, start: u64) -> Result<u64, MemoryError> {
        let mut bytes = [0; 8];
        self.read(start, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Writes the little-endian 64-bit word at `start`.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotRam`].
    pub fn write_u64(&self, start: u64, value: u64) -> Result<(), MemoryError> {
        self.write(start, &value.to_le_bytes())
    }

    fn check(&self, start: u64, length: u64) -> Result<(), MemoryError> {
        if self.is_ram(start, length) { Ok(()) } else { Err(MemoryError::NotRam { start, length }) }
    }

    fn mark_blocks_written(&self, start: u64, length: u64) {
        if length == 0 {
            return;
        }
        for block in start / self.block_size..=(start + length - 1) / self.block_size {
            let (word, bit) = ((block / 64) as usize, 1 << (block % 64));
            if self.written[word].load(Ordering::Relaxed) & bit == 0 {
                self.written[word].fetch_or(bit, Ordering::Relaxed);
            }
        }
    }

    /// True if the host has written to the block of RAM that holds `address`.
    fn is_block_written(&self, address: u64) -> bool {
        let block = address / self.block_size;
        self.written
            .get((block / 64) as usize)
            .is_some_and(|word| word.load(Ordering::Relaxed) >> (block % 64) & 1 == 1)
    }

    /// Address of the host mapping of the RAM at `address`.
    fn host_address(&self, address: u64) -> Option<u64> {
        self.map_at(address).get_host_address(GuestAddress(address)).ok().map(|pointer| pointer as u64)
    }

    /// Asks the host for transparent huge pages. Writing most of RAM then takes a fraction of the time.
    pub fn advise_huge_pages(&self) {
        if let Err(error) = self.advise(libc::MADV_HUGEPAGE) {
            // A kernel without transparent huge pages.
            tracing::debug!("no transparent huge pages: {error}");
        }
    }

    /// madvise(2) for all of RAM, with advice that changes its contents to zeros or not at all.
    fn advise(&self, advice: i32) -> io::Result<()> {
        for range in self.parts() {
            let Some(host) = self.host_address(range.start) else { continue };
            let length = (range.end - range.start) as usize;
            // SAFETY: `host` and `length` are exactly one private anonymous mapping owned by
            // `self.map` or `self.video`. Its pages may change their size or become zero, but stay mapped, and no references
            // point into them: all access goes through volatile copies.
            if unsafe { libc::madvise(host as *mut libc::c_void, length, advice) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }

    /// Makes all of RAM zero and returns its pages to the host. Pages that were committed count as written by the
    /// host. Inserted breakpoint bytes are forgotten, and ROM is removed.
    ///
    /// No vCPU may be running.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Reserve`] if the host refuses.
    pub fn discard(&self) -> Result<(), MemoryError> {
        self.mark_committed_written();
        // Dropped pages of a file would be read from the file again.
        self.unmap_files()?;
        self.advise(libc::MADV_DONTNEED)
            .map_err(|error| MemoryError::Reserve { size: self.size(), source: error.into() })?;
        for word in &self.written {
            word.store(0, Ordering::Relaxed);
        }
        self.inserted.clear();
        self.trap_video_window(false);
        self.restore_rom(None)
    }
}

fn ram_ranges(size: u64) -> Vec<Range<u64>> {
    let low = 0..size.min(LOW_RAM_LIMIT);
    let high = HIGH_RAM_BASE..HIGH_RAM_BASE + size.saturating_sub(LOW_RAM_LIMIT);
    [low, high].into_iter().filter(|range| !range.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ram_continues_above_the_device_windows() {
        let memory = GuestMemory::new(LOW_RAM_LIMIT + (2 << 20)).unwrap();
        assert_eq!(memory.ram(), [0..LOW_RAM_LIMIT, HIGH_RAM_BASE..HIGH_RAM_BASE + (2 << 20)]);
        memory.write_u64(HIGH_RAM_BASE + 8, 7).unwrap();
        assert_eq!(memory.read_u64(HIGH_RAM_BASE + 8).unwrap(), 7);
        assert!(memory.write(LOW_RAM_LIMIT, &[1]).is_err());
    }

    #[test]
    fn discarded_memory_is_zero_again() {
        let memory = GuestMemory::new(2 << 20).unwrap();
        memory.write_u64(0x1000, 7).unwrap();
        memory.discard().unwrap();
        assert_eq!(memory.read_u64(0x1000).unwrap(), 0);
    }

    #[test]
    fn an_access_across_the_end_of_ram_is_refused_whole() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        assert!(memory.write((1 << 20) - 4, &[1; 8]).is_err());
        assert_eq!(memory.read_u64((1 << 20) - 8).unwrap(), 0);
        assert!(memory.read(u64::MAX, &mut [0; 2]).is_err());
        assert!(!memory.is_ram(u64::MAX, 2));
    }

    #[test]
    fn sizes_that_ram_cannot_have_are_refused() {
        for size in [0, 1, (1 << 20) + 1, MAX_RAM + (1 << 20), u64::MAX] {
            assert!(matches!(GuestMemory::new(size), Err(MemoryError::Size { .. })), "{size}");
        }
    }
}
