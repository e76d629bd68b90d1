//! How many instructions were emulated in place of KVM, and of which kinds.

use std::collections::BTreeSet;

use iced_x86::{Formatter, Instruction, IntelFormatter, Mnemonic};
use tracing::debug;

/// Counts the instructions emulated for one vCPU, and logs each kind at its first occurrence.
#[derive(Debug, Default)]
pub struct EmulationCounter {
    total: u64,
    seen: BTreeSet<Mnemonic>,
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

    /// Number of instructions emulated so far.
    pub fn total(&self) -> u64 {
        self.total
    }
}
