//! Maps guest-virtual addresses: the table in `docs/boot-state.md`.

use std::ops::Range;

use super::elf64::Access;
use super::page_tables::{LARGE_PAGE_SIZE, Page, PageTables, TooManyTables};
use super::segments::{PlacedSegment, Placement};
use crate::arch::PAGE_SIZE;
use crate::devices::pci::firmware;
use crate::memory::{GuestMemory, VIDEO_MEMORY};

/// The I/O APIC's registers (82093AA datasheet, 3.0).
const IO_APIC: u64 = 0xFEC0_0000;

/// The local APIC's registers (Intel SDM volume 3, 12.4.1).
const LOCAL_APIC: u64 = 0xFEE0_0000;

/// An address at which old guests expect the I/O APIC too.
const OLD_IO_APIC: u64 = 0x0FE0_0000;

/// The windows of chips, each a large page.
const DEVICES: [(&str, u64); 4] = [
    ("memory of PCI devices", firmware::MEMORY.start as u64),
    ("I/O APIC", IO_APIC),
    ("local APIC", LOCAL_APIC),
    ("old I/O APIC", OLD_IO_APIC),
];

/// Memory that belongs to no segment, in strict mode.
const DATA: Access = Access { read: true, write: true, execute: false };

/// Code of this program, in strict mode.
const ENTRY_RETURN: Access = Access { read: true, write: false, execute: true };

/// What is mapped with fewer rights than RAM has by default.
#[derive(Clone, Copy, Debug)]
pub(super) struct Protection {
    /// `--strict`: segments get only the permissions that they ask for.
    pub strict: bool,
    /// The page below the boot stack. It is not mapped, and neither is page 0; `None` with `--no-guards`.
    pub guard: Option<u64>,
    /// The page that the guest's entry function returns to ([`super::entry_return`]).
    pub entry_return: u64,
}

/// Page tables for a guest with these segments (ascending by virtual address, checked by
/// [`segments::place`](super::segments::place)). Adds notes for the user to `warnings`.
pub(super) fn build(
    memory: &GuestMemory,
    segments: &[PlacedSegment],
    protection: Protection,
    limit: u64,
    warnings: &mut Vec<String>,
) -> Result<PageTables, TooManyTables> {
    let strict = protection.strict;
    let mut tables = PageTables::new(limit, tables_of_ram(memory));
    // Later mappings replace earlier ones: RAM goes over the old I/O APIC window where it reaches
    // that far, and mapped segments replace whatever was mapped there.
    for (_, window) in DEVICES {
        tables.map(window..window + LARGE_PAGE_SIZE, window, Page::Device)?;
    }
    let ram_access = if strict { DATA } else { Access::ALL };
    for range in memory.ram() {
        tables.map(range.clone(), range.start, Page::Ram(ram_access))?;
    }
    if memory.has_video_memory() {
        tables.map(VIDEO_MEMORY, VIDEO_MEMORY.start, Page::Ram(ram_access))?;
    }
    if strict {
        restrict(&mut tables, segments, warnings)?;
        let page = protection.entry_return;
        tables.map(page..page + PAGE_SIZE, page, Page::Ram(ENTRY_RETURN))?;
    }
    if let Some(guard) = protection.guard {
        tables.map(guard..guard + PAGE_SIZE, guard, Page::Absent)?;
        match segments.iter().find(|segment| uses_page_0(segment)) {
            None => tables.map(0..PAGE_SIZE, 0, Page::Absent)?,
            Some(segment) if strict => warnings.push(format!(
                "{} is in page 0, which is therefore mapped: null pointers will not fault",
                segment.name()
            )),
            Some(_) => {}
        }
    }
    let mapped: Vec<&PlacedSegment> =
        segments.iter().filter(|segment| segment.placement == Placement::Mapped).collect();
    for segment in &mapped {
        warn_of_hidden_device(segment, warnings);
    }
    let addresses = |segment: &PlacedSegment| segment.virtual_range.clone();
    for run in runs(&mapped, addresses, |segment| segment.access, warnings, strict) {
        let access = if strict { run.access } else { Access::ALL };
        tables.map(run.pages, run.physical, Page::Ram(access))?;
    }
    Ok(tables)
}

/// True if the segment is loaded to page 0, or copied to it.
fn uses_page_0(segment: &PlacedSegment) -> bool {
    segment.range.start < PAGE_SIZE || segment.virtual_range.start < PAGE_SIZE
}

/// A number of tables that is sufficient for [`build`], wherever the segments are.
pub(super) fn most_tables(memory: &GuestMemory, segments: &[PlacedSegment]) -> u64 {
    // At each end of a segment there can be one more table of each kind than its length demands,
    // and two page tables where its physical addresses split large pages, or the destination of its copy does.
    const AT_ENDS: u64 = 2 + 2 + 2 + 2;
    let of_segment =
        |segment: &PlacedSegment| (segment.range.end - segment.range.start) / (1 << 20) + AT_ENDS;
    tables_of_ram(memory) + segments.iter().map(of_segment).sum::<u64>()
}

/// At least as many tables as RAM and the windows of chips need at their own addresses.
fn tables_of_ram(memory: &GuestMemory) -> u64 {
    // The PML4, what is above the page directories of RAM, the windows of chips, and pages with an access of their own.
    const ALWAYS: u64 = 16;
    ALWAYS + memory.size() / (1 << 30)
}

/// Removes, from RAM mapped at its own addresses, what strict mode does not permit.
fn restrict(
    tables: &mut PageTables,
    segments: &[PlacedSegment],
    warnings: &mut Vec<String>,
) -> Result<(), TooManyTables> {
    let mut ascending: Vec<&PlacedSegment> = segments.iter().collect();
    ascending.sort_by_key(|segment| segment.range.start);
    let addresses = |segment: &PlacedSegment| segment.range.clone();
    for run in runs(&ascending, addresses, PlacedSegment::access_where_loaded, warnings, true) {
        tables.map(run.pages, run.physical, Page::Ram(run.access))?;
    }
    // Where segments are copied to has to be writable, and executable if there is code in it before or after.
    for copied in segments.iter().filter(|segment| segment.placement == Placement::Copied) {
        let pages = whole_pages(&copied.virtual_range);
        let meets = |range: Range<u64>| range.start < pages.end && pages.start < range.end;
        let execute = segments.iter().any(|segment| {
            let used =
                if segment.placement == Placement::Copied { &segment.virtual_range } else { &segment.range };
            segment.access.execute && meets(whole_pages(used))
        });
        tables.map(pages.clone(), pages.start, Page::Ram(Access { execute, ..DATA }))?;
    }
    Ok(())
}

/// The pages that `range` touches.
fn whole_pages(range: &Range<u64>) -> Range<u64> {
    range.start & !(PAGE_SIZE - 1)..(range.end + PAGE_SIZE - 1) & !(PAGE_SIZE - 1)
}

/// Whole pages with one permission.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub pages: Range<u64>,
    pub physical: u64,
    pub access: Access,
}

/// The pages of `segments`, which are ascending by `addresses` and do not overlap. A page that
/// several of them share gets the permissions of all, with a warning if they differ and `warn` is
/// set. A segment that is only read there, and copied, needs no warning.
pub(super) fn runs(
    segments: &[&PlacedSegment],
    addresses: impl Fn(&PlacedSegment) -> Range<u64>,
    access_of: impl Fn(&PlacedSegment) -> Access,
    warnings: &mut Vec<String>,
    warn: bool,
) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::with_capacity(segments.len());
    let mut previous: Option<&PlacedSegment> = None;
    for segment in segments {
        let (range, access) = (addresses(segment), access_of(segment));
        let Range { mut start, end } = whole_pages(&range);
        let distance = segment.range.start.wrapping_sub(range.start);
        if let Some(last) = runs.last_mut().filter(|last| start < last.pages.end) {
            // Only the last page of the one before can be shared.
            if last.access != access {
                let both = last.access.or(access);
                let stored_only = segment.placement == Placement::Copied && both == last.access;
                if let (true, Some(previous)) = (warn && !stored_only, previous) {
                    warnings.push(shared_page(previous, segment, start, both));
                }
                let physical = start.wrapping_add(distance);
                if last.pages.start == start {
                    last.access = both;
                } else {
                    last.pages.end = start;
                    runs.push(Run { pages: start..start + PAGE_SIZE, physical, access: both });
                }
            }
            start += PAGE_SIZE;
        }
        if start < end {
            let physical = start.wrapping_add(distance);
            runs.push(Run { pages: start..end, physical, access });
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
