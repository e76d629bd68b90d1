//! The exception behind a triple fault, where the guest's first IDT has taken it: vector and error code are known, and
//! what the instruction at RIP shows explains them.

use super::error_code::{EXTERNAL, IN_IDT, gate};
use super::{AccessKind, Diagnosis, RaisedException, access, vector};
use crate::arch::Registers;
use crate::machine::RescuedException;
use crate::memory::GuestMemory;

/// Bits of a page fault's error code (Intel SDM volume 3A, "Page-Fault Exceptions").
const WRITE: u32 = 1 << 1;
const FETCH: u32 = 1 << 4;
/// Exceptions up to this vector are older than the reserved ones, and a program can raise each of them.
const LAST: u8 = 21;

/// The exception `recorded`, with the diagnosis of that of `found` which fits.
pub fn explain(
    memory: &GuestMemory,
    registers: &Registers,
    recorded: RescuedException,
    found: impl IntoIterator<Item = RaisedException>,
) -> RaisedException {
    let RescuedException { vector, error_code } = recorded;
    let names_gate = matches!(vector, vector::PROTECTION | vector::NOT_PRESENT)
        && error_code.is_some_and(|code| code & IN_IDT != 0);
    let mut found = found.into_iter();
    if vector == vector::DOUBLE_FAULT && error_code.is_some() {
        let diagnosis = Diagnosis::DoubleFault(found.next().map(Box::new));
        return RaisedException { vector, error_code, diagnosis };
    }
    let missing = error_code.filter(|_| names_gate).map(|code| (gate(code) as u8, code & EXTERNAL != 0));
    let fitting = found.find(|found| match missing {
        // Its own gate is missing, for which the processor raises another exception.
        Some((gate, false)) => found.vector == gate && found.diagnosis == Diagnosis::SoftwareInterrupt,
        Some((_, true)) => false,
        None => found.vector == vector && fits(registers, found),
    });
    let plain = |diagnosis| RaisedException { vector, error_code, diagnosis };
    match (missing, fitting) {
        (Some(_), Some(software)) => software,
        (Some((gate, true)), None) => {
            RaisedException { vector: gate, error_code: None, diagnosis: Diagnosis::Interrupt }
        }
        (None, Some(found)) => plain(found.diagnosis),
        _ if vector == vector::PAGE_FAULT => plain(page(memory, registers, error_code.unwrap_or(0))),
        _ if is_interrupt(vector, error_code) => plain(Diagnosis::Interrupt),
        _ => plain(Diagnosis::Unexplained),
    }
}

/// False for a page fault at another address than CR2.
fn fits(registers: &Registers, found: &RaisedException) -> bool {
    match found.diagnosis {
        Diagnosis::Page { address, .. } => address == registers.system.cr2,
        _ => true,
    }
}

/// The page fault that CR2 and its error code describe.
fn page(memory: &GuestMemory, registers: &Registers, code: u32) -> Diagnosis {
    let address = registers.system.cr2;
    let kind = match code {
        _ if code & FETCH != 0 => AccessKind::Fetch,
        _ if code & WRITE != 0 => AccessKind::Write,
        _ => AccessKind::Read,
    };
    match access::pages(memory, registers, address, 1, kind, false) {
        Some(RaisedException { diagnosis, .. }) => diagnosis,
        // The tables have changed since, or the TLB had an older entry.
        None => Diagnosis::Unexplained,
    }
}

/// True if no instruction has raised it: no exception has the vector, or the one that has it pushes an error code.
fn is_interrupt(vector: u8, error_code: Option<u32>) -> bool {
    let is_exception = !matches!(vector, vector::COPROCESSOR_SEGMENT | 15 | 20) && vector <= LAST;
    vector == vector::NMI || error_code.is_none() && (!is_exception || vector::has_error_code(vector))
}

#[cfg(test)]
#[path = "recorded_test.rs"]
mod tests;
