use super::*;
use crate::arch::paging::PageFault;
use crate::emulate::events::{raise, together};
use crate::emulate::exception::{EmulationError, Exception};
use crate::emulate::testing::Device;
use crate::emulate::{Emulated, RaisedHere, deliver};

/// `int 0x80`.
const INT_80: &[u8] = &[0xCD, 0x80];

#[test]
fn a_software_interrupt_pushes_all_of_the_frame_and_returns_behind_itself() {
    let mut fake = long(INT_80);
    fake.registers.get_mut().general.rflags = 0x4_4AD7;
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!(entered(&fake), Some(0x80));
    let frame = [CODE + 2, u64::from(CODE_64), 0x4_4AD7, STACK, u64::from(DATA)];
    assert_eq!(stacked(&fake, 8, 5), frame);
    let now = fake.now();
    assert_eq!(now.general.rsp, STACK - 40);
    assert_eq!(now.general.rflags, 0x4_08D7, "NT and IF are clear, AC stays");
    assert_eq!((now.system.cs.selector, now.system.cs.l), (CODE_64, 1));
    assert_eq!(now.system.ss.selector, DATA, "the ring is the same, and so is SS");
}

#[test]
fn a_trap_gate_leaves_interrupts_on() {
    let mut fake = long(INT_80);
    gate_64(&fake, 0x80, CODE_64, TRAP, 0);
    fake.registers.get_mut().general.rflags = 0x202;
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!(fake.now().general.rflags, 0x202);
}

#[test]
fn the_stack_is_aligned_before_the_frame_is_pushed() {
    for low in 0..16 {
        let mut fake = long(INT_80);
        fake.registers.get_mut().general.rsp = STACK + low;
        assert_eq!(fake.emulate(), Emulated::Done);
        assert_eq!(fake.now().general.rsp, STACK - 40);
        assert_eq!(stacked(&fake, 8, 4)[3], STACK + low);
    }
}

#[test]
fn the_interrupt_stack_table_gives_a_handler_a_stack_of_its_own() {
    let mut fake = long(INT_80);
    gate_64(&fake, 0x80, CODE_64, INTERRUPT, 2);
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!(fake.now().general.rsp, (IST2 & !0xF) - 40);
    assert_eq!(stacked(&fake, 8, 5)[3..], [STACK, u64::from(DATA)]);
}

#[test]
fn an_interrupt_from_ring_3_switches_to_the_stack_of_ring_0() {
    for wide in [true, false] {
        let mut fake = user(INT_80, wide);
        assert_eq!(fake.emulate(), Emulated::Done);
        let cs = if wide { USER_CODE_64 } else { USER_CODE_32 };
        assert_eq!(stacked(&fake, 8, 5), [CODE + 2, cs.into(), 2, STACK, USER_DATA.into()]);
        let now = fake.now();
        assert_eq!(now.general.rsp, RING_0_STACK - 40);
        let ss = now.system.ss;
        assert_eq!((ss.selector, ss.unusable, ss.dpl), (0, 1, 0), "null, and the ring is 0");
        assert_eq!((now.system.cs.selector, now.system.cs.dpl), (CODE_64, 0));
    }
}

#[test]
fn conforming_code_keeps_the_ring_of_the_program() {
    let mut fake = user(INT_80, true);
    gate_64(&fake, 0x80, CONFORMING, USER_INTERRUPT, 0);
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!(fake.now().system.cs.selector, CONFORMING | 3);
    assert_eq!(fake.now().system.ss.selector, USER_DATA);
    assert_eq!(fake.now().general.rsp, STACK - 40);
}

#[test]
fn ring_3_may_only_use_gates_that_are_open_to_it() {
    let mut fake = user(&[0xCD, 0x20], true);
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!(entered(&fake), Some(13));
    let frame = [0x20 * 8 + 2, CODE, USER_CODE_64.into(), 0x1_0002, STACK, USER_DATA.into()];
    assert_eq!(stacked(&fake, 8, 6), frame, "a fault of the instruction, with RF set");
}

#[test]
fn int1_needs_no_open_gate() {
    let mut fake = user(&[0xF1], true);
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((entered(&fake), stacked(&fake, 8, 1)[0]), (Some(1), CODE + 1));
    assert_eq!(fake.dr6.get(), 0xFFFF_0FF0, "no single step");
}

#[test]
fn an_invalid_gate_is_named_in_the_error_code() {
    let own = 0x80 * 8 + 2;
    let wrong = [
        ("no gate", CODE_64, 0x80, 0, 13, own),
        ("a task gate", CODE_64, 0x85, 0, 13, own),
        ("a 16-bit gate", CODE_64, 0x86, 0, 13, own),
        ("a segment", CODE_64, 0x9E, 0, 13, own),
        ("not present", CODE_64, ABSENT, 0, 11, own),
        ("null code", 3, INTERRUPT, 0, 13, 0),
        ("data", DATA, INTERRUPT, 0, 13, DATA),
        ("beyond the table", BEYOND | 2, INTERRUPT, 0, 13, BEYOND),
        ("32-bit code", CODE_32, INTERRUPT, 0, 13, CODE_32),
        ("code of 32 and 64 bits", LONG_AND_BIG, INTERRUPT, 0, 13, LONG_AND_BIG),
        ("code of ring 3", USER_CODE_64, INTERRUPT, 0, 13, USER_CODE_64 & !3),
        ("code that is not present", CODE_NOT_PRESENT, INTERRUPT, 0, 11, CODE_NOT_PRESENT),
        ("a stack beyond the segment", CODE_64, INTERRUPT, 7, 10, 0x78),
    ];
    for (what, selector, kind, stack, vector, code) in wrong {
        let mut fake = long(INT_80);
        fake.registers.get_mut().system.tr.limit = 90;
        gate_64(&fake, 0x80, selector, kind, stack);
        assert_eq!(fake.emulate(), Emulated::Done, "{what}");
        assert_eq!(entered(&fake), Some(vector), "{what}");
        assert_eq!(stacked(&fake, 8, 2), [u64::from(code), CODE], "{what}");
    }
}

#[test]
fn a_vector_beyond_the_table_is_a_protection_fault() {
    let mut fake = long(&[0xCD, 0x81]);
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((entered(&fake), stacked(&fake, 8, 1)[0]), (Some(13), 0x81 * 8 + 2));
    let mut fake = long(INT_80);
    fake.registers.get_mut().system.idt.limit -= 1;
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((entered(&fake), stacked(&fake, 8, 1)[0]), (Some(13), 0x80 * 8 + 2));
}

#[test]
fn faults_while_delivering_int1_set_the_ext_bit() {
    let mut fake = long(&[0xF1]);
    gate_64(&fake, 1, CODE_64, ABSENT, 0);
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((entered(&fake), stacked(&fake, 8, 2)), (Some(11), vec![8 + 2 + 1, CODE]));
}

#[test]
fn a_handler_that_is_not_canonical_cannot_be_entered() {
    let mut fake = long(INT_80);
    fake.memory.write_u64(IDT + 16 * 0x80 + 8, 0x8000).unwrap();
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((entered(&fake), stacked(&fake, 8, 2)), (Some(13), vec![0, CODE]));
}

#[test]
fn a_stack_that_is_not_canonical_is_a_stack_fault() {
    let mut fake = long(INT_80);
    fake.memory.write_u64(TSS + 44, 0x8000_0000_0000_0000).unwrap();
    gate_64(&fake, 0x80, CODE_64, INTERRUPT, 2);
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((entered(&fake), stacked(&fake, 8, 2)), (Some(12), vec![0, CODE]));
}

#[test]
fn a_stack_that_is_not_mapped_is_a_page_fault_of_the_interrupt() {
    let mut fake = long(INT_80);
    gate_64(&fake, 14, CODE_64, INTERRUPT, 2);
    fake.registers.get_mut().general.rsp = 0x4000_0010;
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!(entered(&fake), Some(14));
    assert_eq!(stacked(&fake, 8, 5), [2, CODE, CODE_64.into(), 0x1_0002, 0x4000_0010]);
    assert_eq!(fake.now().system.cr2, 0x4000_0008);
}

#[test]
fn descriptors_are_marked_when_they_are_loaded() {
    let mut fake = long(INT_80);
    assert_eq!(fake.emulate(), Emulated::Done);
    let marked = fake.memory.read_u64(GDT + u64::from(CODE_64)).unwrap();
    assert_eq!(marked, 0x00AF_9B00_0000_FFFF);
}

#[test]
fn an_exception_sets_rf_and_cr2_and_pushes_its_code() {
    let mut fake = long(&[]);
    fake.with_cpu(|cpu| {
        raise(cpu, Exception::page_fault(0x1234_5678, PageFault { code: 6 })).unwrap();
        assert_eq!(cpu.registers.general.rip, handler(14));
        assert_eq!(cpu.registers.system.cr2, 0x1234_5678);
        assert_eq!(cpu.registers.general.rflags, 2);
    });
    assert_eq!(values(&fake, STACK - 48, 8, 4), [6, CODE, CODE_64.into(), 0x1_0002]);
}

#[test]
fn a_gate_of_an_exception_need_not_be_open_to_ring_3() {
    let mut fake = user(&[], true);
    fake.with_cpu(|cpu| {
        raise(cpu, Exception::UNDEFINED).unwrap();
        assert_eq!((cpu.registers.general.rip, cpu.ring()), (handler(6), 0));
    });
}

#[test]
fn exceptions_combine_as_in_the_table_of_the_manual() {
    let benign = Exception::UNDEFINED;
    let contributory = Exception::protection(8);
    let page = Exception::page_fault(0x1000, PageFault { code: 0 });
    let double = Exception::DOUBLE_FAULT;
    for (first, second, both) in [
        (benign, benign, benign),
        (benign, contributory, contributory),
        (benign, page, page),
        (contributory, benign, benign),
        (contributory, contributory, double),
        (contributory, page, page),
        (page, benign, benign),
        (page, contributory, double),
        (page, page, double),
    ] {
        assert_eq!(together(first, second), both, "{first:?} then {second:?}");
    }
    for vector in [0, 10, 11, 12, 13] {
        assert_eq!(together(contributory, Exception::plain(vector)), double);
    }
}

#[test]
fn faults_during_delivery_become_double_faults_or_replace_the_exception() {
    // The missing gates, the exception raised, and the handler that is entered.
    let page = Exception::page_fault(0x1234, PageFault { code: 0 });
    for (absent, raised, entered, pushed) in [
        (&[6][..], Exception::UNDEFINED, 11, 6 * 8 + 3),
        (&[6, 11], Exception::UNDEFINED, 8, 0),
        (&[13], Exception::protection(0), 8, 0),
        (&[14], page, 8, 0),
    ] {
        let mut fake = long(&[]);
        for vector in absent {
            gate_64(&fake, *vector, CODE_64, ABSENT, 0);
        }
        let rip = fake.with_cpu(|cpu| {
            raise(cpu, raised).unwrap();
            assert_eq!(cpu.registers.system.cr2, raised.address.unwrap_or(0));
            cpu.registers.general.rip
        });
        assert_eq!(rip, handler(entered), "{absent:?}");
        assert_eq!(values(&fake, STACK - 48, 8, 2), [pushed, CODE], "{absent:?}");
    }
}

#[test]
fn a_double_fault_without_a_handler_ends_the_machine_where_it_happened() {
    let mut fake = long(&[0xCD, 0x81]);
    fake.registers.get_mut().system.idt.limit = 0;
    assert_eq!(fake.emulate(), Emulated::TripleFault);
    let now = fake.now();
    assert_eq!((now.general.rip, now.general.rsp), (CODE, STACK));
    assert_eq!(now.system.cs.selector, 8);
    fake.with_cpu(|cpu| {
        assert!(matches!(raise(cpu, Exception::DOUBLE_FAULT), Err(EmulationError::Exception(_))));
    });
}

#[test]
fn an_exception_is_delivered_in_place_of_its_instruction() {
    let mut fake = long(&[0x90]);
    fake.registers.get_mut().general.rflags = 0x202;
    let raised = RaisedHere { vector: 14, error_code: Some(2), address: Some(0x1234) };
    let emulated = deliver(raised, &fake, &fake.memory, &mut Device::default()).unwrap();
    assert_eq!((emulated, entered(&fake)), (Emulated::Done, Some(14)));
    let now = fake.now();
    assert_eq!((now.system.cr2, now.general.rsp), (0x1234, STACK - 48));
    // With RF: the handler may return to the instruction.
    assert_eq!(stacked(&fake, 8, 6), [2, CODE, u64::from(CODE_64), 0x1_0202, STACK, u64::from(DATA)]);
}

#[test]
fn an_exception_without_a_handler_is_a_triple_fault() {
    let mut fake = long(&[0x90]);
    fake.registers.get_mut().system.idt.limit = 0;
    let raised = RaisedHere { vector: 6, error_code: None, address: None };
    let emulated = deliver(raised, &fake, &fake.memory, &mut Device::default()).unwrap();
    assert_eq!(emulated, Emulated::TripleFault);
}
