//! Allocates guest memory for what the guest's file does not contain: boot structures and modules.

use std::ops::Range;

use super::free_pages::FreePages;
use super::image::{FileImage, Image};
use super::segments::{PlacedSegment, Placement, SegmentLayout};
use super::{BootError, LoadedRegion};
use crate::arch::PAGE_SIZE;
use crate::memory::{GuestMemory, LOW_RAM_LIMIT, RAM_GRANULE};

/// Free guest memory, and the regions that have been allocated.
pub(super) struct Allocator {
    free: FreePages,
    memory_size: u64,
    /// The first address below 3 GiB above which no segment lies.
    segments_end: u64,
    /// Bytes that all modules take.
    modules_size: u64,
    layout: Vec<LoadedRegion>,
}

impl Allocator {
    /// All RAM below 3 GiB in which no segment lies; `modules` will be allocated from it.
    pub(super) fn new(
        memory: &GuestMemory,
        segment_layout: &SegmentLayout,
        modules: &[(FileImage, &str)],
    ) -> Allocator {
        let taken = segment_layout.segments.iter().flat_map(|segment| {
            // A copied segment must not be copied over anything.
            [segment.range.clone(), segment.virtual_range.clone()]
        });
        let segments_end =
            taken.clone().filter(|range| range.start < LOW_RAM_LIMIT).map(|range| range.end).max();
        let pages = |size: u64| size.max(1).checked_next_multiple_of(PAGE_SIZE).unwrap_or(u64::MAX);
        let modules_size =
            modules.iter().fold(0, |sum: u64, (file, _)| sum.saturating_add(pages(file.len())));
        Allocator {
            free: FreePages::new(memory.size(), taken),
            memory_size: memory.size(),
            segments_end: segments_end.unwrap_or(0).max(1 << 20),
            modules_size,
            layout: Vec::new(),
        }
    }

    /// All RAM below 3 GiB that is not `taken`.
    pub(super) fn around(memory: &GuestMemory, taken: Vec<Range<u64>>) -> Allocator {
        let end = taken.iter().filter(|range| range.start < LOW_RAM_LIMIT).map(|range| range.end).max();
        Allocator {
            segments_end: end.unwrap_or(0).max(1 << 20),
            free: FreePages::new(memory.size(), taken.into_iter()),
            memory_size: memory.size(),
            modules_size: 0,
            layout: Vec::new(),
        }
    }

    /// Allocates pages for a boot structure.
    pub(super) fn allocate(&mut self, what: &str, size: u64) -> Result<u64, BootError> {
        let start = self.free.take(size);
        self.record(what, size, start)
    }

    /// Allocates pages for a module. An empty one gets a page, so that it has an address.
    pub(super) fn allocate_module(&mut self, name: &str, size: u64) -> Result<u64, BootError> {
        let start = self.free.take_high(size.max(1));
        self.record(&format!("module {name}"), size, start)
    }

    /// The same at the lowest place above 1 MiB and all segments that has room, for protocols whose guests expect
    /// modules there.
    pub(super) fn allocate_module_behind_segments(
        &mut self,
        name: &str,
        size: u64,
    ) -> Result<u64, BootError> {
        let start = self.free.take_above(self.segments_end, size.max(1));
        self.record(&format!("module {name}"), size, start)
    }

    /// Allocates pages at the top of RAM below 3 GiB.
    pub(super) fn allocate_at_top(&mut self, what: &str, size: u64) -> Result<u64, BootError> {
        let start = self.free.take_high(size);
        self.record(what, size, start)
    }

    /// Allocates pages for the tables of a PC's firmware: where guests search for them, or elsewhere if segments
    /// are there. `None` if there is no room.
    pub(super) fn allocate_firmware_tables(&mut self, size: u64) -> Option<u64> {
        let (name, start) = match self.free.take_for_firmware(size) {
            Some(start) => ("the ACPI and MP tables", start),
            None => ("the ACPI and MP tables, which only the start info names", self.free.take(size)?),
        };
        self.layout.push(LoadedRegion { name: name.to_owned(), range: start..start + size });
        Some(start)
    }

    fn record(&mut self, what: &str, size: u64, start: Option<u64>) -> Result<u64, BootError> {
        let start = start.ok_or_else(|| self.no_room(what, size))?;
        self.layout.push(LoadedRegion { name: what.to_owned(), range: start..start + size });
        Ok(start)
    }

    /// The error for `what`, which does not fit. It names a sufficient RAM size: above all segments for the
    /// modules, for `what`, and for the other boot structures, which are small.
    pub(super) fn no_room(&self, what: &str, size: u64) -> BootError {
        const SMALL_THINGS: u64 = 2 << 20;
        let needed = [self.modules_size, size, SMALL_THINGS]
            .iter()
            .try_fold(self.segments_end, |sum, part| sum.checked_add(*part))
            .and_then(|sum| sum.checked_next_multiple_of(RAM_GRANULE))
            .filter(|sum| *sum <= LOW_RAM_LIMIT && *sum > self.memory_size);
        BootError::NoRoom { what: what.to_owned(), size, memory: self.memory_size, needed }
    }

    /// Number of pages that are free.
    pub(super) fn free_pages(&self) -> u64 {
        self.free.left()
    }

    /// All allocated regions and segments, ascending.
    pub(super) fn into_layout(mut self, segments: &[PlacedSegment]) -> Vec<LoadedRegion> {
        self.layout.extend(
            segments
                .iter()
                .map(|segment| LoadedRegion { name: describe(segment), range: segment.range.clone() }),
        );
        self.layout.sort_by_key(|region| region.range.start);
        self.layout
    }
}

fn describe(segment: &PlacedSegment) -> String {
    let name = format!("segment {} ({})", segment.index, segment.access);
    let Range { start, end } = segment.virtual_range;
    match segment.placement {
        Placement::Loaded => name,
        Placement::Mapped => format!("{name}, mapped at {start:#x}..{end:#x}"),
        Placement::Copied => format!("{name}, for the guest to copy to {start:#x}..{end:#x}"),
    }
}
