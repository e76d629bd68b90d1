//! Searches memory as guests do.

use super::super::test_guest::{CODE, DATA, TestGuest};
use super::super::{BootOptions, BytesImage, LoadedGuest, load};
use super::*;

fn boot(guest: &TestGuest, platform: Platform) -> (GuestMemory, LoadedGuest) {
    let memory = GuestMemory::new(8 << 20).unwrap();
    let options = BootOptions { platform, ..BootOptions::default() };
    let loaded = load(&BytesImage::new("guest.elf", &guest.build()), &memory, &options).unwrap();
    (memory, loaded)
}

/// The address of a structure of this size whose bytes add up to 0, at a multiple of 16 in `range`.
fn search(memory: &GuestMemory, range: Range<u64>, signature: &[u8], size: usize) -> Option<u64> {
    range.step_by(16).find(|address| {
        let mut bytes = vec![0; size];
        memory.read(*address, &mut bytes).unwrap();
        bytes.starts_with(signature) && acpi::checksum(&bytes) == 0
    })
}

fn rsdp_of_start_info(memory: &GuestMemory, guest: &LoadedGuest) -> u64 {
    memory.read_u64(guest.registers.general.rdi + 32).unwrap()
}

/// The entries of the memory map: start, size, type.
fn memory_map(memory: &GuestMemory, guest: &LoadedGuest) -> Vec<(u64, u64, u64)> {
    let info = guest.registers.general.rdi;
    let long = |at: u64| memory.read_u64(at).unwrap();
    let (map, count) = (long(info + 40), long(info + 48));
    (0..count).map(|n| map + 24 * n).map(|at| (long(at), long(at + 8), long(at + 16))).collect()
}

#[test]
fn a_guest_finds_the_tables_by_search_and_by_the_start_info() {
    let (memory, guest) = boot(&TestGuest::simple(), Platform::default());
    let rsdp = rsdp_of_start_info(&memory, &guest);
    assert_eq!(rsdp, 0xF_0000);
    assert_eq!(search(&memory, 0xE_0000..0x10_0000, b"RSD PTR ", 20), Some(rsdp));
    assert_eq!(search(&memory, 0xE_0000..0x10_0000, b"RSD PTR ", RSDP_SIZE), Some(rsdp));
    let pointer = search(&memory, 0xF_0000..0x10_0000, b"_MP_", mp_table::POINTER_SIZE).unwrap();
    let table = memory.read_u64(pointer + 4).unwrap() & 0xFFFF_FFFF;
    let mut signature = [0; 4];
    memory.read(table, &mut signature).unwrap();
    assert_eq!(&signature, b"PCMP");
    let expected = [(0, 0xF_0000, 1), (0xF_0000, 0x1000, 3), (0xF_1000, 0x70_F000, 1)];
    assert_eq!(memory_map(&memory, &guest), expected);
}

#[test]
fn the_tables_of_a_machine_with_few_processors_take_one_page() {
    for (cpus, pages) in [(1, 1), (16, 1), (64, 2)] {
        let platform = Platform { cpus, pirq_lines: [Some(10), Some(10), Some(11), Some(11)] };
        let size = build(0, &platform).len();
        assert_eq!(size.div_ceil(PAGE_SIZE as usize), pages, "{size} bytes with {cpus} processors");
    }
}

#[test]
fn a_guest_below_1_mib_keeps_its_memory_and_the_start_info_names_the_tables() {
    let guest = TestGuest::simple().load(DATA, 0xF_0000, &[7; 0x1_0000]);
    let (memory, guest) = boot(&guest, Platform::default());
    assert_eq!(search(&memory, 0xE_0000..0x10_0000, b"RSD PTR ", 20), None);
    let rsdp = rsdp_of_start_info(&memory, &guest);
    let mut signature = [0; 8];
    memory.read(rsdp, &mut signature).unwrap();
    assert_eq!(&signature, b"RSD PTR ");
    assert!(memory_map(&memory, &guest).contains(&(rsdp, 0x1000, 3)));
    let region = guest.layout.iter().find(|region| region.range.start == rsdp).unwrap();
    assert_eq!(region.name, "the ACPI and MP tables, which only the start info names");
}

#[test]
fn the_tables_move_within_the_area_that_guests_search() {
    let guest = TestGuest::new(0xF_0000).load(CODE, 0xF_0000, b"\xF4");
    let (memory, guest) = boot(&guest, Platform::default());
    assert_eq!(rsdp_of_start_info(&memory, &guest), 0xF_1000);
    assert_eq!(search(&memory, 0xE_0000..0x10_0000, b"RSD PTR ", 20), Some(0xF_1000));
}

#[test]
fn the_documentation_has_the_place_of_the_tables() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/boot-state.md")).unwrap();
    let (_, guest) = boot(&TestGuest::simple(), Platform::default());
    let tables = guest.layout.iter().find(|region| region.name.contains("ACPI")).unwrap();
    let row =
        format!("| 0x{:X} | {} KiB,", tables.range.start, (tables.range.end - tables.range.start) >> 10);
    assert!(text.contains(&row), "{row}");
}
