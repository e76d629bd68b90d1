//! Bytes whose meaning depends on the mode: they raise #UD exactly where the manual knows no instruction.
//!
//! Manual: Intel SDM volume 2D, "Opcode Map" (i64: invalid in 64-bit mode), and the instructions' exceptions.

use iced_x86::{Decoder, DecoderOptions, Mnemonic};

use super::cpu::{Cpu, Mode};
use super::exception::{EmulationError, Exception};
use super::native;
use super::testing::{CODE, Device, FakeCpu};

/// An instruction and its length; `None` for #UD.
type Meaning = Option<(Mnemonic, usize)>;

/// Modes and the width of their code.
const MODES: [(Mode, u32); 8] = [
    (Mode::Real, 16),
    (Mode::Virtual8086, 16),
    (Mode::Protected, 16),
    (Mode::Protected, 32),
    (Mode::Compatibility, 16),
    (Mode::Compatibility, 32),
    (Mode::SixtyFourBit, 64),
    // The same in ring 3.
    (Mode::SixtyFourBit, 65),
];

fn guest(code: &[u8], mode: Mode, bits: u32) -> FakeCpu {
    let mut fake = FakeCpu::long_mode(code);
    fake.xcr0.set(native::components_for_tests() | 1);
    let registers = fake.registers.get_mut();
    registers.system.cr4 |= 1 << 18;
    let system = &mut registers.system;
    (system.cs.l, system.cs.db) = (u8::from(bits >= 64), u8::from(bits == 32));
    if !mode.is_long() {
        (system.cr0, system.efer) = (0x33, 0);
    }
    match mode {
        Mode::Real => system.cr0 = 0x32,
        Mode::Virtual8086 => registers.general.rflags |= 1 << 17,
        _ => {}
    }
    let system = &mut registers.system;
    if matches!(mode, Mode::Real | Mode::Virtual8086) {
        system.cs.base = CODE;
        registers.general.rip = 0;
    }
    if mode == Mode::Virtual8086 || bits == 65 {
        (system.cs.dpl, system.ss.dpl) = (3, 3);
    }
    assert_eq!(registers.mode(), mode);
    fake
}

/// What `code` is there for the emulator.
fn meaning(code: &[u8], mode: Mode, bits: u32) -> Meaning {
    let fake = guest(code, mode, bits);
    let mut device = Device::default();
    let mut cpu = Cpu::new(&fake, &fake.memory, &mut device).unwrap();
    let done = super::execute(&mut cpu);
    match done {
        Err(EmulationError::Exception(Exception::UNDEFINED)) => None,
        // Neither done nor #UD: another exception, or an instruction that KVM should have executed.
        _ => {
            let known = cpu.instruction.mnemonic();
            assert_ne!(known, Mnemonic::INVALID, "{code:02x?} {mode:?} {bits}: {done:?}");
            Some((known, cpu.instruction.len()))
        }
    }
}

/// Compares the meaning of `code` in all modes: in those of 8086, in other code of 16 bits, of 32, and of 64.
fn check(code: &[u8], expected: [Meaning; 4]) -> Option<String> {
    let code = [code, &[0; 16]].concat();
    let wrong = MODES.into_iter().filter_map(|(mode, bits)| {
        let expected = match (mode, bits) {
            (Mode::Real | Mode::Virtual8086, _) => expected[0],
            (_, 16) => expected[1],
            (_, 32) => expected[2],
            _ => expected[3],
        };
        let found = meaning(&code, mode, bits);
        let what = || format!("{:02x?} in {mode:?} of {bits}: {found:?} and not {expected:?}", &code[..6]);
        (found != expected).then(what)
    });
    let wrong: Vec<String> = wrong.collect();
    (!wrong.is_empty()).then(|| wrong.join("\n"))
}

/// Checks that `code` is an instruction of this length everywhere but in 64-bit mode, where it is `long`.
fn legacy(code: &[u8], mnemonic: Mnemonic, lengths: (usize, usize), long: Meaning) -> Option<String> {
    let (narrow, wide) = (Some((mnemonic, lengths.0)), Some((mnemonic, lengths.1)));
    check(code, [narrow, narrow, wide, long])
}

#[test]
fn instructions_that_64_bit_mode_does_not_have_are_undefined_there_alone() {
    let bytes = [
        (0x06, Mnemonic::Push, 1, 1),
        (0x07, Mnemonic::Pop, 1, 1),
        (0x0E, Mnemonic::Push, 1, 1),
        (0x16, Mnemonic::Push, 1, 1),
        (0x17, Mnemonic::Pop, 1, 1),
        (0x1E, Mnemonic::Push, 1, 1),
        (0x1F, Mnemonic::Pop, 1, 1),
        (0x27, Mnemonic::Daa, 1, 1),
        (0x2F, Mnemonic::Das, 1, 1),
        (0x37, Mnemonic::Aaa, 1, 1),
        (0x3F, Mnemonic::Aas, 1, 1),
        (0x82, Mnemonic::Add, 3, 3),
        (0xCE, Mnemonic::Into, 1, 1),
        (0xD4, Mnemonic::Aam, 2, 2),
        (0xD5, Mnemonic::Aad, 2, 2),
        (0xD6, Mnemonic::Salc, 1, 1),
    ];
    let mut wrong: Vec<String> = bytes
        .into_iter()
        .filter_map(|(byte, name, narrow, wide)| legacy(&[byte], name, (narrow, wide), None))
        .collect();
    // Their names depend on the size of operands.
    for (byte, narrow, wide, lengths) in [
        (0x60, Mnemonic::Pusha, Mnemonic::Pushad, (1, 1)),
        (0x61, Mnemonic::Popa, Mnemonic::Popad, (1, 1)),
        (0x9A, Mnemonic::Call, Mnemonic::Call, (5, 7)),
        (0xEA, Mnemonic::Jmp, Mnemonic::Jmp, (5, 7)),
    ] {
        let (narrow, wide) = (Some((narrow, lengths.0)), Some((wide, lengths.1)));
        wrong.extend(check(&[byte], [narrow, narrow, wide, None]));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn inc_and_dec_are_rex_prefixes_in_64_bit_mode() {
    let wrong: Vec<String> = (0x40..=0x4F)
        .filter_map(|byte| {
            let name = if byte < 0x48 { Mnemonic::Inc } else { Mnemonic::Dec };
            legacy(&[byte, 0x0F, 0x58, 0xC1], name, (1, 1), Some((Mnemonic::Addps, 4)))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn arpl_is_movsxd_in_64_bit_mode_and_undefined_without_protection() {
    let arpl = Some((Mnemonic::Arpl, 2));
    let wrong = check(&[0x63, 0xC1], [None, arpl, arpl, Some((Mnemonic::Movsxd, 2))]);
    assert!(wrong.is_none(), "{}", wrong.unwrap());
}

#[test]
fn selectors_are_undefined_without_protection() {
    let wrong: Vec<String> = [
        ([0x0F, 0x00, 0xC1], Mnemonic::Sldt),
        ([0x0F, 0x00, 0xC9], Mnemonic::Str),
        ([0x0F, 0x00, 0xD1], Mnemonic::Lldt),
        ([0x0F, 0x00, 0xD9], Mnemonic::Ltr),
        ([0x0F, 0x00, 0xE1], Mnemonic::Verr),
        ([0x0F, 0x00, 0xE9], Mnemonic::Verw),
        ([0x0F, 0x02, 0xC1], Mnemonic::Lar),
        ([0x0F, 0x03, 0xC1], Mnemonic::Lsl),
    ]
    .into_iter()
    .filter_map(|(code, name)| {
        let known = Some((name, 3));
        check(&code, [None, known, known, known])
    })
    .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn prefixes_of_vector_instructions_are_bound_les_and_lds_of_memory_elsewhere() {
    let has = |on: bool, meaning| if on { Some(meaning) } else { None };
    let avx = has(native::components_for_tests() & 4 != 0, (Mnemonic::Vmovaps, 4));
    let evex = has(native::has_evex_for_tests(), (Mnemonic::Vaddps, 6));
    let wrong: Vec<String> = [
        // Memory operands; in 64-bit mode, VEX of map 6, of a reserved opcode, and EVEX of map 4.
        legacy(&[0x62, 0x00], Mnemonic::Bound, (2, 2), None),
        legacy(&[0xC4, 0x06, 0x00, 0x00], Mnemonic::Les, (4, 2), None),
        legacy(&[0xC5, 0x00, 0x04], Mnemonic::Lds, (2, 2), None),
        // Register operands.
        check(&[0xC5, 0xF8, 0x28, 0xC1], [None, avx, avx, avx]),
        check(&[0x62, 0xF1, 0x7C, 0x48, 0x58, 0xC1], [None, evex, evex, evex]),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The decoder and the table agree that these are the only opcodes of one byte which 64-bit mode takes away.
#[test]
fn no_other_opcode_of_one_byte_is_missing_in_64_bit_mode() {
    let is_known = |bits, byte| {
        let code = [byte, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        !Decoder::new(bits, &code, DecoderOptions::NONE).decode().is_invalid()
    };
    let missing: Vec<u8> = (0..=u8::MAX).filter(|&byte| is_known(32, byte) && !is_known(64, byte)).collect();
    let table = [
        0x06, 0x07, 0x0E, 0x16, 0x17, 0x1E, 0x1F, 0x27, 0x2F, 0x37, 0x3F, 0x60, 0x61, 0x62, 0x82, 0x9A, 0xC4,
        0xC5, 0xCE, 0xD4, 0xD5, 0xD6, 0xEA,
    ];
    assert_eq!(missing, table);
}
