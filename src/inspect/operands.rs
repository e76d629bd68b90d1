//! Operands of an instruction with their values, before it is executed.

use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind, Register};
use serde::Serialize;

use crate::arch::{Registers, SegmentRegister};

/// An operand of an instruction before it is executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum OperandValue {
    /// A general or segment register.
    Register {
        /// Its name in lower case.
        name: String,
        /// Its value; `None` for registers that the report does not have.
        value: Option<u64>,
    },
    /// Memory.
    Memory {
        /// Linear address; `None` if it cannot be computed from the registers of the report.
        address: Option<u64>,
        /// Size of the access in bytes, 0 if it is none.
        size: usize,
    },
    /// A constant.
    Immediate(u64),
    /// The target of a jump or call.
    Target(u64),
}

/// The explicit operands of the instruction that `code` begins with.
pub(super) fn operands(code: &[u8], registers: &Registers) -> Vec<OperandValue> {
    let address = registers.next_instruction();
    let instruction = Decoder::with_ip(registers.bitness(), code, address, DecoderOptions::NONE).decode();
    if instruction.is_invalid() {
        return Vec::new();
    }
    (0..instruction.op_count()).map(|operand| describe(&instruction, operand, registers)).collect()
}

fn describe(instruction: &Instruction, operand: u32, registers: &Registers) -> OperandValue {
    match instruction.op_kind(operand) {
        OpKind::Register => {
            let register = instruction.op_register(operand);
            let name = format!("{register:?}").to_lowercase();
            OperandValue::Register { name, value: register_value(register, registers) }
        }
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
            OperandValue::Target(instruction.near_branch_target())
        }
        kind => match instruction.try_immediate(operand) {
            Ok(value) => OperandValue::Immediate(value),
            Err(_) if matches!(kind, OpKind::FarBranch16 | OpKind::FarBranch32) => {
                OperandValue::Target(u64::from(instruction.far_branch32()))
            }
            Err(_) => OperandValue::Memory {
                address: virtual_address(instruction, operand, registers),
                size: instruction.memory_size().size(),
            },
        },
    }
}

/// The contents of a segment register.
pub(super) fn segment(register: Register, registers: &Registers) -> Option<SegmentRegister> {
    let name = format!("{register:?}");
    registers.segments().into_iter().find(|(other, _)| *other == name).map(|(_, segment)| segment)
}

/// Address of a memory operand, the base of its segment added; `None` if it has registers that the report does
/// not have.
pub(super) fn virtual_address(instruction: &Instruction, operand: u32, registers: &Registers) -> Option<u64> {
    instruction.virtual_address(operand, 0, |register, _, _| match register.is_segment_register() {
        true => segment(register, registers).map(|segment| segment.base),
        false => register_value(register, registers),
    })
}

/// The value of a general, instruction pointer or segment register.
pub(super) fn register_value(register: Register, registers: &Registers) -> Option<u64> {
    let name = format!("{:?}", register.full_register());
    let full = registers.named().into_iter().find(|(other, _)| *other == name).map(|(_, value)| value);
    let high_byte = matches!(register, Register::AH | Register::BH | Register::CH | Register::DH);
    match full {
        Some(value) if high_byte => Some(value >> 8 & 0xFF),
        Some(value) => Some(value & u64::MAX >> (64 - 8 * register.size().clamp(1, 8))),
        None => registers
            .segments()
            .into_iter()
            .find(|(other, _)| *other == name)
            .map(|(_, segment)| segment.selector.into()),
    }
}
