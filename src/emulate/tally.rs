//! How many instructions were carried out in place of KVM, and of which kinds: the log is told of each
//! kind once.

use std::collections::BTreeSet;

use iced_x86::{Formatter, Instruction, IntelFormatter, Mnemonic};
use tracing::debug;

/// Counts what a vCPU's guest had carried out here.
#[derive(Debug, Default)]
pub struct Tally {
    total: u64,
    seen: BTreeSet<Mnemonic>,
}

impl Tally {
    /// One more, which began at `rip`.
    pub fn count(&mut self, instruction: &Instruction, rip: u64) {
        self.total += 1;
        if self.seen.insert(instruction.mnemonic()) {
            let mut name = String::new();
            IntelFormatter::new().format_mnemonic(instruction, &mut name);
            debug!("`{name}` is carried out in place of KVM, the first time at {rip:#x}");
        }
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        self.total
    }
}
