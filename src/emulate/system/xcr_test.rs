use super::*;
use crate::emulate::Emulated;
use crate::emulate::testing::{CODE, FakeCpu};

const XGETBV: &[u8] = &[0x0F, 0x01, 0xD0];
const XSETBV: &[u8] = &[0x0F, 0x01, 0xD1];

/// A processor with AVX whose guest has switched XSAVE on.
fn with_avx(code: &[u8]) -> FakeCpu {
    let mut fake = FakeCpu::long_mode(code);
    fake.cpuid.insert((1, 0), [0, 0, 1 << 26, 0]);
    fake.cpuid.insert((0xD, 0), [7, 0, 0, 0]);
    fake.cpuid.insert((0xD, 1), [0b100, 0, 0, 0]);
    fake.registers.get_mut().system.cr4 |= CR4_OSXSAVE;
    fake
}

fn set_to(value: u64, index: u64) -> (Option<Exception>, u64) {
    let mut fake = with_avx(XSETBV);
    let general = &mut fake.registers.get_mut().general;
    (general.rax, general.rdx, general.rcx) = (value & 0xFFFF_FFFF, value >> 32, index);
    let raised = fake.raises();
    (raised, fake.xcr0.get())
}

#[test]
fn xcr0_is_read_and_the_upper_halves_are_cleared() {
    let mut fake = with_avx(XGETBV);
    fake.xcr0.set(7);
    let general = &mut fake.registers.get_mut().general;
    (general.rax, general.rdx) = (u64::MAX, u64::MAX);
    assert_eq!(fake.emulate(), Emulated::Done);
    let now = fake.now().general;
    assert_eq!((now.rax, now.rdx, now.rip), (7, 0, CODE + 3));
}

#[test]
fn xgetbv_1_reports_the_state_components_in_use() {
    let mut fake = with_avx(XGETBV);
    fake.xcr0.set(7);
    fake.registers.get_mut().general.rcx = 1;
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!(fake.now().general.rax, 3);
    fake.registers.get_mut().general.rip = CODE;
    fake.registers.get_mut().general.rcx = 2;
    assert_eq!(fake.raises(), Some(Exception::protection(0)));
}

#[test]
fn without_osxsave_both_are_undefined() {
    for code in [XGETBV, XSETBV] {
        let mut fake = with_avx(code);
        fake.registers.get_mut().system.cr4 &= !CR4_OSXSAVE;
        assert_eq!(fake.raises(), Some(Exception::UNDEFINED));
    }
}

#[test]
fn xcr0_takes_what_the_processor_has_and_no_half_of_a_state() {
    assert_eq!(set_to(7, 0), (None, 7));
    assert_eq!(set_to(1, 0), (None, 1));
    let refused = (Some(Exception::protection(0)), 1);
    for (value, index) in [(6, 0), (5, 0), (0xF, 0), (1 << 63 | 1, 0), (7, 1)] {
        assert_eq!(set_to(value, index), refused, "{value:#x} to XCR{index}");
    }
    assert!(is_consistent(0xE7) && !is_consistent(0x67) && !is_consistent(0xE3) && !is_consistent(0xF));
}

#[test]
fn only_ring_0_writes_xcr0() {
    let mut fake = with_avx(XSETBV);
    fake.registers.get_mut().general.rax = 7;
    fake.registers.get_mut().system.ss.dpl = 3;
    assert_eq!(fake.raises(), Some(Exception::protection(0)));
}
