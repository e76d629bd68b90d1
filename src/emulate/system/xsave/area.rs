//! Where each part of the state lies in an area in memory, and in the vCPU's own image of it.
//!
//! Manual: Intel SDM volume 1, "XSAVE Area" with "Legacy Region", "XSAVE Header" and "Extended Region";
//! volume 2A, CPUID leaf 0DH.

use std::ops::Range;

use crate::emulate::Obstacle;
use crate::emulate::access::LONGEST;
use crate::emulate::cpu::{Cpu, Extended, Mode};
use crate::emulate::exception::EmulationError;

/// State component 0: x87.
pub const X87: u64 = 1;
/// State component 1: XMM registers.
pub const SSE: u64 = 1 << 1;
/// State component 2: upper halves of YMM registers.
pub const AVX: u64 = 1 << 2;

/// Control, status and tag words, opcode and pointers of the x87 unit.
pub const X87_CONTROL: Range<usize> = 0..24;
/// MXCSR.
pub const MXCSR: Range<usize> = 24..28;
/// Bits that MXCSR can have.
pub const MXCSR_MASK: Range<usize> = 28..32;
/// x87 data registers.
pub const X87_DATA: Range<usize> = 32..160;
/// XMM registers, of which only the first eight exist outside of 64-bit mode.
const XMM: Range<usize> = 160..416;
const FIRST_XMM: Range<usize> = 160..288;
/// XSTATE_BV: which parts are not in their initial state.
pub const XSTATE_BV: Range<usize> = 512..520;
/// XCOMP_BV: which parts a compacted area has room for.
pub const XCOMP_BV: Range<usize> = 520..528;
/// Where the header ends and the extended region begins.
pub const HEADER_END: usize = 576;
/// Bit of XCOMP_BV: the area is compacted.
pub const COMPACTED: u64 = 1 << 63;

/// MXCSR after a reset.
pub const MXCSR_DEFAULT: u32 = 0x1F80;
/// The x87 control word after `fninit`.
const CONTROL_WORD_DEFAULT: u16 = 0x37F;

/// A part of the extended region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its bit in the bitmaps.
    pub bit: u64,
    /// Where it begins in the area.
    pub place: usize,
    /// Where it begins in the vCPU's image, which has the standard format.
    pub home: usize,
    /// How much of it there is in the mode the processor is in, in bytes.
    pub length: usize,
}

impl Part {
    /// Its bytes in the area.
    pub fn in_area(&self) -> Range<usize> {
        self.place..self.place + self.length
    }

    /// Its bytes in the vCPU's image.
    pub fn in_image(&self) -> Range<usize> {
        self.home..self.home + self.length
    }
}

/// The parts of the extended region that `bits` name, by the guest's CPUID: at the places they have in
/// every area or, with `compacted`, one after the other.
///
/// # Errors
///
/// [`Obstacle::NotAllowed`] if there are parts that the image has no room for.
pub fn parts(cpu: &Cpu, bits: u64, compacted: bool) -> Result<Vec<Part>, EmulationError> {
    let mut parts = Vec::new();
    let mut next = HEADER_END;
    for number in 2..63 {
        if bits >> number & 1 == 0 {
            continue;
        }
        let [size, home, flags, _] = cpu.state.cpuid(0xD, number);
        let (size, home) = (size as usize, home as usize);
        let fits = |at: usize| at.checked_add(size).is_some_and(|end| end <= LONGEST);
        if flags & 2 != 0 {
            next = next.next_multiple_of(64);
        }
        if size == 0 || home < HEADER_END || !fits(home) || !fits(next) {
            return Err(Obstacle::NotAllowed.into());
        }
        let place = if compacted { next } else { home };
        parts.push(Part { bit: 1 << number, place, home, length: length(cpu, number, size) });
        next += size;
    }
    Ok(parts)
}

/// How much of a part there is: outside of 64-bit mode there are eight vector registers.
fn length(cpu: &Cpu, number: u32, size: usize) -> usize {
    if cpu.mode() == Mode::SixtyFourBit {
        return size;
    }
    match number {
        // YMM and the upper halves of ZMM0 to ZMM15.
        2 | 6 => size / 2,
        // ZMM16 to ZMM31.
        7 => 0,
        _ => size,
    }
}

/// The XMM registers there are, in the area and in the image alike.
pub fn xmm(cpu: &Cpu) -> Range<usize> {
    if cpu.mode() == Mode::SixtyFourBit { XMM } else { FIRST_XMM }
}

/// Which parts of the vCPU's state are in use (XINUSE). MXCSR does not count.
pub fn in_use(image: &Extended) -> u64 {
    word(image, XSTATE_BV)
}

/// The vCPU's image with those parts written out that are in their initial state.
pub fn complete(image: &Extended) -> Box<Extended> {
    let mut image = Box::new(*image);
    let used = in_use(&image);
    if used & X87 == 0 {
        reset_x87(&mut image);
    }
    if used & SSE == 0 {
        image[XMM].fill(0);
    }
    image
}

/// Puts the x87 part in its initial state.
pub fn reset_x87(image: &mut Extended) {
    image[X87_CONTROL].fill(0);
    image[..2].copy_from_slice(&CONTROL_WORD_DEFAULT.to_le_bytes());
    image[X87_DATA].fill(0);
}

/// A number of up to eight bytes.
pub fn word(bytes: &[u8], range: Range<usize>) -> u64 {
    let mut word = [0; 8];
    word[..range.len()].copy_from_slice(&bytes[range]);
    u64::from_le_bytes(word)
}
