//! The exception behind a triple fault, where the guest's first IDT has taken it: vector and error code are known, and
//! what the instruction at RIP shows explains them.

use super::{AccessKind, Diagnosis, RaisedException, access, vector};
use crate::arch::Registers;
use crate::arch::error_code::{EXTERNAL, IN_IDT, gate};
use crate::arch::exceptions::has_error_code;
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
    let plain = |diagnosis| RaisedException { vector, error_code, diagnosis };
    let found: Vec<RaisedException> = found.into_iter().collect();
    let undelivered =
        |first: Option<&RaisedException>| plain(Diagnosis::Undelivered(first.cloned().map(Box::new)));
    let names_selector = (vector::INVALID_TSS..=vector::PROTECTION).contains(&vector)
        && error_code.is_some_and(|code| code != 0);
    let missing = error_code.filter(|code| names_selector && code & IN_IDT != 0);
    if let Some(code) = missing {
        let external = code & EXTERNAL != 0;
        let is_software = |found: &&RaisedException| found.diagnosis == Diagnosis::SoftwareInterrupt;
        // QEMU's processor doubles the number of the gate.
        if let Some(software) = found.iter().find(is_software).filter(|_| !external) {
            return software.clone();
        }
        let Ok(missing) = u8::try_from(gate(code)) else { return plain(Diagnosis::Unexplained) };
        return match found.iter().find(|found| found.vector == missing && !is_software(found)) {
            Some(first) => undelivered(Some(first)),
            None if external => {
                RaisedException { vector: missing, error_code: None, diagnosis: Diagnosis::Interrupt }
            }
            None => plain(Diagnosis::Unexplained),
        };
    }
    let fitting = found.iter().find(|found| found.vector == vector && fits(registers, found));
    match fitting {
        _ if vector == vector::DOUBLE_FAULT && error_code.is_some() => undelivered(found.first()),
        Some(fitting) => plain(fitting.diagnosis.clone()),
        None if vector == vector::PAGE_FAULT => plain(page(memory, registers, error_code.unwrap_or(0))),
        // After some exceptions that cannot be delivered there is no double fault.
        None if names_selector && !found.is_empty() => undelivered(found.first()),
        None if is_interrupt(vector, error_code) => plain(Diagnosis::Interrupt),
        None => plain(Diagnosis::Unexplained),
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
    vector == vector::NMI || error_code.is_none() && (!is_exception || has_error_code(vector))
}

#[cfg(test)]
#[path = "recorded_test.rs"]
mod tests;
