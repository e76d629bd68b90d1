//! The framebuffer that a loader hands to a kernel.

use std::ops::Range;

use crate::arch::PAGE_SIZE;
use crate::memory::VIDEO_MEMORY;

/// A linear framebuffer at the start of video memory: 32 bits per pixel, of which the lowest eight are blue, the next
/// green, the next red.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framebuffer {
    /// Pixels of a line, a multiple of 8.
    pub width: u16,
    /// Lines.
    pub height: u16,
}

impl Framebuffer {
    /// Bits per pixel.
    pub const BITS: u8 = 32;
    /// What a kernel gets that does not say what it wants: a mode that every display shows.
    pub(super) const USUAL: Framebuffer = Framebuffer { width: 1024, height: 768 };

    /// The mode that is nearest to what a kernel prefers: [`Self::USUAL`] if that is 0 or does not fit.
    pub(super) fn near(width: u32, height: u32) -> Framebuffer {
        let (Ok(width), Ok(height)) = (u16::try_from(width & !7), u16::try_from(height)) else {
            return Framebuffer::USUAL;
        };
        let mode = Framebuffer { width, height };
        let fits = mode.pitch() * u64::from(height) <= VIDEO_MEMORY.end - VIDEO_MEMORY.start;
        if width == 0 || height == 0 || !fits { Framebuffer::USUAL } else { mode }
    }

    /// Bytes from one line to the next.
    pub(super) fn pitch(self) -> u64 {
        u64::from(self.width) * u64::from(Framebuffer::BITS / 8)
    }

    /// Its guest-physical addresses.
    pub(super) fn range(self) -> Range<u64> {
        let size = self.pitch() * u64::from(self.height);
        VIDEO_MEMORY.start..VIDEO_MEMORY.start + size.next_multiple_of(PAGE_SIZE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_near_to_what_is_preferred_and_fits() {
        let mode = |width, height| Framebuffer { width, height };
        assert_eq!(Framebuffer::near(640, 480), mode(640, 480));
        assert_eq!(Framebuffer::near(1366, 768), mode(1360, 768));
        for unusable in [(0, 0), (640, 0), (7, 480), (70_000, 480), (640, 70_000), (8192, 4096)] {
            assert_eq!(Framebuffer::near(unusable.0, unusable.1), Framebuffer::USUAL, "{unusable:?}");
        }
    }
}
