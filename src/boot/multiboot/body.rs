//! What of a kernel's file is loaded where: by the addresses in the Multiboot header, or by the ELF headers.

use std::ops::Range;

use super::MultibootProblem;
use crate::boot::elf64::{self, Access, Executable, Segment};
use crate::boot::error::{GuestProblem, SegmentName};
use crate::boot::image::{self, Image};
use crate::boot::segments::{self, PlacedSegment, Placement};
use crate::memory::GuestMemory;

/// The end of the addresses of 32-bit code.
const FOUR_GIB: u64 = 1 << 32;
/// A kernel that can be moved goes above this, where the firmware's data and the screen are not.
const LOWEST_PLACE: u64 = 1 << 20;
/// `load_addr` of version 2: the file is loaded from its beginning.
const FROM_THE_BEGINNING: u32 = u32::MAX;

/// The parts of a kernel in memory.
#[derive(Debug)]
pub(super) struct Body {
    /// Ascending. All in RAM, below 4 GiB, and without overlaps.
    pub segments: Vec<PlacedSegment>,
    /// Physical address of the first instruction.
    pub entry: u32,
    /// The offset that was added to every address.
    pub bias: u64,
    /// The kernel may be moved, and is told its place.
    pub movable: bool,
}

/// The addresses in a header of either version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AddressOverride {
    /// `header_addr`: where the header itself is to be.
    pub header: u32,
    /// `load_addr`: where the first byte that is loaded is to be.
    pub load: u32,
    /// `load_end_addr`: the end of what is in the file; 0 for all of the file.
    pub load_end: u32,
    /// `bss_end_addr`: the end of the zeros behind it; 0 without.
    pub bss_end: u32,
    /// `entry_addr`: the first instruction.
    pub entry: u32,
}

/// The limits in a relocatable tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Relocation {
    /// `min_addr`.
    pub min: u32,
    /// `max_addr`: the last address that may be used.
    pub max: u32,
    /// `align`.
    pub align: u32,
    /// The highest place is preferred, else the lowest.
    pub highest: bool,
}

/// Loads by the addresses in the header, which is at `header_offset` of the file.
pub(super) fn by_addresses(
    image: &dyn Image,
    memory: &GuestMemory,
    header_offset: u64,
    addresses: &AddressOverride,
) -> Result<Body, GuestProblem> {
    let wrong = |field, value, expected: String| MultibootProblem::Addresses { field, value, expected };
    let AddressOverride { header, load, load_end, bss_end, entry } = *addresses;
    let before_header = match load {
        FROM_THE_BEGINNING => header_offset,
        _ => u64::from(header.checked_sub(load).ok_or_else(|| {
            wrong("load_addr", load, format!("it cannot be above header_addr, which is {header:#x}"))
        })?),
    };
    let expected = || format!("the header is only {header_offset:#x} bytes behind the start of the file");
    let offset =
        header_offset.checked_sub(before_header).ok_or_else(|| wrong("load_addr", load, expected()))?;
    let start = u64::from(header).checked_sub(before_header).ok_or_else(|| {
        wrong(
            "header_addr",
            header,
            format!("the header is {header_offset:#x} bytes behind the start of the file"),
        )
    })?;
    let file_size = match load_end {
        0 => image.len().saturating_sub(offset),
        end => u64::from(end).checked_sub(start).filter(|size| *size > 0).ok_or_else(|| {
            wrong("load_end_addr", end, format!("it has to be above the start of what is loaded, {start:#x}"))
        })?,
    };
    image::check_present(image, offset, file_size, "what its Multiboot header wants loaded")?;
    let end = start.saturating_add(file_size);
    let memory_end = match u64::from(bss_end) {
        0 => end,
        bss_end if bss_end >= end => bss_end,
        _ => {
            let expected = format!("it cannot be below the end of what is loaded, {end:#x}");
            return Err(wrong("bss_end_addr", bss_end, expected).into());
        }
    };
    if !(start..end).contains(&u64::from(entry)) {
        let expected = format!("it has to be in what is loaded, {start:#x}..{end:#x}");
        return Err(wrong("entry_addr", entry, expected).into());
    }
    let segment = Segment {
        index: 0,
        offset,
        virtual_address: start,
        physical_address: start,
        file_size,
        memory_size: memory_end - start,
        align: 1,
        access: Access::ALL,
    };
    let segments = place(&[segment], memory, 0)?;
    Ok(Body { segments, entry, bias: 0, movable: false })
}

/// Loads the segments of an ELF file of either class at their physical addresses, or moved within `limits`. The
/// entry point is that of the ELF header, unless the Multiboot header has one.
pub(super) fn by_elf_headers(
    image: &dyn Image,
    memory: &GuestMemory,
    entry: Option<u32>,
    limits: Option<&Relocation>,
) -> Result<Body, GuestProblem> {
    let mut executable = elf64::read_any_class(image)?;
    // A file whose physical addresses are all 0 does not say any.
    if executable.segments.iter().all(|segment| segment.physical_address == 0) {
        executable.segments.iter_mut().for_each(|segment| segment.physical_address = segment.virtual_address);
    }
    let bias = match limits {
        Some(limits) => displacement(&executable.segments, memory, limits)?,
        None => 0,
    };
    let segments = place(&executable.segments, memory, bias)?;
    let entry = match entry {
        Some(entry) => u64::from(entry),
        None => physical_entry(&executable),
    };
    let moved = entry.wrapping_add(bias);
    let entry = u32::try_from(moved)
        .ok()
        .filter(|_| segments.iter().any(|segment| segment.range.contains(&moved)))
        .ok_or(GuestProblem::NoEntry { entry })?;
    Ok(Body { segments, entry, bias, movable: limits.is_some() })
}

/// The physical address of the entry point, which most linkers give by its virtual address.
fn physical_entry(executable: &Executable) -> u64 {
    let entry = executable.entry;
    let by_virtual = executable.segments.iter().find_map(|segment| {
        let offset = entry.checked_sub(segment.virtual_address)?;
        (offset < segment.memory_size).then(|| segment.physical_address.wrapping_add(offset))
    });
    by_virtual.unwrap_or(entry)
}

/// Where the segments go, with `bias` added to their addresses.
fn place(segments: &[Segment], memory: &GuestMemory, bias: u64) -> Result<Vec<PlacedSegment>, GuestProblem> {
    let mut placed = Vec::with_capacity(segments.len());
    for segment in segments {
        let index = segment.index;
        let start = segment.physical_address.wrapping_add(bias);
        let range = start..start.saturating_add(segment.memory_size);
        if range.end > FOUR_GIB {
            return Err(MultibootProblem::Above4Gib { index, start, end: range.end }.into());
        }
        if !memory.is_ram(start, segment.memory_size) {
            let name = SegmentName { index, range: range.clone() };
            return Err(match segments::ram_for(&range) {
                Some(needed) => GuestProblem::MoreMemory { segment: name, memory: memory.size(), needed },
                None => GuestProblem::NeverRam { segment: name },
            });
        }
        placed.push(PlacedSegment {
            index,
            virtual_range: range.clone(),
            range,
            placement: Placement::Loaded,
            offset: segment.offset,
            file_size: segment.file_size,
            access: segment.access,
        });
    }
    segments::check_physical_overlaps(&mut placed)?;
    Ok(placed)
}

/// How far a kernel is moved: not at all if it is within its limits and in RAM.
fn displacement(
    segments: &[Segment],
    memory: &GuestMemory,
    limits: &Relocation,
) -> Result<u64, GuestProblem> {
    let Relocation { min, max, align, highest } = *limits;
    let start = segments.iter().map(|segment| segment.physical_address).min().unwrap_or(0);
    let end =
        segments.iter().map(|segment| segment.physical_address.saturating_add(segment.memory_size)).max();
    let size = end.unwrap_or(0).saturating_sub(start);
    let allowed = u64::from(min).max(LOWEST_PLACE)..u64::from(max) + 1;
    let fits = |range: &Range<u64>| {
        let is_allowed = range.start >= allowed.start && range.end <= allowed.end;
        is_allowed && memory.is_ram(range.start, range.end - range.start)
    };
    if fits(&(start..start.saturating_add(size))) {
        return Ok(0);
    }
    let step = u64::from(align.max(1));
    let no_place = MultibootProblem::NoPlace { size, align, min, max };
    // All RAM that 32-bit code reaches is in one piece, from 0 on.
    let ram_end = memory.ram().first().map_or(0, |ram| ram.end);
    let last = allowed.end.min(ram_end).checked_sub(size).ok_or(no_place.clone())?;
    let place = match highest {
        true => last / step * step,
        false => allowed.start.next_multiple_of(step),
    };
    if !fits(&(place..place.saturating_add(size))) {
        return Err(no_place.into());
    }
    Ok(place.wrapping_sub(start))
}
