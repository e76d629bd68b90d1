//! A fault whose handler returns to the instruction that faults, which the report of a time-out names.
//!
//! Nothing is executed: the guest is at an instruction that raises an exception for which it has a handler, or in a
//! handler that leads straight back to one.

use serde::Serialize;

use super::backtrace::{self, CodeInformation, Frame};
use super::disassembly::LONGEST_INSTRUCTION;
use super::fault::{self, Diagnosis, RaisedException, delivery};
use super::translate::read_virtual;
use crate::arch::Registers;
use crate::memory::GuestMemory;

/// An exception that is raised again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultLoop {
    /// The exception.
    pub exception: RaisedException,
    /// The instruction that raises it.
    pub place: Frame,
    /// The guest was in the handler, not at the instruction.
    pub in_handler: bool,
}

/// The exception that a guest which has stopped with `registers` raises again and again; `None` if there is no sign of
/// one.
pub(super) fn find(
    code: &dyn CodeInformation,
    memory: &GuestMemory,
    registers: &Registers,
) -> Option<FaultLoop> {
    if let Some(exception) = raised(memory, registers) {
        let place = backtrace::frame(code, registers.next_instruction());
        return Some(FaultLoop { exception, place, in_handler: false });
    }
    let interrupted = backtrace::interrupted(code, memory, registers)?;
    let exception = raised(memory, &interrupted)?;
    let place = backtrace::frame(code, interrupted.next_instruction());
    Some(FaultLoop { exception, place, in_handler: true })
}

/// The exception that the instruction at RIP raises, and for which there is a handler.
fn raised(memory: &GuestMemory, registers: &Registers) -> Option<RaisedException> {
    let mut bytes = [0; LONGEST_INSTRUCTION];
    let count = read_virtual(memory, registers, registers.next_instruction(), &mut bytes);
    let exception = fault::find(memory, registers, &bytes[..count], &|| None)?;
    let is_certain = match exception.diagnosis {
        // CR2 is that of the last page fault.
        Diagnosis::Page { address, .. } => address == registers.system.cr2,
        // These are meant, or not certain.
        Diagnosis::SoftwareInterrupt | Diagnosis::BreakpointBefore | Diagnosis::RegisterValue => false,
        _ => true,
    };
    (is_certain && delivery::failure(memory, registers, exception.vector).is_none()).then_some(exception)
}

impl FaultLoop {
    /// One sentence, without the full stop.
    pub fn sentence(&self, ring: u8) -> String {
        let (what, place) = (self.exception.sentence(ring), &self.place);
        match self.in_handler {
            false => format!(
                "The instruction there raises the same exception again and again, if its handler returns to it: {what}"
            ),
            true => format!(
                "The guest is in the handler of an exception that returns to the instruction that raises it, {place}, \
                 again and again unless it removes the cause: {what}"
            ),
        }
    }
}

#[cfg(test)]
#[path = "fault_loop_test.rs"]
mod tests;
