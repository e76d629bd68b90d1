use super::*;
use crate::emulate::events::raise;
use crate::emulate::exception::Exception;
use crate::emulate::{Emulated, Obstacle};

/// `int 0x80`.
const INT_80: &[u8] = &[0xCD, 0x80];

#[test]
fn an_interrupt_in_ring_0_pushes_three_values() {
    let mut fake = protected(INT_80);
    fake.registers.get_mut().general.rflags = 0x246;
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((entered(&fake), fake.now().general.rsp), (Some(0x80), STACK - 12));
    assert_eq!(stacked(&fake, 4, 3), [CODE + 2, CODE_32.into(), 0x246]);
    assert_eq!(fake.now().general.rflags, 0x46);
}

#[test]
fn an_interrupt_from_ring_3_takes_the_stack_of_the_task() {
    let mut fake = protected_user(INT_80);
    assert_eq!(fake.emulate(), Emulated::Done);
    let now = fake.now();
    assert_eq!((entered(&fake), now.general.rsp), (Some(0x80), RING_0_STACK - 20));
    assert_eq!(stacked(&fake, 4, 5), [CODE + 2, USER_CODE_32.into(), 2, STACK, USER_DATA.into()]);
    assert_eq!((now.system.cs.selector, now.system.cs.dpl, now.system.cs.db), (CODE_32, 0, 1));
    assert_eq!((now.system.ss.selector, now.system.ss.dpl, now.system.ss.type_), (DATA, 0, 3));
    let marked = fake.memory.read_u64(GDT + u64::from(DATA)).unwrap();
    assert_eq!(marked, 0x00CF_9300_0000_FFFF);
}

#[test]
fn a_task_state_segment_of_16_bits_has_narrow_stacks() {
    let mut fake = protected_user(INT_80);
    fake.memory.write_u64(TSS + 2, RING_0_STACK | u64::from(DATA_16) << 16).unwrap();
    fake.registers.get_mut().system.tr.type_ = 3;
    assert_eq!(fake.emulate(), Emulated::Done);
    let now = fake.now();
    assert_eq!((now.system.ss.selector, now.general.rsp), (DATA_16, RING_0_STACK - 20));
}

#[test]
fn an_invalid_stack_in_the_task_state_segment_is_named_in_the_error_code() {
    for (what, selector, vector, code) in [
        ("null", 0, 10, 0),
        ("beyond the table", BEYOND, 10, BEYOND),
        ("code", CODE_32, 10, CODE_32),
        ("read-only", READ_ONLY, 10, READ_ONLY),
        ("of ring 3", USER_DATA, 10, USER_DATA & !3),
        ("asked for by ring 3", DATA | 3, 10, DATA),
        ("not present", DATA_NOT_PRESENT, 12, DATA_NOT_PRESENT),
    ] {
        let mut fake = protected_user(INT_80);
        fake.memory.write_u64(TSS + 4, RING_0_STACK | u64::from(selector) << 32).unwrap();
        // Conforming code handles the fault on the current stack.
        fake.memory.write_u64(GDT + u64::from(CONFORMING), 0x00CF_9E00_0000_FFFF).unwrap();
        gate_32(&fake, vector, CONFORMING, INTERRUPT);
        assert_eq!(fake.emulate(), Emulated::Done, "{what}");
        assert_eq!(entered(&fake), Some(vector), "{what}");
        assert_eq!(stacked(&fake, 4, 2), [u64::from(code), CODE], "{what}");
        assert_eq!(fake.now().system.ss.selector, USER_DATA, "{what}");
    }
}

#[test]
fn a_task_state_segment_that_ends_too_early_is_an_invalid_one() {
    let mut fake = protected_user(INT_80);
    fake.registers.get_mut().system.tr.limit = 8;
    // Neither its handler nor that of the double fault can be entered.
    assert_eq!(fake.emulate(), Emulated::TripleFault);
    let mut fake = protected_user(INT_80);
    fake.registers.get_mut().system.tr.limit = 9;
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!(entered(&fake), Some(0x80));
}

#[test]
fn a_stack_of_the_task_without_room_is_a_stack_fault_with_its_selector() {
    let mut fake = protected_user(INT_80);
    // 19 bytes are too few for five values.
    fake.memory.write_u64(TSS + 4, 19 | u64::from(DATA) << 32).unwrap();
    fake.memory.write_u64(GDT + u64::from(DATA), 0x0040_9200_0000_FFFF).unwrap();
    fake.memory.write_u64(GDT + u64::from(CONFORMING), 0x00CF_9E00_0000_FFFF).unwrap();
    gate_32(&fake, 12, CONFORMING, INTERRUPT);
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((entered(&fake), stacked(&fake, 4, 2)), (Some(12), vec![DATA.into(), CODE]));
}

#[test]
fn a_handler_beyond_its_segment_cannot_be_entered() {
    let mut fake = protected(INT_80);
    gate_32(&fake, 0x80, SMALL_CODE, INTERRUPT);
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((entered(&fake), stacked(&fake, 4, 2)), (Some(13), vec![0, CODE]));
}

#[test]
fn a_narrow_gate_pushes_words() {
    let mut fake = protected(INT_80);
    fake.memory.write_u64(IDT + 8 * 0x80, 0x0000_8600_0018_4321).unwrap();
    fake.registers.get_mut().general.rflags = 0x4_0202;
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((fake.now().general.rip, fake.now().general.rsp), (0x4321, STACK - 6));
    assert_eq!(stacked(&fake, 2, 3), [2, CODE_32.into(), 0x202]);
    assert_eq!(fake.now().general.rflags, 0x4_0002);
}

#[test]
fn a_task_gate_is_not_supported() {
    let mut fake = protected(INT_80);
    gate_32(&fake, 0x80, 0x78, 0x85);
    let before = fake.now();
    assert_eq!(fake.emulate(), Emulated::Unsupported(Obstacle::TaskGate));
    assert_eq!(fake.now(), before);
}

#[test]
fn into_interrupts_only_after_an_overflow() {
    let mut fake = protected(&[0xCE]);
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((fake.now().general.rip, fake.now().general.rsp), (CODE + 1, STACK));
    let mut fake = protected(&[0xCE]);
    fake.registers.get_mut().general.rflags = 0x802;
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((entered(&fake), stacked(&fake, 4, 1)), (Some(4), vec![CODE + 1]));
}

#[test]
fn a_single_step_is_trapped_behind_the_instruction() {
    let mut fake = protected(&[0xCE]);
    fake.registers.get_mut().general.rflags = 0x102;
    fake.dr6.set(0xFFFF_0FF3);
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!(entered(&fake), Some(1));
    assert_eq!(stacked(&fake, 4, 3), [CODE + 1, CODE_32.into(), 0x102]);
    assert_eq!(fake.now().general.rflags, 2, "the handler is not stepped");
    assert_eq!(fake.dr6.get(), 0xFFFF_4FF0);
}

#[test]
fn a_handler_is_not_stepped_into() {
    for code in [INT_80, &[0xCC], &[0xF1]] {
        let mut fake = protected(code);
        fake.registers.get_mut().general.rflags = 0x102;
        assert_eq!(fake.emulate(), Emulated::Done);
        assert_eq!(stacked(&fake, 4, 3)[2], 0x102);
        assert_eq!(fake.now().general.rsp, STACK - 12, "{code:x?}");
        assert_eq!(fake.dr6.get(), 0xFFFF_0FF0);
    }
}

#[test]
fn a_fault_is_not_stepped_over() {
    let mut fake = protected(&[0xCD, 0x81]);
    fake.registers.get_mut().general.rflags = 0x102;
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((entered(&fake), fake.dr6.get()), (Some(13), 0xFFFF_0FF0));
}

#[test]
fn virtual_8086_code_is_interrupted_with_all_its_segments() {
    let mut fake = virtual_8086(INT_80);
    assert_eq!(fake.emulate(), Emulated::Done);
    let now = fake.now();
    assert_eq!((entered(&fake), now.general.rsp), (Some(0x80), RING_0_STACK - 36));
    let frame = [2, 0x1000, 0x2_3202, 0x1000, 0x700, 0x222, 0x111, 0x333, 0x444];
    assert_eq!(stacked(&fake, 4, 9), frame);
    assert_eq!(now.general.rflags, 0x3002);
    for segment in [now.system.ds, now.system.es, now.system.fs, now.system.gs] {
        assert_eq!((segment.selector, segment.unusable), (0, 1));
    }
    assert_eq!((now.system.cs.selector, now.system.ss.selector), (CODE_32, DATA));
}

#[test]
fn virtual_8086_code_needs_the_privilege_for_interrupts_but_not_for_breakpoints() {
    for (code, vector) in [(INT_80, 13), (&[0xCC], 3)] {
        let mut fake = virtual_8086(code);
        gate_32(&fake, 3, CODE_32, USER_INTERRUPT);
        fake.registers.get_mut().general.rflags = 0x2_2202;
        assert_eq!(fake.emulate(), Emulated::Done);
        assert_eq!(entered(&fake), Some(vector));
    }
}

#[test]
fn virtual_8086_code_is_interrupted_by_ring_0_only() {
    for selector in [USER_CODE_32, CONFORMING] {
        let mut fake = virtual_8086(INT_80);
        gate_32(&fake, 0x80, selector, USER_INTERRUPT);
        assert_eq!(fake.emulate(), Emulated::Done);
        assert_eq!((entered(&fake), stacked(&fake, 4, 1)), (Some(13), vec![u64::from(selector & !3)]));
    }
}

#[test]
fn virtual_8086_mode_extensions_are_not_supported() {
    for code in [INT_80, &[0xCF]] {
        let mut fake = virtual_8086(code);
        fake.registers.get_mut().system.cr4 |= 1;
        fake.registers.get_mut().general.rflags = 0x2_0202;
        assert_eq!(fake.emulate(), Emulated::Unsupported(Obstacle::Virtual8086Extensions));
    }
}

#[test]
fn exceptions_push_their_code_with_the_width_of_the_gate() {
    for (kind, width, rip) in [(0x8E, 4, handler(13)), (0x86, 2, handler(13) & 0xFFFF)] {
        let mut fake = protected(&[]);
        gate_32(&fake, 13, CODE_32, kind);
        let entered = fake.with_cpu(|cpu| {
            raise(cpu, Exception::protection(0x50)).unwrap();
            cpu.registers.general.rip
        });
        assert_eq!(entered, rip);
        let rsp = STACK - 4 * width as u64;
        assert_eq!(values(&fake, rsp, width, 3), [0x50, CODE & ((1 << (8 * width)) - 1), CODE_32.into()]);
    }
}
