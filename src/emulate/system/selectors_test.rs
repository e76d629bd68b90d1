use std::arch::asm;

use super::*;
use crate::emulate::Emulated;
use crate::emulate::testing::{CODE, FakeCpu};

const GDT: u64 = 0x4000;
/// With ECX for the selector and EAX for the result.
const LAR: &[u8] = &[0x0F, 0x02, 0xC1];
const LSL: &[u8] = &[0x0F, 0x03, 0xC1];
const VERR: &[u8] = &[0x0F, 0x00, 0xE1];
const VERW: &[u8] = &[0x0F, 0x00, 0xE9];

const UNTOUCHED: u64 = 0xDEAD_BEEF_DEAD_BEEF;

/// RAX and the zero flag after `code` for `selector`, which names `descriptor` in the GDT.
fn answer(code: &[u8], selector: u16, descriptor: u64, ring: u8, long: bool) -> (u64, bool) {
    let mut fake = FakeCpu::long_mode(code);
    fake.memory.write_u64(GDT + u64::from(selector & !7), descriptor).unwrap();
    let registers = fake.registers.get_mut();
    (registers.system.gdt.base, registers.system.gdt.limit) = (GDT, 0xFF);
    registers.system.ss.dpl = ring;
    if !long {
        let system = &mut registers.system;
        (system.efer, system.cs.l, system.cs.db, system.cr0) = (0, 0, 1, 0x33);
    }
    (registers.general.rax, registers.general.rcx) = (UNTOUCHED, u64::from(selector));
    assert_eq!(fake.emulate(), Emulated::Done);
    let now = fake.now().general;
    assert_eq!(now.rip, CODE + 3);
    (now.rax, now.rflags & RFLAGS_ZF != 0)
}

/// What the host's processor answers in ring 3, for its own GDT.
fn native(selector: u16) -> [(u64, bool); 4] {
    let (mut rights, mut limit) = (UNTOUCHED, UNTOUCHED);
    let mut good = [0_u8; 4];
    // SAFETY: the instructions change nothing but their destinations and the flags, and raise no
    // exception for any selector.
    unsafe {
        asm!("lar {0:e}, {1:e}", "setz {2}", inout(reg) rights, in(reg) u32::from(selector),
             out(reg_byte) good[0], options(nomem, nostack));
        asm!("lsl {0:e}, {1:e}", "setz {2}", inout(reg) limit, in(reg) u32::from(selector),
             out(reg_byte) good[1], options(nomem, nostack));
        asm!("verr {0:x}", "setz {1}", in(reg) selector, out(reg_byte) good[2], options(nomem, nostack));
        asm!("verw {0:x}", "setz {1}", in(reg) selector, out(reg_byte) good[3], options(nomem, nostack));
    }
    [(rights, good[0] != 0), (limit, good[1] != 0), (UNTOUCHED, good[2] != 0), (UNTOUCHED, good[3] != 0)]
}

/// A descriptor with the rights and the limit that `lar` and `lsl` gave.
fn descriptor(rights: u64, limit: u64) -> u64 {
    let limit = if rights & 1 << 23 != 0 { limit >> 12 } else { limit };
    (rights & 0x00F0_FF00) << 32 | (limit & 0xF_0000) << 32 | limit & 0xFFFF
}

#[test]
fn verr_and_lar_agree_with_the_processor_on_host_segments() {
    let mut found = 0;
    for selector in 0..0x100 {
        let native = native(selector);
        let (rights, limit) = (native[0], native[1]);
        let used = if rights.1 { descriptor(rights.0, limit.0) } else { 0 };
        found += u32::from(rights.1);
        for (code, native) in [LAR, LSL, VERR, VERW].into_iter().zip(native) {
            // Whether the limit's upper bits come with the rights is left open by the manual.
            let of = |answer: (u64, bool)| match (code == LAR, answer.1) {
                (true, true) => (answer.0 & 0x00F0_FF00, true),
                _ => answer,
            };
            // The LDT of this process is not known here, but that of the test has nothing in it.
            if selector & 4 == 0 {
                assert_eq!(of(answer(code, selector, used, 3, true)), of(native), "{selector:#x} {code:x?}");
            }
        }
    }
    // At least code and data, each by more than one selector.
    assert!(found >= 4, "{found} selectors");
}

#[test]
fn rights_and_limit_of_a_segment_come_in_the_operands_width() {
    let code = 0x00CF_9A12_3456_FFFF;
    assert_eq!(answer(LAR, 8, code, 0, true), (0x00CF_9A00, true));
    assert_eq!(answer(LSL, 8, code, 0, true), (0xFFFF_FFFF, true));
    assert_eq!(answer(LSL, 8, 0x0040_9212_3456_FFFF, 0, true), (0xFFFF, true));
    let mut fake = FakeCpu::long_mode(&[0x66, 0x0F, 0x02, 0xC1]);
    fake.memory.write_u64(GDT + 8, code).unwrap();
    let registers = fake.registers.get_mut();
    (registers.system.gdt.base, registers.system.gdt.limit) = (GDT, 15);
    (registers.general.rax, registers.general.rcx) = (UNTOUCHED, 8);
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!(fake.now().general.rax, 0xDEAD_BEEF_DEAD_9A00);
}

#[test]
fn privilege_checks_spare_conforming_code_only() {
    const NOTHING: (u64, bool) = (UNTOUCHED, false);
    let (data, conforming) = (0x00CF_9200_0000_FFFF, 0x00CF_9E00_0000_FFFF);
    for code in [LAR, LSL, VERR, VERW] {
        assert_eq!(answer(code, 8, data, 3, true), NOTHING);
        assert_eq!(answer(code, 8 | 3, data, 0, true), NOTHING);
        assert!(answer(code, 8, data, 0, true).1);
    }
    for code in [LAR, LSL, VERR] {
        assert!(answer(code, 8 | 3, conforming, 3, true).1);
    }
    assert_eq!(answer(VERW, 8, conforming, 0, true), NOTHING);
    // Code that may only be executed.
    assert_eq!(answer(VERR, 8, 0x00CF_9800_0000_FFFF, 0, true), NOTHING);
    assert!(!answer(VERW, 8, 0x00CF_9000_0000_FFFF, 0, true).1);
}

#[test]
fn system_descriptors_count_by_their_type_and_the_mode() {
    // By type, from 0: what `lar` and `lsl` know in legacy modes and in long mode.
    let known = [(LAR, false, 0x1A3E), (LAR, true, 0x1A04), (LSL, false, 0x0A0E), (LSL, true, 0x0A04)];
    for (code, long, types) in known {
        for kind in 0..16 {
            let descriptor = 0x0000_8000_0000_0067 | kind << 40;
            let good = answer(code, 8, descriptor, 0, long).1;
            assert_eq!(good, types >> kind & 1 != 0, "type {kind} by {code:x?}, long mode {long}");
        }
    }
}

#[test]
fn an_invalid_selector_is_no_fault() {
    for selector in [0, 3, 0x100, 0xFFF8, 0xC] {
        let (value, good) = answer_beyond(selector);
        assert_eq!((value, good), (UNTOUCHED, false), "{selector:#x}");
    }
}

fn answer_beyond(selector: u16) -> (u64, bool) {
    let mut fake = FakeCpu::long_mode(LAR);
    let registers = fake.registers.get_mut();
    (registers.system.gdt.base, registers.system.gdt.limit) = (GDT, 0xFF);
    registers.system.ldt.unusable = 1;
    registers.general.rflags |= RFLAGS_ZF;
    (registers.general.rax, registers.general.rcx) = (UNTOUCHED, u64::from(selector));
    assert_eq!(fake.emulate(), Emulated::Done);
    let now = fake.now().general;
    (now.rax, now.rflags & RFLAGS_ZF != 0)
}

#[test]
fn they_are_undefined_in_real_mode() {
    for code in [LAR, LSL, VERR, VERW] {
        let mut fake = FakeCpu::long_mode(code);
        let system = &mut fake.registers.get_mut().system;
        (system.cr0, system.efer, system.cs.l) = (0x30, 0, 0);
        assert_eq!(fake.raises(), Some(Exception::UNDEFINED));
    }
}

#[test]
fn the_selector_may_lie_in_memory() {
    let mut fake = FakeCpu::long_mode(&[0x0F, 0x00, 0x20]);
    fake.memory.write_u64(GDT + 8, 0x00CF_9A00_0000_FFFF).unwrap();
    fake.memory.write(0x2_0FFF, &8_u16.to_le_bytes()).unwrap();
    let registers = fake.registers.get_mut();
    (registers.system.gdt.base, registers.system.gdt.limit) = (GDT, 15);
    registers.general.rax = 0x2_0FFF;
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_ne!(fake.now().general.rflags & RFLAGS_ZF, 0);
}
