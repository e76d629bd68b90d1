//! The descriptor tables of a stopped CPU, decoded, with what is wrong with each entry.
//!
//! Manual: Intel SDM volume 3A, "Protected-Mode Memory Management", "Interrupt and Exception Handling" and "Task
//! Management".

mod gdt;
mod idt;
mod tss;

use crate::arch::Registers;
use crate::arch::paging::{Access, Paging};
use crate::memory::GuestMemory;

pub use gdt::{GdtEntry, GdtView};
pub use idt::{IdtEntry, IdtView};
pub use tss::{TaskStack, TssView};

/// Notes on an entry, a line each, below it.
fn write_notes(f: &mut std::fmt::Formatter<'_>, notes: &[String]) -> std::fmt::Result {
    notes.iter().try_for_each(|note| writeln!(f, "        ! {note}"))
}

/// True if the processor itself may write the byte at the linear `address`: a frame can be pushed there.
fn is_writable(memory: &GuestMemory, registers: &Registers, address: u64) -> bool {
    let access = Access { write: true, implicit: true, ..Access::default() };
    let paging = Paging::new(registers, Paging::WIDEST);
    paging
        .check(memory, address, access)
        .is_ok_and(|mapping| crate::arch::PhysicalMemory::is_ram(memory, mapping.physical, 1))
}

#[cfg(test)]
#[path = "tables/tables_test.rs"]
mod tests;
