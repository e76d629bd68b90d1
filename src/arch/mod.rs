//! x86 as its manuals define it: registers, descriptors, paging formats and flags.
//!
//! Plain data and arithmetic. Nothing here talks to KVM, and nothing needs `unsafe`; guest memory is read
//! through [`crate::memory`] where a structure lies there.

pub mod descriptor;
pub mod flags;
pub mod paging;
mod registers;

pub use registers::{GeneralRegisters, Registers, SegmentRegister, SystemRegisters, TableRegister};
