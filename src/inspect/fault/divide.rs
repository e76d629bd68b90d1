//! Divide errors, computed from the operands.
//!
//! Manual: Intel SDM volume 2A, "DIV" and "IDIV".

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::{Diagnosis, RaisedException, vector};
use crate::arch::Registers;
use crate::inspect::operands::{register_value, virtual_address};
use crate::inspect::values::load;
use crate::memory::GuestMemory;

/// The divide error that `instruction` raises, if it is a division and raises one.
pub(super) fn divide_error(
    memory: &GuestMemory,
    registers: &Registers,
    instruction: &Instruction,
) -> Option<RaisedException> {
    let diagnosis = match instruction.mnemonic() {
        Mnemonic::Aam if instruction.immediate8() == 0 => Diagnosis::DivisionByZero,
        Mnemonic::Div | Mnemonic::Idiv => {
            let (divisor, size) = divisor(memory, registers, instruction)?;
            if divisor == 0 {
                Diagnosis::DivisionByZero
            } else if overflows(registers, divisor, size, instruction.mnemonic() == Mnemonic::Idiv) {
                Diagnosis::QuotientTooLarge
            } else {
                return None;
            }
        }
        _ => return None,
    };
    Some(RaisedException { vector: vector::DIVIDE, error_code: None, diagnosis })
}

/// The divisor, zero-extended, and its size in bytes.
fn divisor(memory: &GuestMemory, registers: &Registers, instruction: &Instruction) -> Option<(u64, u32)> {
    if instruction.op0_kind() == OpKind::Register {
        let register = instruction.op0_register();
        return Some((register_value(register, registers)?, register.size() as u32));
    }
    let size = instruction.memory_size().size();
    let address = virtual_address(instruction, 0, registers)?;
    Some((load(memory, registers, address, size as u8)?, size as u32))
}

/// True if the quotient does not fit into `size` bytes.
fn overflows(registers: &Registers, divisor: u64, size: u32, signed: bool) -> bool {
    let bits = size * 8;
    let mask = (1_u128 << bits) - 1;
    let (low, high) = match size {
        // AX, which is AH and AL.
        1 => (registers.general.rax, registers.general.rax >> 8),
        _ => (registers.general.rax, registers.general.rdx),
    };
    let dividend = (u128::from(high) & mask) << bits | u128::from(low) & mask;
    if !signed {
        return dividend / u128::from(divisor) > mask;
    }
    let extend = |value: u128, bits: u32| (value << (128 - bits)) as i128 >> (128 - bits);
    let quotient = extend(dividend, 2 * bits).checked_div(extend(divisor.into(), bits));
    let range = -(1_i128 << (bits - 1))..1_i128 << (bits - 1);
    quotient.is_none_or(|quotient| !range.contains(&quotient))
}
