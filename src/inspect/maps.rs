//! What the guest's page tables map, as merged ranges, and what has changed between two stops.
//!
//! [`Maps::capture`] reads the tables of one CPU in whichever paging mode it is; [`Maps::describe`] adds what each range
//! belongs to. Tables that map without end, as those do which contain themselves, are read up to a limit.
//!
//! Manual: Intel SDM volume 3A, "Paging".

mod diff;

use std::fmt;

use serde::Serialize;

use super::hex;
use super::mappings::{MOST_ENTRIES, MappedPage, each_page_at_most};
use super::names::Names;
use crate::arch::flags::{CR4_PSE, EFER_NXE};
use crate::arch::paging::{Paging, entry_bits};
use crate::arch::{PAGE_SIZE, Registers};
use crate::devices::table::TABLE;
use crate::memory::GuestMemory;

pub use diff::MapsDiff;

/// Most ranges that are kept.
const MOST_RANGES: usize = 4096;
/// Most names of sections that are shown of one range.
const MOST_NAMES: usize = 6;
/// Bit of an entry that maps a page: it stays in the TLB when CR3 is loaded (with CR4.PGE).
const GLOBAL: u64 = 1 << 8;
/// The memory type bit of an entry that maps a small page, and of one that maps a large page.
const PAT_SMALL: u64 = 1 << 7;
const PAT_LARGE: u64 = 1 << 12;

/// What a page allows, and how it is cached (Intel SDM volume 3A, "Paging-Structure Entries").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PageAttributes {
    /// Writing is allowed by all levels.
    pub write: bool,
    /// Execution is allowed by all levels.
    pub execute: bool,
    /// Ring 3 has access by all levels.
    pub user: bool,
    /// G: the translation survives a load of CR3.
    pub global: bool,
    /// PCD.
    pub cache_disable: bool,
    /// PWT.
    pub write_through: bool,
    /// PAT.
    pub pat: bool,
}

/// A range of pages that follow one another in virtual and in physical memory and are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MapRange {
    /// Its first virtual address.
    #[serde(serialize_with = "hex::hex")]
    pub start: u64,
    /// Its last virtual address.
    #[serde(serialize_with = "hex::hex")]
    pub last: u64,
    /// The guest-physical address of `start`.
    #[serde(serialize_with = "hex::hex")]
    pub physical: u64,
    /// Size of its pages in bytes.
    pub page_size: u64,
    /// What all of it allows.
    pub attributes: PageAttributes,
}

/// What the page tables of a CPU map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Maps {
    /// The paging mode: `4-level paging`.
    pub mode: String,
    /// False if paging is off: there are no ranges then.
    pub has_paging: bool,
    /// CR3; 0 if paging is off.
    #[serde(serialize_with = "hex::hex")]
    pub cr3: u64,
    /// The ranges, ascending.
    pub ranges: Vec<MapRange>,
    /// Where reading has stopped because of a limit; `None` if everything was read.
    #[serde(serialize_with = "hex::optional")]
    pub stopped_at: Option<u64>,
}

/// Maps with what each range belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DescribedMaps {
    /// The paging mode.
    pub mode: String,
    /// As [`Maps::has_paging`].
    pub has_paging: bool,
    /// CR3.
    #[serde(serialize_with = "hex::hex")]
    pub cr3: u64,
    /// The ranges.
    pub ranges: Vec<DescribedRange>,
    /// As [`Maps::stopped_at`].
    #[serde(serialize_with = "hex::optional")]
    pub stopped_at: Option<u64>,
}

/// A range with what it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DescribedRange {
    /// The range.
    #[serde(flatten)]
    pub range: MapRange,
    /// Sections or a symbol of the guest file, or the device whose registers lie there; empty if it is plain RAM.
    pub what: String,
}

impl Maps {
    /// Reads the page tables that `registers` select, from the virtual address `start` on.
    pub fn capture(memory: &GuestMemory, registers: &Registers, start: u64) -> Maps {
        Maps::capture_at_most(memory, registers, start, MOST_ENTRIES)
    }

    /// The same with a limit of the entries that are looked at.
    pub fn capture_at_most(memory: &GuestMemory, registers: &Registers, start: u64, most: usize) -> Maps {
        let paging = Paging::new(registers, Paging::WIDEST);
        let has_paging = paging.levels() > 0;
        let mut maps = Maps {
            mode: mode_name(&paging, registers),
            has_paging,
            cr3: 0,
            ranges: Vec::new(),
            stopped_at: None,
        };
        if !has_paging {
            return maps;
        }
        maps.cr3 = registers.system.cr3;
        let mut next = start;
        let complete = each_page_at_most(&paging, memory, start, most, &mut |page| {
            if !maps.add(&page) {
                maps.stopped_at = Some(page.address);
                return false;
            }
            next = page.address.saturating_add(page.size);
            true
        });
        if !complete {
            maps.stopped_at = Some(next);
        }
        maps
    }

    /// Adds a page behind those that are known; false if there are too many ranges.
    fn add(&mut self, page: &MappedPage) -> bool {
        let range = MapRange {
            start: page.address,
            last: page.address + (page.size - 1),
            physical: page.mapping.physical & !(page.size - 1),
            page_size: page.size,
            attributes: attributes(page),
        };
        if let Some(before) = self.ranges.last_mut()
            && before.last.checked_add(1) == Some(range.start)
            && before.continues_as(&range)
        {
            before.last = range.last;
            return true;
        }
        let has_room = self.ranges.len() < MOST_RANGES;
        if has_room {
            self.ranges.push(range);
        }
        has_room
    }

    /// Adds what the ranges belong to.
    pub fn describe(&self, memory: &GuestMemory, names: &dyn Names) -> DescribedMaps {
        let describe = describer(memory, names);
        let ranges = self.ranges.iter().map(describe).collect();
        let Maps { has_paging, cr3, stopped_at, .. } = *self;
        DescribedMaps { mode: self.mode.clone(), has_paging, cr3, ranges, stopped_at }
    }
}

impl MapRange {
    /// True if `next`, which begins where this range ends, is like it and follows it in physical memory.
    fn continues_as(&self, next: &MapRange) -> bool {
        self.attributes == next.attributes
            && self.page_size == next.page_size
            && self.physical.wrapping_add(next.start.wrapping_sub(self.start)) == next.physical
    }

    /// The guest-physical address of a virtual one in the range.
    pub fn physical_of(&self, address: u64) -> u64 {
        self.physical.wrapping_add(address.wrapping_sub(self.start))
    }
}

/// What adds to a range what it belongs to. The sections of the guest file are read once.
fn describer<'a>(memory: &'a GuestMemory, names: &'a dyn Names) -> impl Fn(&MapRange) -> DescribedRange + 'a {
    let sections = names.sections();
    move |range| {
        let mut found: Vec<&str> = sections
            .iter()
            .filter(|section| section.range.start <= range.last && section.range.end > range.start)
            .map(|section| section.name.as_str())
            .filter(|name| !name.is_empty())
            .collect();
        let more = found.len() > MOST_NAMES;
        found.truncate(MOST_NAMES);
        if more {
            found.push("...");
        }
        let what = match found.is_empty() {
            false => found.join(" "),
            true => match names.symbol_at(range.start) {
                Some(symbol) => symbol.to_string(),
                None => device_at(memory, range).unwrap_or_default(),
            },
        };
        DescribedRange { range: *range, what }
    }
}

/// The devices whose registers lie in the range; `None` for RAM.
fn device_at(memory: &GuestMemory, range: &MapRange) -> Option<String> {
    if memory.is_ram(range.physical, 1) {
        return None;
    }
    let last = range.physical.saturating_add(range.last - range.start);
    let devices: Vec<&str> = TABLE
        .iter()
        .filter(|device| {
            device.mmio.as_ref().is_some_and(|window| window.start <= last && window.end > range.physical)
        })
        .map(|device| device.kind)
        .collect();
    Some(if devices.is_empty() { "not RAM".to_owned() } else { devices.join(" ") })
}

fn attributes(page: &MappedPage) -> PageAttributes {
    let is_set = |bit: u64| page.entry & bit != 0;
    let rights = page.mapping.rights;
    PageAttributes {
        write: rights.write,
        execute: rights.execute,
        user: rights.user,
        global: is_set(GLOBAL),
        cache_disable: is_set(entry_bits::NO_CACHE),
        write_through: is_set(entry_bits::WRITE_THROUGH),
        pat: is_set(if page.size == PAGE_SIZE { PAT_SMALL } else { PAT_LARGE }),
    }
}

fn mode_name(paging: &Paging, registers: &Registers) -> String {
    let system = &registers.system;
    let no_execute = if system.efer & EFER_NXE != 0 { "" } else { ", without NX" };
    match paging.levels() {
        0 => "paging is off: addresses are guest-physical ones".to_owned(),
        2 if system.cr4 & CR4_PSE != 0 => "32-bit paging with PSE".to_owned(),
        2 => "32-bit paging".to_owned(),
        3 => format!("PAE paging{no_execute}"),
        levels => format!("{levels}-level paging{no_execute}"),
    }
}

/// A number of bytes in the largest unit that divides it: `64M`.
fn size_text(bytes: u64) -> String {
    match bytes {
        0 => "16E".to_owned(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{}G", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}M", bytes >> 20),
        _ => format!("{}K", bytes >> 10),
    }
}

impl fmt::Display for PageAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = |on, letter| if on { letter } else { '-' };
        let rights: String = [
            'r',
            letter(self.write, 'w'),
            letter(self.execute, 'x'),
            letter(self.user, 'u'),
            letter(self.global, 'g'),
        ]
        .iter()
        .collect();
        f.write_str(&rights)?;
        for (on, name) in [(self.cache_disable, "PCD"), (self.write_through, "PWT"), (self.pat, "PAT")] {
            if on {
                write!(f, " {name}")?;
            }
        }
        Ok(())
    }
}

impl DescribedRange {
    /// The line for narrow places: where it begins, its size, what it allows and what it belongs to.
    pub fn short_text(&self) -> String {
        let MapRange { start, last, attributes, .. } = self.range;
        let size = size_text((last - start).wrapping_add(1));
        format!("{start:016x} {size:>5} {attributes} {}", self.what)
    }
}

impl fmt::Display for DescribedRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MapRange { start, last, physical, page_size, attributes } = self.range;
        let size = size_text((last - start).wrapping_add(1));
        let pages = size_text(page_size);
        write!(f, "{start:016x}-{last:016x} -> {physical:012x} {size:>6} {pages:>2} {attributes}")?;
        if self.what.is_empty() { Ok(()) } else { write!(f, "  {}", self.what) }
    }
}

impl fmt::Display for DescribedMaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.has_paging {
            return writeln!(f, "{}", self.mode);
        }
        writeln!(f, "{}, CR3 {:#x}", self.mode, self.cr3)?;
        self.ranges.iter().try_for_each(|range| writeln!(f, "{range}"))?;
        if self.ranges.is_empty() {
            writeln!(f, "nothing is mapped")?;
        }
        write_limit(f, self.stopped_at)
    }
}

/// Says where reading has stopped, if it has.
fn write_limit(f: &mut fmt::Formatter<'_>, stopped_at: Option<u64>) -> fmt::Result {
    match stopped_at {
        Some(at) => writeln!(f, "... and more, up to the limit of this view; `maps {at:#x}` goes on there"),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "maps/maps_test.rs"]
mod tests;
