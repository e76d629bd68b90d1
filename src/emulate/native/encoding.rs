//! Encodes an instruction with the same meaning in 64-bit mode and with its memory operand at another
//! address.
//!
//! Manual: Intel SDM volume 2A, "Instruction Format".

use iced_x86::{Code, Decoder, DecoderOptions, EncodingKind, Instruction, Mnemonic, OpKind};

use super::allowed::has_memory;
use crate::emulate::{LONGEST_INSTRUCTION, Obstacle};

/// Prefix: operands of the other size, or a part of the opcode.
const OPERAND_SIZE: u8 = 0x66;
/// ModRM: no base register, 32 bits of displacement from the next instruction.
const IP_RELATIVE: u8 = 0b00_000_101;

/// An instruction that can run anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Program {
    bytes: [u8; LONGEST_INSTRUCTION],
    length: u8,
    /// Offset of the operand's displacement; 0 if there is no operand in memory.
    displacement: u8,
}

impl Program {
    /// Encodes `instruction`, whose bytes, in code of `bitness` bits, are at the start of `original`.
    ///
    /// # Errors
    ///
    /// [`Obstacle::NotAllowed`] if it cannot be re-encoded.
    pub fn new(instruction: &Instruction, original: &[u8], bitness: u32) -> Result<Program, Obstacle> {
        let original = original.get(..instruction.len()).ok_or(Obstacle::NotAllowed)?;
        let mut program = Program::default();
        program.rewrite(instruction, original, bitness).ok_or(Obstacle::NotAllowed)?;
        Ok(program)
    }

    /// Its bytes at `address`, with the memory operand at `operand`; checked to be the same instruction as
    /// `instruction`, and to access no memory but the operand.
    ///
    /// # Errors
    ///
    /// [`Obstacle::NotAllowed`] if it is not the same.
    pub fn place(
        &self,
        instruction: &Instruction,
        address: u64,
        operand: u64,
    ) -> Result<([u8; LONGEST_INSTRUCTION], usize), Obstacle> {
        let (mut bytes, length) = (self.bytes, usize::from(self.length));
        if self.displacement != 0 {
            let distance = operand.wrapping_sub(address + length as u64) as i64;
            let distance = i32::try_from(distance).map_err(|_| Obstacle::NotAllowed)?;
            let at = usize::from(self.displacement);
            bytes[at..at + 4].copy_from_slice(&distance.to_le_bytes());
        }
        let copy = Decoder::with_ip(64, &bytes[..length], address, DecoderOptions::NONE).decode();
        if is_same(instruction, &copy, operand) && copy.len() == length {
            Ok((bytes, length))
        } else {
            Err(Obstacle::NotAllowed)
        }
    }

    /// A hash value, to find programs by.
    pub fn hash(&self) -> usize {
        self.bytes.iter().fold(0, |hash: usize, &byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)))
    }

    fn rewrite(&mut self, instruction: &Instruction, original: &[u8], bitness: u32) -> Option<()> {
        let opcode = prefixes(original, bitness);
        let sized = bitness != 64 && has_sizes(instruction.mnemonic());
        if sized && is_of_16_bits(instruction.code()) {
            self.push(OPERAND_SIZE)?;
        }
        for (at, &byte) in original[..opcode].iter().enumerate() {
            let kept = match byte {
                OPERAND_SIZE => !sized,
                0xF0 | 0xF2 | 0xF3 => true,
                // A REX prefix counts only where the opcode follows.
                0x40..=0x4F => at + 1 == opcode,
                _ => false,
            };
            if kept {
                self.push(byte)?;
            }
        }
        let modrm = self.push_opcode(instruction, original, opcode, bitness)?;
        if !has_memory(instruction) {
            return original[modrm..].iter().try_for_each(|&byte| self.push(byte));
        }
        self.push(original.get(modrm)? & 0b00_111_000 | IP_RELATIVE)?;
        self.displacement = self.length;
        for _ in 0..4 {
            self.push(0)?;
        }
        let rest = modrm + 1 + address_bytes(original, modrm, address_size(original, opcode, bitness))?;
        original.get(rest..)?.iter().try_for_each(|&byte| self.push(byte))
    }

    /// Copies the opcode; returns the offset of what follows.
    fn push_opcode(
        &mut self,
        instruction: &Instruction,
        original: &[u8],
        opcode: usize,
        bitness: u32,
    ) -> Option<usize> {
        let length = match (instruction.encoding(), original.get(opcode..)?) {
            (EncodingKind::Legacy, [0x0F, 0x38 | 0x3A, ..]) => 3,
            (EncodingKind::Legacy, [0x0F, ..]) => 2,
            (EncodingKind::Legacy, _) => 1,
            (EncodingKind::VEX, [0xC5, ..]) => 3,
            (EncodingKind::VEX, [0xC4, ..]) => 4,
            (EncodingKind::EVEX, _) => 5,
            _ => return None,
        };
        let start = usize::from(self.length);
        for &byte in original.get(opcode..opcode + length)? {
            self.push(byte)?;
        }
        if bitness != 64 && instruction.encoding() == EncodingKind::VEX && length == 4 {
            // Only eight registers exist: the bits for more are ignored there, but not in 64-bit mode.
            self.bytes[start + 1] |= 0b0010_0000;
            self.bytes[start + 2] |= 0b0100_0000;
        }
        Some(opcode + length)
    }

    fn push(&mut self, byte: u8) -> Option<()> {
        *self.bytes.get_mut(usize::from(self.length))? = byte;
        self.length += 1;
        Some(())
    }
}

/// Number of prefixes that `bytes` begin with.
pub fn prefixes(bytes: &[u8], bitness: u32) -> usize {
    let is_prefix = |byte: &u8| match byte {
        0x26 | 0x2E | 0x36 | 0x3E | 0x64 | 0x65 | 0x66 | 0x67 | 0xF0 | 0xF2 | 0xF3 => true,
        0x40..=0x4F => bitness == 64,
        _ => false,
    };
    bytes.iter().position(|byte| !is_prefix(byte)).unwrap_or(bytes.len())
}

/// `code`, which has at least one byte, without a prefix that does not count; without its last byte if all prefixes
/// count.
pub fn without_spare_prefix(code: &[u8], bitness: u32) -> Vec<u8> {
    let prefixes = &code[..prefixes(code, bitness)];
    let is_spare = |at: usize| match prefixes[at] {
        0x26 | 0x2E | 0x36 | 0x3E | 0x64 | 0x65 => true,
        // A REX prefix counts only where the opcode follows.
        0x40..=0x4F => at + 1 < prefixes.len(),
        prefix => prefixes[at + 1..].contains(&prefix),
    };
    let mut code = code.to_vec();
    code.remove((0..prefixes.len()).find(|&at| is_spare(at)).unwrap_or(code.len() - 1));
    code
}

/// Width of addresses: 16, or 32 for anything wider, which looks the same.
pub fn address_size(original: &[u8], opcode: usize, bitness: u32) -> u32 {
    let other = original[..opcode].contains(&0x67);
    match (bitness, other) {
        (16, false) | (32, true) => 16,
        _ => 32,
    }
}

/// Number of bytes that follow ModRM to form an address.
pub fn address_bytes(bytes: &[u8], modrm: usize, size: u32) -> Option<usize> {
    let (mode, register) = (bytes.get(modrm)? >> 6, bytes.get(modrm)? & 7);
    if size == 16 {
        return Some(match (mode, register) {
            (0, 6) | (2, _) => 2,
            (1, _) => 1,
            _ => 0,
        });
    }
    let index = usize::from(register == 4);
    let base = if index == 1 { bytes.get(modrm + 1)? & 7 } else { register };
    Some(
        index
            + match (mode, base) {
                (0, 5) | (2, _) => 4,
                (1, _) => 1,
                _ => 0,
            },
    )
}

/// Instructions for which the operand-size prefix chooses between 16 and 32 bits.
fn has_sizes(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Popcnt
            | Mnemonic::Lzcnt
            | Mnemonic::Tzcnt
            | Mnemonic::Movbe
            | Mnemonic::Crc32
            | Mnemonic::Fnstenv
            | Mnemonic::Fldenv
            | Mnemonic::Fnsave
            | Mnemonic::Frstor
    )
}

fn is_of_16_bits(code: Code) -> bool {
    matches!(
        code,
        Code::Popcnt_r16_rm16
            | Code::Lzcnt_r16_rm16
            | Code::Tzcnt_r16_rm16
            | Code::Movbe_r16_m16
            | Code::Movbe_m16_r16
            | Code::Crc32_r32_rm16
            | Code::Fnstenv_m14byte
            | Code::Fldenv_m14byte
            | Code::Fnsave_m94byte
            | Code::Frstor_m94byte
    )
}

/// True if `copy` does the same as `instruction`, with its memory operand at `operand`.
fn is_same(instruction: &Instruction, copy: &Instruction, operand: u64) -> bool {
    instruction.code() == copy.code()
        && instruction.op_count() == copy.op_count()
        && instruction.op_mask() == copy.op_mask()
        && instruction.zeroing_masking() == copy.zeroing_masking()
        && instruction.rounding_control() == copy.rounding_control()
        && instruction.suppress_all_exceptions() == copy.suppress_all_exceptions()
        && instruction.is_broadcast() == copy.is_broadcast()
        && (0..instruction.op_count()).all(|n| {
            instruction.op_kind(n) == copy.op_kind(n)
                && match instruction.op_kind(n) {
                    OpKind::Register => instruction.op_register(n) == copy.op_register(n),
                    OpKind::Memory => {
                        copy.is_ip_rel_memory_operand() && copy.ip_rel_memory_address() == operand
                    }
                    _ => instruction.try_immediate(n).ok() == copy.try_immediate(n).ok(),
                }
        })
}
