//! Searches memory for bytes.
//!
//! Virtual memory is searched through the page tables of one CPU, range by range; a match may cross from one page to the
//! next wherever that lies. What is not mapped, or is no RAM, is passed over.

use std::fmt;
use std::ops::RangeInclusive;

use memchr::memmem::Finder;
use serde::Serialize;

use super::maps::Maps;
use super::names::{Names, place};
use crate::arch::{PAGE_SIZE, Registers};
use crate::memory::GuestMemory;

/// Most matches that are kept.
const MOST_MATCHES: usize = 100;
/// Most bytes that are searched: the same RAM may be mapped without end.
const MOST_BYTES: u64 = 16 << 30;
/// Bytes that are read at a time.
const PIECE: u64 = 256 << 10;

/// What a search has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matches {
    /// The places, ascending.
    pub places: Vec<MatchPlace>,
    /// Bytes of memory that were searched.
    pub searched: u64,
    /// Where the search has stopped because of a limit; `None` if it is complete.
    pub stopped_at: Option<u64>,
}

/// A place at which the bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MatchPlace {
    /// Its address: virtual, or guest-physical in a search of physical memory.
    pub address: u64,
    /// The address with its symbol.
    pub text: String,
}

/// Searches the mapped memory of a CPU in `range` for `wanted`; without paging, RAM.
pub fn find_virtual(
    memory: &GuestMemory,
    registers: &Registers,
    names: &dyn Names,
    range: RangeInclusive<u64>,
    wanted: &[u8],
) -> Matches {
    let maps = Maps::capture(memory, registers, *range.start());
    find_virtual_in(memory, names, &maps, range, wanted)
}

/// The same with maps that are known.
pub(super) fn find_virtual_in(
    memory: &GuestMemory,
    names: &dyn Names,
    maps: &Maps,
    range: RangeInclusive<u64>,
    wanted: &[u8],
) -> Matches {
    if !maps.has_paging {
        return search(memory, names, wanted, physical_parts(memory, range), None);
    }
    let parts = maps.ranges.iter().filter_map(|mapped| {
        let (start, last) = (mapped.start.max(*range.start()), mapped.last.min(*range.end()));
        (start <= last).then(|| Part { address: start, last, physical: mapped.physical_of(start) })
    });
    let stopped_at = maps.stopped_at.filter(|at| range.contains(at));
    search(memory, names, wanted, parts.collect(), stopped_at)
}

/// Searches RAM in the guest-physical `range` for `wanted`.
pub fn find_physical(memory: &GuestMemory, range: RangeInclusive<u64>, wanted: &[u8]) -> Matches {
    search(memory, &super::names::NoNames, wanted, physical_parts(memory, range), None)
}

/// Addresses that are searched, and where they lie.
#[derive(Clone, Copy, Debug)]
struct Part {
    address: u64,
    last: u64,
    physical: u64,
}

fn physical_parts(memory: &GuestMemory, range: RangeInclusive<u64>) -> Vec<Part> {
    let parts = memory.parts().filter_map(|part| {
        let (start, last) = (part.start.max(*range.start()), (part.end - 1).min(*range.end()));
        (start <= last).then_some(Part { address: start, last, physical: start })
    });
    parts.collect()
}

fn search(
    memory: &GuestMemory,
    names: &dyn Names,
    wanted: &[u8],
    parts: Vec<Part>,
    stopped_at: Option<u64>,
) -> Matches {
    let mut found = Matches { places: Vec::new(), searched: 0, stopped_at };
    if wanted.is_empty() {
        return found;
    }
    let (finder, kept) = (Finder::new(wanted), wanted.len() - 1);
    let used = memory.committed();
    // What was read last, beginning at `start`: its end may be the beginning of a match.
    let (mut window, mut start): (Vec<u8>, u64) = (Vec::new(), 0);
    for part in parts {
        let mut next = Some(part.address);
        while let Some(at) = next.filter(|at| *at <= part.last) {
            let physical = part.physical.saturating_add(at - part.address);
            let rest = (part.last - at).saturating_add(1);
            let Some(ram) = memory.parts().find(|ram| ram.contains(&physical)) else {
                // To where RAM begins again.
                let ahead = memory.parts().map(|ram| ram.start).filter(|start| *start > physical).min();
                next = ahead.and_then(|start| at.checked_add(start - physical));
                continue;
            };
            let length = rest.min(ram.end - physical).min(PIECE);
            if start.checked_add(window.len() as u64) != Some(at) {
                (window, start) = (Vec::new(), at);
            }
            let before = window.len();
            window.resize(before + length as usize, 0);
            // Pages that nothing has written hold zeros; reading them would make them take memory.
            let pages = (physical..physical + length).step_by(PAGE_SIZE as usize);
            let is_used = pages.chain([physical + length - 1]).any(|page| used.contains(page));
            if is_used && memory.read(physical, &mut window[before..]).is_err() {
                window.truncate(before);
            }
            for offset in finder.find_iter(&window) {
                let address = start.wrapping_add(offset as u64);
                if found.places.len() == MOST_MATCHES {
                    found.stopped_at = Some(address);
                    return found;
                }
                found.places.push(MatchPlace { address, text: place(names, address) });
            }
            found.searched += length;
            next = at.checked_add(length);
            if found.searched >= MOST_BYTES && next.is_some_and(|next| next <= part.last) {
                found.stopped_at = next;
                return found;
            }
            // No whole match fits into what is kept, so none is found twice.
            let cut = window.len().saturating_sub(kept);
            window.drain(..cut);
            start = start.wrapping_add(cut as u64);
        }
    }
    found
}

impl fmt::Display for Matches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.places.iter().try_for_each(|place| writeln!(f, "{}", place.text))?;
        match (self.stopped_at, self.places.len()) {
            (Some(at), count) => {
                writeln!(f, "{count} found up to the limit of this command; search from {at:#x} on for more")
            }
            (None, 0) => writeln!(f, "not found in {} KiB", self.searched >> 10),
            (None, count) => writeln!(f, "{count} found in {} KiB", self.searched >> 10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::names::NoNames;

    /// Long mode with the pages 5, 9 and 6 of RAM mapped from 0x1000 on.
    fn guest() -> (GuestMemory, Registers) {
        let memory = GuestMemory::new(4 << 20).unwrap();
        for (at, entry) in [
            (0x1000, 0x2003),
            (0x2000, 0x3003),
            (0x3000, 0x4003),
            (0x4008, 0x5003),
            (0x4010, 0x9003),
            (0x4018, 0x6003),
            (0x4020, 0x7FF0_0003),
        ] {
            memory.write_u64(at, entry).unwrap();
        }
        let mut registers = Registers::default();
        let system = &mut registers.system;
        (system.cr0, system.cr3, system.cr4, system.efer) = (1 << 31 | 1, 0x1000, 1 << 5, 0x500);
        (memory, registers)
    }

    fn found(matches: &Matches) -> Vec<u64> {
        matches.places.iter().map(|place| place.address).collect()
    }

    #[test]
    fn a_match_may_cross_pages_that_are_no_neighbours_in_ram() {
        let (memory, registers) = guest();
        memory.write(0x5FFE, b"need").unwrap();
        memory.write(0x9000, b"edle").unwrap();
        memory.write(0x6100, b"needle").unwrap();
        memory.write(0x30_0000, b"needle").unwrap();
        let all = 0..=u64::MAX;
        let matches = find_virtual(&memory, &registers, &NoNames, all.clone(), b"needle");
        assert_eq!(found(&matches), [0x1FFE, 0x3100]);
        assert_eq!(matches.to_string(), "0x1ffe\n0x3100\n2 found in 12 KiB\n");
        assert_eq!(found(&find_virtual(&memory, &registers, &NoNames, 0x1FFF..=0x3105, b"needle")), [0x3100]);
        assert_eq!(
            found(&find_virtual(&memory, &registers, &NoNames, 0x1FFF..=0x3104, b"needle")),
            Vec::<u64>::new()
        );
        assert_eq!(found(&find_physical(&memory, all.clone(), b"needle")), [0x6100, 0x30_0000]);
        let off = find_virtual(&memory, &Registers::default(), &NoNames, all.clone(), b"needle");
        assert_eq!(found(&off), [0x6100, 0x30_0000]);
        let nothing = find_physical(&memory, all, b"haystack").to_string();
        assert_eq!(nothing, "not found in 4096 KiB\n");
    }

    #[test]
    fn a_match_may_begin_in_memory_that_was_never_written() {
        let (memory, _) = guest();
        memory.write(0x20_0000, b"x").unwrap();
        assert_eq!(found(&find_physical(&memory, 0x10_0000..=u64::MAX, b"\0\0x")), [0x1F_FFFE]);
    }

    #[test]
    fn matches_are_limited() {
        let (memory, registers) = guest();
        let matches = find_virtual(&memory, &registers, &NoNames, 0..=u64::MAX, &[0; 16]);
        assert_eq!((matches.places.len(), matches.stopped_at), (100, Some(0x1000 + 1600)));
        let end = "100 found up to the limit of this command; search from 0x1640 on for more\n";
        assert!(matches.to_string().ends_with(end));
    }
}
