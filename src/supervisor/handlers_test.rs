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
    assert_eq!(entries(&memory, &registers), [None; 4], "the GDT is empty");
    (registers.system.gdt.base, registers.system.gdt.limit) = (0x3000, 15);
    for (descriptor, entry) in [
        (0x00CF_9B00_0000_FFFF, Some(0x1234_5678)),
        // A segment that begins at 0xFF010000, one that is not present, and data.
        (0xFFCF_9B01_0000_FFFF, Some(0x1135_5678)),
        (0x00CF_1B00_0000_FFFF, None),
        (0x00CF_9300_0000_FFFF, None),
    ] {
        memory.write_u64(0x3008, descriptor).unwrap();
        assert_eq!(entries(&memory, &registers), [entry, None, None, None], "{descriptor:#x}");
    }

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
        assert_eq!(flags_of_frame(&memory, &before, &after), Some(0x8018), "{what} is pushed");
        assert_eq!(without_trap_flag(&memory, &after, 0x8018), Some((0x8019, 2)), "{what} is pushed");
    }
    let (memory, mut before, after) = exception();
    before.general.rsp = 0x4000;
    assert_eq!(flags_of_frame(&memory, &before, &after), Some(0x8018), "a stack of its own");
    memory.write_u64(0x8018, 0x10246).unwrap();
    assert_eq!(without_trap_flag(&memory, &after, 0x8018), None, "the flag is clear");
}

#[test]
fn nothing_is_taken_out_of_what_another_instruction_has_left() {
    for (at, value) in [(0x8008, 0x4321), (0x8010, 0x10)] {
        let (memory, before, after) = exception();
        memory.write_u64(at, value).unwrap();
        assert_eq!(flags_of_frame(&memory, &before, &after), None);
    }
}

#[test]
fn clearing_the_trap_flag_is_an_event_of_the_journal() {
    let Some(mut machine) = crate::machine::testing::machine(4 << 20, b"\xF4") else { return };
    let registers = machine.cpu(machine.current_cpu()).registers().unwrap();
    machine.memory().write_u64(0x30_0000, 0x10346).unwrap();
    machine.start_journal(16);
    clear_trap_flag(&mut machine, &registers, 0x30_0000);
    assert_eq!(machine.memory().read_u64(0x30_0000).unwrap(), 0x10246);
    let recording = machine.stop_journal().unwrap();
    let events: Vec<_> = recording.entries().iter().map(|entry| entry.event.clone()).collect();
    let write = crate::machine::journal::JournalEvent::Memory { address: 0x30_0001, bytes: vec![2] };
    assert_eq!(events, [write]);
}
