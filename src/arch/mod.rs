//! x86 as its manuals define it: registers, descriptors, paging formats and flags.
//!
//! Plain data and arithmetic, without KVM and without `unsafe`. Structures that lie in the guest's memory
//! are read through [`PhysicalMemory`], which `memory` implements.

pub mod bit_names;
pub mod descriptor;
pub mod error_code;
pub mod exceptions;
pub mod flags;
pub mod gate;
mod mode;
pub mod paging;
mod physical_memory;
mod registers;
#[cfg(test)]
mod test_ram;

pub use mode::Mode;
pub use physical_memory::{PAGE_SIZE, PhysicalMemory};
pub use registers::{
    DebugRegisters, ExtendedRegisters, GeneralRegisters, Registers, SegmentRegister, SystemRegisters,
    TableRegister,
};
