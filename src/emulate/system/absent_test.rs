use super::*;
use crate::emulate::Emulated;
use crate::emulate::testing::{CODE, FakeCpu};

#[test]
fn what_cpuid_does_not_list_is_undefined() {
    for (code, name) in [
        (&[0x0F, 0x01, 0xC8][..], "monitor"),
        (&[0x0F, 0x01, 0xC9], "mwait"),
        (&[0x0F, 0x37], "getsec"),
        (&[0x0F, 0x01, 0xC2], "vmlaunch"),
        (&[0x0F, 0x01, 0xD8], "vmrun"),
        (&[0x66, 0x0F, 0x38, 0x82, 0x00], "invpcid"),
        (&[0x66, 0x0F, 0x38, 0xF8, 0x00], "movdir64b"),
        (&[0x0F, 0x01, 0xEE], "rdpkru"),
        (&[0x0F, 0x0B], "ud2"),
        (&[0x0F, 0x01, 0xD5], "xend"),
        (&[0x0F, 0x0F, 0xC1, 0x9E], "pfadd"),
        (&[0x0F, 0x0F, 0x00, 0x8E], "pfpnacc"),
        (&[0x0F, 0x0E], "femms"),
    ] {
        assert_eq!(FakeCpu::long_mode(code).raises(), Some(Exception::UNDEFINED), "{name}");
    }
}

#[test]
fn instructions_that_cpuid_lists_are_not_emulated_as_absent() {
    let mut fake = FakeCpu::long_mode(&[0x66, 0x0F, 0x38, 0x82, 0x00]);
    fake.cpuid.insert((7, 0), [0, 1 << 10, 0, 0]);
    let before = fake.now();
    assert_eq!(fake.emulate(), Emulated::Unsupported(Obstacle::NotAllowed));
    assert_eq!(fake.now(), before);
}

#[test]
fn a_guest_with_3dnow_but_not_its_extensions_has_no_undefined_pfadd() {
    let with_3dnow = |code: &[u8]| {
        let mut fake = FakeCpu::long_mode(code);
        fake.cpuid.insert((0x8000_0001, 0), [0, 0, 0, 1 << 31]);
        fake
    };
    let pfadd = with_3dnow(&[0x0F, 0x0F, 0xC1, 0x9E]).emulate();
    assert_eq!(pfadd, Emulated::Unsupported(Obstacle::NotAllowed));
    assert_eq!(with_3dnow(&[0x0F, 0x0F, 0xC1, 0x8E]).raises(), Some(Exception::UNDEFINED));
}

#[test]
fn reading_the_shadow_stack_pointer_does_nothing_where_there_is_none() {
    let mut fake = FakeCpu::long_mode(&[0xF3, 0x48, 0x0F, 0x1E, 0xC8]);
    fake.registers.get_mut().general.rax = 5;
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!((fake.now().general.rax, fake.now().general.rip), (5, CODE + 5));
}

#[test]
fn sysenter_without_a_target_is_a_protection_fault() {
    let mut fake = FakeCpu::long_mode(&[0x0F, 0x34]);
    assert_eq!(fake.raises(), Some(Exception::protection(0)));
    fake.cpuid.insert((0, 0), [1, 0x6874_7541, 0x444D_4163, AMD]);
    assert_eq!(fake.raises(), Some(Exception::UNDEFINED));
}
