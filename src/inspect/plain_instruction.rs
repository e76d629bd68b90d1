//! What an instruction touches, for those whose effect follows from registers, memory and a port alone.
//!
//! [`PlainInstruction::next`] knows the instructions that ordinary integer code consists of. It refuses all others: those
//! that read a clock, a random number or a model-specific register, change a segment or a control register, turn
//! interrupts on or off, enter another ring, or use the floating-point unit.
//!
//! Manual: Intel SDM volume 2.

use iced_x86::{
    CpuidFeature, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, MemorySize,
    Mnemonic, OpAccess, OpKind, Register, UsedMemory,
};

use super::disassembly::LONGEST_INSTRUCTION;
use super::fault;
use super::operands::{register_value, segment};
use super::translate::{piece, read_virtual};
use crate::arch::{Mode, Registers};
use crate::memory::GuestMemory;

/// Where the instructions come from that are known: plain integer code, as compilers make it.
const KNOWN: [CpuidFeature; 12] = [
    CpuidFeature::INTEL8086,
    CpuidFeature::INTEL8086_ONLY,
    CpuidFeature::INTEL186,
    CpuidFeature::INTEL286,
    CpuidFeature::INTEL386,
    CpuidFeature::INTEL486,
    CpuidFeature::X64,
    CpuidFeature::CMOV,
    CpuidFeature::CX8,
    CpuidFeature::MULTIBYTENOP,
    CpuidFeature::PAUSE,
    CpuidFeature::CET_IBT,
];

/// An instruction that has not been executed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainInstruction {
    /// The RAM that it reads or writes, in pieces within a page.
    pub memory: Vec<TouchedMemory>,
    /// The ports it reads or writes, if it is `in` or `out`.
    pub ports: Option<TouchedPorts>,
    /// The instruction pointer behind it and that of its target, if the instruction names them; else it may lead anywhere.
    after: Option<[u64; 2]>,
    /// It leads to itself, whatever the flags are.
    pub is_endless: bool,
}

/// RAM that an instruction accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TouchedMemory {
    /// Guest-physical address.
    pub physical: u64,
    /// Bytes.
    pub length: usize,
    /// It may be written.
    pub write: bool,
}

/// Ports that an instruction accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TouchedPorts {
    /// The first one.
    pub first: u16,
    /// How many: 1, 2 or 4.
    pub count: u16,
    /// They are written.
    pub write: bool,
}

impl PlainInstruction {
    /// The instruction at RIP, if it is one that is known, raises no exception, and accesses no memory but RAM.
    pub fn next(memory: &GuestMemory, registers: &Registers) -> Option<PlainInstruction> {
        let mut code = [0; LONGEST_INSTRUCTION];
        let count = read_virtual(memory, registers, registers.next_instruction(), &mut code);
        let code = &code[..count];
        let (bitness, rip) = (registers.bitness(), registers.general.rip);
        let instruction = Decoder::with_ip(bitness, code, rip, DecoderOptions::NONE).decode();
        if instruction.is_invalid() || !is_known(&instruction) {
            return None;
        }
        let ports = ports(&instruction, registers);
        if ports.is_none() && instruction.is_privileged() {
            return None;
        }
        if fault::find(memory, registers, code, &|| None).is_some() {
            return None;
        }
        let mut factory = InstructionInfoFactory::new();
        let info = factory.info(&instruction);
        if info.used_registers().iter().any(|used| is_special(used.register()) && writes(used.access())) {
            return None;
        }
        let mut touched = Vec::new();
        for used in info.used_memory() {
            touch(memory, registers, used, &mut touched)?;
        }
        let (next, target) = (instruction.next_ip(), instruction.near_branch_target());
        let (after, is_endless) = match instruction.flow_control() {
            FlowControl::Next => (Some([next; 2]), false),
            FlowControl::ConditionalBranch => (Some([next, target]), false),
            FlowControl::UnconditionalBranch | FlowControl::Call => (Some([target; 2]), target == rip),
            FlowControl::Return | FlowControl::IndirectBranch | FlowControl::IndirectCall => (None, false),
            _ => return None,
        };
        Some(PlainInstruction { memory: touched, ports, after, is_endless })
    }

    /// True if the instruction may lead to this instruction pointer.
    pub fn may_lead_to(&self, rip: u64) -> bool {
        self.after.is_none_or(|after| after.contains(&rip))
    }
}

/// True for an instruction of [`KNOWN`] that does nothing besides.
fn is_known(instruction: &Instruction) -> bool {
    use Mnemonic::*;
    let is_far = instruction.is_jmp_far()
        || instruction.is_jmp_far_indirect()
        || instruction.is_call_far()
        || instruction.is_call_far_indirect();
    let is_refused = match instruction.mnemonic() {
        Pushf | Pushfd | Pushfq | Popf | Popfd | Popfq | Int | Int1 | Int3 | Into | Iret | Iretd | Iretq
        | Retf | Enter | Hlt | Bound => true,
        // A bit number in a register reaches beyond the operand.
        Bt | Bts | Btr | Btc => instruction.op1_kind() == OpKind::Register,
        _ => false,
    };
    // A repeated one is many.
    let is_repeated = instruction.is_string_instruction()
        && (instruction.has_rep_prefix() || instruction.has_repne_prefix());
    let features = instruction.cpuid_features();
    features.iter().all(|feature| KNOWN.contains(feature)) && !is_far && !is_refused && !is_repeated
}

/// True for registers with which more than a value changes.
fn is_special(register: Register) -> bool {
    register.is_segment_register() || register.is_cr() || register.is_dr() || register.is_tr()
}

fn writes(access: OpAccess) -> bool {
    matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
}

/// The ports of `in` and `out`.
fn ports(instruction: &Instruction, registers: &Registers) -> Option<TouchedPorts> {
    let (port, data, write) = match instruction.mnemonic() {
        Mnemonic::In => (1, 0, false),
        Mnemonic::Out => (0, 1, true),
        _ => return None,
    };
    let first = match instruction.op_kind(port) {
        OpKind::Immediate8 => u16::from(instruction.immediate8()),
        _ => registers.general.rdx as u16,
    };
    let count = instruction.op_register(data).size() as u16;
    Some(TouchedPorts { first, count, write })
}

/// Adds the RAM of a memory operand to `touched`; `None` if it is no RAM.
fn touch(
    memory: &GuestMemory,
    registers: &Registers,
    used: &UsedMemory,
    touched: &mut Vec<TouchedMemory>,
) -> Option<()> {
    if matches!(used.access(), OpAccess::None | OpAccess::NoMemAccess) {
        return Some(());
    }
    if used.memory_size() == MemorySize::Unknown {
        return None;
    }
    let offset = used.virtual_address(0, |register, _, _| match register.is_segment_register() {
        true => Some(0),
        false => register_value(register, registers),
    })?;
    // Only these two have a base in 64-bit mode (Intel SDM volume 3A, "Segmentation in IA-32e Mode").
    let has_base =
        registers.mode() != Mode::SixtyFourBit || matches!(used.segment(), Register::FS | Register::GS);
    let base = if has_base { segment(used.segment(), registers)?.base } else { 0 };
    let (mut address, mut left) = (base.wrapping_add(offset), used.memory_size().size());
    while left > 0 {
        let (physical, length) = piece(memory, registers, address, left)?;
        let mut bytes = [0; 16];
        memory.read(physical, bytes.get_mut(..length)?).ok()?;
        touched.push(TouchedMemory { physical, length, write: writes(used.access()) });
        (address, left) = (address.wrapping_add(length as u64), left - length);
    }
    Some(())
}

#[cfg(test)]
#[path = "plain_instruction_test.rs"]
mod tests;
