//! Bytes that stand in for the guest's code while it runs: breakpoints without a debug register.
//!
//! They are in memory only while the guest runs: readers of stopped memory never see them.

use std::collections::BTreeSet;

use crate::arch::Registers;
use crate::inspect::translate::translate;
use crate::memory::GuestMemory;

/// The instruction that is inserted, one byte long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Opcode {
    /// Intel SDM volume 2A, "INT n/INTO/INT3/INT1".
    Int3 = 0xCC,
    /// Intel SDM volume 2A, "HLT": in ring 0 only, elsewhere it is an exception of the guest's.
    Halt = 0xF4,
}

/// What is inserted now; memory knows what it replaces.
#[derive(Debug, Default)]
pub(crate) struct InsertedBreakpoints {
    /// Virtual addresses and the guest-physical ones behind them: one byte may be mapped at two
    /// addresses, and one address to two bytes, by the page tables of two CPUs.
    places: BTreeSet<(u64, u64)>,
}

impl InsertedBreakpoints {
    /// The guest is about to run: inserts `opcode` at each of `addresses` that is mapped.
    pub(crate) fn insert(
        &mut self,
        memory: &GuestMemory,
        registers: &Registers,
        opcode: Opcode,
        addresses: impl Iterator<Item = u64>,
    ) {
        for address in addresses {
            if let Some(physical) = translate(memory, registers, address)
                && !self.places.contains(&(address, physical))
                && memory.insert_breakpoint(physical, opcode as u8)
            {
                self.places.insert((address, physical));
            }
        }
    }

    /// True if something is inserted.
    pub(crate) fn any(&self) -> bool {
        !self.places.is_empty()
    }

    /// The guest-physical address of what is inserted at `address`, which may have been inserted through
    /// another mapping of it.
    pub(crate) fn at(&self, memory: &GuestMemory, registers: &Registers, address: u64) -> Option<u64> {
        let mut places = self.places.range((address, 0)..=(address, u64::MAX)).map(|(_, physical)| *physical);
        let physical = match (places.next(), places.next()) {
            (Some(only), None) => Some(only),
            _ => translate(memory, registers, address),
        }?;
        memory.has_breakpoint(physical).then_some(physical)
    }

    /// The guest has stopped: puts back what was there. What the guest has written over a
    /// breakpoint stays, and so does what a reset has loaded there.
    pub(crate) fn remove(&mut self, memory: &GuestMemory) {
        self.places.clear();
        memory.remove_breakpoints();
    }
}

#[cfg(test)]
#[path = "breakpoint_bytes_test.rs"]
mod tests;
