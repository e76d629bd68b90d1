//! Selectors that an instruction, a gate or a return loads.
//!
//! Manual: Intel SDM volume 3A, "Segment Selectors" and "Segment Descriptors"; volume 2B, "MOV" and "POP".

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::{Diagnosis, RaisedException, SelectorProblem, vector};
use crate::arch::descriptor::{Descriptor, IN_LDT, Table, is_null, rpl};
use crate::arch::flags::RFLAGS_VM;
use crate::arch::{Mode, Registers};
use crate::inspect::operands::{register_value, virtual_address};
use crate::inspect::values::load;
use crate::memory::GuestMemory;

/// System descriptor types: LDT, and a task state segment that is available.
const LDT: u8 = 2;
const AVAILABLE_TSS: u8 = 9;

/// RFLAGS.NT: `iret` returns to another task.
const RFLAGS_NT: u64 = 1 << 14;

/// What a selector is loaded into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Code,
    /// Code that a return leads to: a gate or a task will not do.
    Return,
    Stack,
    Data,
    TaskState,
    LocalTable,
}

/// The exception that loading a segment register raises, if `instruction` loads one.
pub(super) fn load_fault(
    memory: &GuestMemory,
    registers: &Registers,
    instruction: &Instruction,
) -> Option<RaisedException> {
    if matches!(registers.mode(), Mode::Real | Mode::Virtual8086) {
        return None;
    }
    let (target, selector) = loaded(memory, registers, instruction)?;
    let problem = problem(memory, registers, selector, target)?;
    let vector = match (problem, target) {
        (SelectorProblem::NotPresent, Target::Stack) => vector::STACK,
        (SelectorProblem::NotPresent, _) => vector::NOT_PRESENT,
        _ => vector::PROTECTION,
    };
    let diagnosis = Diagnosis::Selector { selector, problem };
    Some(RaisedException { vector, error_code: Some(u32::from(selector & !3)), diagnosis })
}

/// The selector that `instruction` loads, and into what.
fn loaded(memory: &GuestMemory, registers: &Registers, instruction: &Instruction) -> Option<(Target, u16)> {
    let stack = |slots: u64, size: u64| {
        let rsp = registers.general.rsp;
        load(memory, registers, rsp.wrapping_add(slots * size), 2).map(|value| value as u16)
    };
    // The first operand's value: a register, or memory with the selector at its end.
    let operand = |index: u32, skip: u64| match instruction.op_kind(index) {
        OpKind::Register => {
            register_value(instruction.op_register(index), registers).map(|value| value as u16)
        }
        OpKind::Memory => {
            let address = virtual_address(instruction, index, registers)?;
            load(memory, registers, address.wrapping_add(skip), 2).map(|value| value as u16)
        }
        OpKind::FarBranch16 | OpKind::FarBranch32 => Some(instruction.far_branch_selector()),
        _ => None,
    };
    let size = instruction.memory_size().size() as u64;
    let width = u64::from(registers.bitness() / 8);
    Some(match instruction.mnemonic() {
        Mnemonic::Mov if instruction.op0_register().is_segment_register() => {
            (target_of(instruction.op0_register())?, operand(1, 0)?)
        }
        Mnemonic::Pop if instruction.op0_register().is_segment_register() => {
            (target_of(instruction.op0_register())?, stack(0, width)?)
        }
        Mnemonic::Lss => (Target::Stack, operand(1, size.checked_sub(2)?)?),
        Mnemonic::Lds | Mnemonic::Les | Mnemonic::Lfs | Mnemonic::Lgs => {
            (Target::Data, operand(1, size.checked_sub(2)?)?)
        }
        Mnemonic::Ltr => (Target::TaskState, operand(0, 0)?),
        Mnemonic::Lldt => (Target::LocalTable, operand(0, 0)?),
        Mnemonic::Jmp | Mnemonic::Call if instruction.is_jmp_far() || instruction.is_call_far() => {
            (Target::Code, operand(0, 0)?)
        }
        Mnemonic::Jmp | Mnemonic::Call
            if instruction.is_jmp_far_indirect() || instruction.is_call_far_indirect() =>
        {
            (Target::Code, operand(0, size.checked_sub(2)?)?)
        }
        Mnemonic::Retf => (Target::Return, stack(1, return_width(instruction))?),
        Mnemonic::Iret | Mnemonic::Iretd | Mnemonic::Iretq => {
            let width = return_width(instruction);
            // A return to another task, or to virtual-8086 mode, loads no selectors from a table.
            let is_long = registers.mode().is_long();
            let flags = load(memory, registers, registers.general.rsp.wrapping_add(2 * width), width as u8)?;
            if !is_long && (registers.general.rflags & RFLAGS_NT != 0 || width == 4 && flags & RFLAGS_VM != 0)
            {
                return None;
            }
            let code = stack(1, width)?;
            // A good CS leaves SS, which 64-bit mode always pops.
            if problem(memory, registers, code, Target::Return).is_none() && width == 8 {
                let selector = stack(4, width)?;
                // A null SS is allowed in 64-bit mode outside of ring 3.
                if !is_null(selector) || rpl(selector) == 3 {
                    return Some((Target::Stack, selector));
                }
            }
            (Target::Return, code)
        }
        _ => return None,
    })
}

/// Bytes of each value that a far return pops.
fn return_width(instruction: &Instruction) -> u64 {
    use iced_x86::Code;
    match instruction.code() {
        Code::Iretq | Code::Retfq | Code::Retfq_imm16 => 8,
        Code::Iretd | Code::Retfd | Code::Retfd_imm16 => 4,
        _ => 2,
    }
}

fn target_of(register: Register) -> Option<Target> {
    match register {
        Register::SS => Some(Target::Stack),
        Register::DS | Register::ES | Register::FS | Register::GS => Some(Target::Data),
        _ => None,
    }
}

fn problem(
    memory: &GuestMemory,
    registers: &Registers,
    selector: u16,
    target: Target,
) -> Option<SelectorProblem> {
    if is_null(selector) {
        let is_long = registers.mode() == Mode::SixtyFourBit;
        return match target {
            Target::Data | Target::LocalTable => None,
            Target::Stack if is_long && registers.ring() < 3 && rpl(selector) == registers.ring() => None,
            Target::Stack | Target::Code | Target::Return | Target::TaskState => Some(SelectorProblem::Null),
        };
    }
    let descriptor = match find(memory, registers, selector) {
        Found::Descriptor(descriptor) => descriptor,
        Found::Beyond(problem) => return Some(problem),
        Found::Unreadable => return None,
    };
    let fits = match target {
        Target::Code => descriptor.is_code() || descriptor.is_system(),
        Target::Return => descriptor.is_code(),
        Target::Stack => {
            descriptor.is_writable() && descriptor.dpl() == rpl(selector) && !descriptor.is_code()
        }
        Target::Data => descriptor.is_readable(),
        Target::TaskState => descriptor.is_system() && matches!(descriptor.kind(), AVAILABLE_TSS | 1),
        Target::LocalTable => descriptor.is_system() && descriptor.kind() == LDT,
    };
    if !fits {
        Some(SelectorProblem::WrongType)
    } else if !descriptor.is_present() {
        Some(SelectorProblem::NotPresent)
    } else {
        None
    }
}

/// A look-up in a descriptor table.
pub(super) enum Found {
    Descriptor(Descriptor),
    Beyond(SelectorProblem),
    /// The table does not lie in mapped RAM.
    Unreadable,
}

/// The descriptor that `selector` names.
pub(super) fn find(memory: &GuestMemory, registers: &Registers, selector: u16) -> Found {
    let ldt = selector & IN_LDT != 0;
    let table = Table::of(&registers.system, selector);
    let limit = table.map_or(0, |table| table.limit);
    let Some(address) = table.and_then(|table| table.address_of(selector)) else {
        return Found::Beyond(SelectorProblem::BeyondLimit { limit, ldt });
    };
    match load(memory, registers, address, 8) {
        Some(value) => Found::Descriptor(Descriptor { value, address }),
        None => Found::Unreadable,
    }
}

/// The problem of the code segment that a gate names; `None` if a handler can run there.
pub(super) fn handler_segment(
    memory: &GuestMemory,
    registers: &Registers,
    selector: u16,
) -> Option<SelectorProblem> {
    if is_null(selector) {
        return Some(SelectorProblem::Null);
    }
    match find(memory, registers, selector) {
        Found::Beyond(problem) => Some(problem),
        Found::Unreadable => None,
        Found::Descriptor(descriptor) if !descriptor.is_code() || descriptor.dpl() > registers.ring() => {
            Some(SelectorProblem::WrongType)
        }
        Found::Descriptor(descriptor) if registers.mode().is_long() && !descriptor.is_long() => {
            Some(SelectorProblem::WrongType)
        }
        Found::Descriptor(descriptor) if !descriptor.is_present() => Some(SelectorProblem::NotPresent),
        Found::Descriptor(_) => None,
    }
}
