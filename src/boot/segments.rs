//! Decides where each segment goes, and checks that it can go there.

use std::ops::Range;

use super::elf64::{Access, Executable, Segment};
use super::error::{BootError, GuestProblem, SegmentName};
use super::image::{self, Image};
use crate::arch::PAGE_SIZE;
use crate::memory::{GuestMemory, HIGH_RAM_BASE, LOW_RAM_LIMIT, MAX_RAM, RAM_GRANULE};

/// A position-independent guest linked below this address is moved up: what a linker puts there
/// by default (address 0) would cover the memory below 1 MiB that guests use by fixed addresses.
const PIE_LOWEST: u64 = 1 << 20;

/// Distance that such a guest is moved, unless one of its segments requires a larger alignment.
const PIE_BIAS: u64 = 2 << 20;

/// The guest's segments in memory.
#[derive(Debug)]
pub(super) struct SegmentLayout {
    /// The offset added to every address of the file.
    pub bias: u64,
    /// Ascending by `virtual_range`. No two `range`s overlap, and no two virtual ranges except those of
    /// copied segments ([`Placement::Copied`]).
    pub segments: Vec<PlacedSegment>,
    /// Virtual address of the first instruction.
    pub entry: u64,
}

impl SegmentLayout {
    /// Copies the segments from their file to where they are loaded.
    pub(super) fn load(&self, file: &dyn Image, memory: &GuestMemory) -> Result<(), BootError> {
        let wrap = |problem| BootError::Guest { file: file.name().to_owned(), problem };
        for segment in &self.segments {
            image::copy(file, segment.offset, segment.file_size, memory, segment.range.start, wrap)?;
        }
        Ok(())
    }
}

/// How a segment gets to the address at which the guest uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// It is loaded there.
    Loaded,
    /// It is loaded elsewhere, and mapped there: the address is outside RAM.
    Mapped,
    /// It is loaded elsewhere, and the guest's start-up code copies it there: the address is in RAM, which
    /// is identity-mapped.
    Copied,
}

/// One segment in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlacedSegment {
    /// Index of its program header.
    pub index: usize,
    /// Where in guest-physical memory it is loaded; all RAM. Of a copied segment, only the bytes of the file.
    pub range: Range<u64>,
    /// Where the guest uses it. Equal to `range` unless the guest is linked at other addresses.
    pub virtual_range: Range<u64>,
    /// The relation of the two.
    pub placement: Placement,
    /// Where its first bytes are in the file.
    pub offset: u64,
    /// How many bytes are in the file; the rest is zero.
    pub file_size: u64,
    /// The accesses that the guest needs.
    pub access: Access,
}

impl PlacedSegment {
    /// The accesses that the guest needs where it is loaded: a segment to be copied is only read there.
    pub fn access_where_loaded(&self) -> Access {
        match self.placement {
            Placement::Loaded | Placement::Mapped => self.access,
            Placement::Copied => Access { read: true, write: false, execute: false },
        }
    }

    /// Its name by physical addresses.
    pub fn name(&self) -> SegmentName {
        SegmentName { index: self.index, range: self.range.clone() }
    }

    /// Its name by virtual addresses.
    pub fn virtual_name(&self) -> SegmentName {
        SegmentName { index: self.index, range: self.virtual_range.clone() }
    }
}

impl SegmentLayout {
    /// The segment that has the `length` bytes at virtual address `address`, and where they lie.
    pub fn find(&self, address: u64, length: u64) -> Option<(&PlacedSegment, u64)> {
        let after = self.segments.partition_point(|segment| segment.virtual_range.start <= address);
        let segment = &self.segments[after.checked_sub(1)?];
        let end = address.checked_add(length)?;
        let start = segment.virtual_range.start;
        let loaded_end = start + (segment.range.end - segment.range.start);
        let inside = end <= loaded_end && address < loaded_end;
        inside.then(|| (segment, segment.range.start + (address - start)))
    }
}

/// Assigns an address to every segment of `executable`.
///
/// A segment goes to its physical address (`p_paddr`) if that is RAM from end to end, and to its
/// virtual address (`p_vaddr`) otherwise. A file whose physical addresses are all 0 does not say
/// any (the gABI leaves the field unspecified): there the virtual address comes first.
///
/// If the virtual address is another one and in RAM, nothing is mapped there but that RAM: the guest's start-up
/// code copies the segment.
pub(super) fn place(executable: &Executable, memory: &GuestMemory) -> Result<SegmentLayout, GuestProblem> {
    let bias = bias(executable)?;
    let no_physical = executable.segments.iter().all(|segment| segment.physical_address == 0);
    let mut segments = Vec::with_capacity(executable.segments.len());
    let mut needed = None;
    for segment in &executable.segments {
        let virtual_range = virtual_range(segment, bias)?;
        if !no_physical && let Some(range) = used_in_ram(segment, bias, &virtual_range, memory) {
            match copied_or_loaded(segment, range, &virtual_range, memory) {
                Some(placed) => segments.push(placed),
                None => needed = needed.max(Some(more_memory(segment, &[virtual_range])?)),
            }
            continue;
        }
        let physical = addresses(segment, segment.physical_address.wrapping_add(bias));
        let mut wishes: Vec<Range<u64>> = physical.into_iter().chain([virtual_range.clone()]).collect();
        if no_physical {
            wishes.reverse();
        }
        let found = wishes.iter().find(|range| memory.is_ram(range.start, range.end - range.start));
        let Some(range) = found else {
            needed = needed.max(Some(more_memory(segment, &wishes)?));
            continue;
        };
        let placement = if *range == virtual_range { Placement::Loaded } else { Placement::Mapped };
        segments.push(PlacedSegment {
            index: segment.index,
            range: range.clone(),
            virtual_range,
            placement,
            offset: segment.offset,
            file_size: segment.file_size,
            access: segment.access,
        });
    }
    if let Some((needed, index, start, end)) = needed {
        let segment = SegmentName { index, range: start..end };
        return Err(GuestProblem::MoreMemory { segment, memory: memory.size(), needed });
    }
    check_overlaps(&mut segments)?;
    let entry = executable.entry.wrapping_add(bias);
    check_entry(&segments, entry)?;
    Ok(SegmentLayout { bias, segments, entry })
}

/// The end of the canonical addresses in the lower half.
const LOWER_HALF_END: u64 = 1 << 47;
/// The canonical addresses in the upper half, without the last page.
const UPPER_HALF: Range<u64> = 0xFFFF_8000_0000_0000..0xFFFF_FFFF_FFFF_F000;

/// Where the bytes of a segment are stored that the guest uses at another address, if any of that address range is RAM.
fn used_in_ram(
    segment: &Segment,
    bias: u64,
    virtual_range: &Range<u64>,
    memory: &GuestMemory,
) -> Option<Range<u64>> {
    let start = segment.physical_address.wrapping_add(bias);
    let is_in_ram =
        memory.ram().iter().any(|ram| ram.start < virtual_range.end && virtual_range.start < ram.end);
    if start == virtual_range.start || !is_in_ram {
        return None;
    }
    Some(start..start.saturating_add(segment.file_size))
}

/// A segment whose bytes are `stored` elsewhere than where the guest uses it, which is in RAM: the guest's start-up
/// code copies it. Without bytes, or if they cannot be there, it is loaded where it is used. `None` if RAM is too
/// small for it.
fn copied_or_loaded(
    segment: &Segment,
    stored: Range<u64>,
    virtual_range: &Range<u64>,
    memory: &GuestMemory,
) -> Option<PlacedSegment> {
    let is_ram = |range: &Range<u64>| memory.is_ram(range.start, range.end - range.start);
    let is_copied = segment.file_size > 0 && is_ram(&stored);
    is_ram(virtual_range).then(|| PlacedSegment {
        index: segment.index,
        range: if is_copied { stored } else { virtual_range.clone() },
        virtual_range: virtual_range.clone(),
        placement: if is_copied { Placement::Copied } else { Placement::Loaded },
        offset: segment.offset,
        file_size: segment.file_size,
        access: segment.access,
    })
}

/// The offset added to the addresses of a position-independent guest: 0 if it was linked at 1 MiB or above,
/// else 2 MiB, or the largest alignment that one of its segments requires.
fn bias(executable: &Executable) -> Result<u64, GuestProblem> {
    let segments = &executable.segments;
    let lowest = segments.iter().map(|segment| segment.virtual_address).min().unwrap_or(0);
    if !executable.relocatable || lowest >= PIE_LOWEST {
        return Ok(0);
    }
    for segment in segments {
        if segment.align != 0 && !segment.align.is_power_of_two() {
            return Err(GuestProblem::Field {
                field: format!("p_align of segment {}", segment.index),
                value: segment.align,
                expected: "a power of two",
            });
        }
    }
    Ok(segments.iter().map(|segment| segment.align).fold(PIE_BIAS, u64::max))
}

fn addresses(segment: &Segment, start: u64) -> Option<Range<u64>> {
    Some(start..start.checked_add(segment.memory_size)?)
}

/// The virtual addresses of a segment: both ends in the same canonical half of the address space
/// (Intel SDM volume 1, 3.3.7.1), and not in its very last page, so that sums cannot wrap.
fn virtual_range(segment: &Segment, bias: u64) -> Result<Range<u64>, GuestProblem> {
    let range = segment.virtual_address.checked_add(bias).and_then(|start| addresses(segment, start));
    range
        .filter(|range| {
            range.end <= LOWER_HALF_END || (range.start >= UPPER_HALF.start && range.end <= UPPER_HALF.end)
        })
        .ok_or(GuestProblem::AddressSpace {
            index: segment.index,
            address: segment.virtual_address,
            size: segment.memory_size,
        })
}

/// The RAM size that holds the segment at the first of its wishes that RAM of any size can satisfy, and that
/// wish.
fn more_memory(segment: &Segment, wishes: &[Range<u64>]) -> Result<(u64, usize, u64, u64), GuestProblem> {
    wishes.iter().find_map(|range| Some((ram_for(range)?, segment.index, range.start, range.end))).ok_or_else(
        || match wishes.first() {
            Some(range) => {
                let name = SegmentName { index: segment.index, range: range.clone() };
                if range.start >= UPPER_HALF.start {
                    GuestProblem::NoLoadAddress { segment: name }
                } else {
                    GuestProblem::NeverRam { segment: name }
                }
            }
            None => GuestProblem::AddressSpace {
                index: segment.index,
                address: segment.physical_address,
                size: segment.memory_size,
            },
        },
    )
}

/// The size of RAM that has `range`; `None` if RAM of no size has it.
pub(super) fn ram_for(range: &Range<u64>) -> Option<u64> {
    let size = if range.end <= LOW_RAM_LIMIT {
        range.end
    } else if range.start >= HIGH_RAM_BASE {
        LOW_RAM_LIMIT + (range.end - HIGH_RAM_BASE)
    } else {
        return None;
    };
    size.checked_next_multiple_of(RAM_GRANULE).filter(|size| *size <= MAX_RAM)
}

/// Checks that no byte is loaded from two segments, and sorts them by the addresses where they are loaded.
pub(super) fn check_physical_overlaps(segments: &mut [PlacedSegment]) -> Result<(), GuestProblem> {
    segments.sort_by_key(|segment| segment.range.start);
    for pair in segments.windows(2) {
        if pair[1].range.start < pair[0].range.end {
            return Err(overlap([&pair[0], &pair[1]], PlacedSegment::name, "physical"));
        }
    }
    Ok(())
}

/// Checks that no byte is loaded from two segments, and that every mapped segment can be mapped. Sorts `segments`
/// by virtual address.
///
/// Where copied segments go is not checked: overlays are at the same address at different times.
fn check_overlaps(segments: &mut [PlacedSegment]) -> Result<(), GuestProblem> {
    check_physical_overlaps(segments)?;
    segments.sort_by_key(|segment| segment.virtual_range.start);
    let in_place: Vec<&PlacedSegment> =
        segments.iter().filter(|segment| segment.placement != Placement::Copied).collect();
    for pair in in_place.windows(2) {
        if pair[1].virtual_range.start < pair[0].virtual_range.end {
            return Err(overlap([pair[0], pair[1]], PlacedSegment::virtual_name, "virtual"));
        }
        let page = pair[1].virtual_range.start & !(PAGE_SIZE - 1);
        if page < pair[0].virtual_range.end && distance(pair[0]) != distance(pair[1]) {
            return Err(GuestProblem::SharedPage {
                first: pair[0].virtual_name(),
                second: pair[1].virtual_name(),
                page,
            });
        }
    }
    for segment in in_place {
        if !distance(segment).is_multiple_of(PAGE_SIZE) {
            return Err(GuestProblem::PageOffset {
                index: segment.index,
                virtual_address: segment.virtual_range.start,
                physical_address: segment.range.start,
            });
        }
    }
    Ok(())
}

fn overlap(
    segments: [&PlacedSegment; 2],
    name: fn(&PlacedSegment) -> SegmentName,
    space: &'static str,
) -> GuestProblem {
    // The segment that starts with the ELF header.
    let has_headers = segments.iter().any(|segment| segment.offset == 0 && segment.file_size > 0);
    let code = segments.iter().find(|segment| segment.access.execute);
    let headers = code.filter(|_| has_headers).map(|segment| name(segment).range.start);
    let [first, second] = segments.map(name);
    GuestProblem::Overlap { first, second, space, headers }
}

/// Distance of a segment from the address that the guest expects.
fn distance(segment: &PlacedSegment) -> u64 {
    segment.range.start.wrapping_sub(segment.virtual_range.start)
}

/// Checks that the first instruction is in an executable segment. Its address may be virtual, or physical for
/// a kernel that switches to its own page tables first; a segment to be copied cannot have it.
fn check_entry(segments: &[PlacedSegment], entry: u64) -> Result<(), GuestProblem> {
    let by = |copied: bool, contains: &dyn Fn(&PlacedSegment) -> bool| {
        let mut candidates =
            segments.iter().filter(|segment| (segment.placement == Placement::Copied) == copied);
        candidates.find(|segment| contains(segment))
    };
    let by_virtual = by(false, &|segment| segment.virtual_range.contains(&entry));
    let by_physical = by(false, &|segment| segment.range.contains(&entry));
    match by_virtual.or(by_physical) {
        Some(segment) if segment.access.execute => Ok(()),
        Some(segment) => {
            let segment = if by_virtual.is_some() { segment.virtual_name() } else { segment.name() };
            Err(GuestProblem::EntryNotCode { entry, segment })
        }
        None => Err(match by(true, &|segment| segment.virtual_range.contains(&entry)) {
            Some(segment) => GuestProblem::EntryNotLoaded {
                entry,
                segment: segment.virtual_name(),
                stored: segment.range.start,
            },
            None => GuestProblem::NoEntry { entry },
        }),
    }
}
