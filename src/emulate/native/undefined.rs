//! Bytes that the decoder does not know as an instruction: whether they are undefined on every processor, so
//! that the guest gets #UD, or merely unknown to the decoder, so that they stay refused.
//!
//! - LOCK before an instruction that cannot have it raises #UD; the manual says so of every instruction.
//! - All others raise #UD if the processor of this host raises it for them. The guest's processor has no
//!   instruction that the host's does not have. They run where unknown ones can do no harm: no general register
//!   holds an address, and the memory operand, if there is one, is replaced by one that cannot be accessed.
//!   Whether it can be accessed is examined after whether the instruction exists.
//! - Where new instructions of ring 0 are added, this proves nothing: in a process, which is in ring 3, they
//!   raise #UD, too. Nor is anything tried on a processor with APX, whose additional registers are not
//!   replaced.
//!
//! Manual: Intel SDM volume 2D, "Opcode Map"; volume 2A, "LOCK".

use iced_x86::{Decoder, DecoderOptions, EncodingKind, Instruction, Mnemonic};

use super::encoding::{address_bytes, address_size, prefixes};
use super::{probe, processor, stub};
use crate::emulate::LONGEST_INSTRUCTION;
use crate::emulate::ProcessorStateError;
use crate::emulate::exception::Exception;

/// XCR0: the registers of APX are enabled.
const APX: u64 = 1 << 19;
/// A prefix without effect in 64-bit mode.
const CS_PREFIX: u8 = 0x2E;
/// Longest opcode with its prefix, ModRM and SIB, in bytes.
const MOST_OPCODE: usize = 7;
/// Longest immediate operand of an opcode that the decoder does not know, in bytes.
const MOST_IMMEDIATE: usize = 4;
/// ModRM: the operand is a register.
const REGISTER: u8 = 0b11_000_000;
/// ModRM: the field of the opcode or register.
const REG: u8 = 0b00_111_000;
/// ModRM: 8 or 32 bits of displacement follow, and SIB, if there is one.
const DISPLACEMENT_OF_8: u8 = 0b01_000_000;
const DISPLACEMENT_OF_32: u8 = 0b10_000_000;
/// ModRM: a SIB byte follows.
const WITH_SIB: u8 = 0b100;
/// SIB: RAX and twice an index: none, or the vector register in this place.
const SIB_OF_RAX: u8 = 0b01_100_000;

/// The exception that `code`, which the decoder has found to be no instruction of `bitness` bits, raises on every
/// processor that the guest can have: #UD, or #GP if it is too long as well. `None` if it may be an instruction.
///
/// # Errors
///
/// [`ProcessorStateError`] if the host does not let the bytes be tried.
pub fn exception(code: &[u8], bitness: u32) -> Result<Option<Exception>, ProcessorStateError> {
    if is_locked_for_nothing(code, bitness) {
        return Ok(Some(Exception::UNDEFINED));
    }
    let Some(harmless) = Harmless::of(code, bitness) else {
        return Ok(None);
    };
    let is_long = code.len() >= LONGEST_INSTRUCTION;
    if harmless.is_legacy_instruction(bitness) {
        // It is the number of prefixes that makes `code` none.
        return Ok(is_long.then_some(Exception::protection(0)));
    }
    if stub::host_xcr0().unwrap_or(0) & APX != 0 {
        return Ok(None);
    }
    if probe::raised_by(&harmless.code)? != Some(Exception::UNDEFINED.vector) {
        return Ok(None);
    }
    // How many bytes it would need is known to the processor alone.
    let padded = harmless.padded();
    let is_too_long = is_long
        && padded.len() + MOST_IMMEDIATE > LONGEST_INSTRUCTION
        && probe::raised_by(&padded)? == Some(Exception::protection(0).vector);
    Ok(Some(if is_too_long { Exception::protection(0) } else { Exception::UNDEFINED }))
}

/// An encoding that exists if and only if another one does, and that accesses no memory.
struct Harmless {
    code: Vec<u8>,
    /// By how many bytes it is shorter.
    shorter: usize,
}

impl Harmless {
    /// The one for `code`; `None` if there is none.
    fn of(code: &[u8], bitness: u32) -> Option<Harmless> {
        let start = prefixes(code, bitness);
        // What follows the longest instruction decides nothing.
        let mut bytes = [0; LONGEST_INSTRUCTION + MOST_OPCODE];
        let count = code.len().min(LONGEST_INSTRUCTION);
        bytes[..count].copy_from_slice(&code[..count]);
        let known = if count < LONGEST_INSTRUCTION { count } else { bytes.len() };
        let code = &bytes[..known];
        let opcode = opcode_length(code.get(start..)?, bitness)?;
        let mut harmless = Vec::with_capacity(LONGEST_INSTRUCTION);
        for (at, &byte) in code[..start].iter().enumerate() {
            // Segments and address sizes have no influence, nor does a REX prefix elsewhere.
            let counts = match byte {
                0x66 | 0xF0 | 0xF2 | 0xF3 => true,
                0x40..=0x4F => at + 1 == start,
                _ => false,
            };
            if counts {
                harmless.push(byte);
            }
        }
        let mut shorter = start - harmless.len();
        let modrm_at = start + opcode;
        harmless.extend_from_slice(&code[start..modrm_at]);
        if let Some(&modrm) = code.get(modrm_at)
            && has_modrm(&code[start..modrm_at], bitness)
        {
            let before = harmless.len();
            match modrm {
                REGISTER.. => harmless.push(modrm),
                _ if bitness == 64 && modrm & 7 == WITH_SIB => {
                    harmless.extend([modrm & REG | WITH_SIB, SIB_OF_RAX]);
                }
                _ => harmless.push(modrm & REG),
            }
            if modrm < REGISTER {
                let size = address_size(code, start, bitness);
                // Displacements of the same length, if there are some: they are too short to lead anywhere.
                let length = 1 + address_bytes(code, modrm_at, size).unwrap_or(0);
                let mode = match length + before - harmless.len() {
                    0 => 0,
                    1..=3 => DISPLACEMENT_OF_8,
                    _ => DISPLACEMENT_OF_32,
                };
                harmless[before] |= mode;
                harmless.resize(harmless.len() + [0, 1, 4][usize::from(mode >> 6)], 0);
                shorter += (length + before).saturating_sub(harmless.len());
            }
        }
        Some(Harmless { code: harmless, shorter })
    }

    /// True if it is an instruction without a VEX, EVEX or XOP prefix, whatever follows. Those with one do not
    /// jump.
    fn is_legacy_instruction(&self, bitness: u32) -> bool {
        let mut code = [0; LONGEST_INSTRUCTION];
        let length = self.code.len().min(code.len());
        code[..length].copy_from_slice(&self.code[..length]);
        let decoded = decode(&code, bitness, DecoderOptions::NONE);
        !decoded.is_invalid() && decoded.encoding() == EncodingKind::Legacy
    }

    /// It with ignored prefixes in front, as long as the other encoding.
    fn padded(&self) -> Vec<u8> {
        [&vec![CS_PREFIX; self.shorter], &self.code[..]].concat()
    }
}

/// True for an instruction that cannot have the LOCK prefix it has. `mov` from and to CR0 with it are
/// instructions on AMD's processors.
fn is_locked_for_nothing(code: &[u8], bitness: u32) -> bool {
    let instruction = decode(code, bitness, DecoderOptions::NO_INVALID_CHECK);
    let is_control_register = instruction.mnemonic() == Mnemonic::Mov
        && (instruction.op0_register().is_cr() || instruction.op1_register().is_cr());
    !instruction.is_invalid() && instruction.has_lock_prefix() && !is_control_register
}

/// Number of bytes of the opcode, with a VEX, EVEX or XOP prefix, that `code` begins with; `None` if it is one of
/// those that may be instructions of ring 0, or no opcode.
fn opcode_length(code: &[u8], bitness: u32) -> Option<usize> {
    // Outside of 64-bit mode, the VEX and EVEX prefixes look like instructions with registers for memory.
    let is_prefix = |next: u8| bitness == 64 || next >= REGISTER;
    let length = match *code {
        [0x0F, 0x38, 0x80..=0x8F | 0xD8..=0xDF | 0xF0..=0xFF, ..] => return None,
        [0x0F, 0x38 | 0x3A, _, ..] => 3,
        // System instructions, `mov` from and to special registers, VMX, and Padlock.
        [0x0F, 0x00 | 0x01 | 0x20..=0x27 | 0x30..=0x3F | 0x78..=0x7B | 0xA6 | 0xA7 | 0xAE | 0xC7, ..] => {
            return None;
        }
        [0x0F, _, ..] => 2,
        // Maps 4 and 7 are those of APX and of instructions that access MSRs.
        [0xC5, next, _, ..] if is_prefix(next) => 3,
        [0xC4, next, _, _, ..] if is_prefix(next) && !matches!(next & 0x1F, 4 | 7) => 4,
        [0x62, next, _, _, _, ..]
            if processor::has_evex() && is_prefix(next) && !matches!(next & 7, 4 | 7) =>
        {
            5
        }
        // AMD's processors take it for XOP where it is not `pop`, and others for no instruction.
        [0x8F, next, _, _, ..] if next & REG != 0 => 4,
        // Without EVEX, it is the former `bound`.
        [0x62, _, ..] if !processor::has_evex() && is_prefix(code[1]) => 1,
        [0xC4 | 0xC5 | 0x62, ..] | [0x0F] | [] => return None,
        [_, ..] => 1,
    };
    Some(length)
}

/// True if a ModRM byte follows `opcode`, which has no prefixes: in the maps 0 and 1 where some values of it make an
/// instruction, in the others always. A VEX prefix changes nothing about this.
fn has_modrm(opcode: &[u8], bitness: u32) -> bool {
    let opcode = match *opcode {
        [0xC5, _, opcode] => &[0x0F, opcode],
        [0xC4, map, _, opcode] if map & 0x1F == 1 => &[0x0F, opcode],
        // The opcode of 3DNow! is at the end.
        [0x62 | 0x82] | [0x0F, 0x0F] => return true,
        [_] | [_, _] => opcode,
        _ => return true,
    };
    [None, Some(0x66), Some(0xF3), Some(0xF2)].iter().any(|prefix| {
        let mut code = [0; LONGEST_INSTRUCTION];
        let at = usize::from(prefix.is_some());
        code[0] = prefix.unwrap_or(0);
        code[at..at + opcode.len()].copy_from_slice(opcode);
        // Where no ModRM byte follows, the next byte has no influence.
        let mut lengths = (0..=u8::MAX).map(|modrm| {
            code[at + opcode.len()] = modrm;
            let decoded = decode(&code, bitness, DecoderOptions::NONE);
            if decoded.is_invalid() { 0 } else { decoded.len() }
        });
        let first = lengths.next();
        lengths.any(|length| Some(length) != first)
    })
}

fn decode(code: &[u8], bitness: u32, options: u32) -> Instruction {
    Decoder::with_ip(bitness, code, 0, options).decode()
}
