use super::*;
use crate::emulate::{Emulated, Obstacle};

const IRETQ: &[u8] = &[0x48, 0xCF];
const IRETD: &[u8] = &[0xCF];
const IRETW: &[u8] = &[0x66, 0xCF];

/// Where the returns of these tests lead.
const TARGET: u64 = 0x3_0000;

#[test]
fn iretq_in_ring_0_takes_rsp_and_ss_from_the_stack() {
    for ss in [0, DATA] {
        let mut fake = long(IRETQ);
        put(&mut fake, 8, &[TARGET, CODE_64.into(), 0x246, 0x1234, ss.into()]);
        assert_eq!(fake.emulate(), Emulated::Done);
        let now = fake.now();
        assert_eq!((now.general.rip, now.general.rflags, now.general.rsp), (TARGET, 0x246, 0x1234));
        let null = u8::from(ss == 0);
        assert_eq!((now.system.ss.selector, now.system.ss.unusable, now.system.ss.dpl), (ss, null, 0));
        assert_eq!(now.system.cs.selector, CODE_64);
    }
}

#[test]
fn narrow_returns_of_64_bit_code_take_rsp_and_ss_too() {
    for (code, width) in [(IRETD, 4), (IRETW, 2)] {
        let mut fake = long(code);
        put(&mut fake, width, &[0x4321, CODE_64.into(), 0x246, 0x1234, DATA.into()]);
        assert_eq!(fake.emulate(), Emulated::Done);
        let now = fake.now();
        assert_eq!((now.general.rip, now.general.rsp, now.system.ss.selector), (0x4321, 0x1234, DATA));
    }
}

#[test]
fn a_return_to_ring_3_clears_segments_of_ring_0() {
    for (cs, wide) in [(USER_CODE_64, true), (USER_CODE_32, false)] {
        let mut fake = long(IRETQ);
        {
            let system = &mut fake.registers.get_mut().system;
            for segment in [&mut system.ds, &mut system.es] {
                segment.selector = DATA;
            }
            system.fs = SegmentRegister { selector: USER_DATA, dpl: 3, ..system.fs };
            system.gs = SegmentRegister { selector: CONFORMING, type_: 15, base: 0x5555, ..system.gs };
        }
        put(&mut fake, 8, &[TARGET, cs.into(), 0x246, 0x1234, USER_DATA.into()]);
        assert_eq!(fake.emulate(), Emulated::Done);
        let system = fake.now().system;
        assert_eq!((system.cs.selector, system.cs.dpl, system.cs.l), (cs, 3, wide.into()));
        assert_eq!((system.ss.selector, system.ss.dpl), (USER_DATA, 3));
        assert_eq!((system.ds.selector, system.ds.unusable, system.es.unusable), (0, 1, 1));
        assert_eq!((system.fs.selector, system.gs.selector), (USER_DATA, CONFORMING));
    }
}

#[test]
fn a_return_that_is_not_allowed_is_a_fault_of_the_instruction() {
    let user = u64::from(USER_DATA);
    for (what, frame, vector, code) in [
        ("null code", [TARGET, 0, 2, STACK, 0], 13, 0),
        ("null code of ring 3", [TARGET, 3, 2, STACK, user], 13, 0),
        ("data as code", [TARGET, DATA.into(), 2, STACK, 0], 13, DATA),
        ("beyond the table", [TARGET, BEYOND.into(), 2, STACK, 0], 13, BEYOND),
        ("ring 0 as ring 3", [TARGET, 8 | 3, 2, STACK, user], 13, 8),
        ("ring 3 as ring 0", [TARGET, 0x30, 2, STACK, 0], 13, 0x30),
        ("not present", [TARGET, CODE_NOT_PRESENT.into(), 2, STACK, 0], 11, CODE_NOT_PRESENT),
        ("32 and 64 bits", [TARGET, LONG_AND_BIG.into(), 2, STACK, 0], 13, LONG_AND_BIG),
        ("not canonical", [1 << 47, 8, 2, STACK, 0], 13, 0),
        ("beyond the segment", [0x1000, SMALL_CODE.into(), 2, STACK, DATA.into()], 13, 0),
        ("null stack of ring 3", [TARGET, USER_CODE_64.into(), 2, STACK, 3], 13, 0),
        ("null stack of 32-bit code", [TARGET, CODE_32.into(), 2, STACK, 0], 13, 0),
        ("null stack of another ring", [TARGET, 8, 2, STACK, 1], 13, 0),
        ("stack of another ring", [TARGET, 8, 2, STACK, user], 13, USER_DATA & !3),
        ("read-only stack", [TARGET, 8, 2, STACK, READ_ONLY.into()], 13, READ_ONLY),
        ("code as stack", [TARGET, 8, 2, STACK, CODE_32.into()], 13, CODE_32),
        ("absent stack", [TARGET, 8, 2, STACK, DATA_NOT_PRESENT.into()], 12, DATA_NOT_PRESENT),
    ] {
        let mut fake = long(IRETQ);
        put(&mut fake, 8, &frame);
        let rsp = fake.now().general.rsp;
        assert_eq!(fake.emulate(), Emulated::Done, "{what}");
        assert_eq!(entered(&fake), Some(vector), "{what}");
        let pushed = [code.into(), CODE, CODE_64.into(), 0x1_0002, rsp, DATA.into()];
        assert_eq!(stacked(&fake, 8, 6), pushed, "{what}");
    }
}

#[test]
fn an_inner_ring_cannot_be_returned_to() {
    let mut fake = user(IRETQ, true);
    put(&mut fake, 8, &[TARGET, CODE_64.into(), 2, STACK, 0]);
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((entered(&fake), stacked(&fake, 8, 1)), (Some(13), vec![CODE_64.into()]));
}

#[test]
fn conforming_code_may_be_returned_to_in_any_ring() {
    let mut fake = long(IRETQ);
    put(&mut fake, 8, &[TARGET, (CONFORMING | 3).into(), 2, 0x1234, USER_DATA.into()]);
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((fake.now().general.rip, fake.now().system.cs.selector), (TARGET, CONFORMING | 3));
}

#[test]
fn the_flags_that_change_depend_on_the_ring_and_the_width() {
    const ALL: u64 = u64::MAX;
    let iretq = |mut fake: FakeCpu, before: u64, after: u64, width: usize| {
        let now = fake.now();
        fake.registers.get_mut().general.rflags = before;
        let (cs, ss) = (now.system.cs.selector, now.system.ss.selector);
        put(&mut fake, width, &[0x4000, cs.into(), after, STACK, ss.into()]);
        assert_eq!(fake.emulate(), Emulated::Done);
        fake.now().general.rflags
    };
    assert_eq!(iretq(long(IRETQ), 2, ALL, 8), 0x3D_7FD7, "all but VM");
    assert_eq!(iretq(long(IRETQ), 0x3D_3AD7, 0, 8), 2);
    assert_eq!(iretq(long(IRETW), 2, ALL, 2), 0x7FD7);
    assert_eq!(iretq(long(IRETW), 0x3D_3AD7, 0, 2), 0x3C_0002, "RF is clear after every instruction");
    assert_eq!(iretq(user(IRETQ, true), 2, ALL, 8), 0x25_4DD7, "neither IOPL nor IF");
    assert_eq!(iretq(user(IRETQ, true), 0x3002, ALL, 8), 0x25_7FD7, "IF by I/O privilege");
    assert_eq!(iretq(user(IRETQ, true), 0x18_2202, 0, 8), 0x18_2202);
}

#[test]
fn nested_tasks_end_in_protected_mode_only() {
    let mut fake = long(IRETQ);
    fake.registers.get_mut().general.rflags = 0x4002;
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((entered(&fake), stacked(&fake, 8, 2)), (Some(13), vec![0, CODE]));
    let mut fake = protected(IRETD);
    fake.registers.get_mut().general.rflags = 0x4002;
    assert_eq!(fake.emulate(), Emulated::Unsupported(Obstacle::TaskGate));
}

#[test]
fn a_return_within_a_ring_of_protected_mode_takes_three_values() {
    for (code, width) in [(IRETD, 4), (IRETW, 2)] {
        let mut fake = protected(code);
        put(&mut fake, width, &[0x4321, CODE_32.into(), 0x246, 0x1234, DATA.into()]);
        let rsp = fake.now().general.rsp;
        assert_eq!(fake.emulate(), Emulated::Done);
        let now = fake.now();
        assert_eq!((now.general.rip, now.general.rflags), (0x4321, 0x246));
        assert_eq!(now.general.rsp, rsp + 3 * width as u64);
    }
}

#[test]
fn a_return_to_ring_3_of_protected_mode_takes_five_values() {
    let mut fake = protected(IRETD);
    let cs = u64::from(USER_CODE_32) | 0xABCD_0000;
    put(&mut fake, 4, &[TARGET, cs, 0x3202, 0x1234, USER_DATA.into()]);
    assert_eq!(fake.emulate(), Emulated::Done);
    let now = fake.now();
    assert_eq!((now.general.rip, now.general.rsp, now.general.rflags), (TARGET, 0x1234, 0x3202));
    assert_eq!(
        (now.system.cs.selector, now.system.ss.selector, now.system.ss.dpl),
        (USER_CODE_32, USER_DATA, 3)
    );
}

#[test]
fn compatibility_code_returns_to_its_ring_without_a_stack() {
    let mut fake = user(IRETD, false);
    put(&mut fake, 4, &[TARGET, USER_CODE_32.into(), 2]);
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((fake.now().general.rip, fake.now().general.rsp), (TARGET, STACK));
}

#[test]
fn ring_0_of_protected_mode_can_return_to_virtual_8086_mode() {
    let mut fake = protected(IRETD);
    put(&mut fake, 4, &[0x4321, 0x1000, 0x2_3202, 0xFFE, 0x700, 0x222, 0x111, 0x333, 0x444]);
    assert_eq!(fake.emulate(), Emulated::Done);
    let now = fake.now();
    assert_eq!((now.general.rip, now.general.rsp, now.general.rflags), (0x4321, 0xFFE, 0x2_3202));
    let system = now.system;
    let selectors = [system.cs, system.ss, system.es, system.ds, system.fs, system.gs];
    let expected = [0x1000, 0x700, 0x222, 0x111, 0x333, 0x444];
    for (segment, selector) in selectors.into_iter().zip(expected) {
        assert_eq!((segment.selector, segment.base), (selector, u64::from(selector) << 4));
        assert_eq!((segment.limit, segment.dpl, segment.type_, segment.db), (0xFFFF, 3, 3, 0));
    }
}

#[test]
fn virtual_8086_code_returns_to_itself_if_it_may() {
    for (flags, vector) in [(0x2_3002, None), (0x2_2002, Some(13))] {
        let mut fake = virtual_8086(&[0xCF]);
        fake.registers.get_mut().general.rflags = flags;
        for (index, value) in (0..).zip([0x4321_u16, 0x2000, 0xFFFF]) {
            fake.memory.write(0x8000 + 2 * index, &value.to_le_bytes()).unwrap();
        }
        assert_eq!(fake.emulate(), Emulated::Done);
        assert_eq!(entered(&fake), vector);
        if vector.is_none() {
            let now = fake.now();
            assert_eq!((now.general.rip, now.system.cs.base), (0x4321, 0x2_0000));
            assert_eq!(now.general.rflags, 0x2_7FD7, "the I/O privilege level stays");
        }
    }
}

#[test]
fn a_stack_that_is_not_mapped_is_a_page_fault_of_the_return() {
    let mut fake = long(IRETQ);
    gate_64(&fake, 14, CODE_64, INTERRUPT, 2);
    fake.registers.get_mut().general.rsp = 0x4000_0000;
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((entered(&fake), fake.now().system.cr2), (Some(14), 0x4000_0000));
    assert_eq!(stacked(&fake, 8, 2), [0, CODE]);
}

#[test]
fn a_step_over_a_return_stops_where_it_leads() {
    let mut fake = long(IRETQ);
    fake.registers.get_mut().general.rflags = 0x102;
    put(&mut fake, 8, &[TARGET, CODE_64.into(), 2, STACK, DATA.into()]);
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((entered(&fake), stacked(&fake, 8, 3)), (Some(1), vec![TARGET, CODE_64.into(), 2]));
    assert_eq!(fake.dr6.get() >> 14 & 1, 1);
    // One that sets TF is not stepped itself.
    let mut fake = long(IRETQ);
    put(&mut fake, 8, &[TARGET, CODE_64.into(), 0x102, STACK, DATA.into()]);
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((fake.now().general.rip, fake.now().general.rflags), (TARGET, 0x102));
}
