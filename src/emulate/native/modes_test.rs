//! Code of 16 and 32 bits: other prefixes, other addresses, the same instructions.

use super::{guest, image_of};
use crate::emulate::Emulated;
use crate::emulate::native::image;
use crate::emulate::testing::{CODE, FakeCpu};

/// A processor in protected mode without paging, with code of 32 bits, or of 16.
fn protected(code: &[u8], wide: bool) -> FakeCpu {
    let fake = guest(code);
    {
        let mut registers = fake.registers.borrow_mut();
        let system = &mut registers.system;
        (system.cr0, system.efer) = (0x33, 0);
        (system.cs.l, system.cs.db) = (0, u8::from(wide));
        registers.general.rsi = 0x3_0000;
        registers.general.rbx = 0x3000;
    }
    fake
}

/// A processor in real mode, its code at the same place.
fn real(code: &[u8]) -> FakeCpu {
    let fake = protected(code, false);
    {
        let mut registers = fake.registers.borrow_mut();
        registers.system.cr0 = 0x32;
        registers.system.cs.base = CODE;
        registers.general.rip = 0;
    }
    fake
}

fn done(mut fake: FakeCpu) -> FakeCpu {
    assert_eq!(fake.emulate(), Emulated::Done);
    fake
}

#[test]
fn the_operand_size_prefix_chooses_the_other_size() {
    // popcnt ax, cx and popcnt eax, ecx have the same bytes in different modes.
    let (plain, prefixed): (&[u8], &[u8]) = (&[0xF3, 0x0F, 0xB8, 0xC1], &[0x66, 0xF3, 0x0F, 0xB8, 0xC1]);
    for (code, wide, result) in
        [(plain, true, 4), (prefixed, true, 0x5555_0002), (plain, false, 0x5555_0002), (prefixed, false, 4)]
    {
        let fake = protected(code, wide);
        fake.registers.borrow_mut().general.rax = 0x5555_5555;
        fake.registers.borrow_mut().general.rcx = 0x0003_0003;
        let now = done(fake).now().general;
        assert_eq!((now.rax, now.rip), (result, CODE + code.len() as u64));
    }
}

#[test]
fn operands_are_found_by_addresses_of_16_and_32_bits() {
    let cases: [(&[u8], bool, u64); 5] = [
        (&[0x0F, 0x10, 0x46, 0x10], true, 0x3_0010), // [esi + 0x10]
        (&[0x0F, 0x10, 0x05, 0x34, 0x12, 0x03, 0], true, 0x3_1234), // [0x31234]
        (&[0x67, 0x0F, 0x10, 0x47, 0x10], true, 0x3010), // [bx + 0x10]
        (&[0x0F, 0x10, 0x06, 0x34, 0x32], false, 0x3234), // [0x3234]
        (&[0x67, 0x0F, 0x10, 0x84, 0xB6, 0, 0, 0, 0], false, 5 * 0x3_0000), // [esi + esi * 4]
    ];
    for (code, wide, at) in cases {
        let fake = protected(code, wide);
        fake.memory.write(at, b"a number of text").unwrap();
        let fake = done(fake);
        assert_eq!(&image_of(&fake)[image::XMM..image::XMM + 16], b"a number of text", "{code:x?}");
        assert_eq!(fake.now().general.rip, CODE + code.len() as u64);
    }
}

#[test]
fn code_of_32_bits_has_avx() {
    // vmovaps xmm1, xmm0; the second byte pair has bits that would mean other registers in 64-bit mode.
    for code in
        [&[0xC5, 0xF8, 0x28, 0xC8][..], &[0xC4, 0xE1, 0x78, 0x28, 0xC8], &[0xC4, 0xC1, 0x78, 0x28, 0xC8]]
    {
        let mut fake = protected(code, true);
        fake.xsave.borrow_mut()[image::XMM] = 7;
        match fake.emulate() {
            Emulated::Done => assert_eq!(image_of(&fake)[image::XMM + 16], 7),
            other => assert_eq!(image::AVX & super::super::processor::components(), 0, "{other:?}"),
        }
    }
}

#[test]
fn real_mode_has_sse_but_no_avx() {
    let fake = real(&[0x0F, 0x58, 0xC9]); // addps xmm1, xmm1
    fake.xsave.borrow_mut()[image::XMM + 16..image::XMM + 20].copy_from_slice(&1.5_f32.to_le_bytes());
    let fake = done(fake);
    assert_eq!(image_of(&fake)[image::XMM + 16..image::XMM + 20], 3.0_f32.to_le_bytes());
    assert_eq!(fake.now().general.rip, 3);
}

#[test]
fn the_x87_environment_has_the_size_of_the_mode() {
    for (prefix, wide, size) in
        [(&[][..], true, 28), (&[0x66], true, 14), (&[], false, 14), (&[0x66], false, 28)]
    {
        let code = [prefix, if wide { &[0xD9, 0x36] } else { &[0xD9, 0x37] }].concat(); // [esi] or [bx]
        let fake = protected(&code, wide);
        let at = if wide { 0x3_0000 } else { 0x3000 };
        fake.memory.write(at, &[0xEE; 32]).unwrap();
        let fake = done(fake);
        let mut stored = [0; 32];
        fake.memory.read(at, &mut stored).unwrap();
        assert_eq!(stored[..2], [0x7F, 3]);
        assert_eq!(stored.iter().rposition(|&byte| byte != 0xEE).map(|last| last + 1), Some(size));
    }
}
