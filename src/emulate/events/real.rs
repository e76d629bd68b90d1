//! Entering a handler in real mode.
//!
//! Manual: Intel SDM volume 3B, "Interrupt and Exception Handling" under "8086 Emulation".

use super::super::cpu::Cpu;
use super::super::exception::{EmulationError, Exception};
use super::{Event, stack};
use crate::arch::flags::{RFLAGS_AC, RFLAGS_IF, RFLAGS_RF, RFLAGS_TF};

/// Size of an entry of the interrupt vector table: offset and segment.
const ENTRY: u64 = 4;

/// Enters the handler that the interrupt vector table names. There are no error codes in real mode.
pub(super) fn deliver(cpu: &mut Cpu, event: Event) -> Result<(), EmulationError> {
    let table = cpu.registers.system.idt;
    let offset = u64::from(event.vector) * ENTRY;
    if offset + ENTRY - 1 > u64::from(table.limit) {
        return Err(Exception::protection(0).into());
    }
    let mut entry = [0; ENTRY as usize];
    cpu.read_system(table.base.wrapping_add(offset), &mut entry)?;
    let [o0, o1, s0, s1] = entry;
    let general = cpu.registers.general;
    let frame = [general.rflags, u64::from(cpu.registers.system.cs.selector), general.rip];
    stack::push(cpu, 2, &frame, 0)?;
    let registers = &mut cpu.registers;
    registers.general.rflags &= !(RFLAGS_IF | RFLAGS_TF | RFLAGS_AC | RFLAGS_RF);
    registers.general.rip = u64::from(u16::from_le_bytes([o0, o1]));
    registers.system.cs.selector = u16::from_le_bytes([s0, s1]);
    registers.system.cs.base = u64::from(registers.system.cs.selector) << 4;
    Ok(())
}
