use super::*;

/// CR0: paging and protection.
const CR0_PAGING: u64 = 1 << 31 | 1;
/// EFER: long mode is active.
const EFER_LONG_MODE: u64 = 1 << 10;

fn long_mode(memory: &GuestMemory) -> Registers {
    memory.write_u64(0x1000, 0x2003).unwrap();
    memory.write_u64(0x2000, 0x3003).unwrap();
    memory.write_u64(0x3000, 0x83).unwrap();
    memory.write_u64(0x3008, 0x4003).unwrap();
    memory.write_u64(0x4000, 0x5003).unwrap();
    let mut registers = Registers::default();
    registers.system.cr0 = CR0_PAGING;
    registers.system.cr3 = 0x1000;
    registers.system.efer = EFER_LONG_MODE;
    registers
}

#[test]
fn large_and_small_pages_are_followed_and_holes_are_holes() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let registers = long_mode(&memory);
    assert_eq!(translate(&memory, &registers, 0x12345), Some(0x12345));
    assert_eq!(translate(&memory, &registers, 0x20_0123), Some(0x5123));
    assert_eq!(translate(&memory, &registers, 0x20_1000), None);
    assert_eq!(translate(&memory, &registers, 1 << 39), None);
}

#[test]
fn addresses_that_are_not_canonical_are_no_mapping() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let registers = long_mode(&memory);
    memory.write_u64(0x1FF8, 0x2003).unwrap();
    assert_eq!(translate(&memory, &registers, 0xFFFF_FF80_0000_0010), Some(0x10));
    assert_eq!(translate(&memory, &registers, 0x0000_FF80_0000_0010), None);
    assert_eq!(translate(&memory, &registers, 1 << 63), None);
}

#[test]
fn reading_stops_where_the_mapping_stops() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let registers = long_mode(&memory);
    memory.write(0x5FFE, b"ab").unwrap();
    let mut bytes = [0; 15];
    assert_eq!(read_virtual(&memory, &registers, 0x20_0FFE, &mut bytes), 2);
    assert_eq!(&bytes[..2], b"ab");
}

#[test]
fn tables_that_point_outside_of_memory_are_no_mapping() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let mut registers = long_mode(&memory);
    registers.system.cr3 = 0x000F_FFFF_FFFF_F000;
    assert_eq!(translate(&memory, &registers, 0), None);
}
