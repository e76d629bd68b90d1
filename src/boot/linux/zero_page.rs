//! `boot_params`, the "zero page" that a Linux kernel gets (Linux, Documentation/arch/x86/zero-page.rst).

use std::ops::Range;

use linux_loader::bootparam::{E820_MAX_ENTRIES_ZEROPAGE, boot_e820_entry, boot_params, setup_header};

use crate::arch::PAGE_SIZE;

/// Its size.
pub(super) const SIZE: u64 = PAGE_SIZE;

/// Where a PC's RAM below 1 MiB ends: the last KiB before 640 KiB is the BIOS's.
const LOW_RAM_END: u64 = 0x9_FC00;
/// What a PC has between 640 KiB and 1 MiB that is not RAM, nor the ROM of a BIOS: the VGA's memory and other ROMs.
const ADAPTERS: Range<u64> = 0xA_0000..0xF_0000;
const HIGH_RAM_START: u64 = 0x10_0000;

/// A boot loader without a number of its own.
const UNKNOWN_LOADER: u8 = 0xFF;
/// The command line and the heap of the real-mode code are not used.
const CAN_USE_HEAP: u8 = 1 << 7;
/// Text mode 3 of a VGA (INT 10h): 80x25, with characters of 16 lines.
const TEXT_MODE: u8 = 3;
const COLUMNS: u8 = 80;
const LINES: u8 = 25;
const CHARACTER_HEIGHT: u16 = 16;

/// Types of memory in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemoryType {
    /// RAM.
    Ram = 1,
    /// Not for the kernel.
    Reserved = 2,
    /// RAM once the ACPI tables have been read.
    Acpi = 3,
}

/// An entry of the memory map.
pub(super) type Entry = (Range<u64>, MemoryType);

/// The memory map of a PC with this RAM: what is reserved below 1 MiB is not offered, and neither are the ACPI tables.
pub(super) fn memory_map(ram: &[Range<u64>], tables: Option<&Range<u64>>) -> Vec<Entry> {
    let mut map =
        vec![(0..LOW_RAM_END, MemoryType::Ram), (LOW_RAM_END..ADAPTERS.start, MemoryType::Reserved)];
    map.push((ADAPTERS.end..HIGH_RAM_START, MemoryType::Reserved));
    map.extend(ram.iter().map(|range| (range.start.max(HIGH_RAM_START)..range.end, MemoryType::Ram)));
    map.retain(|(range, _)| range.start < range.end);
    let inside = |(range, kind): &Entry, tables: &Range<u64>| {
        *kind == MemoryType::Ram && range.start <= tables.start && tables.end <= range.end
    };
    if let Some(tables) = tables
        && let Some(index) = map.iter().position(|entry| inside(entry, tables))
    {
        let around = map[index].0.clone();
        let split = [
            (around.start..tables.start, MemoryType::Ram),
            (tables.clone(), MemoryType::Acpi),
            (tables.end..around.end, MemoryType::Ram),
        ];
        map.splice(index..=index, split.into_iter().filter(|(range, _)| !range.is_empty()));
    }
    map
}

/// What the kernel gets, besides the setup header.
pub(super) struct Handover {
    /// Address of the command line.
    pub command_line: u64,
    /// The initial RAM disk; empty if there is none.
    pub initrd: Range<u64>,
    /// Address of the RSDP; 0 if there is none.
    pub rsdp: u64,
    /// The memory map; at most [`E820_MAX_ENTRIES_ZEROPAGE`] entries are taken.
    pub map: Vec<Entry>,
}

/// The page. All addresses are below 4 GiB.
pub(super) fn build(header: &setup_header, load_address: u64, handover: &Handover) -> boot_params {
    let mut page = boot_params { hdr: *header, acpi_rsdp_addr: handover.rsdp, ..boot_params::default() };
    page.hdr.type_of_loader = UNKNOWN_LOADER;
    page.hdr.ext_loader_ver = 0;
    page.hdr.loadflags &= !CAN_USE_HEAP;
    page.hdr.code32_start = load_address as u32;
    page.hdr.cmd_line_ptr = handover.command_line as u32;
    if !handover.initrd.is_empty() {
        page.hdr.ramdisk_image = handover.initrd.start as u32;
        page.hdr.ramdisk_size = (handover.initrd.end - handover.initrd.start) as u32;
    }
    page.screen_info.orig_video_mode = TEXT_MODE;
    page.screen_info.orig_video_cols = COLUMNS;
    page.screen_info.orig_video_lines = LINES;
    page.screen_info.orig_video_points = CHARACTER_HEIGHT;
    page.screen_info.orig_video_isVGA = 1;
    let above_1_mib = handover.map.iter().filter(|(_, kind)| *kind == MemoryType::Ram);
    let above_1_mib = above_1_mib.filter(|(range, _)| range.start == HIGH_RAM_START);
    let kib = above_1_mib.map(|(range, _)| (range.end - range.start) >> 10).sum::<u64>();
    page.screen_info.ext_mem_k = kib.min(u16::MAX.into()) as u16;
    page.alt_mem_k = kib.min(u32::MAX.into()) as u32;
    let entries = handover.map.iter().take(E820_MAX_ENTRIES_ZEROPAGE);
    page.e820_entries = entries.len() as u8;
    let mut table = page.e820_table;
    for ((range, kind), entry) in entries.zip(&mut table) {
        *entry = boot_e820_entry { addr: range.start, size: range.end - range.start, r#type: *kind as u32 };
    }
    page.e820_table = table;
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_map_is_that_of_a_pc() {
        use MemoryType::{Acpi, Ram, Reserved};
        let low = [(0..0x9_FC00, Ram), (0x9_FC00..0xA_0000, Reserved), (0xF_0000..0x10_0000, Reserved)];
        let ram = [0..0xC000_0000, 0x1_0000_0000..0x1_4000_0000];
        let map = memory_map(&ram, Some(&(0xF_0000..0xF_1000)));
        assert_eq!(map[..3], low);
        assert_eq!(map[3..], [(0x10_0000..0xC000_0000, Ram), (0x1_0000_0000..0x1_4000_0000, Ram)]);
        let map = memory_map(std::slice::from_ref(&(0..0x40_0000)), Some(&(0x3F_F000..0x40_0000)));
        assert_eq!(map[3..], [(0x10_0000..0x3F_F000, Ram), (0x3F_F000..0x40_0000, Acpi)]);
        assert_eq!(memory_map(std::slice::from_ref(&(0..0x10_0000)), None), low, "a machine with 1 MiB");
    }

    #[test]
    fn the_kernel_learns_of_all_it_is_given_and_keeps_its_own_fields() {
        let header = setup_header { init_size: 77, cmd_line_ptr: 1, loadflags: 0xFF, ..Default::default() };
        let handover = Handover {
            command_line: 0x2000,
            initrd: 0x80_0000..0x80_0010,
            rsdp: 0xF_0000,
            map: vec![(0..0x9_FC00, MemoryType::Ram), (0x10_0000..0x4000_0000, MemoryType::Ram)],
        };
        let page = build(&header, 0x100_0000, &handover);
        let hdr = page.hdr;
        assert_eq!(
            ({ hdr.cmd_line_ptr }, { hdr.ramdisk_image }, { hdr.ramdisk_size }),
            (0x2000, 0x80_0000, 16)
        );
        assert_eq!(({ hdr.init_size }, { hdr.code32_start }, hdr.loadflags), (77, 0x100_0000, 0x7F));
        assert_eq!((page.e820_entries, { page.e820_table }[1].addr), (2, 0x10_0000));
        assert_eq!(({ page.acpi_rsdp_addr }, { page.alt_mem_k }), (0xF_0000, 0x3FF0_0000 >> 10));
        assert_eq!({ page.screen_info.ext_mem_k }, 0xFFFF);
    }
}
