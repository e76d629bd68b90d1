//! Loads guest files and examines what the processor would find.

#[path = "long_mode_elf_pie_test.rs"]
mod pie;

use super::super::test_guest::{CODE, CONSTANTS, DATA, EVERYTHING, TestGuest, words};
use super::super::{BytesImage, load};
use super::{BootError, BootOptions, LoadedGuest, STACK_SIZE, entry_return};
use crate::arch::Registers;
use crate::memory::GuestMemory;

const MIB: u64 = 1 << 20;

/// A machine with a guest in it.
struct Loaded {
    memory: GuestMemory,
    boot: LoadedGuest,
}

/// How an address is translated.
#[derive(Debug, PartialEq, Eq)]
struct Translation {
    physical: u64,
    write: bool,
    execute: bool,
    user: bool,
    cached: bool,
}

impl Loaded {
    /// Walks the page tables as the processor does.
    fn translate(&self, address: u64) -> Option<Translation> {
        let mut table = self.boot.registers.system.cr3;
        let (mut write, mut user, mut execute) = (true, true, true);
        for shift in [39, 30, 21, 12] {
            let entry = self.memory.read_u64(table + (address >> shift) % 512 * 8).unwrap();
            if entry & 1 == 0 {
                return None;
            }
            write &= entry & 2 != 0;
            user &= entry & 4 != 0;
            execute &= entry >> 63 == 0;
            table = entry & 0x000F_FFFF_FFFF_F000;
            if shift == 12 || entry & 0x80 != 0 {
                let inside = (1 << shift) - 1;
                assert_eq!(table & inside, 0, "reserved bits of a large page");
                let physical = table | (address & inside);
                return Some(Translation { physical, write, execute, user, cached: entry & 0x18 == 0 });
            }
        }
        None
    }

    fn byte(&self, virtual_address: u64) -> u8 {
        let mut byte = [0];
        self.memory.read(self.translate(virtual_address).expect("mapped").physical, &mut byte).unwrap();
        byte[0]
    }

    fn permissions(&self, address: u64) -> String {
        let Some(page) = self.translate(address) else { return "unmapped".to_owned() };
        format!("r{}{}", if page.write { "w" } else { "-" }, if page.execute { "x" } else { "-" })
    }

    fn region(&self, name: &str) -> std::ops::Range<u64> {
        let found = self.boot.layout.iter().find(|region| region.name.starts_with(name));
        found.unwrap_or_else(|| panic!("no {name} in {:#x?}", self.boot.layout)).range.clone()
    }
}

fn load_bytes(file: &[u8], mib: u64, options: &BootOptions) -> Result<Loaded, BootError> {
    let memory = GuestMemory::new(mib * MIB).unwrap();
    let boot = load(&BytesImage::new("guest.elf", file), &memory, options)?;
    Ok(Loaded { memory, boot })
}

fn boot(guest: &TestGuest, mib: u64) -> Loaded {
    load_bytes(&guest.build(), mib, &BootOptions::default()).unwrap()
}

fn boot_strict(guest: &TestGuest, mib: u64) -> Loaded {
    load_bytes(&guest.build(), mib, &BootOptions { strict: true, ..BootOptions::default() }).unwrap()
}

fn refusal(guest: &TestGuest, mib: u64) -> String {
    match load_bytes(&guest.build(), mib, &BootOptions::default()) {
        Ok(_) => panic!("the guest was loaded"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_guest_starts_at_its_entry_with_a_stack_and_tables() {
    let guest = boot(&TestGuest::simple(), 8);
    let Registers { general, system } = guest.boot.registers;
    assert_eq!(general.rip, 0x20_0000);
    assert_eq!(guest.byte(general.rip), 0xF4);
    assert_eq!(general.rsp % 16, 0);
    assert_eq!(guest.region("the boot stack").end, general.rsp + 16);
    assert_eq!((system.gdt.limit, system.idt.limit, system.tr.limit), (39, 4095, 103));
    let magic = guest.memory.read_u64(general.rdi).unwrap();
    assert_eq!(magic, 1 << 32 | 0x336E_C578);
    assert!(guest.boot.warnings.is_empty());
}

#[test]
fn all_of_ram_is_accessible_from_every_ring_and_nothing_else_is_mapped() {
    let guest = boot(&TestGuest::simple(), 9);
    let plain =
        |physical| Some(Translation { physical, write: true, execute: true, user: true, cached: true });
    for address in [0x1000, 0xB_8000, 0x20_0000, 0x7F_FFFF, 0x80_0000, 0x8F_FFFF] {
        assert_eq!(guest.translate(address), plain(address), "{address:#x}");
    }
    for address in [0x90_0000, 100 * MIB, 0xFFFF_FFFF, 0xFFFF_8000_0000_0000, u64::MAX] {
        assert_eq!(guest.translate(address), None, "{address:#x}");
    }
}

#[test]
fn device_windows_are_uncached_and_not_executable() {
    let guest = boot(&TestGuest::simple(), 8);
    for address in [0xFEA0_0000, 0xFEC0_0000, 0xFEDF_FFFF, 0xFEE0_00B0, 0x0FE0_0000, 0x0FFF_FFFF] {
        let expected =
            Translation { physical: address, write: true, execute: false, user: true, cached: false };
        assert_eq!(guest.translate(address), Some(expected), "{address:#x}");
    }
    for address in [0xFE9F_FFFF, 0xFF00_0000, 0x0FDF_FFFF, 0x1000_0000] {
        assert_eq!(guest.translate(address), None, "{address:#x}");
    }
}

#[test]
fn ram_takes_the_place_of_the_old_window_page_by_page() {
    let guest = boot(&TestGuest::simple(), 255);
    assert!(guest.translate(0x0FEF_FFFF).unwrap().cached);
    assert!(!guest.translate(0x0FF0_0000).unwrap().cached);
    assert!(boot(&TestGuest::simple(), 256).translate(0x0FFF_FFFF).unwrap().cached);
}

#[test]
fn a_large_machine_has_ram_on_both_sides_of_the_hole() {
    let started = std::time::Instant::now();
    let guest = boot(&TestGuest::simple(), 64 << 10);
    // Some hundred tables. The limit is generous: a debug build on a busy host.
    assert!(started.elapsed().as_millis() < 500, "{:?}", started.elapsed());
    let end = 0x1_0000_0000 + (61 << 30);
    for address in [0xBFFF_FFFF, 0x1_0000_0000, end - 1] {
        assert_eq!(guest.translate(address).unwrap().physical, address);
    }
    assert_eq!(guest.translate(0xC000_0000), None);
    assert_eq!(guest.translate(end), None);
    assert!(guest.region("the page tables").end <= 0x9_F000);
}

#[test]
fn tables_too_large_for_low_memory_go_to_the_top_below_3_gib() {
    let guest = boot(&TestGuest::simple(), 512 << 10);
    assert_eq!(guest.region("the page tables").end, 0xC000_0000);
    assert_eq!(guest.translate(0x40_0000_0000).unwrap().physical, 0x40_0000_0000);
}

#[test]
fn a_bss_larger_than_the_host_costs_nothing() {
    let guest = TestGuest::simple().load(DATA, 0x1_0000_0000, b"data").with_memory_size(30 << 30);
    let guest = boot(&guest, 40 << 10);
    assert_eq!(guest.byte(0x1_0000_0003), b'a');
    assert_eq!(guest.byte(0x1_0000_0004), 0);
}

#[test]
fn a_higher_half_kernel_is_mapped_where_it_is_linked() {
    const BASE: u64 = 0xFFFF_FFFF_8000_0000;
    let guest = TestGuest::new(BASE + 0x10_0000)
        .load(CODE, BASE + 0x10_0000, b"\x90\xF4")
        .at_physical(0x10_0000)
        .load(DATA, BASE + 0x10_3010, b"data")
        .at_physical(0x10_3010);
    let guest = boot(&guest, 8);
    assert_eq!(guest.boot.registers.general.rip, BASE + 0x10_0000);
    assert_eq!(guest.byte(BASE + 0x10_0001), 0xF4);
    assert_eq!(guest.byte(0x10_0001), 0xF4, "and where it lies");
    assert_eq!(guest.byte(BASE + 0x10_3010), b'd');
    assert_eq!(guest.permissions(BASE + 0x10_3010), "rwx");
    assert_eq!(guest.translate(BASE + 0x10_1000), None, "between the segments");
    assert!(guest.boot.layout.iter().any(|region| region.name.contains("mapped at 0xffffffff80100000")));
}

#[test]
fn a_higher_half_kernel_may_start_at_its_physical_address() {
    let guest =
        TestGuest::new(0x20_0001).load(CODE, 0xFFFF_8000_0020_0000, b"\x90\xF4").at_physical(0x20_0000);
    assert_eq!(boot(&guest, 8).boot.registers.general.rip, 0x20_0001);
}

/// A guest whose `.data` is stored behind the code, at an address that is no multiple of anything, and used
/// elsewhere in RAM, after which it has zeros.
fn copying_guest() -> TestGuest {
    TestGuest::new(0x20_0000)
        .load(CODE, 0x20_0000, &[0xF4; 0x340])
        .load(DATA, 0x40_0010, b"data")
        .at_physical(0x20_0340)
        .with_memory_size(0x30_0000)
}

#[test]
fn a_segment_that_the_guest_copies_within_ram_has_no_second_mapping() {
    for options in [false, true].map(|strict| BootOptions { strict, ..BootOptions::default() }) {
        let guest = load_bytes(&copying_guest().build(), 8, &options).unwrap();
        for address in [0x20_0340, 0x40_0000, 0x40_0010, 0x6F_FFFF, 0x70_0010] {
            assert_eq!(guest.translate(address).unwrap().physical, address, "{address:#x}");
        }
        let bytes = |at: u64| [0, 1, 2, 3].map(|n| guest.byte(at + n));
        assert_eq!((bytes(0x20_0340), bytes(0x40_0010)), (*b"data", [0; 4]));
        assert!(guest.boot.warnings.is_empty(), "{:?}", guest.boot.warnings);
        let region = guest.region("segment 1");
        assert_eq!(region, 0x20_0340..0x20_0344, "the zeros are not stored");
        assert!(guest.boot.layout.iter().any(|region| region.name.contains("to copy to 0x400010..0x700010")));
        for region in guest.boot.layout.iter().filter(|region| !region.name.starts_with("segment")) {
            assert!(region.range.end <= 0x40_0000 || region.range.start >= 0x70_1000, "{region:#x?}");
        }
    }
}

#[test]
fn strict_mode_lets_a_guest_copy_data_and_code_within_ram() {
    let guest = copying_guest().load(CODE, 0x78_0000, b"\xC3").at_physical(0x20_0344);
    let guest = boot_strict(&guest, 8);
    assert_eq!(guest.permissions(0x20_0340), "r-x", "the code's page, where the data is only read");
    assert_eq!(guest.permissions(0x40_0010), "rw-");
    assert_eq!(guest.permissions(0x78_0000), "rwx", "code is written, then executed");
}

#[test]
fn segments_copied_to_one_address_at_different_times_are_no_overlap() {
    let guest = TestGuest::new(0x20_0000)
        .load(CODE, 0x20_0000, b"\xF4")
        .load(CODE, 0x40_0000, b"one")
        .at_physical(0x20_1000)
        .load(CODE, 0x40_0000, b"two")
        .at_physical(0x20_1003);
    assert_eq!(boot(&guest, 8).byte(0x20_1003), b't');
}

#[test]
fn zeros_without_bytes_in_the_file_are_not_copied() {
    let guest =
        TestGuest::simple().load(DATA, 0x40_0000, b"").with_memory_size(0x1000).at_physical(0x20_0000);
    let guest = boot(&guest, 8);
    assert_eq!(guest.region("segment 1"), 0x40_0000..0x40_1000);
}

#[test]
fn page_0_and_the_page_below_the_stack_are_unmapped_unless_guards_are_off() {
    let stack = |guest: &Loaded| guest.boot.registers.general.rsp + 16 - STACK_SIZE;
    let guest = boot(&TestGuest::simple(), 8);
    let below = stack(&guest) - 1;
    for address in [0, 0xFFF, below, below - 0xFFF] {
        assert_eq!(guest.permissions(address), "unmapped", "{address:#x}");
    }
    for address in [0x1000, below + 1, below - 0x1000] {
        assert_eq!(guest.permissions(address), "rwx", "{address:#x}");
    }
    for strict in [false, true] {
        let options = BootOptions { strict, no_guards: true, ..BootOptions::default() };
        let guest = load_bytes(&TestGuest::simple().build(), 8, &options).unwrap();
        for address in [0, 0xFFF, stack(&guest) - 1] {
            assert_eq!(guest.permissions(address), if strict { "rw-" } else { "rwx" }, "{address:#x}");
        }
    }
}

#[test]
fn page_0_is_mapped_if_a_segment_is_loaded_or_copied_to_it() {
    let loaded = TestGuest::new(0x800).load(CODE, 0x800, b"\xF4");
    let copied = TestGuest::simple().load(DATA, 0x500, b"data").at_physical(0x20_0800);
    for guest in [loaded, copied] {
        let guest = boot(&guest, 8);
        assert_eq!(guest.permissions(0), "rwx");
        assert!(guest.boot.warnings.is_empty(), "{:?}", guest.boot.warnings);
    }
}

#[test]
fn the_entry_function_returns_to_code_that_halts() {
    for strict in [false, true] {
        let options = BootOptions { strict, ..BootOptions::default() };
        let guest = load_bytes(&TestGuest::simple().build(), 8, &options).unwrap();
        let to = guest.memory.read_u64(guest.boot.registers.general.rsp).unwrap();
        assert_eq!(guest.permissions(to), if strict { "r-x" } else { "rwx" });
        assert_eq!([guest.byte(to), guest.byte(to + 1)], [0xFA, 0xF4]);
        let mut mark = [0; entry_return::MARK_LENGTH];
        guest.memory.read(to + 2, &mut mark).unwrap();
        assert!(entry_return::has_returned(&mark));
    }
}

#[test]
fn a_large_higher_half_segment_uses_large_pages() {
    const BASE: u64 = 0xFFFF_8000_0000_0000;
    let file = TestGuest::new(BASE).load(EVERYTHING, BASE, b"\xF4").at_physical(0x20_0000);
    let small = boot(&file.clone().with_memory_size(4 * MIB), 64);
    let large = boot(&file.with_memory_size(48 * MIB), 64);
    assert_eq!(large.translate(BASE + 40 * MIB).unwrap().physical, 42 * MIB);
    assert_eq!(small.region("the page tables"), large.region("the page tables"));
}

#[test]
fn physical_addresses_that_are_all_zero_are_ignored() {
    let guest = TestGuest::new(0x20_0000)
        .load(CODE, 0x20_0000, b"\xF4")
        .at_physical(0)
        .load(DATA, 0x20_1000, b"data")
        .at_physical(0);
    assert_eq!(boot(&guest, 8).translate(0x20_1000).unwrap().physical, 0x20_1000);
}

#[test]
fn a_physical_address_that_is_no_ram_gives_way_to_the_virtual_one() {
    let guest = TestGuest::new(0x20_0000).load(CODE, 0x20_0000, b"\xF4").at_physical(0x8000_0000);
    assert_eq!(boot(&guest, 8).byte(0x20_0000), 0xF4);
}

#[test]
fn boot_structures_keep_clear_of_every_segment() {
    let guest = TestGuest::new(0x1000)
        .load(CODE, 0x1000, b"\xF4")
        .load(DATA, 0x3800, &[7; 0x1000])
        .load(DATA, 0x8_0000, b"x")
        .with_memory_size(0x4_0000);
    let guest = boot(&guest, 4);
    for pair in guest.boot.layout.windows(2) {
        assert!(pair[0].range.end <= pair[1].range.start, "{pair:#x?}");
    }
    for region in &guest.boot.layout {
        assert!(region.range.start >= 0x1000, "{region:#x?}");
        let below_vga = region.range.end <= 0xA_0000 || region.range.start >= 0x10_0000;
        let searched_for = region.name == "the ACPI and MP tables" && region.range.start >= 0xF_0000;
        assert!(below_vga || searched_for || region.name.starts_with("segment"), "{region:#x?}");
    }
    assert_eq!(guest.byte(0x47FF), 7);
}

#[test]
fn the_error_for_too_little_memory_names_a_sufficient_size() {
    // Everything up to 4 MiB belongs to the guest.
    let guest = TestGuest::new(0x1000).load(CODE, 0x1000, b"\xF4").with_memory_size(4 * MIB - 0x1000);
    let message = refusal(&guest, 4);
    assert!(message.contains("no room in 4 MiB of guest memory for the descriptor tables"), "{message}");
    boot(&guest, enough(&message));

    let guest = TestGuest::simple().load(DATA, 0x500_0000, b"x").load(DATA, 0x5F0_0000, b"x");
    let message = refusal(&guest, 8);
    assert!(message.contains("segment 2 (0x5f00000..0x5f00001)"), "{message}");
    assert_eq!(enough(&message), 96);
    boot(&guest, 96);
}

/// The size that a message says is enough, in MiB.
fn enough(message: &str) -> u64 {
    let (_, rest) = message.split_once("--memory ").unwrap_or_else(|| panic!("{message}"));
    rest.split_once('M').unwrap().0.parse().unwrap()
}

#[test]
fn strict_mode_enforces_what_the_segments_allow() {
    let guest = TestGuest::new(0x20_0000)
        .load(CODE, 0x20_0000, &[0xF4; 0x1001])
        .load(CONSTANTS, 0x20_2000, b"const")
        .load(DATA, 0x20_3000, b"data")
        .with_memory_size(0x40_0000);
    let guest = boot_strict(&guest, 16);
    let stack = guest.region("the boot stack");
    for (address, expected) in [
        (0, "unmapped"),
        (0xFFF, "unmapped"),
        (0xB_8000, "rw-"),
        (stack.start, "unmapped"),
        (stack.start + 0x1000, "rw-"),
        (stack.end - 1, "rw-"),
        (0x1F_FFFF, "rw-"),
        (0x20_0000, "r-x"),
        (0x20_1FFF, "r-x"),
        (0x20_2000, "r--"),
        (0x20_3000, "rw-"),
        (0x60_2FFF, "rw-"),
        (0xFF_FFFF, "rw-"),
        (0x100_0000, "unmapped"),
    ] {
        assert_eq!(guest.permissions(address), expected, "{address:#x}");
    }
    assert_eq!(stack.end - stack.start, STACK_SIZE + 0x1000);
    assert!(guest.boot.warnings.is_empty(), "{:?}", guest.boot.warnings);
}

#[test]
fn strict_mode_protects_both_views_of_a_higher_half_kernel() {
    const BASE: u64 = 0xFFFF_FFFF_8000_0000;
    let guest = TestGuest::new(BASE)
        .load(CODE, BASE, b"\xF4")
        .at_physical(0x20_0000)
        .load(DATA, BASE + 0x1000, b"data")
        .at_physical(0x20_1000);
    let guest = boot_strict(&guest, 8);
    for base in [BASE, 0x20_0000] {
        assert_eq!(guest.permissions(base), "r-x");
        assert_eq!(guest.permissions(base + 0x1000), "rw-");
    }
}

#[test]
fn a_page_shared_by_code_and_data_allows_both_with_a_warning() {
    let guest = TestGuest::new(0x20_0000)
        .load(CODE, 0x20_0000, &[0xF4; 0x1800])
        .load(DATA, 0x20_1800, &[1; 0x100])
        .load(CONSTANTS, 0x20_1900, &[2; 0x1000]);
    let guest = boot_strict(&guest, 8);
    assert_eq!(guest.permissions(0x20_0000), "r-x");
    assert_eq!(guest.permissions(0x20_1000), "rwx");
    assert_eq!(guest.permissions(0x20_2000), "r--");
    let warnings = &guest.boot.warnings;
    assert!(warnings[0].contains("segments 0 (R-X) and 1 (RW-) share the page 0x201000"), "{warnings:?}");
}

#[test]
fn a_guest_in_page_0_keeps_it_with_a_warning() {
    let guest = boot_strict(&TestGuest::new(0x800).load(CODE, 0x800, b"\xF4"), 8);
    assert_eq!(guest.permissions(0x800), "r-x");
    assert!(guest.boot.warnings[0].contains("page 0"), "{:?}", guest.boot.warnings);
}

#[test]
fn modules_are_page_aligned_at_the_top_and_listed_in_the_start_info() {
    let directory = std::env::temp_dir().join(format!("kvm-boot-modules-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (first, empty) = (directory.join("first"), directory.join("empty"));
    std::fs::write(&first, vec![0xAB; 5000]).unwrap();
    std::fs::write(&empty, b"").unwrap();
    let options = BootOptions {
        command_line: "hello".to_owned(),
        modules: vec![(first.clone(), "as root".to_owned()), (empty, String::new())],
        ..BootOptions::default()
    };
    let guest = load_bytes(&TestGuest::simple().build(), 8, &options).unwrap();
    let list = guest.memory.read_u64(guest.boot.registers.general.rdi + 16).unwrap();
    assert_eq!(guest.memory.read_u64(list).unwrap(), 0x7F_E000);
    assert_eq!(guest.memory.read_u64(list + 8).unwrap(), 5000);
    assert_eq!(guest.memory.read_u64(list + 40).unwrap(), 0, "size of the empty one");
    assert_eq!(
        (guest.byte(0x7F_E000), guest.byte(0x7F_E000 + 4999), guest.byte(0x7F_E000 + 5000)),
        (0xAB, 0xAB, 0)
    );
    let text = guest.memory.read_u64(guest.boot.registers.general.rdi + 24).unwrap();
    assert_eq!([guest.byte(text), guest.byte(text + 4), guest.byte(text + 5)], [b'h', b'o', 0]);

    std::fs::write(&first, vec![0; 7 << 20]).unwrap();
    let message = load_bytes(&TestGuest::simple().build(), 8, &options).err().unwrap().to_string();
    assert!(message.contains("no room in 8 MiB of guest memory for module"), "{message}");
    load_bytes(&TestGuest::simple().build(), enough(&message), &options).unwrap();

    std::fs::remove_dir_all(&directory).unwrap();
    let message = load_bytes(&TestGuest::simple().build(), 8, &options).err().unwrap().to_string();
    assert!(message.starts_with(&format!("there is no file `{}`", first.display())), "{message}");
}

#[test]
fn a_zero_byte_in_a_command_line_is_refused() {
    let options = BootOptions { command_line: "a\0b".to_owned(), ..BootOptions::default() };
    let error = load_bytes(&TestGuest::simple().build(), 8, &options).err().unwrap();
    assert!(error.to_string().contains("command line of the guest contains a zero byte"), "{error}");
}

#[test]
fn loading_again_after_a_reset_gives_the_same_machine() {
    let guest = TestGuest::simple().load(DATA, 0x30_0000, b"data");
    let (first, second) = (boot_strict(&guest, 8), boot_strict(&guest, 8));
    assert_eq!(first.boot, second.boot);
    let tables = first.region("the page tables");
    for address in tables.step_by(8) {
        assert_eq!(first.memory.read_u64(address).unwrap(), second.memory.read_u64(address).unwrap());
    }
}

#[test]
fn a_guest_mapped_over_a_device_window_gets_a_warning() {
    let guest = TestGuest::new(0xFEE0_0000).load(CODE, 0xFEE0_0000, b"\xF4").at_physical(0x20_0000);
    let guest = boot(&guest, 8);
    assert!(guest.boot.warnings[0].contains("over the local APIC"), "{:?}", guest.boot.warnings);
    assert_eq!(guest.byte(0xFEE0_0000), 0xF4);
}

#[test]
fn segments_spread_over_the_whole_address_space_do_not_exhaust_the_host() {
    let mut guest = TestGuest::new(0x20_0000).load(CODE, 0x20_0000, b"\xF4");
    for n in 1..1200u64 {
        guest = guest.load(DATA, 0xFFFF_8000_0000_0000 + (n << 32), b"x").at_physical(0x20_0000 + n * 0x1000);
    }
    let message = refusal(&guest, 8);
    assert!(message.contains("for the page tables"), "{message}");
    boot(&guest, enough(&message));
}
