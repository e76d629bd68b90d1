//! Guests for the unit tests of several files.

use super::backtrace::CodeInformation;
use crate::arch::Registers;
use crate::arch::flags::{CR0_PE, CR0_PG, CR4_PAE, EFER_LMA};
use crate::boot::{Caller, FrameRegisters, SourceFunction, Symbol};
use crate::memory::GuestMemory;

/// 64-bit code with the first 2 MiB identity-mapped.
pub(crate) fn long_mode(memory: &GuestMemory) -> Registers {
    memory.write_u64(0x1000, 0x2003).unwrap();
    memory.write_u64(0x2000, 0x3003).unwrap();
    memory.write_u64(0x3000, 0x83).unwrap();
    let mut registers = Registers::default();
    registers.system.cs.l = 1;
    registers.system.cr0 = CR0_PG | CR0_PE;
    registers.system.cr3 = 0x1000;
    registers.system.cr4 = CR4_PAE;
    registers.system.efer = EFER_LMA;
    registers
}

/// Code about which nothing is known.
pub(crate) struct NoInformation;

impl CodeInformation for NoInformation {
    fn symbol_at(&self, _: u64) -> Option<Symbol> {
        None
    }

    fn functions_at(&self, _: u64) -> Vec<SourceFunction> {
        Vec::new()
    }

    fn caller(&self, _: u64, _: &FrameRegisters, _: &dyn Fn(u64, u8) -> Option<u64>) -> Option<Caller> {
        None
    }
}
