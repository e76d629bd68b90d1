// SPDX-License-Identifier: MIT OR GPL-2.0
//! How many bytes an instruction accesses in memory: AMD APM volume 3, appendix A (opcode maps) and chapter 1.2
//! (prefixes).
//!
//! The processor carries out what it finds here, and says itself where the operands are (driver/window.c), so
//! neither addresses nor the length are needed. About an instruction without operands in memory the answer means
//! nothing. Those with more operands than one of each kind (PUSHA, ENTER, far CALL, IRET) are refused, as are
//! x87, VEX, what saves whole register files, and what a single step does not end behind: moves to SS, far JMP.

use crate::EINVAL;

/// The operand is read before it is written.
pub const MODIFIES: u8 = 1;
/// CMPS: a second operand is read.
pub const COMPARES: u8 = 2;
/// A string instruction with a repeat prefix.
pub const REPEATS: u8 = 4;
/// PUSHF.
pub const PUSHES_FLAGS: u8 = 8;
/// POPF.
pub const POPS_FLAGS: u8 = 16;

/// `struct yakvm_insn`: what an instruction does to memory.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Insn {
    /// Bytes of an operand in memory.
    pub size: u8,
    /// A set of [`MODIFIES`] and the others.
    pub flags: u8,
    /// Of string instructions, that of rSI: 0 ES, 1 CS, 2 SS, 3 DS, 4 FS, 5 GS.
    pub segment: u8,
    /// Bytes of an address: 2, 4 or 8.
    pub address_size: u8,
}
const _: () = assert!(size_of::<Insn>() == 4);

/// Prefixes, and the sizes that follow from them.
struct Prefixes {
    bits: u32,
    /// 66h.
    operand: bool,
    /// F2h or F3h, the last of them, or 0.
    repeat: u8,
    /// REX.W.
    wide: bool,
    /// Bytes of an operand that is not a byte.
    size: u8,
    /// Bytes of an element of the stack.
    stack: u8,
}

/// 0, or `EINVAL` if what starts at `bytes`, of which `count` are valid, is none of the known instructions.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_decode(bytes: &[u8; 15], count: u32, bits: u32, insn: &mut Insn) -> i32 {
    let known = bytes.get(..count as usize).and_then(|bytes| decode(bytes, bits));
    *insn = known.unwrap_or_default();
    if known.is_some() { 0 } else { EINVAL }
}

/// The same for Rust; `bits` is 16, 32 or 64.
pub fn decode(bytes: &[u8], bits: u32) -> Option<Insn> {
    let (mut operand, mut address, mut repeat, mut rex, mut segment) = (false, false, 0, 0, 3);
    let mut rest = bytes.iter().copied();
    let opcode = loop {
        let byte = rest.next()?;
        match byte {
            // ES, CS, SS and DS have no meaning in 64-bit mode.
            0x26 | 0x2e | 0x36 | 0x3e if bits == 64 => {}
            0x26 | 0x2e | 0x36 | 0x3e => segment = byte >> 3 & 3,
            0x64 | 0x65 => segment = byte & 7,
            0x66 => operand = true,
            0x67 => address = true,
            0xf0 => {}
            0xf2 | 0xf3 => repeat = byte,
            0x40..=0x4f if bits == 64 => {
                rex = byte;
                continue;
            }
            _ => break byte,
        }
        // REX counts only right before the opcode.
        rex = 0;
    };
    let wide = rex & 8 != 0;
    let small = (bits == 16) != operand;
    let size = match (wide, small) {
        (true, _) => 8,
        (false, true) => 2,
        (false, false) => 4,
    };
    let stack = if bits == 64 && !operand { 8 } else { size };
    let prefixes = Prefixes { bits, operand, repeat, wide, size, stack };
    let (size, mut flags) = if opcode == 0x0f {
        two_bytes(rest.next()?, rest.next().unwrap_or(0), &prefixes)?
    } else {
        one_byte(opcode, rest.next().unwrap_or(0), &prefixes)?
    };
    if repeat != 0 {
        flags |= REPEATS;
    }
    let address_size = match (bits, address) {
        (64, false) => 8,
        (64, true) | (32, false) | (16, true) => 4,
        _ => 2,
    };
    Some(Insn { size, flags, segment, address_size })
}

/// Size and flags, from the opcode and the byte behind it (ModRM, if the opcode has one).
fn one_byte(opcode: u8, modrm: u8, prefixes: &Prefixes) -> Option<(u8, u8)> {
    let &Prefixes { bits, size: full, stack, .. } = prefixes;
    let size = if opcode & 1 == 0 { 1 } else { full };
    let modifies = |condition| if condition { MODIFIES } else { 0 };
    let group = modrm >> 3 & 7;
    // A far pointer: REX.W does not make it larger.
    let far = full.min(4) + 2;
    Some(match opcode {
        // ADD, OR, ADC, SBB, AND, SUB, XOR, CMP; PUSH and POP of segments.
        0x00..=0x3f if opcode & 7 < 4 => (size, modifies(opcode & 7 < 2 && opcode < 0x38)),
        0x00..=0x1f if opcode & 6 == 6 && opcode != 0x17 => (stack, 0),
        // PUSH and POP, RET, LEAVE, CALL.
        0x50..=0x5f | 0x68 | 0x6a | 0xc2 | 0xc3 | 0xc9 | 0xe8 => (stack, 0),
        // Others are XOP.
        0x8f if group == 0 => (stack, 0),
        0x9c => (stack, PUSHES_FLAGS),
        0x9d => (stack, POPS_FLAGS),
        // MOVSXD, ARPL.
        0x63 if bits == 64 => (full.min(4), 0),
        0x63 => (2, MODIFIES),
        // IMUL.
        0x69 | 0x6b => (full, 0),
        // INS and OUTS.
        0x6c..=0x6f => (size.min(4), 0),
        0x80..=0x83 => (size, modifies(group != 7)),
        // TEST, MOV, MOVS, STOS, LODS, SCAS; segment registers.
        0x84 | 0x85 | 0x88..=0x8b | 0xa0..=0xa5 | 0xaa..=0xaf | 0xc6 | 0xc7 => (size, 0),
        0x8c | 0x8e if opcode == 0x8c || group != 2 => (2, 0),
        0xa6 | 0xa7 => (size, COMPARES),
        // XCHG; shifts and rotations.
        0x86 | 0x87 | 0xc0 | 0xc1 | 0xd0..=0xd3 => (size, MODIFIES),
        // LES and LDS, which are VEX in 64-bit mode and before registers.
        0xc4 | 0xc5 if bits != 64 && modrm < 0xc0 => (far, 0),
        // XLAT.
        0xd7 => (1, 0),
        // NOT and NEG; TEST, MUL, DIV.
        0xf6 | 0xf7 => (size, modifies(matches!(group, 2 | 3))),
        // INC and DEC; CALL, JMP and PUSH.
        0xfe | 0xff if group < 2 => (size, MODIFIES),
        0xff if matches!(group, 2 | 4 | 6) => (stack, 0),
        _ => return None,
    })
}

/// The same for the opcodes behind 0Fh.
fn two_bytes(opcode: u8, next: u8, prefixes: &Prefixes) -> Option<(u8, u8)> {
    let &Prefixes { bits, operand, repeat, wide, size: full, stack } = prefixes;
    let size = if opcode & 1 == 0 { 1 } else { full };
    let group = next >> 3 & 7;
    Some(match opcode {
        // SLDT, STR, LLDT, LTR, VERR, VERW, LAR, LSL; SGDT, SIDT, LGDT, LIDT; SMSW, LMSW.
        0x00 | 0x02 | 0x03 => (2, 0),
        0x01 if group < 4 && next < 0xc0 => (if bits == 64 { 10 } else { 6 }, 0),
        0x01 if matches!(group, 4 | 6) => (2, 0),
        // Moves of vector registers.
        0x10 | 0x11 | 0x2b => (vector(repeat), 0),
        0x12 | 0x13 | 0x16 | 0x17 => (if repeat == 0xf3 { 16 } else { 8 }, 0),
        0x28 | 0x29 | 0xf0 => (16, 0),
        0x6e => (if wide { 8 } else { 4 }, 0),
        0x7e => (if wide || repeat == 0xf3 { 8 } else { 4 }, 0),
        0x6f | 0x7f | 0xe7 => (if operand || repeat == 0xf3 { 16 } else { 8 }, 0),
        0xd6 => (8, 0),
        // MOVBE, CRC32.
        0x38 if next == 0xf0 && repeat == 0xf2 => (1, 0),
        0x38 if matches!(next, 0xf0 | 0xf1) => (full, 0),
        // CMOV, SETcc, PUSH and POP of FS and GS.
        0x40..=0x4f => (full, 0),
        0x90..=0x9f => (1, 0),
        0xa0 | 0xa1 | 0xa8 | 0xa9 => (stack, 0),
        // BT; BTS, BTR, BTC, SHLD, SHRD.
        0xa3 => (full, 0),
        0xba => (full, if group > 4 { MODIFIES } else { 0 }),
        0xa4 | 0xa5 | 0xab | 0xac | 0xad | 0xb3 | 0xbb => (full, MODIFIES),
        // LDMXCSR, STMXCSR.
        0xae if matches!(group, 2 | 3) => (4, 0),
        // IMUL, POPCNT, BSF, BSR; MOVNTI.
        0xaf | 0xb8 | 0xbc | 0xbd => (full, 0),
        0xc3 => (full.max(4), 0),
        // LSS, LFS, LGS.
        0xb2 | 0xb4 | 0xb5 => (full.min(4) + 2, 0),
        // CMPXCHG, XADD, CMPXCHG8B.
        0xb0 | 0xb1 | 0xc0 | 0xc1 => (size, MODIFIES),
        0xc7 if group == 1 => (if wide { 16 } else { 8 }, MODIFIES),
        // MOVZX, MOVSX.
        0xb6 | 0xbe => (1, 0),
        0xb7 | 0xbf => (2, 0),
        _ => return None,
    })
}

/// MOVUPS and MOVUPD, MOVSS, MOVSD, and the same past the caches.
fn vector(repeat: u8) -> u8 {
    match repeat {
        0xf3 => 4,
        0xf2 => 8,
        _ => 16,
    }
}
