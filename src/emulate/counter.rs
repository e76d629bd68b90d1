//! How many instructions were emulated in place of KVM, and of which kinds.

use std::collections::BTreeSet;

use iced_x86::{Formatter, Instruction, IntelFormatter, Mnemonic};
use tracing::debug;

use super::exception::Exception;

/// The last instruction that was emulated for a vCPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmulatedInstruction {
    /// RIP of the instruction.
    pub rip: u64,
    /// What it is; `INVALID` if the bytes are no instruction.
    pub mnemonic: Mnemonic,
    /// The vector of the exception or software interrupt it has raised.
    pub vector: Option<u8>,
    /// The error code of that.
    pub error_code: Option<u32>,
}

/// Counts the instructions emulated for one vCPU, and logs each kind at its first occurrence.
#[derive(Debug, Default)]
pub struct EmulationCounter {
    total: u64,
    seen: BTreeSet<Mnemonic>,
    last: EmulatedInstruction,
}

impl EmulationCounter {
    /// Counts one instruction, which started at `rip`.
    pub fn count(&mut self, instruction: &Instruction, rip: u64) {
        self.total += 1;
        if self.seen.insert(instruction.mnemonic()) {
            let mut name = String::new();
            IntelFormatter::new().format_mnemonic(instruction, &mut name);
            debug!("`{name}` is emulated in place of KVM, first at {rip:#x}");
        }
    }

    /// Notes the instruction, whether it counts or has led to a triple fault.
    pub(super) fn note(&mut self, instruction: &Instruction, rip: u64, raised: Option<Exception>) {
        let software = match instruction.mnemonic() {
            Mnemonic::Int => Some(instruction.immediate8()),
            Mnemonic::Int3 => Some(3),
            Mnemonic::Int1 => Some(1),
            _ => None,
        };
        self.last = EmulatedInstruction {
            rip,
            mnemonic: instruction.mnemonic(),
            vector: raised.map(|exception| exception.vector).or(software),
            error_code: raised.and_then(|exception| exception.code),
        };
    }

    /// The last instruction that was emulated.
    pub fn last(&self) -> EmulatedInstruction {
        self.last
    }

    /// Number of instructions emulated so far.
    pub fn total(&self) -> u64 {
        self.total
    }
}
