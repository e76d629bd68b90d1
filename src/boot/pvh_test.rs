//! PVH guests in memory.

use super::*;
use crate::boot::BytesImage;
use crate::boot::test_guest::{CODE, TestGuest};

/// The note for an entry point; a kernel of 32 bits has four bytes.
fn note(entry: &[u8]) -> Vec<u8> {
    [b"\x04\0\0\0", &(entry.len() as u32).to_le_bytes()[..], b"\x12\0\0\0Xen\0", entry].concat()
}

fn guest(entry: &[u8]) -> Vec<u8> {
    TestGuest::new(0xFFFF_FFFF_8020_0000)
        .load(CODE, 0xFFFF_FFFF_8020_0000, b"\xF4kernel")
        .at_physical(0x20_0000)
        .header(4, CODE, 0x20_0000, &note(entry))
        .build()
}

#[test]
fn a_pvh_guest_starts_at_the_entry_in_the_note() {
    let memory = GuestMemory::new(8 << 20).unwrap();
    for entry in [&0x20_0001u32.to_le_bytes()[..], &0x20_0001u64.to_le_bytes()] {
        let file = guest(entry);
        let image = BytesImage::new("guest.elf", &file);
        assert_eq!(super::entry(&image), Some(0x20_0001));
        let options = BootOptions { command_line: "a b".to_owned(), ..BootOptions::default() };
        let loaded = load(&image, &memory, &options).unwrap();
        let Registers { general, system } = loaded.registers;
        assert_eq!((general.rip, loaded.registers.bitness(), loaded.registers.ring()), (0x20_0001, 32, 0));
        assert_eq!((system.cr0, system.cr3, system.cr4, system.efer, general.rflags), (0x11, 0, 0, 0, 2));
        assert_eq!(memory.read_u64(general.rbx).unwrap() as u32, 0x336E_C578);
        let command_line = memory.read_u64(general.rbx + 24).unwrap();
        assert_eq!(memory.read_u64(command_line).unwrap() as u32, u32::from_le_bytes(*b"a b\0"));
    }
}

#[test]
fn a_32_bit_file_with_the_note_starts_there_too() {
    let memory = GuestMemory::new(8 << 20).unwrap();
    let file = TestGuest::new(0x20_0000)
        .load(CODE, 0x20_0000, b"\xF4kernel")
        .header(4, CODE, 0x20_1000, &note(&0x20_0001u32.to_le_bytes()))
        .for_32_bits()
        .build();
    let image = BytesImage::new("guest.elf", &file);
    assert_eq!(Protocol::find(&image, None).unwrap().protocol.kind, BootKind::Pvh);
    let loaded = load(&image, &memory, &BootOptions::default()).unwrap();
    assert_eq!((loaded.registers.general.rip, loaded.registers.bitness()), (0x20_0001, 32));
}

#[test]
fn an_entry_outside_the_file_is_refused() {
    let memory = GuestMemory::new(8 << 20).unwrap();
    let file = guest(&0x1234u32.to_le_bytes());
    let error = load(&BytesImage::new("guest.elf", &file), &memory, &BootOptions::default()).unwrap_err();
    assert!(error.to_string().contains("the entry point 0x1234 is in no segment"), "{error}");
}

#[test]
fn files_without_the_note_or_with_a_damaged_one_have_no_entry() {
    for entry in [&b""[..], &[0; 5], &[0; 9]] {
        assert_eq!(super::entry(&BytesImage::new("guest.elf", &guest(entry))), None);
    }
    assert_eq!(super::entry(&BytesImage::new("guest.elf", &TestGuest::simple().build())), None);
    assert_eq!(super::entry(&BytesImage::new("text", b"text")), None);
}
