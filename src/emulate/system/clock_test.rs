use super::*;
use crate::emulate::Emulated;
use crate::emulate::testing::{CODE, FakeCpu};

fn with_clock(code: &[u8]) -> FakeCpu {
    let mut fake = FakeCpu::long_mode(code);
    fake.cpuid.insert((0x8000_0001, 0), [0, 0, 0, 1 << 27]);
    fake.cpuid.insert((7, 0), [0, 0, 1 << 22, 0]);
    fake.msrs.insert(IA32_TSC, 0x1234_5678_9ABC_DEF0);
    fake.msrs.insert(IA32_TSC_AUX, 0x5_0000_0042);
    let general = &mut fake.registers.get_mut().general;
    (general.rax, general.rcx, general.rdx) = (u64::MAX, u64::MAX, u64::MAX);
    fake
}

#[test]
fn rdtscp_gives_the_time_and_the_processor() {
    let mut fake = with_clock(&[0x0F, 0x01, 0xF9]);
    assert_eq!(fake.emulate(), Emulated::Done);
    let now = fake.now().general;
    assert_eq!((now.rdx, now.rax, now.rcx), (0x1234_5678, 0x9ABC_DEF0, 0x42));
    assert_eq!(now.rip, CODE + 3);
}

#[test]
fn rdpid_gives_the_processor() {
    let mut fake = with_clock(&[0xF3, 0x0F, 0xC7, 0xF9]);
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!(fake.now().general.rcx, 0x42);
}

#[test]
fn a_processor_without_them_has_them_undefined() {
    for code in [&[0x0F, 0x01, 0xF9][..], &[0xF3, 0x0F, 0xC7, 0xF9]] {
        let mut fake = with_clock(code);
        fake.cpuid.clear();
        assert_eq!(fake.raises(), Some(Exception::UNDEFINED));
    }
}

#[test]
fn cr4_tsd_keeps_the_time_from_ring_3() {
    let mut fake = with_clock(&[0x0F, 0x01, 0xF9]);
    fake.registers.get_mut().system.cr4 |= CR4_TSD;
    assert_eq!(fake.emulate(), Emulated::Done);
    fake.registers.get_mut().general.rip = CODE;
    fake.registers.get_mut().system.ss.dpl = 3;
    assert_eq!(fake.raises(), Some(Exception::protection(0)));
}
