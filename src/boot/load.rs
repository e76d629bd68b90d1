//! Loading, from the first byte of the file to the state of the vCPU.

use std::ops::Range;

use super::address_space::{self, Strict};
use super::error::{BootError, GuestProblem};
use super::image::{FileImage, Image};
use super::page_tables::PAGE;
use super::place::FreePages;
use super::segments::{Placed, Placement};
use super::start_info::Module;
use super::{Boot, BootOptions, BootState, Region, STACK_SIZE, Table};
use super::{descriptors, elf64, image, relocate, segments, start_info};
use crate::memory::{GuestMemory, LOW_RAM_LIMIT, RAM_GRANULE};

/// Loads the guest in `image` into `memory`, with everything it needs to start.
///
/// `memory` has to be zero, as it is when new and after a reset of the machine: zero pages (`.bss`)
/// are left alone, so that they cost nothing however large they are. The same guest, options and
/// memory size always give the same result.
///
/// # Errors
///
/// Whatever keeps the guest from being started, see [`BootError`]; `memory` may then have been
/// written to. There is no input that makes this panic, loop, or use more host memory than a small
/// multiple of the file's headers and the page tables of the guest.
pub fn load(image: &dyn Image, memory: &GuestMemory, options: &BootOptions) -> Result<Boot, BootError> {
    check_command_lines(options)?;
    let wrap = |problem| BootError::Guest { file: image.name().to_owned(), problem };
    let executable = elf64::read(image).map_err(wrap)?;
    let placement = segments::place(&executable, memory).map_err(wrap)?;
    let modules = open_modules(options)?;
    let mut room = Room::new(memory, &placement, &modules);
    let mut warnings = executable.warnings.clone();

    for segment in &placement.segments {
        image::copy(image, segment.offset, segment.file_size, memory, segment.range.start, wrap)?;
    }
    if let Some(dynamic) = &executable.dynamic {
        relocate::relocate(image.name(), dynamic, &placement, memory)?;
    }
    let modules = load_modules(memory, modules, &mut room)?;

    // Small things first, in the order of docs/boot-state.md: so they lie at the same addresses
    // whatever the size of memory.
    let descriptors_at = room.take("the descriptor tables", descriptors::SIZE)?;
    let idt_at = room.take("the interrupt descriptor table", descriptors::IDT_SIZE)?;
    let info_at = write_start_info(memory, options, &modules, &mut room)?;
    let guard_size = if options.strict { PAGE } else { 0 };
    let stack_at = room.take("the boot stack", STACK_SIZE + guard_size)?;
    let stack_top = stack_at + guard_size + STACK_SIZE;
    let strict = options.strict.then_some(Strict { guard: stack_at });
    let (gdt, tss) = descriptors::write(memory, descriptors_at, stack_top)?;

    let tables = address_space::build(memory, &placement.segments, strict, room.free.left(), &mut warnings)
        .map_err(|_| {
        let most = address_space::most_tables(memory, &placement.segments);
        room.none_for("the page tables", most * PAGE)
    })?;
    let page_tables = room.take("the page tables", tables.size())?;
    tables.write(memory, page_tables)?;

    let state = BootState {
        entry: placement.entry,
        stack_top,
        page_tables,
        gdt,
        idt: Table { base: idt_at, limit: descriptors::IDT_SIZE as u16 - 1 },
        tss,
        info: info_at,
    };
    let layout = room.into_layout(&placement.segments);
    Ok(Boot { state, layout, bias: placement.bias, warnings })
}

fn check_command_lines(options: &BootOptions) -> Result<(), BootError> {
    let check = |text: &str, what: String| {
        if text.contains('\0') { Err(BootError::CommandLine { what }) } else { Ok(()) }
    };
    check(&options.command_line, "the guest".to_owned())?;
    options.modules.iter().try_for_each(|(path, text)| check(text, format!("module {}", path.display())))
}

/// The modules' files, each with its command line.
fn open_modules(options: &BootOptions) -> Result<Vec<(FileImage, &str)>, BootError> {
    options.modules.iter().map(|(path, text)| Ok((FileImage::open(path)?, text.as_str()))).collect()
}

fn load_modules<'a>(
    memory: &GuestMemory,
    files: Vec<(FileImage, &'a str)>,
    room: &mut Room,
) -> Result<Vec<Module<'a>>, BootError> {
    let mut modules = Vec::with_capacity(files.len());
    for (file, command_line) in files {
        let start = room.take_for_module(file.name(), file.len())?;
        let wrap = |problem: GuestProblem| BootError::Module { file: file.name().to_owned(), problem };
        image::copy(&file, 0, file.len(), memory, start, wrap)?;
        modules.push(Module { range: start..start + file.len(), command_line });
    }
    Ok(modules)
}

fn write_start_info(
    memory: &GuestMemory,
    options: &BootOptions,
    modules: &[Module<'_>],
    room: &mut Room,
) -> Result<u64, BootError> {
    let build = |base| start_info::build(base, &options.command_line, modules, memory.ram());
    let at = room.take("the boot information", build(0).len() as u64)?;
    memory.write(at, &build(at))?;
    Ok(at)
}

/// Room for what the guest's file does not bring along, with a record of what went where.
struct Room {
    free: FreePages,
    memory_size: u64,
    /// The first address below 3 GiB above which no segment lies.
    segments_end: u64,
    /// Bytes that all modules take.
    modules_size: u64,
    layout: Vec<Region>,
}

impl Room {
    fn new(memory: &GuestMemory, placement: &Placement, modules: &[(FileImage, &str)]) -> Room {
        let taken = placement.segments.iter().flat_map(|segment| {
            // Where a segment is mapped over RAM, that RAM cannot be reached at its own address.
            [segment.range.clone(), segment.virtual_range.clone()]
        });
        let segments_end =
            taken.clone().filter(|range| range.start < LOW_RAM_LIMIT).map(|range| range.end).max();
        let pages = |size: u64| size.max(1).checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
        let modules_size =
            modules.iter().fold(0, |sum: u64, (file, _)| sum.saturating_add(pages(file.len())));
        Room {
            free: FreePages::new(memory.size(), taken),
            memory_size: memory.size(),
            segments_end: segments_end.unwrap_or(0).max(1 << 20),
            modules_size,
            layout: Vec::new(),
        }
    }

    /// Takes pages for a boot structure.
    fn take(&mut self, what: &str, size: u64) -> Result<u64, BootError> {
        let start = self.free.take(size);
        self.note(what, size, start)
    }

    /// Takes pages for a module. An empty one gets a page, so that it has an address.
    fn take_for_module(&mut self, name: &str, size: u64) -> Result<u64, BootError> {
        let start = self.free.take_high(size.max(1));
        self.note(&format!("module {name}"), size, start)
    }

    fn note(&mut self, what: &str, size: u64, start: Option<u64>) -> Result<u64, BootError> {
        let start = start.ok_or_else(|| self.none_for(what, size))?;
        self.layout.push(Region { name: what.to_owned(), range: start..start + size });
        Ok(start)
    }

    /// The error that says how much RAM would be enough: room above all segments for the modules,
    /// for what did not fit, and for the other boot structures, which are small.
    fn none_for(&self, what: &str, size: u64) -> BootError {
        const SMALL_THINGS: u64 = 2 << 20;
        let needed = [self.modules_size, size, SMALL_THINGS]
            .iter()
            .try_fold(self.segments_end, |sum, part| sum.checked_add(*part))
            .and_then(|sum| sum.checked_next_multiple_of(RAM_GRANULE))
            .filter(|sum| *sum <= LOW_RAM_LIMIT && *sum > self.memory_size);
        BootError::NoRoom { what: what.to_owned(), size, memory: self.memory_size, needed }
    }

    fn into_layout(mut self, segments: &[Placed]) -> Vec<Region> {
        self.layout.extend(
            segments.iter().map(|segment| Region { name: describe(segment), range: segment.range.clone() }),
        );
        self.layout.sort_by_key(|region| region.range.start);
        self.layout
    }
}

fn describe(segment: &Placed) -> String {
    let name = format!("segment {} ({})", segment.index, segment.access);
    if !segment.is_moved() {
        return name;
    }
    let Range { start, end } = segment.virtual_range;
    format!("{name}, mapped at {start:#x}..{end:#x}")
}
