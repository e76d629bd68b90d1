use super::*;

/// Top of the stack.
const TOP: u64 = 0x3000;

/// 64-bit code whose first 2 MiB are mapped to themselves, with these values on the stack.
fn handler(stack: &[u64]) -> (GuestMemory, Registers) {
    let memory = GuestMemory::new(4 << 20).unwrap();
    for (at, value) in [(0x1000, 0x2003), (0x2000, 0x83)] {
        memory.write_u64(at, value).unwrap();
    }
    for (at, value) in (TOP..).step_by(8).zip(stack) {
        memory.write_u64(at, *value).unwrap();
    }
    let mut registers = Registers::default();
    let system = &mut registers.system;
    (system.cr0, system.cr3, system.cr4, system.efer) = (1 << 31 | 1, 0x1000, 1 << 5, 0xD00);
    system.cs.l = 1;
    registers.general.rsp = TOP;
    (memory, registers)
}

fn frame(vector: u8, stack: &[u64]) -> (Option<u32>, u64, u16) {
    let (memory, registers) = handler(stack);
    let frame = ExceptionFrame::read(&memory, &registers, vector).unwrap();
    (frame.error_code, frame.address, frame.ring())
}

#[test]
fn the_frame_of_an_exception_has_its_error_code_and_its_place() {
    assert_eq!(frame(14, &[0x6, 0x20_0010, 0x1B, 0x202, 0x7000, 0x23]), (Some(6), 0x20_0010, 3));
    assert_eq!(frame(13, &[0x1000, 0x20_0010, 8, 0x10002, 0x7000, 0x10]), (Some(0x1000), 0x20_0010, 0));
    assert_eq!(frame(6, &[0x20_0010, 8, 0x10002, 0x7000, 0x10]), (None, 0x20_0010, 0));
}

#[test]
fn a_software_interrupt_with_the_vector_of_an_exception_has_no_error_code() {
    assert_eq!(frame(13, &[0x20_0010, 8, 0x202, 0x7001, 0x10, 0]), (None, 0x20_0010, 0));
}

#[test]
fn a_frame_of_real_mode_has_its_linear_address() {
    let (memory, mut registers) = handler(&[]);
    registers.system.cr0 = 0;
    registers.system.efer = 0;
    registers.system.cs.l = 0;
    memory.write(TOP, &[0x34, 0x12, 0x00, 0x70, 0x02, 0x02]).unwrap();
    let frame = ExceptionFrame::read(&memory, &registers, 13).unwrap();
    assert_eq!((frame.address, frame.error_code), (0x7_1234, None));
}

#[test]
fn a_frame_that_is_not_mapped_is_unknown() {
    let (memory, mut registers) = handler(&[]);
    registers.general.rsp = 0x7000_0000_0000;
    assert_eq!(ExceptionFrame::read(&memory, &registers, 14), None);
}

#[test]
fn sets_of_vectors_have_what_was_added() {
    let mut set = VectorSet::default();
    assert!(set.is_empty());
    for vector in [0, 63, 64, 255] {
        set.set(vector, true);
    }
    set.set(63, false);
    assert_eq!(set.iter().collect::<Vec<_>>(), [0, 64, 255]);
    let all = VectorSet::exceptions();
    assert!(all.has(14) && all.has(0) && !all.has(2) && !all.has(9) && !all.has(32));
    set.set_all(all, true);
    set.set_all(all, false);
    assert_eq!(set.iter().collect::<Vec<_>>(), [64, 255]);
}
