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

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};

use super::encoding::prefixes;
use super::{probe, stub};
use crate::emulate::LONGEST_INSTRUCTION;
use crate::emulate::ProcessorStateError;
use crate::emulate::exception::Exception;

/// XCR0: the registers of APX are enabled.
const APX: u64 = 1 << 19;
/// ModRM: the operand is a register.
const REGISTER: u8 = 0b11_000_000;
/// ModRM: the field of the opcode or register.
const REG: u8 = 0b00_111_000;
/// ModRM: a SIB byte follows.
const WITH_SIB: u8 = 0b100;
/// SIB: RAX and twice an index: none, or the vector register in this place.
const SIB_OF_RAX: u8 = 0b01_100_000;

/// True if `code`, which the decoder has found to be no instruction of `bitness` bits, raises #UD on every
/// processor that the guest can have.
///
/// # Errors
///
/// [`ProcessorStateError`] if the host does not let the bytes be tried.
pub fn is_undefined(code: &[u8], bitness: u32) -> Result<bool, ProcessorStateError> {
    if is_locked_for_nothing(code, bitness) {
        return Ok(true);
    }
    let start = prefixes(code, bitness);
    let Some(opcode) = code.get(start..).and_then(|code| opcode_length(code, bitness)) else {
        return Ok(false);
    };
    if stub::host_xcr0().unwrap_or(0) & APX != 0 {
        return Ok(false);
    }
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
    harmless.extend_from_slice(&code[start..start + opcode]);
    if let Some(&modrm) = code.get(start + opcode)
        && has_modrm(&code[..start + opcode], bitness)
    {
        match modrm {
            REGISTER.. => harmless.push(modrm),
            _ if bitness == 64 && modrm & 7 == WITH_SIB => {
                harmless.extend([modrm & REG | WITH_SIB, SIB_OF_RAX])
            }
            _ => harmless.push(modrm & REG),
        }
    }
    Ok(probe::raised_by(&harmless)? == Some(Exception::UNDEFINED.vector))
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
        // System instructions, `mov` from and to special registers, VMX, and Padlock; 3DNow!, with its opcode
        // at the end.
        [
            0x0F,
            0x00 | 0x01 | 0x20..=0x27 | 0x30..=0x3F | 0x78..=0x7B | 0xA6 | 0xA7 | 0xAE | 0xC7 | 0x0F,
            ..,
        ] => {
            return None;
        }
        [0x0F, _, ..] => 2,
        // Maps 4 and 7 are those of APX and of instructions that access MSRs.
        [0xC5, next, _, ..] if is_prefix(next) => 3,
        [0xC4, next, _, _, ..] if is_prefix(next) && !matches!(next & 0x1F, 4 | 7) => 4,
        [0x62, next, _, _, _, ..] if is_prefix(next) && !matches!(next & 7, 4 | 7) => 5,
        [0x8F, next, _, _, ..] if matches!(next & 0x1F, 8..=10) => 4,
        [0xC4 | 0xC5 | 0x62, ..] | [0x0F] | [] => return None,
        // REX2 of APX.
        [0xD5, ..] if bitness == 64 => return None,
        [_, ..] => 1,
    };
    Some(length)
}

/// True if a ModRM byte follows `opcode`: some values of it make an instruction.
fn has_modrm(opcode: &[u8], bitness: u32) -> bool {
    let mut code = [0; LONGEST_INSTRUCTION];
    if opcode.len() >= code.len() {
        return false;
    }
    code[..opcode.len()].copy_from_slice(opcode);
    (0..=u8::MAX).any(|modrm| {
        code[opcode.len()] = modrm;
        !decode(&code, bitness, DecoderOptions::NONE).is_invalid()
    })
}

fn decode(code: &[u8], bitness: u32, options: u32) -> Instruction {
    Decoder::with_ip(bitness, code, 0, options).decode()
}
