//! The boot protocols of Multiboot kernels, version 1 and 2: the kernel is loaded at its physical addresses and starts
//! in 32-bit protected mode, with the address of the boot information in EBX.
//!
//! | file | what it does |
//! |---|---|
//! | `header1`, `header2` | the headers that kernels have for each version |
//! | `body` | what is loaded where: by the ELF headers, or by the addresses in the Multiboot header |
//! | `sections` | the ELF sections that are not in segments, such as symbols |
//! | `memory_map` | the memory as firmware of a PC describes it |
//! | `information1`, `information2` | the boot information |
//!
//! The machine's own BIOS is in memory, for kernels that return to real mode and call it.
//!
//! A kernel that prefers a graphics mode gets one with 32 bits per pixel, of the size that it names if that fits.
//!
//! What the machine has none of is absent in the boot information, as the specifications say: BIOS drives and boot
//! device, APM, VBE, EFI, SMBIOS, network.
//!
//! Manual: Multiboot Specification 0.6.96; Multiboot2 Specification 2.0.

mod body;
mod header1;
mod header2;
mod information1;
mod information2;
mod memory_map;
mod problem;
mod sections;
#[cfg(test)]
#[path = "multiboot/multiboot_test.rs"]
mod tests;

use std::ops::Range;

pub use problem::MultibootProblem;

use self::body::Body;
use self::memory_map::MemoryRegion;
use self::sections::LoadedSections;
use super::allocator::Allocator;
use super::elf::ElfFile;
use super::error::{BootError, GuestProblem};
use super::framebuffer::Framebuffer;
use super::image::FileImage;
use super::protected_mode::{self, EntryPoint32, FlatSelectors};
use super::protocol::{Candidate, Recognition};
use super::segments::SegmentLayout;
use super::{
    BootOptions, Choice, Image, LoadedGuest, Protocol, SymbolSource, boot_information, disk, firmware_tables,
    image, notes,
};
use crate::arch::{PAGE_SIZE, TableRegister};
use crate::memory::GuestMemory;
use crate::settings::BootKind;

/// What the boot information has as the name of the boot loader.
const LOADER_NAME: &str = concat!("kvm ", env!("CARGO_PKG_VERSION"));
/// Size of the stack at entry. The specifications promise none, so kernels have one of their own.
const STACK_SIZE: u64 = PAGE_SIZE;
/// The text screen.
const SCREEN: u64 = 0xB_8000;
const SCREEN_COLUMNS: u32 = 80;
const SCREEN_ROWS: u32 = 25;
/// Bytes of a character and its attribute.
const CELL_SIZE: u32 = 2;

/// The version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    fn name(self) -> &'static str {
        match self {
            Version::One => "Multiboot",
            Version::Two => "Multiboot2",
        }
    }

    fn kind(self) -> BootKind {
        match self {
            Version::One => BootKind::Multiboot,
            Version::Two => BootKind::Multiboot2,
        }
    }

    /// EAX at entry.
    fn magic(self) -> u32 {
        match self {
            Version::One => 0x2BAD_B002,
            Version::Two => 0x36D7_6289,
        }
    }
}

/// Whether a file has a header of version 1.
pub(super) fn recognise_1(candidate: &Candidate<'_>) -> Recognition {
    recognise(candidate, Version::One, header1::find(candidate.head()))
}

/// Whether a file has a header of version 2.
pub(super) fn recognise_2(candidate: &Candidate<'_>) -> Recognition {
    recognise(candidate, Version::Two, header2::find(candidate.head()))
}

/// The name of the protocol whose header the start of a file has.
pub(super) fn name_of_header(head: &[u8]) -> Option<&'static str> {
    match (header2::find(head), header1::find(head)) {
        (Ok(Some(_)), _) => Some(Version::Two.name()),
        (_, Ok(Some(_))) => Some(Version::One.name()),
        _ => None,
    }
}

fn recognise(
    candidate: &Candidate<'_>,
    version: Version,
    found: Result<Option<u64>, MultibootProblem>,
) -> Recognition {
    if let Ok(None) = found {
        return Recognition::No;
    }
    let elf = ElfFile::read(candidate.image);
    let is_64_bit = elf.as_ref().is_some_and(ElfFile::is_64_bit);
    match found {
        Ok(None) => Recognition::No,
        Ok(Some(_)) if is_64_bit => Recognition::WithNote(format!(
            "the 64-bit ELF file has a {name} header, so it is started by {name}, in 32-bit protected mode; \
             `--boot {elf64}` starts it at its entry point in 64-bit mode",
            name = version.name(),
            elf64 = BootKind::Elf64.name(),
        )),
        Ok(Some(_)) => Recognition::ByContents,
        // Loading it gives the error. Only in a file that could be nothing else: data may look like a bad header.
        Err(_) if elf.is_some() && !is_64_bit => Recognition::ByContents,
        Err(_) => Recognition::No,
    }
}

/// Loads a guest with a header of version 1; [`super::load`] is the contract.
pub(super) fn load_1(
    image: &dyn Image,
    memory: &GuestMemory,
    options: &BootOptions,
) -> Result<LoadedGuest, BootError> {
    load(image, memory, options, Version::One)
}

/// Loads a guest with a header of version 2; [`super::load`] is the contract.
pub(super) fn load_2(
    image: &dyn Image,
    memory: &GuestMemory,
    options: &BootOptions,
) -> Result<LoadedGuest, BootError> {
    load(image, memory, options, Version::Two)
}

/// A module in memory.
struct LoadedModule<'a> {
    range: Range<u64>,
    command_line: &'a str,
}

/// What the boot information is made from.
struct Information<'a> {
    command_line: &'a str,
    modules: &'a [LoadedModule<'a>],
    memory: &'a [MemoryRegion],
    sections: Option<&'a LoadedSections>,
    /// The RSDP, as it is in memory.
    rsdp: Option<[u8; firmware_tables::RSDP_SIZE]>,
    /// Where the kernel has been moved to, if it can be moved.
    load_base: Option<u32>,
    /// `None` for the text screen.
    framebuffer: Option<Framebuffer>,
}

/// Whether a kernel with a header of version 1 prefers a graphics mode to text.
pub(super) fn wants_framebuffer_1(image: &dyn Image) -> bool {
    header1::read(image).is_ok_and(|header| header.video.is_some())
}

/// The same for a header of version 2.
pub(super) fn wants_framebuffer_2(image: &dyn Image) -> bool {
    header2::read(image, &mut Vec::new()).is_ok_and(|header| header.video.is_some())
}

/// What a kernel gets that prefers the mode `video`, in a machine that has video memory.
fn framebuffer(video: Option<[u32; 3]>, memory: &GuestMemory) -> Option<Framebuffer> {
    let [width, height, _] = video.filter(|_| memory.has_video_memory())?;
    Some(Framebuffer::near(width, height))
}

fn load(
    image: &dyn Image,
    memory: &GuestMemory,
    options: &BootOptions,
    version: Version,
) -> Result<LoadedGuest, BootError> {
    boot_information::check_command_lines(options)?;
    let wrap = |problem| BootError::Guest { file: image.name().to_owned(), problem };
    let mut warnings = Vec::new();
    let read = match version {
        Version::One => {
            header1::read(image).and_then(|header| Ok((header.body(image, memory)?, header.video, false)))
        }
        Version::Two => header2::read(image, &mut warnings)
            .and_then(|header| Ok((header.body(image, memory)?, header.video, header.supports_text))),
    };
    let (body, video, supports_text) = read.map_err(wrap)?;
    let Body { segments, entry, bias, movable } = body;
    let framebuffer = framebuffer(video, memory);
    if let (Some([width, height, depth]), None, false) = (video, framebuffer, supports_text) {
        warnings.push(format!(
            "the kernel prefers a graphics mode ({width}x{height}x{depth}), which takes `--vga std`; it gets the text \
             screen, as the boot information says"
        ));
    }
    let load_base = segments.iter().map(|segment| segment.range.start as u32).min().filter(|_| movable);
    let segment_layout = SegmentLayout { bias, segments, entry: entry.into() };

    let modules = boot_information::open_modules(options)?;
    let mut allocator = Allocator::new(memory, &segment_layout, &modules);
    segment_layout.load(image, memory)?;
    let modules = load_modules(memory, modules, &mut allocator)?;

    let gdt = FlatSelectors::USUAL.descriptor_table();
    let gdt_at = allocator.allocate("the descriptor table", gdt.len() as u64)?;
    memory.write(gdt_at, &gdt)?;
    let stack_at = allocator.allocate("the boot stack", STACK_SIZE)?;
    let tables = firmware_tables::write(memory, &options.platform, &mut allocator)?;
    if tables.is_none() {
        warnings.push("there is no room for the ACPI and MP tables, so the guest gets none".to_owned());
    }
    let rsdp = tables.as_ref().map(|tables| firmware_tables::rsdp(memory, tables)).transpose()?;
    let sections = sections::load(image, memory, &mut allocator, bias, &mut warnings)?;

    let information = Information {
        command_line: &options.command_line,
        modules: &modules,
        memory: &memory_map::regions(memory.ram(), tables.as_ref()),
        sections: sections.as_ref(),
        rsdp,
        load_base,
        framebuffer,
    };
    let build = |base| match version {
        Version::One => information1::build(base, &information),
        Version::Two => information2::build(&information),
    };
    let information_at = allocator.allocate("the boot information", build(0).len() as u64)?;
    memory.write(information_at, &build(information_at as u32))?;

    let mut registers = protected_mode::registers(&EntryPoint32 {
        entry,
        stack_pointer: (stack_at + STACK_SIZE) as u32,
        selectors: FlatSelectors::USUAL,
        gdt: TableRegister { base: gdt_at, limit: gdt.len() as u16 - 1 },
    });
    registers.general.rax = version.magic().into();
    registers.general.rbx = information_at;
    let mut layout = allocator.into_layout(&segment_layout.segments);
    disk::add_bios(memory, version.kind(), &mut layout)?;
    Ok(LoadedGuest {
        kind: version.kind(),
        choice: Choice::Chosen,
        registers,
        other_processors: Vec::new(),
        framebuffer,
        reset: Protocol::of(version.kind()).reset(),
        symbols: if notes::is_elf(image) { SymbolSource::GuestFile { bias } } else { SymbolSource::None },
        layout,
        warnings,
    })
}

/// Loads the modules behind the kernel, where boot loaders put them: the first page tables of a kernel often map no
/// more than the memory around it.
fn load_modules<'a>(
    memory: &GuestMemory,
    files: Vec<(FileImage, &'a str)>,
    allocator: &mut Allocator,
) -> Result<Vec<LoadedModule<'a>>, BootError> {
    let mut modules = Vec::with_capacity(files.len());
    for (file, command_line) in files {
        let start = allocator.allocate_module_behind_segments(file.name(), file.len())?;
        let wrap = |problem: GuestProblem| BootError::Module { file: file.name().to_owned(), problem };
        image::copy(&file, 0, file.len(), memory, start, wrap)?;
        modules.push(LoadedModule { range: start..start + file.len(), command_line });
    }
    Ok(modules)
}

/// Little-endian words of a structure.
#[derive(Default)]
struct Words(Vec<u8>);

impl Words {
    fn word(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn long(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
}

/// The little-endian word at `offset` of `bytes`, if it has one.
fn word_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}
