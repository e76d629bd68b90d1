//! Decides where each segment goes, and checks that it can go there.

use std::ops::Range;

use super::elf64::{Access, Executable, Segment};
use super::error::{GuestProblem, SegmentName};
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
    /// Ascending by `virtual_range`, which never overlap; neither do the `range`s.
    pub segments: Vec<PlacedSegment>,
    /// Virtual address of the first instruction.
    pub entry: u64,
}

/// One segment in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlacedSegment {
    /// Index of its program header.
    pub index: usize,
    /// Where in guest-physical memory it lies; all RAM.
    pub range: Range<u64>,
    /// Where the guest expects it. Equal to `range` unless the guest is linked at other addresses.
    pub virtual_range: Range<u64>,
    /// Where its first bytes are in the file.
    pub offset: u64,
    /// How many bytes are in the file; the rest is zero.
    pub file_size: u64,
    /// The accesses that the guest needs.
    pub access: Access,
}

impl PlacedSegment {
    /// True if the guest expects it at another address than where it lies.
    pub fn is_moved(&self) -> bool {
        self.range != self.virtual_range
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
        let inside = end <= segment.virtual_range.end && address < segment.virtual_range.end;
        inside.then(|| (segment, segment.range.start + (address - segment.virtual_range.start)))
    }
}

/// Assigns an address to every segment of `executable`.
///
/// A segment goes to its physical address (`p_paddr`) if that is RAM from end to end, and to its
/// virtual address (`p_vaddr`) otherwise. A file whose physical addresses are all 0 does not say
/// any (the gABI leaves the field unspecified): there the virtual address comes first.
pub(super) fn place(executable: &Executable, memory: &GuestMemory) -> Result<SegmentLayout, GuestProblem> {
    let bias = bias(executable)?;
    let no_physical = executable.segments.iter().all(|segment| segment.physical_address == 0);
    let mut segments = Vec::with_capacity(executable.segments.len());
    let mut needed = None;
    for segment in &executable.segments {
        let virtual_range = virtual_range(segment, bias)?;
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
        segments.push(PlacedSegment {
            index: segment.index,
            range: range.clone(),
            virtual_range,
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
    const LOWER_HALF_END: u64 = 1 << 47;
    const UPPER_HALF: Range<u64> = 0xFFFF_8000_0000_0000..0xFFFF_FFFF_FFFF_F000;
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
    let size_for = |range: &Range<u64>| {
        let size = if range.end <= LOW_RAM_LIMIT {
            range.end
        } else if range.start >= HIGH_RAM_BASE {
            LOW_RAM_LIMIT + (range.end - HIGH_RAM_BASE)
        } else {
            return None;
        };
        size.checked_next_multiple_of(RAM_GRANULE).filter(|size| *size <= MAX_RAM)
    };
    wishes
        .iter()
        .find_map(|range| Some((size_for(range)?, segment.index, range.start, range.end)))
        .ok_or_else(|| match wishes.first() {
            Some(range) => {
                GuestProblem::NeverRam { segment: SegmentName { index: segment.index, range: range.clone() } }
            }
            None => GuestProblem::AddressSpace {
                index: segment.index,
                address: segment.physical_address,
                size: segment.memory_size,
            },
        })
}

/// Checks that no byte belongs to two segments, and that every moved segment can be mapped. Sorts `segments`
/// by virtual address.
fn check_overlaps(segments: &mut [PlacedSegment]) -> Result<(), GuestProblem> {
    segments.sort_by_key(|segment| segment.range.start);
    for pair in segments.windows(2) {
        if pair[1].range.start < pair[0].range.end {
            return Err(overlap(pair[0].name(), pair[1].name(), "physical"));
        }
    }
    segments.sort_by_key(|segment| segment.virtual_range.start);
    for pair in segments.windows(2) {
        if pair[1].virtual_range.start < pair[0].virtual_range.end {
            return Err(overlap(pair[0].virtual_name(), pair[1].virtual_name(), "virtual"));
        }
        let page = pair[1].virtual_range.start & !(PAGE_SIZE - 1);
        if page < pair[0].virtual_range.end && distance(&pair[0]) != distance(&pair[1]) {
            return Err(GuestProblem::SharedPage {
                first: pair[0].virtual_name(),
                second: pair[1].virtual_name(),
                page,
            });
        }
    }
    for segment in segments.iter() {
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

fn overlap(first: SegmentName, second: SegmentName, space: &'static str) -> GuestProblem {
    GuestProblem::Overlap { first, second, space }
}

/// Distance of a segment from the address that the guest expects.
fn distance(segment: &PlacedSegment) -> u64 {
    segment.range.start.wrapping_sub(segment.virtual_range.start)
}

/// Checks that the first instruction is in an executable segment. Its address may be virtual, or physical for
/// a kernel that switches to its own page tables first.
fn check_entry(segments: &[PlacedSegment], entry: u64) -> Result<(), GuestProblem> {
    let by_virtual = segments.iter().find(|segment| segment.virtual_range.contains(&entry));
    let by_physical = segments.iter().find(|segment| segment.range.contains(&entry));
    match by_virtual.or(by_physical) {
        Some(segment) if segment.access.execute => Ok(()),
        Some(segment) => {
            let segment = if by_virtual.is_some() { segment.virtual_name() } else { segment.name() };
            Err(GuestProblem::EntryNotCode { entry, segment })
        }
        None => Err(GuestProblem::NoEntry { entry }),
    }
}
