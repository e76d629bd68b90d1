//! Registers and memory of a stopped guest, for expressions.

use super::expression::{Register, Values};
use crate::arch::Registers;
use crate::inspect::translate::read_virtual;
use crate::memory::GuestMemory;

/// A guest whose registers have been read.
#[derive(Debug)]
pub struct Known<'a> {
    /// The registers.
    pub registers: &'a Registers,
    /// Memory, reached through the guest's own page tables.
    pub memory: &'a GuestMemory,
}

impl Values for Known<'_> {
    fn register(&mut self, register: Register) -> u64 {
        register.general(&self.registers.general).unwrap_or_else(|| register.system(&self.registers.system))
    }

    fn load(&mut self, address: u64, size: u8) -> Option<u64> {
        load(self.memory, self.registers, address, size)
    }
}

/// `size` bytes (at most 8) at the virtual address `address`, lowest first; `None` if not all of them
/// are mapped RAM.
pub fn load(memory: &GuestMemory, registers: &Registers, address: u64, size: u8) -> Option<u64> {
    let mut bytes = [0; 8];
    let wanted = bytes.get_mut(..usize::from(size))?;
    (read_virtual(memory, registers, address, wanted) == wanted.len()).then(|| u64::from_le_bytes(bytes))
}
