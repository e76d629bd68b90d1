//! What the processor pushes for an interrupt or exception, recognised on a stack.
//!
//! Manual: Intel SDM volume 3A, "64-Bit Mode Stack Frame" and "Stack Usage on Transfers to Interrupt and
//! Exception-Handling Routines".

use crate::arch::descriptor::is_null;

/// Bits of RFLAGS that are always 0.
pub(super) const RFLAGS_ZEROS: u64 = !0x3F_7FD7;
/// RFLAGS: always 1.
pub(super) const RFLAGS_ONE: u64 = 1 << 1;

/// The code that was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InterruptFrame {
    /// Its next instruction.
    pub address: u64,
    /// Its CS.
    pub cs: u16,
    /// Its RFLAGS.
    pub flags: u64,
    /// Its stack pointer.
    pub stack_pointer: u64,
    /// Its SS; `None` if that was not pushed.
    pub ss: Option<u16>,
}

impl InterruptFrame {
    /// The frame at `at`, if what lies there can be one. `width` is that of a stack slot, 8 or 4 bytes, `load` reads a
    /// number of bytes, and `ring` is that of the handler.
    pub fn at(at: u64, width: u8, ring: u8, load: &dyn Fn(u64, u8) -> Option<u64>) -> Option<InterruptFrame> {
        let slot = |index: u64| load(at.checked_add(index * u64::from(width))?, width);
        let selector = |value: u64| u16::try_from(value).ok();
        let (address, cs, flags) = (slot(0)?, selector(slot(1)?)?, slot(2)?);
        let from = (cs & 3) as u8;
        let is_plausible =
            !is_null(cs) && from >= ring && flags & RFLAGS_ZEROS == 0 && flags & RFLAGS_ONE != 0;
        if !is_plausible || load(address, 1).is_none() {
            return None;
        }
        // 32-bit code pushes its stack only where that changes.
        if width == 4 && from == ring {
            let end = at.wrapping_add(3 * u64::from(width));
            return Some(InterruptFrame { address, cs, flags, stack_pointer: end, ss: None });
        }
        let (stack_pointer, ss) = (slot(3)?, selector(slot(4)?)?);
        // SS is null in a handler that another ring has been left for, and whatever ring 0 likes it to be.
        let fits = if is_null(ss) { from == 0 } else { ss & 3 == cs & 3 };
        fits.then_some(InterruptFrame { address, cs, flags, stack_pointer, ss: Some(ss) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frame in memory that has `words` from 0x1000 on, and code at 0x2000.
    fn frame(words: &[u64], width: u8) -> Option<InterruptFrame> {
        InterruptFrame::at(0x1000, width, 0, &|address, _| match address {
            0x2000 => Some(0x90),
            _ => words.get((address.checked_sub(0x1000)? / u64::from(width)) as usize).copied(),
        })
    }

    #[test]
    fn what_the_processor_pushes_is_recognised() {
        let found = frame(&[0x2000, 8, 0x202, 0x9000, 0x10], 8).unwrap();
        assert_eq!((found.address, found.stack_pointer, found.ss), (0x2000, 0x9000, Some(0x10)));
        assert!(frame(&[0x2000, 0x2B, 0x202, 0x9000, 0x23], 8).is_some(), "from ring 3");
        assert!(frame(&[0x2000, 8, 0x202, 0x9000, 0], 8).is_some(), "SS is null in ring 0");
        assert_eq!(frame(&[0x2000, 8, 0x202], 4).unwrap().stack_pointer, 0x100C);
        assert_eq!(frame(&[0x2000, 0x2B, 0x202, 0x9000, 0x23], 4).unwrap().stack_pointer, 0x9000);
    }

    #[test]
    fn other_words_are_no_frame() {
        assert_eq!(frame(&[0x3000, 8, 0x202, 0x9000, 0x10], 8), None, "no code");
        assert_eq!(frame(&[0x2000, 0x10_0000, 0x202, 0x9000, 0x10], 8), None, "no selector");
        assert_eq!(frame(&[0x2000, 0, 0x202, 0x9000, 0x10], 8), None, "a null selector");
        assert_eq!(frame(&[0x2000, 8, 0x200, 0x9000, 0x10], 8), None, "no flags");
        assert_eq!(frame(&[0x2000, 8, 0x202, 0x9000, 0x13], 8), None, "a stack of another ring");
        assert_eq!(frame(&[0x2000, 8, 0x202, 0x9000], 8), None, "cut off");
    }
}
