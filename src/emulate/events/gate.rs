//! The gate through which an event reaches its handler.
//!
//! Manual: Intel SDM volume 3A, "IDT Descriptors" and "64-Bit Mode IDT".

use super::super::Obstacle;
use super::super::cpu::Cpu;
use super::super::exception::{EmulationError, Exception};
use super::Event;
use crate::arch::gate::{Gate, GateEntry, GateKind, MAX_GATE_SIZE};

/// In an error code: the index is one of the interrupt descriptor table.
const IN_IDT: u32 = 1 << 1;

/// The gate of an event, checked for this event. It is not a task gate.
///
/// # Errors
///
/// #GP and #NP as the manual defines them, the page fault of reading the table, and
/// [`Obstacle::TaskGate`].
pub(super) fn gate_of(cpu: &mut Cpu, event: &Event) -> Result<Gate, EmulationError> {
    let code = u32::from(event.vector) << 3 | IN_IDT | event.external();
    let refused = Exception::protection(code);
    let entry = GateEntry::of(&cpu.registers, event.vector).ok_or(refused)?;
    let mut bytes = [0; MAX_GATE_SIZE];
    cpu.read_system(entry.address, &mut bytes[..entry.size()])?;
    let gate = entry.decode(bytes).ok_or(refused)?;
    if event.software && gate.dpl < cpu.ring() {
        return Err(refused.into());
    }
    if !gate.is_present {
        return Err(Exception::not_present(code).into());
    }
    if gate.kind == GateKind::Task {
        return Err(Obstacle::TaskGate.into());
    }
    Ok(gate)
}
