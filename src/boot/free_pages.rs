//! Free pages of RAM, for boot structures and modules.

use std::ops::Range;

use crate::arch::PAGE_SIZE;
use crate::memory::LOW_RAM_LIMIT;

/// Where boot structures go first: above page 0, below the area of old PC firmware data, the VGA
/// text buffer at 0xB8000, and the stacks that old guests put below 1 MiB.
const LOW: Range<u64> = 0x1000..0x9_F000;

/// Where guests search for the tables of a PC's firmware, and nothing else goes.
const FIRMWARE: Range<u64> = 0xF_0000..0x10_0000;

/// Everything else is at or above this address.
const HIGH_START: u64 = 1 << 20;

/// The pages of RAM below 3 GiB that are free.
#[derive(Debug)]
pub(super) struct FreePages {
    low: Vec<Range<u64>>,
    firmware: Vec<Range<u64>>,
    high: Vec<Range<u64>>,
}

impl FreePages {
    /// All pages of `ram_size` bytes of RAM that are in none of the `taken` ranges.
    pub fn new(ram_size: u64, taken: impl Iterator<Item = Range<u64>>) -> FreePages {
        let mut taken: Vec<Range<u64>> = taken.collect();
        taken.sort_by_key(|range| range.start);
        let end = ram_size.min(LOW_RAM_LIMIT);
        FreePages {
            low: gaps(LOW.start..LOW.end.min(end), &taken),
            firmware: gaps(FIRMWARE.start..FIRMWARE.end.min(end), &taken),
            high: gaps(HIGH_START..end.max(HIGH_START), &taken),
        }
    }

    /// Takes `size` bytes for a boot structure, page-aligned: the lowest place below 0x9F000, or
    /// else the highest one below 3 GiB.
    pub fn take(&mut self, size: u64) -> Option<u64> {
        take_lowest(&mut self.low, size).or_else(|| self.take_high(size))
    }

    /// Takes `size` bytes, page-aligned, where guests search for the tables of a PC's firmware.
    pub fn take_for_firmware(&mut self, size: u64) -> Option<u64> {
        take_lowest(&mut self.firmware, size)
    }

    /// Takes `size` bytes, page-aligned, at the highest place below 3 GiB.
    pub fn take_high(&mut self, size: u64) -> Option<u64> {
        let size = size.checked_next_multiple_of(PAGE_SIZE)?;
        let range = self.high.iter_mut().rev().find(|range| range.end - range.start >= size)?;
        range.end -= size;
        Some(range.end)
    }

    /// Takes `size` bytes, page-aligned, at the lowest place at or above `bound` and 1 MiB, or else at the highest one
    /// below.
    pub fn take_above(&mut self, bound: u64, size: u64) -> Option<u64> {
        let length = size.checked_next_multiple_of(PAGE_SIZE)?;
        let above =
            self.high.iter_mut().find(|range| range.start >= bound && range.end - range.start >= length);
        match above {
            Some(range) => {
                range.start += length;
                Some(range.start - length)
            }
            None => self.take_high(size),
        }
    }

    /// Number of pages that are free, without those for the tables of firmware.
    pub fn left(&self) -> u64 {
        self.low.iter().chain(&self.high).map(|range| (range.end - range.start) / PAGE_SIZE).sum()
    }
}

/// Takes `size` bytes, page-aligned, at the lowest place in `free`.
fn take_lowest(free: &mut [Range<u64>], size: u64) -> Option<u64> {
    let size = size.checked_next_multiple_of(PAGE_SIZE)?;
    let range = free.iter_mut().find(|range| range.end - range.start >= size)?;
    range.start += size;
    Some(range.start - size)
}

/// The whole pages of `within` that no range of `taken` (ascending by start) touches.
fn gaps(within: Range<u64>, taken: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut gaps = Vec::new();
    let mut start = within.start;
    for range in taken {
        let first = (range.start & !(PAGE_SIZE - 1)).min(within.end);
        if first > start {
            gaps.push(start..first);
        }
        start = start.max(range.end.checked_next_multiple_of(PAGE_SIZE).unwrap_or(u64::MAX));
    }
    if start < within.end {
        gaps.push(start..within.end);
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(ram_size: u64, taken: &[Range<u64>]) -> FreePages {
        FreePages::new(ram_size, taken.iter().cloned())
    }

    #[test]
    fn structures_fill_low_memory_upwards_and_the_rest_comes_down_from_the_top() {
        let mut pages = free(4 << 20, &[]);
        assert_eq!(pages.take(1), Some(0x1000));
        assert_eq!(pages.take(0x9_C000), Some(0x2000));
        assert_eq!(pages.take(0x2000), Some(0x3F_E000));
        assert_eq!(pages.take(0x1000), Some(0x9_E000));
        assert_eq!(pages.take(0x1000), Some(0x3F_D000));
    }

    #[test]
    fn no_page_of_a_segment_is_allocated() {
        let taken = [0x20_0000..0x20_0001, 0x1800..0x2801, 0x3F_F800..0x40_0000];
        let mut pages = free(4 << 20, &taken);
        assert_eq!(pages.take(0x1000), Some(0x3000));
        assert_eq!(pages.take_high(0x1000), Some(0x3F_E000));
        assert_eq!(pages.take_high(0x1F_E000), None);
        assert_eq!(pages.take_high(0x1F_D000), Some(0x20_1000));
        assert_eq!(pages.take_high(0x10_0000), Some(0x10_0000));
    }

    #[test]
    fn what_goes_behind_segments_is_in_ascending_order() {
        let mut pages = free(4 << 20, &[0x10_0000..0x20_0001, 0x30_0000..0x30_1000]);
        assert_eq!(pages.take_above(0x30_1000, 1), Some(0x30_1000));
        assert_eq!(pages.take_above(0x30_1000, 0x1001), Some(0x30_2000));
        assert_eq!(pages.take_above(0x30_1000, 0xFD000), Some(0x20_3000));
        assert_eq!(pages.take_above(0x30_1000, 0xFD000), None);
    }

    #[test]
    fn the_firmware_tables_go_below_1_mib_where_no_segment_is() {
        assert_eq!(free(4 << 20, &[]).take_for_firmware(1), Some(0xF_0000));
        let mut pages = free(4 << 20, &[0xE_0000..0xF_1001, 0xF_3000..0xF_F000]);
        assert_eq!(pages.take_for_firmware(0x1001), None);
        assert_eq!(pages.take_for_firmware(0x1000), Some(0xF_2000));
        assert_eq!(pages.take_for_firmware(0x1000), Some(0xF_F000));
        assert_eq!(pages.take_for_firmware(1), None);
    }

    #[test]
    fn the_smallest_machine_has_only_low_memory() {
        let mut pages = free(1 << 20, &[]);
        assert_eq!(pages.left(), 0x9E);
        assert_eq!(pages.take_high(1), None);
        assert_eq!(pages.take(0x9_E000), Some(0x1000));
        assert_eq!(pages.take(1), None);
        assert_eq!(pages.take(u64::MAX), None);
    }
}
