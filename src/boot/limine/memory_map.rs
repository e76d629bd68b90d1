//! The memory map: what of guest-physical memory a kernel can use, and for what the rest is used.

use std::ops::Range;

use crate::arch::PAGE_SIZE;

/// Usable memory below 1 MiB. Page 0 is never usable before base revision 3, and never here; the last page below
/// 640 KiB has memory of the firmware.
const LOWER: Range<u64> = PAGE_SIZE..0x9_F000;
/// The memory of the firmware below 640 KiB.
const FIRMWARE_DATA: Range<u64> = LOWER.end..0xA_0000;
/// The memory of the firmware below 1 MiB, with its tables.
const FIRMWARE: Range<u64> = 0xF_0000..UPPER_START;
/// Where the other memory begins.
const UPPER_START: u64 = 1 << 20;

/// The type of a part of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    Usable = 0,
    Reserved = 1,
    AcpiReclaimable = 2,
    BootloaderReclaimable = 5,
    ExecutableAndModules = 6,
    Framebuffer = 7,
}

impl Usage {
    /// True for the memory that the direct map of base revision 3 has.
    pub fn is_mapped(self) -> bool {
        !matches!(self, Usage::Reserved | Usage::AcpiReclaimable)
    }
}

/// A part of memory, and its use.
pub(super) type MemoryRegion = (Range<u64>, Usage);

/// The number of entries of a memory map with `taken` parts is at most this much larger.
pub(super) fn most_entries(ram: &[Range<u64>], taken: usize) -> usize {
    4 + ram.len() + 2 * taken
}

/// The memory map: ascending, without overlaps. `taken` are the parts of RAM that are used, in any order; each gets the
/// whole pages that it touches. A framebuffer is outside RAM.
pub(super) fn regions(ram: &[Range<u64>], taken: &[MemoryRegion]) -> Vec<MemoryRegion> {
    let mut free = vec![LOWER];
    free.extend(ram.iter().map(|range| range.start.max(UPPER_START)..range.end));
    let mut taken: Vec<MemoryRegion> = taken.to_vec();
    taken.sort_by_key(|(range, _)| range.start);
    let reserved = [0..LOWER.start, FIRMWARE_DATA, FIRMWARE].map(|range| (range, Usage::Reserved));
    let mut map: Vec<MemoryRegion> = reserved.to_vec();
    for range in free {
        let mut start = range.start;
        for (part, usage) in &taken {
            let pages = part.start & !(PAGE_SIZE - 1)..part.end.next_multiple_of(PAGE_SIZE);
            if pages.start < start || pages.end > range.end {
                continue;
            }
            map.push((start..pages.start, Usage::Usable));
            map.push((pages.clone(), *usage));
            start = pages.end;
        }
        map.push((start..range.end, Usage::Usable));
    }
    map.extend(taken.into_iter().filter(|(_, usage)| *usage == Usage::Framebuffer));
    map.retain(|(range, _)| range.start < range.end);
    map.sort_by_key(|(range, _)| range.start);
    map.dedup_by(|next, last| {
        let is_one = last.0.end == next.0.start && last.1 == next.1;
        if is_one {
            last.0.end = next.0.end;
        }
        is_one
    });
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_not_usable() {
        let taken = [
            (0x3F_0000..0x40_0000, Usage::BootloaderReclaimable),
            (0x3E_0000..0x3E_FFFF, Usage::BootloaderReclaimable),
            (0x20_0000..0x20_0001, Usage::ExecutableAndModules),
            (0xFD00_0000..0xFD10_0000, Usage::Framebuffer),
        ];
        let ram = std::slice::from_ref(&(0..4 << 20));
        let map = regions(ram, &taken);
        assert_eq!(
            map,
            [
                (0..0x1000, Usage::Reserved),
                (0x1000..0x9_F000, Usage::Usable),
                (0x9_F000..0xA_0000, Usage::Reserved),
                (0xF_0000..0x10_0000, Usage::Reserved),
                (0x10_0000..0x20_0000, Usage::Usable),
                (0x20_0000..0x20_1000, Usage::ExecutableAndModules),
                (0x20_1000..0x3E_0000, Usage::Usable),
                (0x3E_0000..0x40_0000, Usage::BootloaderReclaimable),
                (0xFD00_0000..0xFD10_0000, Usage::Framebuffer),
            ]
        );
        assert!(map.len() <= most_entries(ram, taken.len()));
    }

    #[test]
    fn memory_above_4_gib_is_usable() {
        let map = regions(&[0..3 << 30, 4 << 30..5 << 30], &[(0x9_0000..0x9_1000, Usage::AcpiReclaimable)]);
        assert_eq!(map.last(), Some(&(4 << 30..5 << 30, Usage::Usable)));
        assert!(map.contains(&(0x9_0000..0x9_1000, Usage::AcpiReclaimable)));
        assert!(map.contains(&(0x10_0000..3 << 30, Usage::Usable)));
    }
}
