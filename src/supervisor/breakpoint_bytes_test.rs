use super::*;

const INT3: u8 = Opcode::Int3 as u8;

fn byte(memory: &GuestMemory, at: u64) -> u8 {
    let mut bytes = [0];
    memory.read(at, &mut bytes).unwrap();
    bytes[0]
}

fn insert(memory: &GuestMemory, registers: &Registers, addresses: &[u64]) -> InsertedBreakpoints {
    let mut inserted = InsertedBreakpoints::default();
    inserted.insert(memory, registers, Opcode::Int3, addresses.iter().copied());
    inserted
}

#[test]
fn the_guest_sees_what_is_inserted_only_while_it_runs() {
    let (memory, registers) = (GuestMemory::new(1 << 20).unwrap(), Registers::default());
    memory.write(0x1000, &[0x90, 0x91]).unwrap();
    let mut inserted = insert(&memory, &registers, &[0x1000, 0x1001]);
    assert_eq!(byte(&memory, 0x1000), INT3);
    memory.write(0x1001, &[0x55]).unwrap();
    inserted.remove(&memory);
    assert_eq!(byte(&memory, 0x1000), 0x90);
    assert_eq!(byte(&memory, 0x1001), 0x55, "what the guest wrote itself stays");
    inserted.insert(&memory, &registers, Opcode::Halt, [0x1001].into_iter());
    assert_eq!(byte(&memory, 0x1001), 0xF4, "and is a breakpoint again when the guest goes on");
    inserted.remove(&memory);
    assert_eq!(byte(&memory, 0x1001), 0x55);
}

#[test]
fn a_step_over_a_breakpoint_runs_what_is_there_and_may_change_it() {
    let (memory, registers) = (GuestMemory::new(1 << 20).unwrap(), Registers::default());
    memory.write(0x1000, &[0x90]).unwrap();
    let mut inserted = insert(&memory, &registers, &[0x1000, 0x1000]);
    assert_eq!(byte(&memory, 0x1000), INT3);
    assert_eq!(inserted.at(&memory, &registers, 0x1000), Some(0x1000));
    memory.lift_breakpoint(0x1000);
    assert_eq!(byte(&memory, 0x1000), 0x90);
    memory.write(0x1000, &[0x55]).unwrap();
    memory.reinsert_breakpoint(0x1000);
    assert_eq!(byte(&memory, 0x1000), INT3);
    inserted.remove(&memory);
    assert_eq!(byte(&memory, 0x1000), 0x55);
    assert_eq!(inserted.at(&memory, &registers, 0x1000), None);
}

#[test]
fn an_address_outside_of_memory_is_left_alone() {
    let (memory, registers) = (GuestMemory::new(1 << 20).unwrap(), Registers::default());
    let mut inserted = insert(&memory, &registers, &[1 << 40]);
    assert!(!inserted.any());
    assert_eq!(inserted.at(&memory, &registers, 1 << 40), None);
    inserted.remove(&memory);
}

#[test]
fn two_mappings_of_one_byte_restore_what_was_there_first() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    for (at, entry) in
        [(0x1000, 0x2003), (0x2000, 0x3003), (0x3000, 0x4003), (0x4000, 0x6003), (0x4008, 0x6003)]
    {
        memory.write_u64(at, entry).unwrap();
    }
    memory.write(0x6000, &[0x90]).unwrap();
    let mut registers = Registers::default();
    registers.system.cr0 = 1 << 31;
    registers.system.cr3 = 0x1000;
    registers.system.efer = 1 << 10;
    let mut inserted = insert(&memory, &registers, &[0, 0x1000]);
    memory.lift_breakpoint(0x6000);
    memory.reinsert_breakpoint(0x6000);
    inserted.remove(&memory);
    assert_eq!(byte(&memory, 0x6000), 0x90);
    let mut inserted = insert(&memory, &registers, &[0]);
    assert_eq!(inserted.at(&memory, &registers, 0x1000), Some(0x6000), "the other mapping leads there, too");
    inserted.remove(&memory);
    assert_eq!(byte(&memory, 0x6000), 0x90);
}
