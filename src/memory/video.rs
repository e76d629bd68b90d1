//! Video memory: RAM of a display adapter, in a memory slot of its own.
//!
//! A machine with a linear framebuffer has [`VIDEO_MEMORY`] besides its RAM. It is no part of the size of RAM and of
//! the memory map that guests get, but is accessed, mapped, saved and migrated as RAM is: its block becomes a memory slot
//! of KVM when the guest first accesses it, so that a machine whose guest draws nothing pays nothing.
//!
//! The VGA's own window at 0xA0000 is RAM, except while the adapter shows planes or banks of video memory there: then the
//! window is a hole, and accesses exit ([`GuestMemory::trap_video_window`]).

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use vm_memory::{GuestAddress, GuestMemoryMmap};

use super::slot_holes::{ProtectedPages, Protection};
use super::{GuestMemory, MemoryError};

/// Where video memory is: 16 MiB, where SeaBIOS puts those of the only display adapter.
pub const VIDEO_MEMORY: Range<u64> = 0xFD00_0000..0xFE00_0000;

/// The window below 1 MiB that may show planes or banks of video memory.
pub const VIDEO_WINDOW: Range<u64> = 0xA_0000..0xB_0000;

/// The video memory of a machine that has any.
#[derive(Debug, Default)]
pub(super) struct Video {
    /// Stays once there is one: a virtual machine may have a slot for it.
    map: OnceLock<GuestMemoryMmap>,
    present: AtomicBool,
    window_trapped: AtomicBool,
}

impl Video {
    /// The mapping, if `address` is in it.
    #[inline]
    pub(super) fn at(&self, address: u64) -> Option<&GuestMemoryMmap> {
        if VIDEO_MEMORY.contains(&address) { self.map.get() } else { None }
    }

    /// The range of guest-physical addresses, if there is any.
    #[inline]
    pub(super) fn range(&self) -> Option<&'static Range<u64>> {
        const RANGE: &Range<u64> = &VIDEO_MEMORY;
        self.present.load(Ordering::Relaxed).then_some(RANGE)
    }
}

impl GuestMemory {
    /// Gives the machine video memory, all zeros, if it has none yet.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Reserve`].
    pub fn add_video_memory(&self) -> Result<(), MemoryError> {
        if self.video.map.get().is_none() {
            self.reserve_video_memory()?;
        }
        self.video.present.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Takes video memory away from a machine whose slots for it are not mapped. Its contents stay until the next
    /// [`Self::discard`].
    pub fn remove_video_memory(&self) {
        self.trap_video_window(false);
        self.video.present.store(false, Ordering::Relaxed);
    }

    fn reserve_video_memory(&self) -> Result<(), MemoryError> {
        let size = VIDEO_MEMORY.end - VIDEO_MEMORY.start;
        let map = GuestMemoryMmap::from_ranges(&[(GuestAddress(VIDEO_MEMORY.start), size as usize)])
            .map_err(|e| MemoryError::Reserve { size, source: e.into() })?;
        // Another thread may have been faster; its mapping is as good.
        let _ = self.video.map.set(map);
        Ok(())
    }

    /// True if the machine has video memory.
    #[inline]
    pub fn has_video_memory(&self) -> bool {
        self.video.present.load(Ordering::Relaxed)
    }

    /// Makes [`VIDEO_WINDOW`] a hole, or RAM again. Returns true if [`Self::protected_areas`] has changed. Nothing changes
    /// without video memory.
    pub fn trap_video_window(&self, trapped: bool) -> bool {
        let trapped = trapped && self.has_video_memory();
        self.video.window_trapped.swap(trapped, Ordering::Relaxed) != trapped
    }

    /// True if an access to `address` is one to the window while that is a hole.
    #[inline]
    pub fn is_video_window(&self, address: u64) -> bool {
        self.video.window_trapped.load(Ordering::Relaxed) && VIDEO_WINDOW.contains(&address)
    }

    /// True if the window is a hole.
    pub fn video_window_is_trapped(&self) -> bool {
        self.video.window_trapped.load(Ordering::Relaxed)
    }

    /// The pages that are no ordinary RAM, ascending: the hole of the window, and [`Self::protected_shadow`].
    pub fn protected_areas(&self) -> Vec<ProtectedPages> {
        let window = ProtectedPages { pages: VIDEO_WINDOW, how: Protection::Removed };
        let window = self.video_window_is_trapped().then_some(window);
        window.into_iter().chain(self.protected_shadow()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{AttachedSlots, RAM_GRANULE};

    #[test]
    fn video_memory_is_memory_but_not_part_of_ram() {
        let memory = GuestMemory::new(RAM_GRANULE).unwrap();
        assert!(memory.write(VIDEO_MEMORY.start, &[1]).is_err() && !memory.is_ram(VIDEO_MEMORY.start, 1));
        memory.add_video_memory().unwrap();
        memory.add_video_memory().unwrap();
        memory.write(VIDEO_MEMORY.start + 0x1000, b"pixels").unwrap();
        let mut bytes = [0; 6];
        memory.read(VIDEO_MEMORY.start + 0x1000, &mut bytes).unwrap();
        assert_eq!(&bytes, b"pixels");
        assert!(memory.write(VIDEO_MEMORY.end - 2, b"xyz").is_err());
        assert_eq!((memory.size(), memory.ram().len()), (RAM_GRANULE, 1));
        assert!(memory.committed().contains(VIDEO_MEMORY.start + 0x1000));
        memory.discard().unwrap();
        assert_eq!(memory.read_u64(VIDEO_MEMORY.start + 0x1000).unwrap(), 0);
        memory.remove_video_memory();
        assert!(!memory.is_ram(VIDEO_MEMORY.start, 1) && memory.read_u64(VIDEO_MEMORY.start).is_err());
    }

    #[test]
    fn it_becomes_a_slot_of_its_own_when_it_is_accessed() {
        for size in [RAM_GRANULE, 4 << 30] {
            let memory = GuestMemory::new(size).unwrap();
            memory.add_video_memory().unwrap();
            let mut slots = AttachedSlots::default();
            let first = slots.attach_written(&memory);
            assert_eq!(first.len(), 1);
            let mapped = slots.attach_at(&memory, VIDEO_MEMORY.start + 7);
            assert_eq!(mapped.len(), 1);
            let slot = mapped[0].slot;
            assert_eq!((slot.guest, slot.size), (VIDEO_MEMORY.start, VIDEO_MEMORY.end - VIDEO_MEMORY.start));
            assert!(memory.has_slot(&slot) && slot.number < memory.first_free_slot());
            assert!(!slots.attach_rest(&memory).iter().any(|part| part.slot.number == slot.number));
        }
    }

    #[test]
    fn the_window_is_a_hole_only_while_it_shows_video_memory() {
        let memory = GuestMemory::new(RAM_GRANULE).unwrap();
        assert!(!memory.trap_video_window(true), "without video memory it is RAM");
        memory.add_video_memory().unwrap();
        assert!(memory.trap_video_window(true) && !memory.trap_video_window(true));
        assert!(memory.is_video_window(0xA_0000) && !memory.is_video_window(0xB_0000));
        assert_eq!(memory.protected_areas()[0].pages, VIDEO_WINDOW);
        assert!(memory.trap_video_window(false) && memory.protected_areas().is_empty());
    }
}
