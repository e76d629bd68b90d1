use super::*;

fn long(bytes: &[u8], at: u64) -> u64 {
    let at = at as usize;
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn text(bytes: &[u8], at: u64) -> String {
    let rest = &bytes[at as usize..];
    String::from_utf8(rest.iter().copied().take_while(|byte| *byte != 0).collect()).unwrap()
}

#[test]
fn a_guest_that_follows_the_pointers_finds_everything() {
    const BASE: u64 = 0x3000;
    let map = memory_map(&[0..8 << 20, 1 << 32..2 << 32], None);
    let modules = [
        Module { range: 0x70_0000..0x70_0003, command_line: "first one" },
        Module { range: 0x6F_F000..0x6F_F000, command_line: "" },
    ];
    let bytes = build(BASE, "console=com1", &modules, 0xF_0000, &map);
    assert_eq!(bytes[..8], [0x78, 0xC5, 0x6E, 0x33, 1, 0, 0, 0]);
    assert_eq!(bytes[12], 2, "number of modules");
    assert_eq!(text(&bytes, long(&bytes, 24) - BASE), "console=com1");
    assert_eq!(long(&bytes, 32), 0xF_0000, "RSDP");

    let list = long(&bytes, 16) - BASE;
    assert_eq!((long(&bytes, list), long(&bytes, list + 8)), (0x70_0000, 3));
    assert_eq!(text(&bytes, long(&bytes, list + 16) - BASE), "first one");
    assert_eq!((long(&bytes, list + 32), long(&bytes, list + 40)), (0x6F_F000, 0));
    assert_eq!(text(&bytes, long(&bytes, list + 48) - BASE), "");

    let map = long(&bytes, 40) - BASE;
    assert_eq!(bytes[48], 2, "number of memory map entries");
    assert_eq!([0, 8, 16].map(|at| long(&bytes, map + at)), [0, 8 << 20, 1]);
    assert_eq!([24, 32, 40].map(|at| long(&bytes, map + at)), [1 << 32, 1 << 32, 1]);
}

#[test]
fn without_modules_there_is_no_module_list() {
    let bytes = build(0x1000, "", &[], 0, &[]);
    assert_eq!((bytes[12], long(&bytes, 16)), (0, 0));
    assert_eq!(text(&bytes, long(&bytes, 24) - 0x1000), "");
}

#[test]
fn the_acpi_tables_are_an_entry_of_their_own_in_the_memory_map() {
    use MemoryKind::{AcpiTables, Ram};
    let ram = [0..8 << 20, 1 << 32..2 << 32];
    let map = memory_map(&ram, Some(&(0xF_0000..0xF_1000)));
    let low = [(0..0xF_0000, Ram), (0xF_0000..0xF_1000, AcpiTables), (0xF_1000..8 << 20, Ram)];
    assert_eq!(map, [&low[..], &[(1 << 32..2 << 32, Ram)]].concat());
    let map = memory_map(&ram[..1], Some(&(0x7F_F000..8 << 20)));
    assert_eq!(map, [(0..0x7F_F000, Ram), (0x7F_F000..8 << 20, AcpiTables)]);
    assert_eq!(AcpiTables as u32, 3);
}
