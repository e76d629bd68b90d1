//! Maps guest-virtual addresses: the table in `docs/boot-state.md`.

use std::ops::Range;

use super::elf64::Access;
use super::page_tables::{LARGE_PAGE_SIZE, Page, PageTables, TooManyTables};
use super::segments::PlacedSegment;
use crate::arch::PAGE_SIZE;
use crate::memory::GuestMemory;

/// The I/O APIC's registers (82093AA datasheet, 3.0).
const IO_APIC: u64 = 0xFEC0_0000;

/// The local APIC's registers (Intel SDM volume 3, 12.4.1).
const LOCAL_APIC: u64 = 0xFEE0_0000;

/// An address at which old guests expect the I/O APIC too.
const OLD_IO_APIC: u64 = 0x0FE0_0000;

/// The windows of chips, each a large page.
const DEVICES: [(&str, u64); 3] =
    [("I/O APIC", IO_APIC), ("local APIC", LOCAL_APIC), ("old I/O APIC", OLD_IO_APIC)];

/// Memory that belongs to no segment, in strict mode.
const DATA: Access = Access { read: true, write: true, execute: false };

/// How `--strict` maps the address space.
#[derive(Clone, Copy, Debug)]
pub(super) struct StrictMapping {
    /// The page below the boot stack, which is not mapped.
    pub guard: u64,
}

/// Page tables for a guest with these segments (ascending by virtual address, checked by
/// [`segments::place`](super::segments::place)). Adds notes for the user to `warnings`.
pub(super) fn build(
    memory: &GuestMemory,
    segments: &[PlacedSegment],
    strict: Option<StrictMapping>,
    limit: u64,
    warnings: &mut Vec<String>,
) -> Result<PageTables, TooManyTables> {
    let mut tables = PageTables::new(limit, tables_of_ram(memory));
    // Later mappings replace earlier ones: RAM goes over the old I/O APIC window where it reaches
    // that far, and moved segments replace whatever was mapped there.
    for (_, window) in DEVICES {
        tables.map(window..window + LARGE_PAGE_SIZE, window, Page::Device)?;
    }
    let ram_access = if strict.is_some() { DATA } else { Access::ALL };
    for range in memory.ram() {
        tables.map(range.clone(), range.start, Page::Ram(ram_access))?;
    }
    if let Some(strict) = strict {
        restrict(&mut tables, segments, strict, warnings)?;
    }
    let moved: Vec<&PlacedSegment> = segments.iter().filter(|segment| segment.is_moved()).collect();
    for segment in &moved {
        warn_of_hidden_device(segment, warnings);
    }
    for run in runs(&moved, |segment| &segment.virtual_range, warnings, strict.is_some()) {
        let access = if strict.is_some() { run.access } else { Access::ALL };
        tables.map(run.pages, run.physical, Page::Ram(access))?;
    }
    Ok(tables)
}

/// A number of tables that is sufficient for [`build`], wherever the segments are.
pub(super) fn most_tables(memory: &GuestMemory, segments: &[PlacedSegment]) -> u64 {
    // At each end of a segment there can be one more table of each kind than its length demands,
    // and two page tables where its physical addresses split large pages.
    const AT_ENDS: u64 = 2 + 2 + 2 + 2;
    let of_segment =
        |segment: &PlacedSegment| (segment.range.end - segment.range.start) / (1 << 20) + AT_ENDS;
    tables_of_ram(memory) + segments.iter().map(of_segment).sum::<u64>()
}

/// At least as many tables as RAM and the windows of chips need at their own addresses.
fn tables_of_ram(memory: &GuestMemory) -> u64 {
    // The PML4, what is above the page directories of RAM, and the windows of chips.
    const ALWAYS: u64 = 32;
    ALWAYS + memory.size() / (1 << 30)
}

/// Removes, from RAM mapped at its own addresses, what strict mode does not permit.
fn restrict(
    tables: &mut PageTables,
    segments: &[PlacedSegment],
    strict: StrictMapping,
    warnings: &mut Vec<String>,
) -> Result<(), TooManyTables> {
    tables.map(0..PAGE_SIZE, 0, Page::Absent)?;
    tables.map(strict.guard..strict.guard + PAGE_SIZE, strict.guard, Page::Absent)?;
    let mut ascending: Vec<&PlacedSegment> = segments.iter().collect();
    ascending.sort_by_key(|segment| segment.range.start);
    if let Some(first) = ascending.first().filter(|segment| segment.range.start < PAGE_SIZE) {
        warnings.push(format!(
            "{} is in page 0, which is therefore mapped: null pointers will not fault",
            first.name()
        ));
    }
    for run in runs(&ascending, |segment| &segment.range, warnings, true) {
        tables.map(run.pages, run.physical, Page::Ram(run.access))?;
    }
    Ok(())
}

/// Whole pages with one permission.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    pages: Range<u64>,
    physical: u64,
    access: Access,
}

/// The pages of `segments`, which are ascending by `addresses` and do not overlap. A page that
/// several of them share gets the permissions of all, with a warning if they differ and `warn` is
/// set.
fn runs(
    segments: &[&PlacedSegment],
    addresses: impl Fn(&PlacedSegment) -> &Range<u64>,
    warnings: &mut Vec<String>,
    warn: bool,
) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::with_capacity(segments.len());
    let mut previous: Option<&PlacedSegment> = None;
    for segment in segments {
        let range = addresses(segment);
        let mut start = range.start & !(PAGE_SIZE - 1);
        let end = (range.end + PAGE_SIZE - 1) & !(PAGE_SIZE - 1);
        let distance = segment.range.start.wrapping_sub(range.start);
        if let Some(last) = runs.last_mut().filter(|last| start < last.pages.end) {
            // Only the last page of the one before can be shared.
            if last.access != segment.access {
                if let (true, Some(previous)) = (warn, previous) {
                    warnings.push(shared_page(previous, segment, start, last.access.or(segment.access)));
                }
                let access = last.access.or(segment.access);
                let physical = start.wrapping_add(distance);
                if last.pages.start == start {
                    last.access = access;
                } else {
                    last.pages.end = start;
                    runs.push(Run { pages: start..start + PAGE_SIZE, physical, access });
                }
            }
            start += PAGE_SIZE;
        }
        if start < end {
            let physical = start.wrapping_add(distance);
            runs.push(Run { pages: start..end, physical, access: segment.access });
        }
        previous = Some(segment);
    }
    runs
}

fn shared_page(first: &PlacedSegment, second: &PlacedSegment, page: u64, access: Access) -> String {
    format!(
        "segments {} ({}) and {} ({}) share the page {page:#x}, which gets the permissions of both ({access}); \
         align them to 4096 in the linker script",
        first.index, first.access, second.index, second.access
    )
}

fn warn_of_hidden_device(segment: &PlacedSegment, warnings: &mut Vec<String>) {
    let range = &segment.virtual_range;
    for (name, window) in DEVICES {
        if range.start < window + LARGE_PAGE_SIZE && window < range.end {
            warnings.push(format!(
                "{} is mapped over the {name} at {window:#x}, which cannot be reached there",
                segment.virtual_name()
            ));
        }
    }
}
