//! What readers find where a debugger has inserted bytes.

use super::*;

fn original(memory: &GuestMemory, start: u64) -> [u8; 4] {
    let mut bytes = [0; 4];
    memory.read_original(start, &mut bytes).unwrap();
    bytes
}

#[test]
fn readers_get_the_guests_bytes_while_others_are_inserted() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    memory.write(0x1000, &[0x90, 0x91, 0x92, 0x93]).unwrap();
    for address in [0x1000, 0x1003, 0x1003, 0xF_FFFF] {
        assert!(memory.insert_breakpoint(address, 0xCC));
    }
    assert_eq!(memory.read_u64(0x1000).unwrap(), 0xCC92_91CC);
    assert_eq!(original(&memory, 0x1000), [0x90, 0x91, 0x92, 0x93]);
    assert_eq!(original(&memory, 0x1001), [0x91, 0x92, 0x93, 0]);
    assert_eq!(original(&memory, 0xF_FFFC), [0; 4]);
    memory.write(0x1000, &[0x55]).unwrap();
    assert_eq!(original(&memory, 0x1000), [0x55, 0x91, 0x92, 0x93], "written by the guest");
    memory.lift_breakpoint(0x1003);
    memory.write(0x1003, &[0x66]).unwrap();
    assert_eq!(original(&memory, 0x1000), [0x55, 0x91, 0x92, 0x66]);
    memory.reinsert_breakpoint(0x1003);
    assert_eq!(original(&memory, 0x1000), [0x55, 0x91, 0x92, 0x66]);
    memory.remove_breakpoints();
    assert_eq!(memory.read_u64(0x1000).unwrap(), 0x6692_9155);
    assert!(!memory.has_breakpoint(0x1000));
}

#[test]
fn addresses_outside_ram_are_refused() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    assert!(!memory.insert_breakpoint(1 << 20, 0xCC));
    assert!(!memory.insert_breakpoint(u64::MAX, 0xCC));
    assert!(memory.read_original(u64::MAX, &mut [0; 2]).is_err());
    assert!(memory.read_original((1 << 20) - 1, &mut [0; 2]).is_err());
}

#[test]
fn a_reset_forgets_inserted_bytes() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    memory.write(0x1000, &[0x90]).unwrap();
    memory.insert_breakpoint(0x1000, 0xCC);
    memory.discard().unwrap();
    memory.write(0x1000, &[0xCC]).unwrap();
    memory.remove_breakpoints();
    assert_eq!(original(&memory, 0x1000), [0xCC, 0, 0, 0], "an instruction of the guest");
}

#[test]
fn what_is_written_beneath_inserted_bytes_is_the_guests_once_they_are_removed() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    memory.write(0x1000, &[0x90, 0x91, 0x92, 0x93]).unwrap();
    for address in [0x1000, 0x1001, 0x1003] {
        assert!(memory.insert_breakpoint(address, 0xCC));
    }
    // One is lifted, and the guest has written over another one: neither is in memory.
    memory.lift_breakpoint(0x1001);
    memory.write(0x1003, &[0x55]).unwrap();
    memory.write_original(0x1000, &[0x10, 0x11, 0x12, 0x13]).unwrap();
    assert_eq!(memory.read_u64(0x1000).unwrap(), 0x1312_11CC);
    assert_eq!(original(&memory, 0x1000), [0x10, 0x11, 0x12, 0x13]);
    memory.reinsert_breakpoint(0x1001);
    memory.remove_breakpoints();
    assert_eq!(memory.read_u64(0x1000).unwrap(), 0x1312_1110);
}

#[test]
fn a_write_beneath_inserted_bytes_that_leaves_ram_changes_nothing() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    memory.write(0xF_FFFE, &[0x90, 0x91]).unwrap();
    assert!(memory.insert_breakpoint(0xF_FFFF, 0xCC));
    assert!(memory.write_original(0xF_FFFE, &[1, 2, 3]).is_err());
    assert_eq!(original(&memory, 0xF_FFFC), [0, 0, 0x90, 0x91]);
    memory.remove_breakpoints();
    assert_eq!(original(&memory, 0xF_FFFC), [0, 0, 0x90, 0x91]);
}

#[test]
fn a_breakpoint_is_removed_for_good_and_others_are_renewed() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    memory.write(0x1000, &[0x90, 0x91, 0x92]).unwrap();
    for address in 0x1000..0x1003 {
        assert!(memory.insert_breakpoint(address, 0xF4));
    }
    assert!(memory.remove_breakpoint(0x1000));
    assert!(!memory.remove_breakpoint(0x1000), "it is gone");
    assert_eq!(memory.read_u64(0x1000).unwrap(), 0xF4_F490);
    // A snapshot is restored.
    memory.write(0x1000, &[0x80, 0x81, 0x82]).unwrap();
    memory.renew_breakpoints();
    assert_eq!(memory.read_u64(0x1000).unwrap(), 0xF4_F480);
    assert_eq!(original(&memory, 0x1000), [0x80, 0x81, 0x82, 0]);
    memory.write(0x1001, &[0x55]).unwrap();
    assert!(!memory.remove_breakpoint(0x1001), "the guest has written over it");
    memory.remove_breakpoints();
    assert_eq!(memory.read_u64(0x1000).unwrap(), 0x82_5580);
}
