//! Entering a handler in real mode.
//!
//! Manual: Intel SDM volume 3B, "Interrupt and Exception Handling" under "8086 Emulation".

use super::super::cpu::Cpu;
use super::super::exception::{EmulationError, Exception};
use super::{Event, stack};
use crate::arch::flags::{RFLAGS_AC, RFLAGS_IF, RFLAGS_RF, RFLAGS_TF};
use crate::arch::gate::{GateEntry, MAX_GATE_SIZE};

/// Enters the handler that the interrupt vector table names. There are no error codes in real mode.
pub(super) fn deliver(cpu: &mut Cpu, event: Event) -> Result<(), EmulationError> {
    let refused = Exception::protection(0);
    let entry = GateEntry::of(&cpu.registers, event.vector).ok_or(refused)?;
    let mut bytes = [0; MAX_GATE_SIZE];
    cpu.read_system(entry.address, &mut bytes[..entry.size()])?;
    let gate = entry.decode(bytes).ok_or(refused)?;
    let general = cpu.registers.general;
    let frame = [general.rflags, u64::from(cpu.registers.system.cs.selector), general.rip];
    stack::push(cpu, 2, &frame, 0)?;
    let registers = &mut cpu.registers;
    registers.general.rflags &= !(RFLAGS_IF | RFLAGS_TF | RFLAGS_AC | RFLAGS_RF);
    registers.general.rip = gate.offset;
    registers.system.cs.selector = gate.selector;
    registers.system.cs.base = u64::from(registers.system.cs.selector) << 4;
    Ok(())
}
