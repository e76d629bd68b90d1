//! The Limine boot protocol, base revisions 0 to 3: a 64-bit ELF kernel that is linked in the last 2 GiB of the address
//! space starts in long mode, and finds the answers to requests that are in its own data.
//!
//! | file | what it does |
//! |---|---|
//! | `requests` | finds the requests and the base revision in the kernel |
//! | `responses` | the answers to them |
//! | `memory_map` | which memory can be used |
//! | `mapping` | page tables: the kernel, and the direct map of physical memory |
//! | `processors` | how the processors start, and how the others wait |
//!
//! What the machine has none of gets no response: SMBIOS, EFI, a device tree, and a framebuffer in a machine without video
//! memory. Not implemented: the section `.limine_reqs` of base revision 0 (its requests
//! are found like all others), x2APIC mode for the kernel, files that the kernel names itself (internal modules), and
//! the PAT of the specification (page attributes are those of a reset, and all memory is write-back).
//!
//! Manual: The Limine Boot Protocol, base revision 3 (limine-protocol repository, PROTOCOL.md).

mod mapping;
mod memory_map;
mod problem;
mod processors;
mod requests;
mod responses;
#[cfg(test)]
#[path = "limine/limine_test.rs"]
mod tests;

use std::ops::Range;
use std::path::Path;

pub use problem::LimineProblem;
pub use processors::{PARKED_MARK_LENGTH, is_parked};

pub(super) use self::mapping::DIRECT_MAP;
use self::memory_map::{MemoryRegion, Usage};
pub(super) use self::processors::CODE_SELECTOR;
use self::processors::{ExceptionTables, ProcessorStart};
use self::requests::{Feature, KERNEL_BASE, Requests};
use self::responses::{Information, LoadedFile, Responses};
use super::allocator::Allocator;
use super::boot_information::{check_command_lines, open_modules};
use super::elf64::{self, Executable};
use super::error::{BootError, GuestProblem};
use super::framebuffer::Framebuffer;
use super::image::{self, Image};
use super::page_tables::{LARGE_PAGE_SIZE, PageTables, TooManyTables};
use super::protocol::{Candidate, Recognition};
use super::segments::{self, SegmentLayout};
use super::{BootOptions, Choice, LoadedGuest, Protocol, SymbolSource, firmware_tables, relocate};
use crate::arch::PAGE_SIZE;
use crate::memory::GuestMemory;
use crate::settings::BootKind;

/// Where kernels are loaded: a large page, so that large pages can map them, or lower in a machine with less RAM.
const USUAL_PLACE: u64 = 2 << 20;
const LOWEST_PLACE: u64 = 1 << 20;
/// Size of a stack unless the kernel requests more.
const STACK_SIZE: u64 = 64 << 10;
/// Internal modules that are looked at.
const MOST_INTERNAL_MODULES: u64 = 64;
/// Offset of the flags of an internal module, and the flag for one that is required.
const INTERNAL_FLAGS: u64 = 16;
const REQUIRED: u64 = 1;

/// A 64-bit ELF file with requests or a base revision.
pub(super) fn recognise(candidate: &Candidate<'_>) -> Recognition {
    if requests::are_in_file(candidate.image) { Recognition::ByContents } else { Recognition::No }
}

/// Loads a guest; [`super::load`] is the contract.
pub(super) fn load(
    image: &dyn Image,
    memory: &GuestMemory,
    options: &BootOptions,
) -> Result<LoadedGuest, BootError> {
    check_command_lines(options)?;
    let wrap = |problem| BootError::Guest { file: image.name().to_owned(), problem };
    let executable = elf64::read(image).map_err(wrap)?;
    let mut warnings = executable.warnings.clone();
    let dynamic = executable.dynamic;
    let entry = executable.entry;
    let layout = place(executable, memory).map_err(wrap)?;
    layout.load(image, memory)?;
    if let Some(dynamic) = &dynamic {
        relocate::relocate(image.name(), dynamic, &layout, memory)?;
    }
    let requests = Requests::find(&layout.segments, memory).map_err(|problem| wrap(problem.into()))?;
    check(&requests, &layout, memory, &mut warnings).map_err(|problem| wrap(problem.into()))?;
    let entry = match requests.get(Feature::EntryPoint) {
        Some(request) => request.arguments[0],
        None => entry.wrapping_add(layout.bias),
    };
    check_entry(&requests, &layout, entry).map_err(wrap)?;

    let framebuffer =
        requests.get(Feature::Framebuffer).filter(|_| memory.has_video_memory()).map(|_| Framebuffer::USUAL);
    let mut loader = Loader::new(memory, options, &layout, framebuffer);
    let processors = match requests.get(Feature::Processors) {
        Some(_) => options.platform.cpus.max(1),
        None => 1,
    };
    let modules = loader.load_modules()?;
    let executable = match requests.get(Feature::ExecutableFile) {
        Some(_) => Some(loader.load_file(image, &options.command_line, wrap)?),
        None => None,
    };
    let tables = firmware_tables::write(memory, &options.platform, &mut loader.allocator)?;
    match &tables {
        Some(tables) => loader.taken.push((tables.clone(), Usage::AcpiReclaimable)),
        None => {
            warnings.push("there is no room for the ACPI and MP tables, so the guest gets none".to_owned())
        }
    }
    let shared = loader.allocate("the descriptor tables and parked processors", PAGE_SIZE)?;
    memory.write(shared, &processors::shared_page(shared, processors))?;
    let exceptions = loader.allocate("the first IDT", ExceptionTables::SIZE)?;
    let exceptions = ExceptionTables::write(memory, exceptions)?;
    let stack_size = stack_size(&requests, memory).map_err(|problem| wrap(problem.into()))?;
    let stacks_size = stack_size.saturating_mul(processors.into());
    let stacks = loader.allocate("the stacks", stacks_size)?;

    let revision = requests.revision();
    let mapped = loader.memory_map();
    let kernel_size = loader.kernel.end - loader.kernel.start;
    let page_tables = loader.write_tables(
        "the page tables",
        mapping::most_tables(memory.size(), kernel_size),
        |limit| mapping::kernel_tables(revision, &layout.segments, &mapped, limit, &mut warnings),
    )?;
    let start = |processor: u8| ProcessorStart {
        stack_top: stacks + stack_size * (u64::from(processor) + 1),
        shared,
        page_tables,
        exceptions,
    };
    let mut other_processors = Vec::new();
    if processors > 1 {
        let most = mapping::most_tables(stacks_size, stacks_size);
        let parking_tables = loader.write_tables("the page tables of parked processors", most, |limit| {
            processors::parking_tables(shared, stacks, stacks_size, limit)
        })?;
        other_processors
            .extend((1..processors).map(|number| start(number).parked_registers(number, parking_tables)));
    }

    let mut information = Information {
        command_line: &options.command_line,
        executable,
        modules: &modules,
        memory: &[],
        rsdp: tables.map(|tables| if revision >= 3 { tables.start } else { DIRECT_MAP + tables.start }),
        kernel: (loader.kernel.start, layout.segments[0].virtual_range.start & !(PAGE_SIZE - 1)),
        processors: (shared, processors),
        framebuffer,
        date: options.time_of_day,
    };
    loader.write_responses(&requests, &mut information)?;
    Ok(LoadedGuest {
        kind: BootKind::Limine,
        choice: Choice::Chosen,
        registers: start(0).kernel_registers(entry),
        other_processors,
        framebuffer,
        reset: Protocol::of(BootKind::Limine).reset(),
        symbols: SymbolSource::GuestFile { bias: layout.bias },
        layout: loader.allocator.into_layout(&layout.segments),
        warnings,
    })
}

/// Assigns physical addresses: the kernel stays in one piece, whatever physical addresses it names. One that is linked
/// below the last 2 GiB is moved there if it can be.
fn place(mut executable: Executable, memory: &GuestMemory) -> Result<SegmentLayout, GuestProblem> {
    let lowest = executable.segments.iter().min_by_key(|segment| segment.virtual_address);
    let Some(lowest) = lowest.copied() else { return Err(GuestProblem::NoSegments) };
    let bias = if executable.relocatable && lowest.virtual_address < KERNEL_BASE { KERNEL_BASE } else { 0 };
    let first = lowest.virtual_address.wrapping_add(bias) & !(PAGE_SIZE - 1);
    if first < KERNEL_BASE {
        let (index, address) = (lowest.index, lowest.virtual_address);
        return Err(LimineProblem::NotHigherHalf { index, address }.into());
    }
    let end = executable
        .segments
        .iter()
        .map(|segment| segment.virtual_address.wrapping_add(bias).saturating_add(segment.memory_size))
        .max()
        .unwrap_or(first);
    let usual = USUAL_PLACE + first % LARGE_PAGE_SIZE;
    let place = if memory.is_ram(usual, end.saturating_sub(first)) { usual } else { LOWEST_PLACE };
    // Another entry point may be requested, so this one is checked later.
    let code = executable.segments.iter().find(|segment| segment.access.execute);
    executable.entry = code.map_or(executable.entry, |segment| segment.virtual_address).wrapping_add(bias);
    executable.relocatable = false;
    for segment in &mut executable.segments {
        segment.virtual_address = segment.virtual_address.wrapping_add(bias);
        segment.physical_address = place.wrapping_add(segment.virtual_address.wrapping_sub(first));
    }
    Ok(SegmentLayout { bias, ..segments::place(&executable, memory)? })
}

/// Checks what the requests want.
fn check(
    requests: &Requests,
    layout: &SegmentLayout,
    memory: &GuestMemory,
    warnings: &mut Vec<String>,
) -> Result<(), LimineProblem> {
    if requests.are_none() {
        return Err(LimineProblem::NoRequests);
    }
    let (wanted, newest) = (requests.requested_revision(), requests::NEWEST);
    if wanted > newest {
        warnings.push(format!(
            "the kernel asks for base revision {wanted} of the Limine boot protocol and gets {newest}, the newest one that \
             is implemented; its base revision tag says so"
        ));
    }
    if requests.outside > 0 {
        warnings.push(format!(
            "{} requests or base revision tags are not between the delimiters (start and end marker), and get no response",
            requests.outside
        ));
    }
    if requests.unknown > 0 {
        warnings.push(format!(
            "{} requests are for features that base revision {newest} does not have, and get no response",
            requests.unknown
        ));
    }
    if let Some(request) = requests.get(Feature::PagingMode) {
        let [_, _, min_mode] = request.arguments;
        if min_mode > 0 {
            return Err(LimineProblem::PagingMode { mode: min_mode });
        }
    }
    if let Some(request) = requests.get(Feature::Modules) {
        let [count, table, _] = request.arguments;
        check_internal_modules(count, table, layout, memory, warnings)?;
    }
    Ok(())
}

/// Modules that the kernel names are not loaded: a guest file does not decide which files of the host it gets.
fn check_internal_modules(
    count: u64,
    table: u64,
    layout: &SegmentLayout,
    memory: &GuestMemory,
    warnings: &mut Vec<String>,
) -> Result<(), LimineProblem> {
    let word = |address: u64| {
        let (_, physical) = layout.find(address, 8)?;
        memory.read_u64(physical).ok()
    };
    for number in 0..count.min(MOST_INTERNAL_MODULES) {
        let flags =
            word(table.wrapping_add(8 * number)).and_then(|module| word(module.wrapping_add(INTERNAL_FLAGS)));
        if flags.is_none_or(|flags| flags & REQUIRED != 0) {
            return Err(LimineProblem::InternalModules { count });
        }
    }
    if count > 0 {
        warnings.push(format!(
            "the kernel names {count} modules itself (internal modules), which are not loaded; `--module` gives it files"
        ));
    }
    Ok(())
}

fn check_entry(requests: &Requests, layout: &SegmentLayout, entry: u64) -> Result<(), GuestProblem> {
    match layout.segments.iter().find(|segment| segment.virtual_range.contains(&entry)) {
        Some(segment) if segment.access.execute => Ok(()),
        _ if requests.get(Feature::EntryPoint).is_some() => Err(LimineProblem::EntryPoint { entry }.into()),
        Some(segment) => Err(GuestProblem::EntryNotCode { entry, segment: segment.virtual_name() }),
        None => Err(GuestProblem::NoEntry { entry }),
    }
}

/// The size of each stack: whole pages.
fn stack_size(requests: &Requests, memory: &GuestMemory) -> Result<u64, LimineProblem> {
    let requested = requests.get(Feature::StackSize).map_or(0, |request| request.arguments[0]);
    match requested.max(STACK_SIZE).checked_next_multiple_of(PAGE_SIZE) {
        Some(size) if size <= memory.size() => Ok(size),
        _ => Err(LimineProblem::StackSize { size: requested }),
    }
}

/// Fills guest memory around the kernel, and keeps account of it for the memory map.
struct Loader<'a> {
    memory: &'a GuestMemory,
    options: &'a BootOptions,
    allocator: Allocator,
    /// The physical addresses of the kernel, with gaps between its segments.
    kernel: Range<u64>,
    taken: Vec<MemoryRegion>,
}

impl<'a> Loader<'a> {
    fn new(
        memory: &'a GuestMemory,
        options: &'a BootOptions,
        layout: &SegmentLayout,
        framebuffer: Option<Framebuffer>,
    ) -> Loader<'a> {
        let ranges = || layout.segments.iter().map(|segment| &segment.range);
        let start = ranges().map(|range| range.start).min().unwrap_or(0) & !(PAGE_SIZE - 1);
        let end = ranges().map(|range| range.end).max().unwrap_or(0).next_multiple_of(PAGE_SIZE);
        let kernel = start..end;
        let mut taken = vec![(kernel.clone(), Usage::ExecutableAndModules)];
        taken.extend(framebuffer.map(|framebuffer| (framebuffer.range(), Usage::Framebuffer)));
        let allocator = Allocator::around(memory, vec![kernel.clone()]);
        Loader { memory, options, allocator, kernel, taken }
    }

    /// Allocates pages that the kernel may use once it needs what is there no more.
    fn allocate(&mut self, what: &str, size: u64) -> Result<u64, BootError> {
        // The lowest memory is left to the kernel: processors start there.
        let start = self.allocator.allocate_at_top(what, size)?;
        self.taken.push((start..start + size, Usage::BootloaderReclaimable));
        Ok(start)
    }

    fn load_modules(&mut self) -> Result<Vec<LoadedFile<'a>>, BootError> {
        let files = open_modules(self.options)?;
        files
            .iter()
            .map(|(file, command_line)| {
                let wrap = |problem| BootError::Module { file: file.name().to_owned(), problem };
                self.load_file(file, command_line, wrap)
            })
            .collect()
    }

    fn load_file<'b>(
        &mut self,
        file: &dyn Image,
        command_line: &'b str,
        wrap: impl Fn(GuestProblem) -> BootError,
    ) -> Result<LoadedFile<'b>, BootError> {
        let start = self.allocator.allocate_module(file.name(), file.len())?;
        image::copy(file, 0, file.len(), self.memory, start, wrap)?;
        // An empty one has a page, too.
        self.taken.push((start..start + file.len().max(1), Usage::ExecutableAndModules));
        let name = Path::new(file.name()).file_name().unwrap_or_default().to_string_lossy();
        Ok(LoadedFile { range: start..start + file.len(), path: format!("/{name}"), command_line })
    }

    /// Builds page tables, at most `most` of them, and writes them to memory; returns the address of the first.
    fn write_tables(
        &mut self,
        what: &str,
        most: u64,
        build: impl FnOnce(u64) -> Result<PageTables, TooManyTables>,
    ) -> Result<u64, BootError> {
        let tables = build(self.allocator.free_pages())
            .map_err(|TooManyTables| self.allocator.no_room(what, most * PAGE_SIZE))?;
        let at = self.allocate(what, tables.size())?;
        tables.write(self.memory, at)?;
        Ok(at)
    }

    fn memory_map(&self) -> Vec<MemoryRegion> {
        memory_map::regions(self.memory.ram(), &self.taken)
    }

    /// Writes the responses, and their addresses into the requests.
    fn write_responses(
        &mut self,
        requests: &Requests,
        information: &mut Information<'_>,
    ) -> Result<(), BootError> {
        // The block itself is in the memory map. Entries that there may be determine its size.
        let most = memory_map::most_entries(self.memory.ram(), self.taken.len() + 1);
        let placeholder = vec![(0..PAGE_SIZE, Usage::Usable); most];
        let with_map = |memory: &[MemoryRegion], at: u64| {
            let information =
                Information { executable: information.executable.clone(), memory, ..*information };
            Responses::build(requests, &information, at)
        };
        let at = self.allocate("the responses", with_map(&placeholder, 0).bytes.len().max(1) as u64)?;
        let responses = with_map(&self.memory_map(), at);
        self.memory.write(at, &responses.bytes)?;
        for (request, address) in requests.found.iter().zip(responses.addresses) {
            if let Some(address) = address {
                request.answer(self.memory, address)?;
            }
        }
        requests.answer_base_revision(self.memory)?;
        Ok(())
    }
}
