//! An instruction that cannot be executed leaves the state unchanged.

use super::{guest, image_of};
use crate::arch::flags::{CR0_EM, CR0_MP, CR0_NE, CR0_TS, CR4_OSFXSR, CR4_OSXMMEXCPT, CR4_OSXSAVE};
use crate::emulate::cpu::Cpu;
use crate::emulate::exception::{EmulationError, Exception};
use crate::emulate::native::image;
use crate::emulate::testing::{CODE, Device, FakeCpu};
use crate::emulate::{Obstacle, execute};

const ADDPS: &[u8] = &[0x0F, 0x58, 0xC1]; // addps xmm0, xmm1
const ADDPS_MEMORY: &[u8] = &[0x0F, 0x58, 0x07]; // addps xmm0, [rdi]
const MOVUPS_STORE: &[u8] = &[0x0F, 0x11, 0x07]; // movups [rdi], xmm0
const DIVPS: &[u8] = &[0x0F, 0x5E, 0xC1]; // divps xmm0, xmm1
const MULPS: &[u8] = &[0x0F, 0x59, 0xC1]; // mulps xmm0, xmm1
const CVTTSD2SI: &[u8] = &[0xF2, 0x0F, 0x2C, 0xC0]; // cvttsd2si eax, xmm0
const VADDPS: &[u8] = &[0xC5, 0xF8, 0x58, 0xC1]; // vaddps xmm0, xmm0, xmm1
const VADDPS_MEMORY: &[u8] = &[0xC5, 0xF8, 0x58, 0x07]; // vaddps xmm0, xmm0, [rdi]
const VMOVAPS: &[u8] = &[0xC5, 0xFC, 0x28, 0x07]; // vmovaps ymm0, [rdi]
const PADDB_MMX: &[u8] = &[0x0F, 0xFC, 0xC1]; // paddb mm0, mm1
const POPCNT: &[u8] = &[0xF3, 0x0F, 0xB8, 0xC1]; // popcnt eax, ecx
const CMPXCHG16B: &[u8] = &[0x48, 0x0F, 0xC7, 0x0F]; // cmpxchg16b [rdi]
const LDMXCSR: &[u8] = &[0x0F, 0xAE, 0x17]; // ldmxcsr [rdi]
const FLD1: &[u8] = &[0xD9, 0xE8];
const FADD: &[u8] = &[0xDC, 0x07]; // fadd qword ptr [rdi]
const FDIV: &[u8] = &[0xD8, 0xF1]; // fdiv st, st(1)
const FSTP: &[u8] = &[0xD9, 0x1F]; // fstp dword ptr [rdi]
const FNSTSW: &[u8] = &[0xDF, 0xE0]; // fnstsw ax
const FNSTENV: &[u8] = &[0xD9, 0x37]; // fnstenv [rdi]
const FNCLEX: &[u8] = &[0xDB, 0xE2];
const FWAIT: &[u8] = &[0x9B];
const MASKMOVDQU: &[u8] = &[0x66, 0x0F, 0xF7, 0xC1]; // maskmovdqu xmm0, xmm1 (to [rdi])

/// The exception that the instruction at RIP raises. No register and no byte of memory has changed then, and
/// no device was written to.
fn raises(fake: &mut FakeCpu) -> Exception {
    match attempt(fake) {
        Err(EmulationError::Exception(exception)) => exception,
        other => panic!("no exception but {other:?}"),
    }
}

fn attempt(fake: &mut FakeCpu) -> Result<(), EmulationError> {
    let mut device = Device::default();
    let mut before = vec![0; 4 << 20];
    fake.memory.read(0x1_0000, &mut before[0x1_0000..]).unwrap();
    let mut cpu = Cpu::new(fake, &fake.memory, &mut device).unwrap();
    let done = execute(&mut cpu);
    if done.is_err() {
        cpu.restart();
    }
    cpu.commit().unwrap();
    if done.is_err() {
        let mut after = vec![0; 4 << 20];
        fake.memory.read(0x1_0000, &mut after[0x1_0000..]).unwrap();
        assert!(before == after, "memory has changed");
        assert!(device.writes.is_empty());
        assert_eq!(fake.now().general.rip, CODE);
    }
    done
}

fn with_control(code: &[u8], change: impl Fn(&mut u64, &mut u64)) -> FakeCpu {
    let fake = guest(code);
    let mut registers = fake.now();
    change(&mut registers.system.cr0, &mut registers.system.cr4);
    *fake.registers.borrow_mut() = registers;
    fake
}

/// A guest with `xmm0` and `xmm1`, four single-precision numbers each, and MXCSR.
fn with_numbers(code: &[u8], first: [f32; 4], second: [f32; 4], mxcsr: u32) -> FakeCpu {
    let fake = guest(code);
    {
        let mut state = fake.xsave.borrow_mut();
        for (n, value) in first.iter().chain(&second).enumerate() {
            state[image::XMM + 4 * n..][..4].copy_from_slice(&value.to_le_bytes());
        }
        image::set_mxcsr(&mut state, mxcsr);
    }
    fake
}

fn mxcsr(fake: &FakeCpu) -> u32 {
    image::mxcsr(&fake.xsave.borrow())
}

/// Unmasks one exception of MXCSR or FCW.
fn unmask(flag: u32) -> u32 {
    0x1F80 & !(flag << 7)
}

#[test]
fn sse_that_is_not_switched_on_is_undefined() {
    for code in [ADDPS, MOVUPS_STORE, LDMXCSR] {
        let off = |_: &mut u64, cr4: &mut u64| *cr4 &= !CR4_OSFXSR;
        assert_eq!(raises(&mut with_control(code, off)), Exception::UNDEFINED);
        let emulated = |cr0: &mut u64, _: &mut u64| *cr0 |= CR0_EM | CR0_TS;
        assert_eq!(raises(&mut with_control(code, emulated)), Exception::UNDEFINED);
    }
    // MMX and AVX have switches of their own, and general registers need none.
    attempt(&mut with_control(PADDB_MMX, |_, cr4| *cr4 &= !CR4_OSFXSR)).unwrap();
    attempt(&mut with_control(VADDPS, |cr0, cr4| (*cr4 &= !CR4_OSFXSR, *cr0 |= CR0_EM).0)).unwrap();
    attempt(&mut with_control(POPCNT, |cr0, cr4| (*cr4 &= !CR4_OSFXSR, *cr0 |= CR0_EM | CR0_TS).0)).unwrap();
}

#[test]
fn avx_needs_xsave_and_its_registers_switched_on_and_protected_mode() {
    assert_eq!(raises(&mut with_control(VADDPS, |_, cr4| *cr4 &= !CR4_OSXSAVE)), Exception::UNDEFINED);
    let mut without_upper_halves = guest(VADDPS);
    without_upper_halves.xcr0.set(3);
    assert_eq!(raises(&mut without_upper_halves), Exception::UNDEFINED);
    let kmov = [0xC4, 0xE1, 0xFB, 0x92, 0xC8]; // kmovq k1, rax
    let mut without_masks = guest(&kmov);
    without_masks.xcr0.set(7);
    match attempt(&mut without_masks) {
        Err(EmulationError::Unsupported(Obstacle::NotOnThisProcessor)) => {}
        other => assert!(matches!(other, Err(EmulationError::Exception(Exception::UNDEFINED))), "{other:?}"),
    }
}

#[test]
fn registers_of_another_task_are_no_device() {
    let switched = |cr0: &mut u64, _: &mut u64| *cr0 |= CR0_TS;
    for code in [ADDPS, VADDPS, PADDB_MMX, FLD1, FNSTSW, LDMXCSR] {
        assert_eq!(raises(&mut with_control(code, switched)), Exception::NO_DEVICE);
    }
    assert_eq!(raises(&mut with_control(FLD1, |cr0, _| *cr0 |= CR0_EM)), Exception::NO_DEVICE);
    assert_eq!(raises(&mut with_control(FWAIT, |cr0, _| *cr0 |= CR0_TS | CR0_MP)), Exception::NO_DEVICE);
    attempt(&mut with_control(FWAIT, |cr0, _| *cr0 = *cr0 & !CR0_MP | CR0_TS)).unwrap();
}

#[test]
fn operands_that_have_to_be_aligned_are_refused_where_they_are_not() {
    for (code, at) in [(ADDPS_MEMORY, 0x3_0008), (CMPXCHG16B, 0x3_0008), (VMOVAPS, 0x3_0010)] {
        let mut fake = guest(code);
        fake.registers.borrow_mut().general.rdi = at;
        assert_eq!(raises(&mut fake), Exception::protection(0));
        // Misaligned is found before not mapped.
        fake.registers.borrow_mut().general.rdi = 0x7000_0000 + at;
        assert_eq!(raises(&mut fake), Exception::protection(0));
    }
    for code in [MOVUPS_STORE, VADDPS_MEMORY, FADD] {
        let mut fake = guest(code);
        fake.registers.borrow_mut().general.rdi = 0x3_0001;
        attempt(&mut fake).unwrap();
    }
}

#[test]
fn a_store_whose_second_page_is_missing_writes_nothing() {
    // The page behind the first GiB.
    let mut fake = guest(MOVUPS_STORE);
    fake.registers.borrow_mut().general.rdi = 0x3FFF_FFF8;
    let fault = raises(&mut fake);
    assert_eq!((fault.vector, fault.code, fault.address), (14, Some(2), Some(0x4000_0000)));
    // The same in RAM: a read-only page after a writable one.
    let mut fake = guest(MOVUPS_STORE);
    fake.memory.write_u64(0x3008, 0x4007).unwrap();
    for page in 0..512 {
        fake.memory.write_u64(0x4000 + 8 * page, (0x20_0000 + (page << 12)) | 7).unwrap();
    }
    fake.memory.write_u64(0x4008, 0x20_1005).unwrap();
    fake.registers.borrow_mut().general.rdi = 0x20_0FF9;
    let fault = raises(&mut fake);
    assert_eq!((fault.vector, fault.code, fault.address), (14, Some(3), Some(0x20_1000)));
    // A read goes through.
    let mut read = guest(&[0x0F, 0x10, 0x07]);
    read.memory.write_u64(0x3008, 0x4007).unwrap();
    for page in 0..512 {
        read.memory.write_u64(0x4000 + 8 * page, (0x20_0000 + (page << 12)) | 5).unwrap();
    }
    read.memory.write(0x20_0FF9, b"across the pages").unwrap();
    read.registers.borrow_mut().general.rdi = 0x20_0FF9;
    attempt(&mut read).unwrap();
    assert_eq!(&image_of(&read)[image::XMM..image::XMM + 16], b"across the pages");
}

#[test]
fn only_chosen_bytes_are_stored_and_only_they_fault() {
    let mut fake = with_numbers(MASKMOVDQU, [1.0; 4], [0.0; 4], 0x1F80);
    fake.xsave.borrow_mut()[image::XMM + 16 + 3] = 0x80;
    fake.registers.borrow_mut().general.rdi = 0x3FFF_FFFC;
    // RAM ends far below: the one byte goes to the device, the next page is not touched.
    let mut device = Device::default();
    let mut cpu = Cpu::new(&fake, &fake.memory, &mut device).unwrap();
    execute(&mut cpu).unwrap();
    assert_eq!(device.writes, [(0x3FFF_FFFF, 1, 0x3F)]);
    fake.xsave.borrow_mut()[image::XMM + 16 + 4] = 0x80;
    assert_eq!(raises(&mut fake).address, Some(0x4000_0000));
}

#[test]
fn a_device_is_reached_in_pieces_of_eight_bytes() {
    let mut fake = with_numbers(MOVUPS_STORE, [1.0, 2.0, 3.0, 4.0], [0.0; 4], 0x1F80);
    fake.registers.borrow_mut().general.rdi = 0x2000_0000;
    fake.emulate();
    let pair = |low: f32, high: f32| u64::from(low.to_bits()) | u64::from(high.to_bits()) << 32;
    assert_eq!(fake.device.writes, [(0x2000_0000, 8, pair(1.0, 2.0)), (0x2000_0008, 8, pair(3.0, 4.0))]);
}

#[test]
fn an_unmasked_simd_exception_is_raised_and_flagged_in_mxcsr() {
    // Invalid, denormal, divide by zero: what belongs to results that were not computed is left out.
    let cases = [
        (DIVPS, [0.0, 1.0, 1.0, 1.0], [0.0, 3.0, 1.0, 1.0], 0x01, 0x01),
        (DIVPS, [1e-40, 1.0, 1.0, 1.0], [3.0; 4], 0x02, 0x02),
        (DIVPS, [1.0; 4], [0.0, 3.0, 1.0, 1.0], 0x04, 0x04),
        (DIVPS, [1.0; 4], [0.0, 3.0, 1.0, 1.0], 0x20, 0x24),
        (CVTTSD2SI, [f32::NAN, f32::NAN, 0.0, 0.0], [0.0; 4], 0x01, 0x01),
    ];
    for (code, first, second, flag, reported) in cases {
        let mut fake = with_numbers(code, first, second, unmask(flag));
        let before = image_of(&fake);
        assert_eq!(raises(&mut fake), Exception::SIMD);
        assert_eq!(mxcsr(&fake), unmask(flag) | reported);
        assert_eq!(before[image::XMM..image::XMM + 256], image_of(&fake)[image::XMM..image::XMM + 256]);
        // Without #XM it is an undefined instruction.
        fake.registers.borrow_mut().system.cr4 &= !CR4_OSXMMEXCPT;
        assert_eq!(raises(&mut fake), Exception::UNDEFINED);
        // Masked, it gives a result, and the flags stay set.
        let mut fake = with_numbers(code, first, second, 0x1F80 | 0x08);
        attempt(&mut fake).unwrap();
        assert_eq!(mxcsr(&fake) & (reported | 0x08), reported | 0x08);
    }
}

#[test]
fn an_unmasked_overflow_or_underflow_is_raised_with_or_without_inexactness() {
    let cases = [
        (0x08, [1e30; 4], [1e30; 4], 0x28),
        // Out of range but exact.
        (0x08, [2.0_f32.powi(100); 4], [2.0_f32.powi(100); 4], 0x08),
        (0x10, [1e-30; 4], [1e-30; 4], 0x30),
        // Tiny but exact: reported only where it is not masked.
        (0x10, [2.0_f32.powi(-100); 4], [2.0_f32.powi(-30); 4], 0x10),
        // Both, in different elements.
        (0x08, [1e30, 1e-30, 1.0, 1.0], [1e30, 1e-30, 1.0, 1.0], 0x38),
    ];
    for (flag, first, second, flags) in cases {
        let mut fake = with_numbers(MULPS, first, second, unmask(flag));
        let before = image_of(&fake);
        assert_eq!(raises(&mut fake), Exception::SIMD);
        assert_eq!(mxcsr(&fake), unmask(flag) | flags, "{first:?} * {second:?}");
        assert_eq!(before[image::XMM..image::XMM + 256], image_of(&fake)[image::XMM..image::XMM + 256]);
    }
    // Results in range are no reason to stop, whatever is unmasked.
    let mut fake = with_numbers(MULPS, [1.5; 4], [2.0; 4], 0);
    attempt(&mut fake).unwrap();
    assert_eq!(image_of(&fake)[image::XMM..image::XMM + 4], 3.0_f32.to_le_bytes());
    // Flushing to zero counts for masked underflows only.
    let mut fake = with_numbers(MULPS, [1e-30; 4], [1e-30; 4], 0x1F80 | 1 << 15);
    attempt(&mut fake).unwrap();
    assert_eq!(mxcsr(&fake) & 0x30, 0x30);
}

#[test]
fn conversions_between_sse_and_mmx_raise_what_both_raise() {
    let from_memory: [&[u8]; 6] = [
        &[0x0F, 0x2C, 0x07],       // cvttps2pi mm0, [rdi]
        &[0x0F, 0x2D, 0x07],       // cvtps2pi mm0, [rdi]
        &[0x66, 0x0F, 0x2C, 0x07], // cvttpd2pi mm0, [rdi]
        &[0x66, 0x0F, 0x2D, 0x07], // cvtpd2pi mm0, [rdi]
        &[0x0F, 0x2A, 0xC0],       // cvtpi2ps xmm0, mm0
        &[0x66, 0x0F, 0x2A, 0xC0], // cvtpi2pd xmm0, mm0
    ];
    for code in from_memory {
        let with_memory = |mxcsr| {
            let fake = with_numbers(code, [f32::NAN; 4], [0.0; 4], mxcsr);
            fake.memory.write(0x3_0000, &[0xFF; 16]).unwrap();
            fake.registers.borrow_mut().general.rdi = 0x3_0000;
            fake
        };
        attempt(&mut with_memory(0x1F80)).unwrap();
        if code[code.len() - 2] != 0x2A {
            assert_eq!(raises(&mut with_memory(0)), Exception::SIMD, "{code:x?}");
            let mut fake = with_memory(0);
            fake.registers.borrow_mut().system.cr4 &= !CR4_OSXMMEXCPT;
            assert_eq!(raises(&mut fake), Exception::UNDEFINED);
            assert_eq!(mxcsr(&fake), 1);
        }
        let mut fake = with_memory(0);
        fake.registers.borrow_mut().system.cr4 &= !CR4_OSFXSR;
        assert_eq!(raises(&mut fake), Exception::UNDEFINED);
        let fake = &mut with_memory(0);
        // A division by zero, unmasked.
        fake.xsave.borrow_mut()[..4].copy_from_slice(&[0x7B, 3, 0x84, 0x80]);
        assert_eq!(raises(fake), Exception::X87);
    }
}

#[test]
fn mxcsr_takes_no_bits_that_do_not_exist() {
    let mut fake = guest(LDMXCSR);
    fake.registers.borrow_mut().general.rdi = 0x3_0000;
    fake.memory.write(0x3_0000, &0x8000_1F80_u32.to_le_bytes()).unwrap();
    assert_eq!(raises(&mut fake), Exception::protection(0));
}

/// A guest with 1 and 0 on the x87 stack, and FCW.
fn with_x87(code: &[u8], control: u32) -> FakeCpu {
    let fake = guest(code);
    {
        let mut state = fake.xsave.borrow_mut();
        state[..2].copy_from_slice(&(control as u16).to_le_bytes());
        state[image::TAGS] = 3;
        // ST(0) is 1; all of ST(1) is 0.
        state[image::STACK + 7] = 0x80;
        state[image::STACK + 8..image::STACK + 10].copy_from_slice(&0x3FFF_u16.to_le_bytes());
        state[image::FSW..image::FSW + 2].fill(0);
    }
    fake
}

#[test]
fn an_x87_exception_is_raised_by_the_next_instruction_that_waits() {
    // Division by zero, unmasked: nothing is divided.
    let mut fake = with_x87(FDIV, 0x37F & !4);
    fake.memory.write(CODE + 2, FNSTSW).unwrap();
    fake.memory.write(CODE + 4, FWAIT).unwrap();
    let before = image_of(&fake);
    attempt(&mut fake).unwrap();
    assert_eq!(image_of(&fake)[image::STACK..image::STACK + 10], before[image::STACK..image::STACK + 10]);
    assert_eq!(image::status(&image_of(&fake)) & 0x80FF, 0x8084);
    let code = |fake: &FakeCpu, code: &[u8]| {
        fake.memory.write(CODE, code).unwrap();
        fake.registers.borrow_mut().general.rip = CODE;
    };
    // Non-waiting instructions report it; waiting ones raise it; MMX waits, SSE does not.
    code(&fake, FNSTSW);
    attempt(&mut fake).unwrap();
    assert_eq!(fake.now().general.rax & 0xFF, 0x84);
    for waits in [FWAIT, FLD1, FADD, PADDB_MMX] {
        code(&fake, waits);
        assert_eq!(raises(&mut fake), Exception::X87);
    }
    code(&fake, ADDPS);
    attempt(&mut fake).unwrap();
    // With CR0.NE clear it is an interrupt from outside.
    code(&fake, FWAIT);
    fake.registers.borrow_mut().system.cr0 &= !CR0_NE;
    assert!(matches!(attempt(&mut fake), Err(EmulationError::Unsupported(Obstacle::NotAllowed))));
    fake.registers.borrow_mut().system.cr0 |= CR0_NE;
    // Cleared, it is over.
    code(&fake, FNCLEX);
    attempt(&mut fake).unwrap();
    code(&fake, FWAIT);
    attempt(&mut fake).unwrap();
}

#[test]
fn an_x87_store_that_raises_an_exception_stores_nothing() {
    // ST(0) is too large for 32 bits.
    let store = |control| {
        let mut fake = with_x87(FSTP, control);
        fake.xsave.borrow_mut()[image::STACK + 8..image::STACK + 10].copy_from_slice(&[0xFF, 0x7E]);
        fake.registers.borrow_mut().general.rdi = 0x2000_0000;
        fake.emulate();
        (fake.device.writes.clone(), image_of(&fake)[image::TAGS])
    };
    assert_eq!(store(0x37F & !8), (vec![], 3));
    // Masked, infinity is stored and popped.
    assert_eq!(store(0x37F), (vec![(0x2000_0000, 4, 0x7F80_0000)], 2));
}

#[test]
fn the_guest_sees_its_own_addresses_in_the_x87_environment() {
    let mut fake = with_x87(FADD, 0x37F);
    fake.registers.borrow_mut().general.rdi = 0x3_0000;
    attempt(&mut fake).unwrap();
    let (code, operand) =
        (image::quad(&image_of(&fake), image::FIP), image::quad(&image_of(&fake), image::FDP));
    assert!([0, CODE].contains(&code), "{code:#x}");
    assert!([0, 0x3_0000].contains(&operand), "{operand:#x}");
    fake.memory.write(CODE + 2, FNSTENV).unwrap();
    attempt(&mut fake).unwrap();
    let stored = fake.memory.read_word(0x3_0000 + 12, 4).unwrap();
    assert!([0, CODE].contains(&stored), "{stored:#x}");
}

#[test]
fn rsp_is_an_operand_like_any_other() {
    let mut fake = guest(&[0x66, 0x48, 0x0F, 0x6E, 0xC4]); // movq xmm0, rsp
    fake.registers.borrow_mut().general.rsp = 0x1234_5678_9ABC;
    attempt(&mut fake).unwrap();
    assert_eq!(image::quad(&image_of(&fake), image::XMM), 0x1234_5678_9ABC);
    let mut fake = guest(&[0xF3, 0x48, 0x0F, 0xB8, 0xE1]); // popcnt rsp, rcx
    fake.registers.borrow_mut().general.rcx = 0xFF;
    attempt(&mut fake).unwrap();
    assert_eq!(fake.now().general.rsp, 8);
}

#[test]
fn instructions_that_are_not_listed_are_not_emulated() {
    let refused: [&[u8]; 8] = [
        &[0x0F, 0x30],                         // wrmsr
        &[0x0F, 0x05],                         // syscall
        &[0xFF, 0xE0],                         // jmp rax
        &[0x50],                               // push rax
        &[0x48, 0x89, 0x07],                   // mov [rdi], rax
        &[0x8E, 0xD8],                         // mov ds, eax
        &[0xC4, 0xE2, 0x69, 0x92, 0x04, 0x0F], // vgatherdps xmm0, [rdi + xmm1], xmm2
        &[0x62, 0xF1, 0x7C, 0x49, 0x11, 0x07], // vmovups [rdi]{k1}, zmm0
    ];
    for code in refused {
        let mut fake = guest(code);
        let done = attempt(&mut fake);
        // See `undefined_test.rs`.
        if code[0] == 0x62 && !crate::emulate::native::processor::has_evex() {
            continue;
        }
        assert!(
            matches!(done, Err(EmulationError::Unsupported(Obstacle::NotAllowed))),
            "{code:x?}: {done:?}"
        );
    }
}
