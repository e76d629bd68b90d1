//! The exception that the instruction at RIP raises.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use super::access::{is_canonical, operands, pages};
use super::{AccessKind, Diagnosis, RaisedException, divide, enabled, selector, vector};
use crate::arch::{Mode, Registers};
use crate::inspect::operands::{register_value, virtual_address};
use crate::inspect::values::load;
use crate::memory::GuestMemory;

/// The opcode of `int3`.
const INT3: u64 = 0xCC;

/// The exception that the instruction at RIP raises, whose bytes are `code`; `None` if nothing is wrong with it
/// that its operands show.
pub fn find(memory: &GuestMemory, registers: &Registers, code: &[u8]) -> Option<RaisedException> {
    let address = registers.next_instruction();
    fetch(memory, registers, address)
        .or_else(|| {
            let instruction =
                Decoder::with_ip(registers.bitness(), code, registers.general.rip, DecoderOptions::NONE)
                    .decode();
            if instruction.is_invalid() {
                // An instruction that goes on in the next page may be cut off there.
                let cut = address.wrapping_add(code.len() as u64);
                return match code.len() < super::super::disassembly::LONGEST_INSTRUCTION {
                    true => fetch(memory, registers, cut)
                        .or_else(|| plain(vector::UNDEFINED, Diagnosis::InvalidOpcode)),
                    false => plain(vector::UNDEFINED, Diagnosis::InvalidOpcode),
                };
            }
            execute(memory, registers, &instruction)
        })
        .or_else(|| breakpoint_before(memory, registers, address))
}

fn plain(vector: u8, diagnosis: Diagnosis) -> Option<RaisedException> {
    Some(RaisedException { vector, error_code: None, diagnosis })
}

fn protection(diagnosis: Diagnosis) -> Option<RaisedException> {
    Some(RaisedException { vector: vector::PROTECTION, error_code: Some(0), diagnosis })
}

/// The exception of fetching an instruction.
fn fetch(memory: &GuestMemory, registers: &Registers, address: u64) -> Option<RaisedException> {
    if !is_canonical(registers, address) {
        return protection(Diagnosis::NotCanonical { address, access: AccessKind::Fetch });
    }
    pages(memory, registers, address, 1, AccessKind::Fetch, false)
}

/// The exception of executing an instruction, in the order of the processor's checks.
fn execute(
    memory: &GuestMemory,
    registers: &Registers,
    instruction: &Instruction,
) -> Option<RaisedException> {
    match instruction.mnemonic() {
        Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2 => {
            return plain(vector::UNDEFINED, Diagnosis::InvalidOpcode);
        }
        Mnemonic::Int3 => return plain(vector::BREAKPOINT, Diagnosis::SoftwareInterrupt),
        Mnemonic::Int1 => return plain(vector::DEBUG, Diagnosis::SoftwareInterrupt),
        Mnemonic::Int => return plain(instruction.immediate8(), Diagnosis::SoftwareInterrupt),
        Mnemonic::Into => return plain(vector::OVERFLOW, Diagnosis::SoftwareInterrupt),
        _ => {}
    }
    enabled::not_allowed(registers, instruction)
        .or_else(|| operands(memory, registers, instruction))
        .or_else(|| divide::divide_error(memory, registers, instruction))
        .or_else(|| selector::load_fault(memory, registers, instruction))
        .or_else(|| branch(memory, registers, instruction))
        .or_else(|| register_value_refused(instruction))
}

/// A jump, call or return to an address that is not canonical.
fn branch(memory: &GuestMemory, registers: &Registers, instruction: &Instruction) -> Option<RaisedException> {
    if registers.mode() != Mode::SixtyFourBit {
        return None;
    }
    let address = match instruction.mnemonic() {
        Mnemonic::Jmp | Mnemonic::Call
            if instruction.is_jmp_near_indirect() || instruction.is_call_near_indirect() =>
        {
            match instruction.op0_kind() {
                OpKind::Register => register_value(instruction.op0_register(), registers)?,
                _ => load(memory, registers, virtual_address(instruction, 0, registers)?, 8)?,
            }
        }
        Mnemonic::Ret | Mnemonic::Iretq => load(memory, registers, registers.general.rsp, 8)?,
        _ => return None,
    };
    match is_canonical(registers, address) {
        true => None,
        false => protection(Diagnosis::NotCanonical { address, access: AccessKind::Fetch }),
    }
}

/// Instructions with which nothing else is wrong, and that raise #GP for the value they are given.
fn register_value_refused(instruction: &Instruction) -> Option<RaisedException> {
    let writes_control = instruction.mnemonic() == Mnemonic::Mov && is_control(instruction.op0_register());
    match instruction.mnemonic() {
        Mnemonic::Wrmsr | Mnemonic::Rdmsr | Mnemonic::Xsetbv => protection(Diagnosis::RegisterValue),
        _ if writes_control => protection(Diagnosis::RegisterValue),
        _ => None,
    }
}

fn is_control(register: Register) -> bool {
    register.is_cr()
}

/// A breakpoint by the `int3` before RIP: some processors count it as executed.
fn breakpoint_before(memory: &GuestMemory, registers: &Registers, address: u64) -> Option<RaisedException> {
    let before = load(memory, registers, address.wrapping_sub(1), 1)?;
    match before {
        INT3 => plain(vector::BREAKPOINT, Diagnosis::BreakpointBefore),
        _ => None,
    }
}
