//! `verr`, `verw`, `lar` and `lsl`: query a selector without an exception for an invalid one.
//!
//! Manual: Intel SDM volume 2, VERR/VERW, LAR and LSL; AMD APM volume 3, the same.

use iced_x86::{Instruction, Mnemonic, OpKind};

use crate::arch::flags::RFLAGS_ZF;
use crate::emulate::Obstacle;
use crate::emulate::cpu::{Cpu, Mode};
use crate::emulate::descriptors::{Descriptor, rpl};
use crate::emulate::exception::{EmulationError, Exception};

/// The part of a descriptor's upper half that `lar` returns.
const RIGHTS: u32 = 0x00FF_FF00;

/// System descriptor types as bits, and those that only legacy modes know. Intel SDM volume 2,
/// "Segment and Gate Types" of LAR and LSL.
mod types {
    const LDT: u16 = 1 << 2;
    const TASK_STATE: u16 = 1 << 9 | 1 << 11;
    const CALL_GATE: u16 = 1 << 12;
    const TASK_STATE_16: u16 = 1 << 1 | 1 << 3;
    const GATES_16: u16 = 1 << 4 | 1 << 5;

    pub const RIGHTS_LONG: u16 = LDT | TASK_STATE | CALL_GATE;
    pub const RIGHTS_LEGACY: u16 = RIGHTS_LONG | TASK_STATE_16 | GATES_16;
    pub const LIMIT_LONG: u16 = LDT | TASK_STATE;
    pub const LIMIT_LEGACY: u16 = LIMIT_LONG | TASK_STATE_16;
}

/// Executes `verr` or `verw`.
pub(super) fn verify(cpu: &mut Cpu, instruction: &Instruction) -> Result<(), EmulationError> {
    let selector = selector(cpu, instruction, 0)?;
    let write = instruction.mnemonic() == Mnemonic::Verw;
    let good = cpu.descriptor(selector)?.is_some_and(|descriptor| {
        let open = if write { descriptor.is_writable() } else { descriptor.is_readable() };
        open && is_within_reach(cpu, selector, &descriptor)
    });
    set_zero_flag(cpu, good);
    Ok(())
}

/// Executes `lar` or `lsl`.
pub(super) fn load(cpu: &mut Cpu, instruction: &Instruction) -> Result<(), EmulationError> {
    let selector = selector(cpu, instruction, 1)?;
    let rights = instruction.mnemonic() == Mnemonic::Lar;
    let types = match (rights, cpu.long_mode_active()) {
        (true, true) => types::RIGHTS_LONG,
        (true, false) => types::RIGHTS_LEGACY,
        (false, true) => types::LIMIT_LONG,
        (false, false) => types::LIMIT_LEGACY,
    };
    let descriptor = cpu.descriptor(selector)?.filter(|descriptor| {
        let known = !descriptor.is_system() || types >> descriptor.kind() & 1 != 0;
        known && is_within_reach(cpu, selector, descriptor)
    });
    if let Some(descriptor) = descriptor {
        let value = if rights { descriptor.high() & RIGHTS } else { descriptor.limit() };
        cpu.set_general(instruction.op0_register(), u64::from(value));
    }
    set_zero_flag(cpu, descriptor.is_some());
    Ok(())
}

/// The selector in operand `operand`, which is a register or two bytes of memory.
fn selector(cpu: &mut Cpu, instruction: &Instruction, operand: u32) -> Result<u16, EmulationError> {
    if matches!(cpu.mode(), Mode::Real | Mode::Virtual8086) {
        return Err(Exception::UNDEFINED.into());
    }
    if instruction.op_kind(operand) == OpKind::Memory {
        let mut bytes = [0; 2];
        let span = cpu.operand(instruction, bytes.len(), false)?;
        cpu.read(span, &mut bytes);
        return Ok(u16::from_le_bytes(bytes));
    }
    let value = cpu.general(instruction.op_register(operand)).ok_or(Obstacle::NotAllowed)?;
    Ok(value as u16)
}

/// True if CPL and RPL permit the access. Conforming code is accessible from all rings.
fn is_within_reach(cpu: &Cpu, selector: u16, descriptor: &Descriptor) -> bool {
    descriptor.is_conforming() || descriptor.dpl() >= cpu.ring().max(rpl(selector))
}

fn set_zero_flag(cpu: &mut Cpu, on: bool) {
    let flags = &mut cpu.registers.general.rflags;
    *flags = if on { *flags | RFLAGS_ZF } else { *flags & !RFLAGS_ZF };
}

#[cfg(test)]
#[allow(unsafe_code)]
#[path = "selectors_test.rs"]
mod tests;
