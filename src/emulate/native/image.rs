//! Fields of the extended registers in the standard format of `xsave`.
//!
//! Manual: Intel SDM volume 1, "XSAVE Area"; volume 2A, "FXSAVE".

use crate::emulate::cpu::Extended;

/// FCW, the x87 control word: two bytes.
pub const FCW: usize = 0;
/// FSW, the x87 status word: two bytes.
pub const FSW: usize = 2;
/// The x87 tag word, a bit for each register: one byte.
pub const TAGS: usize = 4;
/// FOP, the last x87 opcode: two bytes.
pub const FOP: usize = 6;
/// FIP, where the last x87 instruction was: eight bytes.
pub const FIP: usize = 8;
/// FDP, where its memory operand was: eight bytes.
pub const FDP: usize = 16;
/// MXCSR: four bytes.
pub const MXCSR: usize = 24;
/// MM0 to MM7, and the x87 stack: 16 bytes each.
pub const STACK: usize = 32;
/// XMM0 to XMM15: 16 bytes each.
pub const XMM: usize = 160;
/// XSTATE_BV, the components in use: eight bytes.
pub const IN_USE: usize = 512;
/// XCOMP_BV and what is reserved behind it.
pub const REST_OF_HEADER: std::ops::Range<usize> = 520..576;
/// The upper halves of YMM0 to YMM15: 16 bytes each.
pub const YMM_HIGH: usize = 576;

/// Component: x87.
pub const X87: u64 = 1;
/// Component: XMM registers.
pub const SSE: u64 = 1 << 1;
/// Component: upper halves of YMM registers.
pub const AVX: u64 = 1 << 2;
/// Components of AVX-512: mask registers, upper halves of ZMM registers, ZMM16 to ZMM31.
pub const AVX512: u64 = 7 << 5;

/// MXCSR after a reset: all exceptions are masked.
pub const RESET_MXCSR: u32 = 0x1F80;
/// FCW after a reset.
const RESET_FCW: u16 = 0x37F;

pub fn word(image: &Extended, at: usize) -> u16 {
    u16::from_le_bytes([image[at], image[at + 1]])
}

pub fn quad(image: &Extended, at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&image[at..at + 8]);
    u64::from_le_bytes(bytes)
}

pub fn set_quad(image: &mut Extended, at: usize, value: u64) {
    image[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

pub fn mxcsr(image: &Extended) -> u32 {
    quad(image, MXCSR) as u32
}

pub fn set_mxcsr(image: &mut Extended, value: u32) {
    image[MXCSR..MXCSR + 4].copy_from_slice(&value.to_le_bytes());
}

/// The x87 status word.
pub fn status(image: &Extended) -> u16 {
    if quad(image, IN_USE) & X87 == 0 { 0 } else { word(image, FSW) }
}

/// The x87 control word.
pub fn control(image: &Extended) -> u16 {
    if quad(image, IN_USE) & X87 == 0 { RESET_FCW } else { word(image, FCW) }
}

/// Marks the x87 and SSE components as in use: one that was not in use gets its initial values.
pub fn bring_into_use(image: &mut Extended) {
    let in_use = quad(image, IN_USE);
    if in_use & X87 == 0 {
        image[..MXCSR].fill(0);
        image[FCW..FCW + 2].copy_from_slice(&RESET_FCW.to_le_bytes());
        image[STACK..XMM].fill(0);
    }
    if in_use & SSE == 0 {
        image[XMM..XMM + 256].fill(0);
    }
    set_quad(image, IN_USE, in_use | X87 | SSE);
}

/// The effect of every MMX instruction but `emms` on the x87 unit: the stack begins at its first register and
/// all registers are in use.
pub fn enter_mmx(image: &mut Extended) {
    bring_into_use(image);
    let status = word(image, FSW);
    let top = usize::from(status >> 11 & 7);
    image[FSW..FSW + 2].copy_from_slice(&(status & !(7 << 11)).to_le_bytes());
    image[STACK..STACK + 128].rotate_right(16 * top);
    image[TAGS] = 0xFF;
}
