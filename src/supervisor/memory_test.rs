use super::*;

/// Two pages that are neighbours for the guest, swapped in memory, and nothing after them.
fn swapped_pages() -> (GuestMemory, Registers) {
    let memory = GuestMemory::new(1 << 20).unwrap();
    for (at, entry) in
        [(0x1000, 0x2003), (0x2000, 0x3003), (0x3000, 0x4003), (0x4000, 0x6003), (0x4008, 0x5003)]
    {
        memory.write_u64(at, entry).unwrap();
    }
    let mut registers = Registers::default();
    registers.system.cr0 = 1 << 31;
    registers.system.cr3 = 0x1000;
    registers.system.efer = 1 << 10;
    (memory, registers)
}

/// What [`write_for_client`] writes, without a machine.
fn write(memory: &GuestMemory, registers: Option<&Registers>, address: u64, bytes: &[u8]) -> bool {
    pieces(memory, registers, address, bytes.len())
        .is_some_and(|pieces| pieces.into_iter().all(|(at, range)| memory.write(at, &bytes[range]).is_ok()))
}

#[test]
fn an_access_across_pages_follows_both_mappings() {
    let (memory, registers) = swapped_pages();
    assert!(write(&memory, Some(&registers), 0xFFE, b"abcd"));
    let mut bytes = [0; 2];
    memory.read(0x6FFE, &mut bytes).unwrap();
    assert_eq!(&bytes, b"ab");
    memory.read(0x5000, &mut bytes).unwrap();
    assert_eq!(&bytes, b"cd");
    let mut bytes = [0; 4];
    assert_eq!(read(&memory, Some(&registers), 0xFFE, &mut bytes), 4);
    assert_eq!(&bytes, b"abcd");
}

#[test]
fn a_write_that_runs_out_of_its_mapping_changes_nothing() {
    let (memory, registers) = swapped_pages();
    assert!(!write(&memory, Some(&registers), 0x1FFE, b"abcd"));
    let mut bytes = [1; 4];
    assert_eq!(read(&memory, Some(&registers), 0x1FFE, &mut bytes), 2);
    assert_eq!(bytes, [0, 0, 1, 1]);
    assert_eq!(read(&memory, Some(&registers), u64::MAX, &mut bytes), 0);
}

#[test]
fn physical_addresses_do_not_ask_the_page_tables() {
    let (memory, _) = swapped_pages();
    assert!(write(&memory, None, 0xF_FFFE, b"ab"));
    let mut bytes = [0; 4];
    assert_eq!(read(&memory, None, 0xF_FFFE, &mut bytes), 2, "RAM ends there");
    assert_eq!(&bytes, b"ab\0\0");
    assert!(!write(&memory, None, 0xF_FFFF, b"cd"), "not all of it is RAM");
    assert_eq!(read(&memory, None, u64::MAX, &mut bytes), 0);
}
