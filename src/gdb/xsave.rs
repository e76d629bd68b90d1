//! x87, SSE and AVX registers in the XSAVE area: `print $st0`, `print $xmm1`, `set $mxcsr = 0x1f80`.
//!
//! Manual: Intel SDM volume 1, "x87 FPU Tag Word" and "XSAVE Area"; volume 2A, "FXSAVE".

use gdbstub_arch::x86::reg::id::X87FpuInternalRegId as X87;
use gdbstub_arch::x86::reg::{F80, X87FpuInternalRegs};

use crate::arch::ExtendedRegisters;

/// Tags of an x87 register (two bits each).
const VALID: u16 = 0;
const ZERO: u16 = 1;
const SPECIAL: u16 = 2;
const EMPTY: u16 = 3;

/// Offsets in the XSAVE area, in bytes.
const FCW: usize = 0;
const FSW: usize = 2;
const TAGS: usize = 4;
const OPCODE: usize = 6;
const LAST_IP: usize = 8;
const LAST_DP: usize = 16;
const MXCSR: usize = 24;
const STACK: usize = 32;
const XMM: usize = 160;
const COMPONENTS: usize = 512;
const YMM_HIGH: usize = 576;

/// Components of the XSAVE area that are not in their initial state.
const X87_STATE: u8 = 1;
const SSE: u8 = 2;
const AVX: u8 = 4;

/// A field of the XSAVE area.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    /// An x87 register, counted from the top of the stack.
    Stack(u8),
    /// An x87 control register.
    X87(X87),
    /// Bits 127 to 0 of a vector register.
    Xmm(u8),
    /// Control and status of SSE.
    Mxcsr,
    /// Bits 255 to 128 of a vector register.
    YmmHigh(u8),
}

/// `count` bytes (at most 16) at `offset` of the XSAVE area, the lowest first.
fn bytes_at(area: &ExtendedRegisters, offset: usize, count: usize) -> u128 {
    let bytes = area.get(offset..offset + count).unwrap_or_default();
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u128::from(*byte))
}

fn set_bytes_at(area: &mut ExtendedRegisters, offset: usize, count: usize, value: u128) {
    let bytes = area.get_mut(offset..offset + count).unwrap_or_default();
    bytes.iter_mut().zip(value.to_le_bytes()).for_each(|(byte, new)| *byte = new);
}

/// Offset and size of a field, in bytes.
fn place(field: Field) -> (usize, usize) {
    match field {
        Field::Stack(n) => (STACK + 16 * usize::from(n), 10),
        Field::Xmm(n) => (XMM + 16 * usize::from(n), 16),
        Field::YmmHigh(n) => (YMM_HIGH + 16 * usize::from(n), 16),
        Field::Mxcsr => (MXCSR, 4),
        Field::X87(X87::Fctrl) => (FCW, 2),
        Field::X87(X87::Fstat) => (FSW, 2),
        Field::X87(X87::Ftag) => (TAGS, 1),
        // Pointers to the last instruction and operand: the segment above the offset.
        Field::X87(X87::Fiseg) => (LAST_IP + 4, 2),
        Field::X87(X87::Fioff) => (LAST_IP, 4),
        Field::X87(X87::Foseg) => (LAST_DP + 4, 2),
        Field::X87(X87::Fooff) => (LAST_DP, 4),
        Field::X87(X87::Fop) => (OPCODE, 2),
    }
}

/// The value of a field, zero-extended.
pub(super) fn extended_value(area: &ExtendedRegisters, field: Field) -> u128 {
    if let Field::X87(X87::Ftag) = field {
        return full_tags(area).into();
    }
    let (offset, size) = place(field);
    bytes_at(area, offset, size)
}

/// Writes a field, and marks its component as in use.
pub(super) fn set_extended_value(area: &mut ExtendedRegisters, field: Field, value: u128) {
    let (offset, size) = place(field);
    let component = match field {
        Field::Xmm(_) | Field::Mxcsr => SSE,
        Field::YmmHigh(_) => AVX,
        Field::Stack(_) | Field::X87(_) => X87_STATE,
    };
    let value = if let Field::X87(X87::Ftag) = field { short_tags(value) } else { value };
    set_bytes_at(area, offset, size, value);
    let in_use = bytes_at(area, COMPONENTS, 1) | u128::from(component);
    set_bytes_at(area, COMPONENTS, 1, in_use);
}

/// An x87 register, counted from the top of the stack.
pub(super) fn stack_register(area: &ExtendedRegisters, number: usize) -> F80 {
    let start = STACK + 16 * number;
    std::array::from_fn(|byte| area.get(start + byte).copied().unwrap_or(0))
}

/// The x87 control registers.
pub(super) fn x87_registers(area: &ExtendedRegisters) -> X87FpuInternalRegs {
    let value = |id| extended_value(area, Field::X87(id)) as u32;
    X87FpuInternalRegs {
        fctrl: value(X87::Fctrl),
        fstat: value(X87::Fstat),
        ftag: value(X87::Ftag),
        fiseg: value(X87::Fiseg),
        fioff: value(X87::Fioff),
        foseg: value(X87::Foseg),
        fooff: value(X87::Fooff),
        fop: value(X87::Fop),
    }
}

/// The tag word in its short form: which registers are not empty.
fn short_tags(full: u128) -> u128 {
    (0..8).filter(|n| full >> (2 * n) & 3 != u128::from(EMPTY)).fold(0, |tags, n| tags | 1 << n)
}

/// The tag word in its long form: the short form marks only empty registers.
fn full_tags(area: &ExtendedRegisters) -> u16 {
    let top = bytes_at(area, FSW, 2) >> 11 & 7;
    let used = bytes_at(area, TAGS, 1);
    (0..8).fold(0, |tags, physical| {
        let tag = if used >> physical & 1 == 0 {
            EMPTY
        } else {
            // Registers are stored from the top of the stack on, tags by their fixed numbers.
            tag_of(extended_value(area, Field::Stack(((physical + 8 - top) % 8) as u8)))
        };
        tags | tag << (2 * physical)
    })
}

fn tag_of(register: u128) -> u16 {
    let exponent = register >> 64 & 0x7FFF;
    let integer_bit = register >> 63 & 1 != 0;
    match exponent {
        0 if register as u64 == 0 => ZERO,
        1..=0x7FFE if integer_bit => VALID,
        _ => SPECIAL,
    }
}

#[cfg(test)]
#[path = "xsave_test.rs"]
mod tests;
