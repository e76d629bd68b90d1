use super::*;

#[test]
fn handlers_are_found_in_every_kind_of_table() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let mut registers = Registers::default();
    registers.system.idt.limit = 0x3FF;
    memory.write(4 * 6, &[0x34, 0x12, 0x00, 0xF0]).unwrap();
    assert_eq!(entries(&memory, &registers)[2], Some(0xF_1234));

    registers.system.cr0 = 1;
    registers.system.idt.base = 0x1000;
    memory.write_u64(0x1000 + 8 * 14, 0x1234_8E00_0008_5678).unwrap();
    assert_eq!(entries(&memory, &registers), [Some(0x1234_5678), None, None, None]);

    registers.system.efer = 1 << 10;
    registers.system.idt.base = 0x2000;
    memory.write_u64(0x2000, 0x8010_8F00_0008_5678).unwrap();
    memory.write_u64(0x2008, 0xFFFF_FFFF).unwrap();
    assert_eq!(entries(&memory, &registers), [None, None, None, Some(0xFFFF_FFFF_8010_5678)]);
    memory.write_u64(0x2008, 0x8000_0000).unwrap();
    assert_eq!(entries(&memory, &registers), [None; 4], "no address");
    registers.system.idt.limit = 14;
    assert_eq!(entries(&memory, &registers), [None; 4], "behind the end of the table");
}

/// Long mode at 0x1234, before and after an exception that has left its frame at 0x8008.
fn exception() -> (GuestMemory, Registers, Registers) {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let mut before = Registers::default();
    before.system.cr0 = 1;
    before.system.cs.l = 1;
    before.system.cs.selector = 8;
    before.general.rip = 0x1234;
    before.general.rsp = 0x803B;
    let mut after = before;
    after.general.rsp = 0x8008;
    for (at, value) in [(0x8008, 0x1234), (0x8010, 8), (0x8018, 0x10346)] {
        memory.write_u64(at, value).unwrap();
    }
    (memory, before, after)
}

#[test]
fn the_trap_flag_is_taken_out_of_what_a_handler_returns_to() {
    for (pushed, what) in [(0, "nothing more"), (8, "an error code"), (0x200, "much more")] {
        let (memory, before, mut after) = exception();
        after.general.rsp -= pushed;
        assert!(hide_trap_flag(&memory, &before, &after), "{what} is pushed");
        assert_eq!(memory.read_u64(0x8018).unwrap(), 0x10246, "{what} is pushed");
    }
    let (memory, mut before, after) = exception();
    before.general.rsp = 0x4000;
    assert!(hide_trap_flag(&memory, &before, &after), "a stack of its own");
    assert_eq!(memory.read_u64(0x8018).unwrap(), 0x10246);
}

#[test]
fn nothing_is_taken_out_of_what_another_instruction_has_left() {
    for (at, value) in [(0x8008, 0x4321), (0x8010, 0x10)] {
        let (memory, before, after) = exception();
        memory.write_u64(at, value).unwrap();
        assert!(!hide_trap_flag(&memory, &before, &after));
        assert_eq!(memory.read_u64(0x8018).unwrap(), 0x10346);
    }
}
