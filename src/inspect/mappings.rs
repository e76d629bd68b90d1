//! What the guest's page tables map, page by page and as regions.
//!
//! Manual: Intel SDM volume 3A, "4-Level Paging and 5-Level Paging".

use crate::arch::paging::{Entry, Mapping, Paging, Rights};
use crate::arch::{PAGE_SIZE, Registers};
use crate::memory::GuestMemory;

/// Maximum number of entries that are looked at: tables that contain themselves map without end.
pub(super) const MOST_ENTRIES: usize = 1 << 20;
/// Maximum number of pages in a region: a larger one is shown in pieces.
const MOST_PAGES: usize = 1 << 16;

/// One mapped page, of any size.
#[derive(Clone, Copy, Debug)]
pub struct MappedPage {
    /// Its first virtual address.
    pub address: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Where it lies, and its rights.
    pub mapping: Mapping,
    /// The value of the entry that maps it.
    pub entry: u64,
}

/// Passes every mapped page from `start` on to `found`, until that returns false; false if not all entries
/// have been looked at.
pub fn each_page(
    paging: &Paging,
    memory: &GuestMemory,
    start: u64,
    found: &mut dyn FnMut(MappedPage) -> bool,
) -> bool {
    each_page_at_most(paging, memory, start, MOST_ENTRIES, found)
}

/// The same with a limit of the entries that are looked at.
pub(super) fn each_page_at_most(
    paging: &Paging,
    memory: &GuestMemory,
    start: u64,
    most: usize,
    found: &mut dyn FnMut(MappedPage) -> bool,
) -> bool {
    let levels = paging.levels();
    let bits = if levels == 2 { 10 } else { 9 };
    let mut address = start;
    for _ in 0..most {
        if !paging.is_canonical(address) {
            if levels < 4 {
                return true;
            }
            // The first address of the upper half.
            address = (-1_i64 << (11 + 9 * levels)) as u64;
        }
        let mut last = Entry { level: levels, address: 0, value: None };
        let walked = paging.walk(memory, address, &mut |entry| last = entry);
        let size = PAGE_SIZE << (bits * (last.level - 1));
        let first = address & !(size - 1);
        if let Ok(mapping) = walked {
            let page = MappedPage { address: first, size, mapping, entry: last.value.unwrap_or(0) };
            if !found(page) {
                return true;
            }
        }
        match first.checked_add(size) {
            Some(next) => address = next,
            None => return true,
        }
    }
    false
}

/// A range of virtual addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its first address.
    pub start: u64,
    /// Its last address.
    pub last: u64,
    /// What all of it allows; `None` if nothing is mapped there.
    pub rights: Option<Rights>,
}

/// The region that begins at `address` at the latest, up to where the rights change.
pub fn region_at(memory: &GuestMemory, registers: &Registers, address: u64) -> Region {
    let paging = Paging::new(registers, Paging::WIDEST);
    if paging.levels() == 0 {
        return ram_at(memory, address);
    }
    let mut region = Region { start: address, last: u64::MAX, rights: None };
    let mut pages = 0;
    each_page(&paging, memory, address, &mut |page| {
        let (last, rights) = (page.address + (page.size - 1), page.mapping.rights);
        pages += 1;
        if pages == 1 && page.address <= address {
            region = Region { start: page.address, last, rights: Some(rights) };
            return true;
        }
        let continues = region.rights == Some(rights) && region.last.checked_add(1) == Some(page.address);
        if continues {
            region.last = last;
        } else if region.rights.is_none() {
            region.last = page.address - 1;
        }
        continues && pages < MOST_PAGES
    });
    region
}

/// The same without paging: RAM allows everything.
fn ram_at(memory: &GuestMemory, address: u64) -> Region {
    let ranges = memory.ram();
    if let Some(range) = ranges.iter().find(|range| range.contains(&address)) {
        let rights = Rights { write: true, user: true, execute: true };
        return Region { start: range.start, last: range.end - 1, rights: Some(rights) };
    }
    let next = ranges.iter().map(|range| range.start).filter(|start| *start > address).min();
    Region { start: address, last: next.map_or(u64::MAX, |next| next - 1), rights: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_ends_where_the_rights_change() {
        let memory = GuestMemory::new(4 << 20).unwrap();
        for (at, entry) in [
            (0x1000, 0x2007),
            (0x2000, 0x3007),
            (0x3000, 0x4007),
            (0x4010, 0x6003),
            (0x4018, 0x7003),
            (0x4020, 0x8001),
        ] {
            memory.write_u64(at, entry).unwrap();
        }
        let mut registers = Registers::default();
        assert_eq!(region_at(&memory, &registers, 0x1234).last, (4 << 20) - 1, "no paging");
        assert_eq!(region_at(&memory, &registers, 4 << 20).rights, None);
        (registers.system.cr0, registers.system.cr3, registers.system.efer) = (1 << 31 | 1, 0x1000, 0x500);
        let region = |address| {
            let Region { start, last, rights } = region_at(&memory, &registers, address);
            (start, last, rights.map(|rights| rights.write))
        };
        assert_eq!(region(0), (0, 0x1FFF, None));
        assert_eq!(region(0x2345), (0x2000, 0x3FFF, Some(true)));
        assert_eq!(region(0x4000), (0x4000, 0x4FFF, Some(false)));
        assert_eq!(region(0x5000), (0x5000, u64::MAX, None));
    }
}
