//! Turns a guest file into memory contents and a complete CPU state.
//!
//! [`load`] finds the boot protocol for the file ([`Protocol::find`]), which fills guest memory and returns a
//! [`LoadedGuest`]: the registers of the bootstrap processor, what a reset of the machine does, and where
//! symbols come from. The machine writes the registers to its first CPU; nothing here needs `/dev/kvm`.
//! `docs/boot-state.md` is the contract with the guest.
//!
//! | file | what it does |
//! |---|---|
//! | `protocol` | the table of protocols, and which one is for a file |
//! | `long_mode_elf` | the protocol of 64-bit ELF executables |
//! | `flat` | the protocol of flat 16-bit images |
//! | `disk` | the protocol of disk images, by the machine's own BIOS |
//! | `limine` | the protocol of kernels with requests of the Limine boot protocol |
//! | `linux` | the protocol of Linux kernels |
//! | `pvh` | the protocol of ELF files with a PVH note |
//! | `multiboot` | the protocols of Multiboot kernels, version 1 and 2 |
//! | `long_mode`, `protected_mode`, `real_mode` | the CPU state in each mode |
//! | `image` | reads files piece by piece |
//! | `gzip` | unpacks compressed files |
//! | `identify` | names the kind of a file that is not a guest |
//! | `elf` | reads the headers of ELF files of either class |
//! | `elf64` | reads and checks the headers of guests |
//! | `notes` | finds notes of ELF files |
//! | `dynamic` | reads which relocations there are |
//! | `segments` | decides where each segment goes |
//! | `allocator`, `free_pages` | allocate guest memory for everything else |
//! | `relocate` | moves a position-independent guest |
//! | `address_space`, `page_tables` | what is mapped where, and the tables for it |
//! | `descriptors` | GDT, IDT, task state segment |
//! | `entry_return` | what the guest's entry function returns to |
//! | `rescue_idt` | where exceptions lead before the guest loads an IDT |
//! | `code` | finds the code in a file |
//! | `contents` | sections and stacks of a guest file, for crash reports and views |
//! | `symbols` | finds names for addresses, and addresses for names |
//! | `debug_info` | source lines, inlined functions and call frames of a guest file |
//! | `platform` | the processors and the wiring of interrupts |
//! | `acpi`, `mp_table` | the tables that describe them |
//! | `firmware_tables` | where these tables are |
//! | `rom` | the protocol of firmware |
//! | `start_info` | command line, modules and memory map for the guest |
//!
//! Another protocol is one file like `flat` with a `recognise` and a `load`, a row in the table of `protocol`, and a
//! kind with its row in `settings::BOOT_KINDS`.

mod acpi;
mod address_space;
mod allocator;
mod boot_information;
mod build_id;
pub mod cdrom;
mod code;
mod contents;
mod debug_info;
mod descriptors;
mod disk;
mod dynamic;
mod elf;
mod elf64;
mod entry_return;
mod error;
mod firmware_tables;
mod flat;
mod framebuffer;
mod free_pages;
mod gzip;
mod identify;
mod image;
mod limine;
mod linux;
mod long_mode;
mod long_mode_elf;
mod mp_table;
mod multiboot;
mod notes;
mod page_tables;
mod platform;
mod protected_mode;
mod protocol;
mod pvh;
mod real_mode;
mod relocate;
mod rescue_idt;
mod rom;
mod segments;
mod start_info;
mod symbols;
mod test_table;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::arch::Registers;
use crate::settings::{BootKind, EntryAddress};

pub use build_id::build_id;
pub use code::{CodeRange, code_ranges, writable_code};
pub use contents::{Contents, FileSection, NamedStack, contents_at, has_debug_info, named_stacks, sections};
pub use debug_info::{
    Caller, DebugInfo, Declarations, FrameRegisters, LineRow, LineTable, SourceFunction, SourcePlace,
};
pub use disk::without_contents as without_disk_contents;
pub use elf::{elf_entry, is_64_bit_elf};
pub use entry_return::{
    MARK_LENGTH as ENTRY_RETURN_MARK_LENGTH, boot_stack, has_returned as entry_has_returned,
};
pub use error::{BootError, GuestProblem, SegmentName};
pub use framebuffer::Framebuffer;
pub use gzip::{is_compressed, open_guest_file};
pub use image::{BytesImage, FileImage, Image, OwnedImage};
pub use limine::{LimineProblem, PARKED_MARK_LENGTH, is_parked as is_parked_processor};
pub use linux::{LinuxProblem, is_large_kernel};
pub use multiboot::MultibootProblem;
pub use notes::is_elf;
pub use platform::Platform;
pub use protocol::{Choice, FoundProtocol, Protocol, load, load_as};
pub use rescue_idt::{is_rescue_gate, may_be_rescue_code, rescued_vector};
pub use rom::after_reset;
pub use symbols::{
    CodeSymbol, Symbol, SymbolIndex, has_symbols, has_symbols_at_fixed_addresses, is_relocatable,
};
pub use test_table::{GuestTest, TestSection, TestTableProblem};

/// The user's boot options.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BootOptions {
    /// The kind of the guest file; `None` if it is to be recognised.
    pub kind: Option<BootKind>,
    /// The address a flat image is loaded at.
    pub load: Option<u64>,
    /// Where a flat image is started.
    pub entry: Option<EntryAddress>,
    /// The file with the guest's initial file system.
    pub initrd: Option<PathBuf>,
    /// Enforce segment permissions.
    pub strict: bool,
    /// Map page 0 and the page below the boot stack.
    pub no_guards: bool,
    /// Command line passed to the guest.
    pub command_line: String,
    /// Files passed to the guest, each with its command line.
    pub modules: Vec<(PathBuf, String)>,
    /// The VGA BIOS of a machine with firmware.
    pub vga_bios: Option<PathBuf>,
    /// The machine as the ACPI and MP tables describe it.
    pub platform: Platform,
    /// The time of day when the guest starts, in seconds since 1970 UTC, if it is known.
    pub time_of_day: Option<i64>,
}

impl BootOptions {
    /// The protocol of a guest that was saved. Older versions had only [`BootKind::Elf64`].
    pub fn saved_protocol(&self) -> &'static Protocol {
        Protocol::of(self.kind.unwrap_or(BootKind::Elf64))
    }

    /// The files passed to a guest whose protocol knows modules alone, each with its command line: the initial file
    /// system first.
    pub fn all_modules(&self) -> impl Iterator<Item = (&Path, &str)> {
        let modules = self.modules.iter().map(|(path, line)| (path.as_path(), line.as_str()));
        self.initrd.as_deref().map(|path| (path, "")).into_iter().chain(modules)
    }
}

/// What a reset of the machine does, besides resetting the devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetAction {
    /// RAM is cleared and the guest file is loaded again, as at the start.
    Reload,
    /// RAM keeps its contents, and the processor starts at the reset vector in ROM ([`after_reset`]).
    ResetVector,
}

/// The source of a guest's symbols, besides the files of `--symbols`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolSource {
    /// The symbol table of the guest file.
    GuestFile {
        /// The offset added to every address in the file; not 0 only for a relocated guest.
        bias: u64,
    },
    /// The guest file is no ELF file.
    None,
}

impl SymbolSource {
    /// The offset added to every address in the file.
    pub fn bias(self) -> u64 {
        match self {
            SymbolSource::GuestFile { bias } => bias,
            SymbolSource::None => 0,
        }
    }

    /// The address in the file that became `address` in memory.
    pub fn address_in_file(self, address: u64) -> u64 {
        address.wrapping_sub(self.bias())
    }
}

/// A guest file that has been loaded: its bytes, and how to find its symbols.
pub struct GuestFile {
    /// The bytes; read again after a reset and for symbol look-ups.
    pub image: Box<dyn Image>,
    /// The source of the symbols.
    pub symbols: SymbolSource,
}

/// A guest in memory, ready to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedGuest {
    /// The kind of guest file that it was loaded from.
    pub kind: BootKind,
    /// Why it was loaded as this kind.
    pub choice: Choice,
    /// All registers of the bootstrap processor at the guest's first instruction. Those that are not part
    /// of [`Registers`] are as a reset leaves them (Intel SDM volume 3A, "Processor State After Reset").
    pub registers: Registers,
    /// The registers of the processors after it that execute instructions from the start. The others wait for a
    /// start-up IPI.
    pub other_processors: Vec<Registers>,
    /// The framebuffer that the guest expects: the display adapter has this mode when it starts.
    pub framebuffer: Option<Framebuffer>,
    /// What a reset does.
    pub reset: ResetAction,
    /// The source of the symbols.
    pub symbols: SymbolSource,
    /// The regions of memory in use, ascending, for the log.
    pub layout: Vec<LoadedRegion>,
    /// Notes for the user about a guest that can be started.
    pub warnings: Vec<String>,
}

impl LoadedGuest {
    /// The kind of guest, and why it was loaded as that.
    pub fn kind_and_choice(&self) -> String {
        format!("guest of kind {} ({}), {}", self.kind.name(), self.kind.spec().file, self.choice)
    }

    /// The registers of the processors that execute instructions from the start: of the first one, and of those after
    /// it.
    pub fn start_state(&self) -> (&Registers, &[Registers]) {
        (&self.registers, &self.other_processors)
    }

    /// The state of the processor at the first instruction, in one line.
    pub fn entry_state(&self) -> String {
        let Registers { general, system } = &self.registers;
        let (rip, rsp) = (general.rip, general.rsp);
        match self.registers.bitness() {
            64 if self.kind == BootKind::Limine => format!("entry {rip:#x}, stack {rsp:#x}"),
            64 if self.kind == BootKind::Linux => {
                format!("entry {rip:#x}, stack {rsp:#x}, boot_params {:#x}", general.rsi)
            }
            64 => format!("entry {rip:#x}, stack {rsp:#x}, start info {:#x}", general.rdi),
            32 => format!(
                "entry {rip:#x} in protected mode, stack {rsp:#x}, EAX {:#x}, EBX {:#x}, ESI {:#x}",
                general.rax, general.rbx, general.rsi
            ),
            _ => format!(
                "entry CS:IP {:#x}:{rip:#x} in real mode, stack SS:SP {:#x}:{rsp:#x}",
                system.cs.selector, system.ss.selector
            ),
        }
    }
}

/// A part of guest-physical memory that was filled, or set aside, before the guest started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedRegion {
    /// What it is, for example `page tables`.
    pub name: String,
    /// Its guest-physical addresses.
    pub range: Range<u64>,
}

impl fmt::Display for LoadedRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x} {}", self.range.start, self.range.end, self.name)
    }
}

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
#[cfg(test)]
mod malformed_files_test;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code))]
pub(crate) mod test_guest;
