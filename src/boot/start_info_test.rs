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
    let modules = [
        Module { range: 0x70_0000..0x70_0003, command_line: "first one" },
        Module { range: 0x6F_F000..0x6F_F000, command_line: "" },
    ];
    let bytes = build(BASE, "console=com1", &modules, &[0..8 << 20, 1 << 32..2 << 32]);
    assert_eq!(bytes[..8], [0x78, 0xC5, 0x6E, 0x33, 1, 0, 0, 0]);
    assert_eq!(bytes[12], 2, "number of modules");
    assert_eq!(text(&bytes, long(&bytes, 24) - BASE), "console=com1");
    assert_eq!(long(&bytes, 32), 0, "no RSDP");

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
    let bytes = build(0x1000, "", &[], &[]);
    assert_eq!((bytes[12], long(&bytes, 16)), (0, 0));
    assert_eq!(text(&bytes, long(&bytes, 24) - 0x1000), "");
}
