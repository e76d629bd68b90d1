//! The Linux boot protocol (Linux, Documentation/arch/x86/boot.rst): bzImages, and the kernel's ELF file (`vmlinux`).
//!
//! The kernel's code goes to the address that it prefers. It starts at its 64-bit entry point, with all RAM
//! identity-mapped, or at its 32-bit one if it has no other. It gets `boot_params` with the memory map, the command
//! line, an initial RAM disk and the RSDP.
//!
//! The structures are those of the `linux-loader` crate. Its loaders are not used: they write to memory without
//! [`GuestMemory`]'s record of what has changed, and check neither `init_size` nor `initrd_addr_max`.
//!
//! The 16-bit entry point is another protocol, in `real_mode_entry`. Not implemented: the EFI handover.

mod entry;
mod initrd;
mod problem;
mod real_mode_entry;
mod setup_header;
mod zero_page;

use linux_loader::bootparam::{LOADED_HIGH, XLF_KERNEL_64, setup_header as RawHeader};
use vm_memory::ByteValued;

use self::initrd::Initrd;
pub use self::problem::LinuxProblem;
pub(super) use self::real_mode_entry::{load as load_16, recognise as recognise_16};
use self::setup_header::{Entry, SetupHeader};
use self::zero_page::Handover;
use super::address_space::{self, Protection};
use super::allocator::Allocator;
use super::boot_information::check_command_lines;
use super::error::{BootError, GuestProblem};
use super::image::{self, Image};
use super::protocol::{Candidate, Recognition};
use super::{
    BootOptions, Choice, LoadedGuest, LoadedRegion, Protocol, SymbolSource, elf64, firmware_tables, notes,
    segments,
};
use crate::arch::PAGE_SIZE;
use crate::memory::GuestMemory;
use crate::settings::BootKind;

/// Notes of a `vmlinux` (Linux, include/linux/elfnote-lto.h and build-salt.h).
const NOTE_NAME: &[u8] = b"Linux";
const BUILD_SALT: u32 = 0x100;
const LTO_INFO: u32 = 0x101;

/// Size from which a kernel counts as a whole operating system, which an instruction emulator does not bring to its
/// first message in an hour.
const LARGE: u64 = 4 << 20;
/// Size of RAM for such a kernel.
const MEMORY_OF_LARGE: u64 = 256 << 20;

const STACK_SIZE: u64 = PAGE_SIZE;

/// A bzImage, or another image with its header, or a `vmlinux`.
pub(super) fn recognise(candidate: &Candidate<'_>) -> Recognition {
    let file = candidate.image;
    if setup_header::is_present(file) || notes::is_elf64(file) && is_vmlinux(file) {
        Recognition::ByContents
    } else {
        Recognition::No
    }
}

/// Loads a kernel; [`super::load`] is the contract.
pub(super) fn load(
    image: &dyn Image,
    memory: &GuestMemory,
    options: &BootOptions,
) -> Result<LoadedGuest, BootError> {
    if setup_header::is_present(image) {
        load_bzimage(image, memory, options)
    } else if notes::is_elf64(image) {
        load_vmlinux(image, memory, options)
    } else {
        Err(BootError::Guest { file: image.name().to_owned(), problem: GuestProblem::NoSetupHeader })
    }
}

/// The size of RAM if the user chooses none: enough for a kernel of a distribution to reach a shell.
pub(super) fn default_memory(file: &dyn Image) -> Option<u64> {
    is_large(file).then_some(MEMORY_OF_LARGE)
}

/// True for the ELF file of a Linux kernel.
fn is_vmlinux(file: &dyn Image) -> bool {
    let wanted = |name: &[u8], kind| name == NOTE_NAME && matches!(kind, BUILD_SALT | LTO_INFO);
    notes::find(file, wanted).is_some()
}

/// True for a Linux kernel with so much code to run before its first message that a host whose KVM interprets ring 0
/// does not get there.
pub fn is_large_kernel(file: &dyn Image, kind: BootKind) -> bool {
    kind == BootKind::Linux && is_large(file)
}

fn is_large(file: &dyn Image) -> bool {
    match SetupHeader::read(file) {
        Ok(header) => header.needed_memory().is_some_and(|range| range.end - range.start >= LARGE),
        Err(_) => is_vmlinux(file) && file.len() >= LARGE,
    }
}

fn load_bzimage(
    image: &dyn Image,
    memory: &GuestMemory,
    options: &BootOptions,
) -> Result<LoadedGuest, BootError> {
    let wrap = |problem| BootError::Guest { file: image.name().to_owned(), problem };
    let header = SetupHeader::read(image).map_err(wrap)?;
    let what = header.describe();
    let entry = header.entry().ok_or_else(|| wrap(LinuxProblem::RealMode { what: what.clone() }.into()))?;
    let needed = header.checked_memory(memory).map_err(wrap_problem(image))?;
    let code = header.code.clone();
    image::copy(image, code.start, code.end - code.start, memory, needed.start, wrap)?;
    let kernel = Kernel {
        file: image,
        header: header.raw,
        load_address: needed.start,
        entry,
        symbols: SymbolSource::None,
        regions: vec![LoadedRegion { name: what, range: needed }],
    };
    kernel.start(memory, options)
}

/// Loads the kernel's ELF file, which has no setup header.
fn load_vmlinux(
    image: &dyn Image,
    memory: &GuestMemory,
    options: &BootOptions,
) -> Result<LoadedGuest, BootError> {
    let wrap = |problem| BootError::Guest { file: image.name().to_owned(), problem };
    let executable = elf64::read(image).map_err(wrap)?.by_physical_address();
    let layout = segments::place(&executable, memory).map_err(wrap)?;
    layout.load(image, memory)?;
    let header = RawHeader {
        boot_flag: 0xAA55,
        header: u32::from_le_bytes(*b"HdrS"),
        version: 0x20F,
        loadflags: LOADED_HIGH,
        xloadflags: XLF_KERNEL_64,
        initrd_addr_max: 0x7FFF_FFFF,
        cmdline_size: 2047,
        ..RawHeader::default()
    };
    let regions = layout.segments.iter().map(|segment| LoadedRegion {
        name: format!("segment {} ({})", segment.index, segment.access),
        range: segment.range.clone(),
    });
    let kernel = Kernel {
        file: image,
        header,
        load_address: layout.entry,
        entry: Entry::Long(layout.entry),
        symbols: SymbolSource::GuestFile { bias: layout.bias },
        regions: regions.collect(),
    };
    kernel.start(memory, options)
}

/// A kernel in memory, without what it is started with.
struct Kernel<'a> {
    file: &'a dyn Image,
    header: RawHeader,
    /// The address of its code.
    load_address: u64,
    entry: Entry,
    symbols: SymbolSource,
    /// The memory that it uses.
    regions: Vec<LoadedRegion>,
}

impl Kernel<'_> {
    /// Adds everything that the kernel gets.
    fn start(self, memory: &GuestMemory, options: &BootOptions) -> Result<LoadedGuest, BootError> {
        check_command_lines(options)?;
        let wrap = |problem: LinuxProblem| BootError::Guest {
            file: self.file.name().to_owned(),
            problem: problem.into(),
        };
        let command_line = self.command_line(options).map_err(wrap)?;
        let initrd = Initrd::open(options)?;
        let mut taken: Vec<_> = self.regions.iter().map(|region| region.range.clone()).collect();
        let kernel_end = taken.iter().map(|range| range.end).max().unwrap_or(0);
        let initrd_at = initrd.place(memory, kernel_end, self.header.initrd_addr_max).map_err(wrap)?;
        taken.push(initrd_at.clone());
        initrd.load(memory, initrd_at.start)?;

        let mut allocator = Allocator::around(memory, taken);
        let descriptors_at = allocator.allocate("the descriptor tables", entry::SIZE)?;
        let zero_page_at = allocator.allocate("boot_params", zero_page::SIZE)?;
        let command_line_at = allocator.allocate("the command line", command_line.len() as u64)?;
        let stack_at = allocator.allocate("the boot stack", STACK_SIZE)?;
        let tables = firmware_tables::write(memory, &options.platform, &mut allocator)?;
        let mut warnings = initrd.warnings();
        let page_tables = match self.entry {
            Entry::Long(_) => map_all(memory, &mut allocator, &mut warnings)?,
            Entry::Protected(_) => 0,
        };

        memory.write(command_line_at, &command_line)?;
        let handover = Handover {
            command_line: command_line_at,
            initrd: initrd_at.clone(),
            rsdp: tables.as_ref().map_or(0, |tables| tables.start),
            map: zero_page::memory_map(memory.ram(), tables.as_ref()),
        };
        let page = zero_page::build(&self.header, self.load_address, &handover);
        memory.write(zero_page_at, page.as_slice())?;
        let descriptors = entry::write_descriptors(memory, descriptors_at, self.entry)?;

        let mut layout = allocator.into_layout(&[]);
        layout.extend(self.regions);
        if !initrd_at.is_empty() {
            layout.push(LoadedRegion { name: "initrd".to_owned(), range: initrd_at });
        }
        layout.sort_by_key(|region| region.range.start);
        Ok(LoadedGuest {
            kind: BootKind::Linux,
            choice: Choice::Chosen,
            registers: entry::registers(
                self.entry,
                zero_page_at,
                stack_at + STACK_SIZE,
                page_tables,
                descriptors,
            ),
            other_processors: Vec::new(),
            framebuffer: None,
            reset: Protocol::of(BootKind::Linux).reset(),
            symbols: self.symbols,
            layout,
            warnings,
        })
    }

    /// The command line, with the zero byte at its end.
    fn command_line(&self, options: &BootOptions) -> Result<Vec<u8>, LinuxProblem> {
        let mut bytes = options.command_line.as_bytes().to_vec();
        let limit = self.header.cmdline_size;
        if bytes.len() > limit as usize {
            return Err(LinuxProblem::CommandLine { length: bytes.len(), limit });
        }
        bytes.push(0);
        Ok(bytes)
    }
}

/// Writes page tables that map all RAM, and the windows of chips, at their own addresses. Returns their address.
fn map_all(
    memory: &GuestMemory,
    allocator: &mut Allocator,
    warnings: &mut Vec<String>,
) -> Result<u64, BootError> {
    let protection = Protection { strict: false, guard: None, entry_return: 0 };
    let tables =
        address_space::build(memory, &[], protection, allocator.free_pages(), warnings).map_err(|_| {
            allocator.no_room("the page tables", address_space::most_tables(memory, &[]) * PAGE_SIZE)
        })?;
    let at = allocator.allocate("the page tables", tables.size())?;
    tables.write(memory, at)?;
    Ok(at)
}

/// Makes an error of a problem with the kernel in `image`.
fn wrap_problem(image: &dyn Image) -> impl Fn(LinuxProblem) -> BootError {
    |problem| BootError::Guest { file: image.name().to_owned(), problem: problem.into() }
}

impl From<LinuxProblem> for GuestProblem {
    fn from(problem: LinuxProblem) -> GuestProblem {
        GuestProblem::Linux(problem)
    }
}

#[cfg(test)]
mod test_kernel;

#[cfg(test)]
#[path = "linux/linux_test.rs"]
mod tests;
