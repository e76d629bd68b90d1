//! Read-only views of a stopped machine.

pub mod disassembly;
pub mod dump;
pub mod hexdump;
mod refused;
pub mod report;
pub mod symbols;
pub mod translate;
