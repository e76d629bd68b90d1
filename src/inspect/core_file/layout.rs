//! Which memory goes into a core file, and where: what the page tables map, as segments, and the guest-physical memory
//! behind them, each page once.
//!
//! Memory that was never touched holds zeros and takes no room: like the end of `.bss` it belongs to a segment whose
//! size in memory is larger than its size in the file. What is mapped at several addresses is in the file once, and
//! several segments refer to it, so that the file is never larger than RAM, whatever the guest maps.

use std::ops::Range;

use crate::arch::Registers;
use crate::arch::paging::{Paging, Rights};
use crate::inspect::mappings::{MOST_ENTRIES, each_page_at_most};
use crate::memory::{CHUNK, GuestMemory};

/// Most segments of a file: an ELF header counts up to 65,534 with the notes.
const MOST_SEGMENTS: usize = 65_000;

/// A range of virtual addresses in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its first virtual address.
    pub(super) address: u64,
    /// The guest-physical address there.
    pub(super) physical: u64,
    /// Its length in bytes.
    pub(super) length: u64,
    /// How many of these bytes are in the file; the others are zeros.
    pub(super) stored: u64,
    /// What the page tables allow.
    pub(super) rights: Rights,
}

/// Guest-physical memory in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredRange {
    /// Whole pages.
    pub(super) physical: Range<u64>,
    /// Where it lies behind the beginning of the memory in the file.
    pub(super) offset: u64,
}

/// What goes into a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CoreLayout {
    /// By virtual address.
    pub(super) segments: Vec<Segment>,
    /// The memory behind them, ascending, each page once.
    pub(super) stored: Vec<StoredRange>,
    /// Not all that is mapped is in it.
    pub(super) incomplete: bool,
}

impl CoreLayout {
    /// The layout for what `registers` map of `memory`.
    pub(super) fn new(memory: &GuestMemory, registers: &Registers) -> CoreLayout {
        CoreLayout::at_most(memory, registers, MOST_ENTRIES)
    }

    /// The same with a limit of the entries of page tables that are looked at.
    pub(super) fn at_most(memory: &GuestMemory, registers: &Registers, most: usize) -> CoreLayout {
        let (runs, mut incomplete) = mapped_runs(memory, registers, most);
        let used = used_ranges(memory);
        let mut segments = Vec::new();
        let mut stored = Vec::new();
        for run in &runs {
            if segments.len() >= MOST_SEGMENTS {
                incomplete = true;
                break;
            }
            split(run, &used, &mut segments, &mut stored);
        }
        segments.truncate(MOST_SEGMENTS);
        CoreLayout { segments, stored: merged(stored), incomplete }
    }

    /// Where the memory at `physical` lies behind the beginning of the memory in the file.
    pub(super) fn offset_of(&self, physical: u64) -> u64 {
        let index = self.stored.partition_point(|stored| stored.physical.end <= physical);
        self.stored
            .get(index)
            .map_or(0, |stored| stored.offset + physical.saturating_sub(stored.physical.start))
    }
}

/// What is mapped to RAM, in runs of the same rights that lie behind one another in both memories; true if that is not
/// all.
fn mapped_runs(memory: &GuestMemory, registers: &Registers, most: usize) -> (Vec<Segment>, bool) {
    let paging = Paging::new(registers, Paging::WIDEST);
    let mut runs: Vec<Segment> = Vec::new();
    let mut add = |new: Segment| {
        match runs.last_mut() {
            Some(last) if continues(last, &new) => last.length += new.length,
            _ => runs.push(new),
        }
        runs.len() <= MOST_SEGMENTS
    };
    if paging.levels() == 0 {
        let rights = Rights { write: true, user: true, execute: true };
        for range in memory.parts() {
            let length = range.end - range.start;
            add(Segment { address: range.start, physical: range.start, length, stored: 0, rights });
        }
        return (runs, false);
    }
    let mut full = false;
    let all = each_page_at_most(&paging, memory, 0, most, &mut |page| {
        let offset = page.mapping.physical % page.size;
        let start = page.mapping.physical - offset;
        for part in memory.parts() {
            let first = start.max(part.start);
            let end = start.saturating_add(page.size).min(part.end);
            if first < end {
                let address = page.address + (first - start);
                let (length, rights) = (end - first, page.mapping.rights);
                full |= !add(Segment { address, physical: first, length, stored: 0, rights });
            }
        }
        !full
    });
    (runs, full || !all)
}

/// True if `next` lies behind `run` in both memories, with the same rights.
fn continues(run: &Segment, next: &Segment) -> bool {
    run.rights == next.rights
        && run.address.checked_add(run.length) == Some(next.address)
        && run.physical.checked_add(run.length) == Some(next.physical)
}

/// The guest-physical memory that has been touched, ascending. Small gaps are closed.
fn used_ranges(memory: &GuestMemory) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for page in memory.committed().iter() {
        let start = page / CHUNK * CHUNK;
        match ranges.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(start + CHUNK),
            _ => ranges.push(start..start + CHUNK),
        }
    }
    ranges
}

/// Adds the segments of `run`: each begins with memory that is `used`, and ends with zeros. Adds what is used to
/// `stored`.
fn split(run: &Segment, used: &[Range<u64>], segments: &mut Vec<Segment>, stored: &mut Vec<Range<u64>>) {
    let end = run.physical + run.length;
    let first = used.partition_point(|range| range.end <= run.physical);
    let mut piece = Segment { length: 0, ..*run };
    for range in used[first..].iter().take_while(|range| range.start < end) {
        let part = range.start.max(run.physical)..range.end.min(end);
        piece.length = part.start - piece.physical;
        if piece.length > 0 {
            segments.push(piece);
        }
        let address = run.address + (part.start - run.physical);
        piece = Segment { address, physical: part.start, stored: part.end - part.start, ..*run };
        stored.push(part);
    }
    piece.length = end - piece.physical;
    segments.push(piece);
}

/// The same memory, ascending, each page once.
fn merged(mut ranges: Vec<Range<u64>>) -> Vec<StoredRange> {
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<StoredRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(StoredRange { physical, .. }) if range.start <= physical.end => {
                physical.end = physical.end.max(range.end);
            }
            _ => {
                let last = merged.last();
                let offset = last.map_or(0, |last| last.offset + (last.physical.end - last.physical.start));
                merged.push(StoredRange { physical: range, offset });
            }
        }
    }
    merged
}

#[cfg(test)]
#[path = "layout_test.rs"]
mod tests;
