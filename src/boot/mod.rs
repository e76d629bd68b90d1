//! A guest file becomes memory contents and the state of the first vCPU.
//!
//! Nothing in here needs `/dev/kvm`: the result is [`BootState`], plain numbers that the machine
//! gives to its vCPU. What the guest finds when it starts is written down in `docs/boot-state.md`.
//!
//! | file | what it does |
//! |---|---|
//! | `image` | reads files piece by piece |
//! | `identify` | says what a file is that is no guest |
//! | `elf64` | reads and checks the headers |
//! | `dynamic` | reads which relocations there are |
//! | `segments` | decides where each segment goes |
//! | `place` | finds room for everything else |
//! | `relocate` | moves a position-independent guest |
//! | `address_space`, `page_tables` | what is mapped where, and the tables for it |
//! | `descriptors` | GDT, IDT, task state segment |
//! | `start_info` | command line, modules and memory map for the guest |

mod address_space;
mod descriptors;
mod dynamic;
mod elf64;
mod error;
mod identify;
mod image;
mod load;
mod page_tables;
mod place;
mod relocate;
mod segments;
mod start_info;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

pub use error::{BootError, GuestProblem, SegmentName};
pub use image::{BytesImage, FileImage, Image};
pub use load::load;

/// Selector of the 64-bit ring-0 code segment a guest starts in.
pub const CODE_SELECTOR: u16 = 0x08;

/// Selector of the flat ring-0 data segment. No segment register has it when the guest starts: SS,
/// DS, ES, FS and GS hold the null selector, which 64-bit code may use for data.
pub const DATA_SELECTOR: u16 = 0x10;

/// Selector of the task state segment.
pub const TASK_SELECTOR: u16 = 0x18;

/// CR0 at entry: PE, MP, ET, NE, WP and PG (Intel SDM volume 3, 2.5).
pub const ENTRY_CR0: u64 = 1 << 0 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 16 | 1 << 31;

/// CR4 at entry: PAE, OSFXSR and OSXMMEXCPT, so that SSE instructions work at once (Intel SDM
/// volume 3, 2.5). No page is global, so PGE is left to the guest.
pub const ENTRY_CR4: u64 = 1 << 5 | 1 << 9 | 1 << 10;

/// EFER at entry: LME, LMA and NXE (Intel SDM volume 3, 2.2.1).
pub const ENTRY_EFER: u64 = 1 << 8 | 1 << 10 | 1 << 11;

/// RFLAGS at entry: interrupts off, and bit 1, which is always set.
pub const ENTRY_RFLAGS: u64 = 1 << 1;

/// Size of the boot stack in bytes.
pub const STACK_SIZE: u64 = 64 << 10;

/// What the user can choose about booting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BootOptions {
    /// Unmap page 0, enforce segment permissions, guard the boot stack.
    pub strict: bool,
    /// Command line handed to the guest.
    pub command_line: String,
    /// Files handed to the guest, each with its command line.
    pub modules: Vec<(PathBuf, String)>,
}

/// Base and limit of a descriptor table or of the task state segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Address of the first byte.
    pub base: u64,
    /// Offset of the last byte.
    pub limit: u16,
}

/// The first vCPU at the guest's first instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BootState {
    /// RIP.
    pub entry: u64,
    /// RSP, 16-byte aligned.
    pub stack_top: u64,
    /// CR3: guest-physical address of the PML4.
    pub page_tables: u64,
    /// GDTR.
    pub gdt: Table,
    /// IDTR.
    pub idt: Table,
    /// The task state segment TR is loaded with.
    pub tss: Table,
    /// RDI and RBX: guest-physical address of the PVH `hvm_start_info`.
    pub info: u64,
}

/// A guest in memory, ready to start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boot {
    /// Registers of the first vCPU.
    pub state: BootState,
    /// What was put where, ascending, for the log.
    pub layout: Vec<Region>,
    /// What was added to every address in the file; not 0 only for a relocated guest.
    pub bias: u64,
    /// What the user should be told although the guest can be started.
    pub warnings: Vec<String>,
}

/// A part of guest-physical memory that was filled, or set aside, before the guest started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// What it is, for example `page tables`.
    pub name: String,
    /// Its guest-physical addresses.
    pub range: Range<u64>,
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x} {}", self.range.start, self.range.end, self.name)
    }
}

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
#[cfg(test)]
mod hostile_files;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code))]
pub(crate) mod test_guest;
#[cfg(test)]
mod tests;
