//! The page tables of a kernel: the kernel itself with the permissions of its segments, the direct map of physical
//! memory in the higher half, and for base revision 0 physical memory at its own addresses.

use std::ops::Range;

use super::memory_map::MemoryRegion;
use crate::arch::PAGE_SIZE;
use crate::boot::address_space;
use crate::boot::elf64::Access;
use crate::boot::page_tables::{Page, PageTables, TooManyTables};
use crate::boot::segments::PlacedSegment;

/// The start of the direct map: an offset between physical and virtual addresses.
pub(in crate::boot) const DIRECT_MAP: u64 = 0xFFFF_8000_0000_0000;

const FOUR_GIB: u64 = 1 << 32;
/// Tables above the page directories, and those of the kernel.
const EXPECTED: u64 = 16;

/// The page tables for a kernel with these segments, which are ascending. `map` is the memory map, in which it does not
/// matter what of RAM is taken. At most `limit` tables.
pub(super) fn kernel_tables(
    revision: u64,
    segments: &[PlacedSegment],
    map: &[MemoryRegion],
    limit: u64,
    warnings: &mut Vec<String>,
) -> Result<PageTables, TooManyTables> {
    let mut tables = PageTables::new(limit, EXPECTED);
    let all = Page::Supervisor(Access::ALL);
    for range in direct_map(revision, map) {
        let virtual_range = DIRECT_MAP + range.start..DIRECT_MAP + range.end;
        tables.map(virtual_range, range.start, all)?;
        if revision == 0 {
            let start = range.start.max(PAGE_SIZE);
            tables.map(start..range.end, start, all)?;
        }
    }
    let segments: Vec<&PlacedSegment> = segments.iter().collect();
    let addresses = |segment: &PlacedSegment| segment.virtual_range.clone();
    for run in address_space::runs(&segments, addresses, |segment| segment.access, warnings, true) {
        tables.map(run.pages, run.physical, Page::Supervisor(run.access))?;
    }
    Ok(tables)
}

/// The physical memory in the direct map: in base revision 3 what the kernel may use, before that the first 4 GiB and
/// all RAM.
fn direct_map(revision: u64, map: &[MemoryRegion]) -> Vec<Range<u64>> {
    if revision >= 3 {
        let mapped = map.iter().filter(|(_, usage)| usage.is_mapped()).map(|(range, _)| range.clone());
        return mapped.filter(|range| !range.is_empty()).map(whole_pages).collect();
    }
    let above = map.iter().map(|(range, _)| range.start.max(FOUR_GIB)..range.end);
    std::iter::once(0..FOUR_GIB).chain(above.filter(|range| !range.is_empty()).map(whole_pages)).collect()
}

fn whole_pages(range: Range<u64>) -> Range<u64> {
    range.start & !(PAGE_SIZE - 1)..range.end.next_multiple_of(PAGE_SIZE)
}

/// A number of tables that is sufficient for [`kernel_tables`].
pub(super) fn most_tables(memory_size: u64, kernel_size: u64) -> u64 {
    const AT_ENDS: u64 = 64;
    AT_ENDS + 2 * (memory_size >> 30) + (kernel_size >> 20)
}
