//! Memory as the firmware of a PC describes it: what is between 640 KiB and 1 MiB is not for kernels, although it is
//! RAM in this machine.

use std::ops::Range;

/// End of conventional memory: the last KiB below 640 KiB belongs to firmware.
pub(super) const LOWER_END: u64 = 0x9_FC00;
/// Memory of the firmware, with its tables.
const EBDA: Range<u64> = LOWER_END..0xA_0000;
const FIRMWARE: Range<u64> = 0xF_0000..UPPER_START;
/// Where the memory begins that kernels use.
pub(super) const UPPER_START: u64 = 1 << 20;

/// What memory can be used for: the types of the memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    Available = 1,
    Reserved = 2,
    /// Can be used once the guest has read the ACPI tables.
    AcpiTables = 3,
}

/// A part of memory, and its use.
pub(super) type MemoryRegion = (Range<u64>, Usage);

/// The memory map: ascending, without overlaps.
pub(super) fn regions(ram: &[Range<u64>], acpi_tables: Option<&Range<u64>>) -> Vec<MemoryRegion> {
    let mut map =
        vec![(0..LOWER_END, Usage::Available), (EBDA, Usage::Reserved), (FIRMWARE, Usage::Reserved)];
    for range in ram {
        map.push((range.start.max(UPPER_START)..range.end, Usage::Available));
    }
    // Elsewhere than in the firmware's memory only if there was no room.
    let tables = acpi_tables.filter(|tables| tables.end <= FIRMWARE.start || tables.start >= FIRMWARE.end);
    if let Some(tables) = tables {
        let at = map.iter().position(|(range, usage)| {
            *usage == Usage::Available && range.start <= tables.start && tables.end <= range.end
        });
        if let Some(at) = at {
            let (around, usage) = map[at].clone();
            let parts = [
                (around.start..tables.start, usage),
                (tables.clone(), Usage::AcpiTables),
                (tables.end..around.end, usage),
            ];
            map.splice(at..=at, parts);
        }
    }
    map.retain(|(range, _)| !range.is_empty());
    map
}

/// `mem_lower` and `mem_upper`: KiB from 0, and KiB from 1 MiB to the first hole.
pub(super) fn basic_sizes(map: &[MemoryRegion]) -> (u32, u32) {
    let upper = map
        .iter()
        .filter(|(_, usage)| *usage != Usage::Reserved)
        .fold(UPPER_START, |end, (range, _)| if range.start == end { range.end } else { end });
    ((LOWER_END >> 10) as u32, ((upper - UPPER_START) >> 10) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_and_the_firmware_are_not_available() {
        let map = regions(std::slice::from_ref(&(0..64 << 20)), Some(&(0xF_0000..0xF_1000)));
        assert_eq!(
            map,
            [
                (0..0x9_FC00, Usage::Available),
                (0x9_FC00..0xA_0000, Usage::Reserved),
                (0xF_0000..0x10_0000, Usage::Reserved),
                (0x10_0000..64 << 20, Usage::Available),
            ]
        );
        assert_eq!(basic_sizes(&map), (639, 63 << 10));
    }

    #[test]
    fn tables_elsewhere_are_taken_out_of_what_is_available() {
        let map = regions(&[0..0xC000_0000, 1 << 32..2 << 32], Some(&(0x20_0000..0x20_1000)));
        assert_eq!(
            map[3..],
            [
                (0x10_0000..0x20_0000, Usage::Available),
                (0x20_0000..0x20_1000, Usage::AcpiTables),
                (0x20_1000..0xC000_0000, Usage::Available),
                (1 << 32..2 << 32, Usage::Available),
            ]
        );
        assert_eq!(basic_sizes(&map).1, ((0xC000_0000u64 - UPPER_START) >> 10) as u32);
    }

    #[test]
    fn the_smallest_machine_has_no_upper_memory() {
        assert_eq!(basic_sizes(&regions(std::slice::from_ref(&(0..1 << 20)), None)), (639, 0));
    }
}
