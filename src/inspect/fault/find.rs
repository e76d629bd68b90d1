//! The exception that the instruction at RIP raises.

use iced_x86::{CpuidFeature, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use super::access::{self, is_canonical, operands, pages};
use super::{
    AccessKind, AddressMeaning, Diagnosis, PageState, RaisedException, divide, enabled, selector, vector,
};
use crate::arch::flags::RFLAGS_TF;
use crate::arch::paging::{Access, Paging};
use crate::arch::{Mode, PAGE_SIZE, Registers};
use crate::inspect::interrupt_frame::InterruptFrame;
use crate::inspect::operands::{register_value, virtual_address};
use crate::inspect::translate::read_virtual;
use crate::inspect::values::load;
use crate::memory::GuestMemory;

/// The opcode of `int3`.
const INT3: u64 = 0xCC;
/// The opcode of `popf`.
const POPF: u64 = 0x9D;
/// RFLAGS.OF: overflow.
const RFLAGS_OF: u64 = 1 << 11;
/// Length of `mov` to a control register.
const CONTROL_MOVE: usize = 3;
/// Largest error code: that of a page fault is smaller (Intel SDM volume 3A, "Error Code").
const LARGEST_CODE: u32 = 0xFFFF;
/// Bytes before an unmapped page that are zeros if a run of zeros was executed.
const RUN: usize = 16;

/// The exception that the instruction at RIP raises, whose bytes are `code`; `None` if nothing is wrong with it
/// that its operands show. `floating` executes it without effect, if it computes with floating-point or vector
/// registers.
pub fn find(
    memory: &GuestMemory,
    registers: &Registers,
    code: &[u8],
    floating: &dyn Fn() -> Option<RaisedException>,
) -> Option<RaisedException> {
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
            execute(memory, registers, &instruction, floating)
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
    let mut exception = pages(memory, registers, address, 1, AccessKind::Fetch, false)?;
    if let Diagnosis::Page { page: PageState::Unmapped, meaning, .. } = &mut exception.diagnosis
        && let Some(way) = way_to(memory, registers, address)
    {
        *meaning = way;
    }
    Some(exception)
}

/// How the processor came to `address`, where nothing is mapped, if not by a jump; `None` if it may have been one.
fn way_to(memory: &GuestMemory, registers: &Registers, address: u64) -> Option<AddressMeaning> {
    let before = address.wrapping_sub(CONTROL_MOVE as u64);
    let mut code = [0; CONTROL_MOVE];
    // The code was mapped at its physical address, as everything is that switches page tables.
    if memory.read(before, &mut code).is_ok()
        && code[..2] == [0x0F, 0x22]
        && matches!(code[2] >> 3 & 7, 0 | 3 | 4)
    {
        return Some(AddressMeaning::NewPageTables);
    }
    let first = address.checked_sub(RUN as u64)?;
    let mut code = [0; RUN];
    // Zeros write where RAX points.
    let target = Access { write: true, user: registers.ring() == 3, ..Access::default() };
    let passes = address.is_multiple_of(PAGE_SIZE)
        && Paging::new(registers, Paging::WIDEST).check(memory, registers.general.rax, target).is_ok();
    (passes && read_virtual(memory, registers, first, &mut code) == RUN && code == [0; RUN])
        .then_some(AddressMeaning::AfterZeros)
}

/// The debug exception after the instruction before RIP, if RFLAGS.TF is set. It takes effect one instruction after
/// the `popf` that sets it.
pub fn trap(memory: &GuestMemory, registers: &Registers) -> Option<RaisedException> {
    let before = load(memory, registers, registers.next_instruction().wrapping_sub(1), 1);
    match registers.general.rflags & RFLAGS_TF != 0 && before != Some(POPF) {
        true => plain(vector::DEBUG, Diagnosis::TrapFlag),
        false => None,
    }
}

/// The exception of executing an instruction, in the order of the processor's checks.
fn execute(
    memory: &GuestMemory,
    registers: &Registers,
    instruction: &Instruction,
    floating: &dyn Fn() -> Option<RaisedException>,
) -> Option<RaisedException> {
    match instruction.mnemonic() {
        Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2 => {
            return plain(vector::UNDEFINED, Diagnosis::InvalidOpcode);
        }
        Mnemonic::Int3 => return plain(vector::BREAKPOINT, Diagnosis::SoftwareInterrupt),
        Mnemonic::Int1 => return plain(vector::DEBUG, Diagnosis::SoftwareInterrupt),
        Mnemonic::Int => return plain(instruction.immediate8(), Diagnosis::SoftwareInterrupt),
        Mnemonic::Into if registers.general.rflags & RFLAGS_OF != 0 => {
            return plain(vector::OVERFLOW, Diagnosis::SoftwareInterrupt);
        }
        _ => {}
    }
    enabled::not_allowed(registers, instruction)
        .or_else(|| operands(memory, registers, instruction))
        .or_else(|| divide::divide_error(memory, registers, instruction))
        .or_else(|| selector::load_fault(memory, registers, instruction))
        .or_else(|| branch(memory, registers, instruction))
        .or_else(|| access::alignment_check(registers, instruction))
        .or_else(|| if is_floating(instruction) { floating() } else { None })
        .or_else(|| register_value_refused(instruction))
        .map(|exception| {
            error_code_left(memory, registers, instruction)
                .map_or(exception.clone(), |diagnosis| RaisedException { diagnosis, ..exception })
        })
}

/// The reason that `iretq` fails if an error code lies on top of the frame it should pop.
fn error_code_left(
    memory: &GuestMemory,
    registers: &Registers,
    instruction: &Instruction,
) -> Option<Diagnosis> {
    if instruction.mnemonic() != Mnemonic::Iretq {
        return None;
    }
    let load = |address, size| load(memory, registers, address, size);
    let top = registers.general.rsp;
    let code = load(top, 8).and_then(|code| u32::try_from(code).ok()).filter(|code| *code <= LARGEST_CODE)?;
    let frame = InterruptFrame::at(top.checked_add(8)?, 8, registers.ring(), &load)?;
    Some(Diagnosis::ErrorCodeLeft { code, address: frame.address })
}

/// True if `instruction` is one of x87, MMX, SSE or AVX.
fn is_floating(instruction: &Instruction) -> bool {
    let has_vector = (0..instruction.op_count()).any(|n| {
        let register = instruction.op_register(n);
        register.is_vector_register() || register.is_mm() || register.is_st()
    });
    let x87 = [CpuidFeature::FPU, CpuidFeature::FPU287, CpuidFeature::FPU387];
    has_vector
        || instruction.mnemonic() == Mnemonic::Wait
        || instruction.cpuid_features().iter().any(|feature| x87.contains(feature))
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
