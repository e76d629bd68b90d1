//! Compares the emulator with the host's own processor, which executes the same in ring 3.

use std::arch::x86_64::{__cpuid_count, _xgetbv};
use std::arch::{asm, is_x86_feature_detected};

use super::area::{AVX, HEADER_END, SSE, X87};
use crate::arch::flags::CR4_OSXSAVE;
use crate::emulate::Emulated;
use crate::emulate::cpu::Extended;
use crate::emulate::exception::Exception;
use crate::emulate::testing::{CODE, FakeCpu};

/// Where the tests put the area in the guest's memory.
const AREA: u64 = 0x2_0000;
/// x87, SSE, AVX and AVX-512: what may hold any bytes at all.
const DATA: u64 = 0xE7;

#[derive(Clone)]
#[repr(align(64))]
struct Area(Extended);

impl Area {
    fn filled(byte: u8) -> Area {
        Area([byte; 4096])
    }

    fn set_word(&mut self, at: usize, value: u64) {
        self.0[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// A standard area with `parts` in it, every byte different from its neighbours.
    fn with(parts: u64) -> Area {
        let mut area = Area(std::array::from_fn(|at| (at * 7 + at / 251) as u8));
        area.0[..32].fill(0);
        area.0[..2].copy_from_slice(&0x27F_u16.to_le_bytes());
        // FSW with TOP 5, all tags valid, opcode and pointers.
        area.0[2..4].copy_from_slice(&0x2800_u16.to_le_bytes());
        area.0[4] = 0xFF;
        area.0[24..28].copy_from_slice(&0x3F80_u32.to_le_bytes());
        for register in 0..8 {
            area.0[32 + 16 * register + 10..48 + 16 * register].fill(0);
        }
        area.0[416..HEADER_END].fill(0);
        area.set_word(512, parts);
        area
    }
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Xsave,
    Xsave32,
    Xsaveopt,
    Xsavec,
}

impl Form {
    /// With its operand at RBX.
    fn code(self) -> &'static [u8] {
        match self {
            Form::Xsave => &[0x48, 0x0F, 0xAE, 0x23],
            Form::Xsave32 => &[0x0F, 0xAE, 0x23],
            Form::Xsaveopt => &[0x48, 0x0F, 0xAE, 0x33],
            Form::Xsavec => &[0x48, 0x0F, 0xC7, 0x23],
        }
    }
}

/// The state of this host's processor that may hold any bytes.
fn state() -> Option<u64> {
    if !is_x86_feature_detected!("xsavec") || !is_x86_feature_detected!("avx") {
        return None;
    }
    // SAFETY: a processor with `xsavec` whose system has switched AVX on has `xgetbv`.
    Some(unsafe { xcr0() } & DATA)
}

#[target_feature(enable = "xsave")]
fn xcr0() -> u64 {
    // SAFETY: XCR0 exists where XSAVE does.
    unsafe { _xgetbv(0) }
}

/// Loads `state`, saves `parts` of it over `area` and puts everything back.
fn native_save(form: Form, state: &Area, parts: u64, area: &mut Area) {
    let mut own = Area::filled(0);
    let (low, high) = (DATA as u32, 0_u32);
    macro_rules! save {
        ($instruction:literal) => {
            // SAFETY: all registers that are changed are put back before the end, and the three
            // areas are aligned and larger than any state.
            unsafe {
                asm!("mov r8d, eax",
                     "xsave64 [{own}]", "xrstor64 [{state}]", "mov eax, r9d",
                     concat!($instruction, " [{area}]"),
                     "mov eax, r8d", "xrstor64 [{own}]",
                     own = in(reg) &mut own, state = in(reg) state, area = in(reg) area,
                     in("eax") low, in("edx") high, inout("r9") parts => _, out("r8") _)
            }
        };
    }
    match form {
        Form::Xsave => save!("xsave64"),
        Form::Xsave32 => save!("xsave"),
        Form::Xsaveopt => save!("xsaveopt64"),
        Form::Xsavec => save!("xsavec64"),
    }
}

/// Loads `state`, then `parts` from `area`, and gives all of it as it is then.
fn native_restore(state: &Area, area: &Area, parts: u64) -> Area {
    let mut own = Area::filled(0);
    let mut result = Area::filled(0);
    // SAFETY: all registers that are changed are put back before the end, and the areas are aligned
    // and larger than any state.
    unsafe {
        asm!("mov r8d, eax",
             "xsave64 [{own}]", "xrstor64 [{state}]", "mov eax, r9d",
             "xrstor64 [{area}]",
             "mov eax, r8d", "xsave64 [{result}]", "xrstor64 [{own}]",
             own = in(reg) &mut own, state = in(reg) state, area = in(reg) area,
             result = in(reg) &mut result,
             in("eax") DATA as u32, in("edx") 0, inout("r9") parts => _, out("r8") _);
    }
    result
}

/// A processor with the features of this host's and `state` in its registers.
fn fake(code: &[u8], state: &Area, enabled: u64) -> FakeCpu {
    let mut fake = FakeCpu::long_mode(code);
    fake.cpuid.insert((1, 0), [0, 0, 1 << 26, 0]);
    for subleaf in 0..16 {
        let leaf = __cpuid_count(0xD, subleaf);
        fake.cpuid.insert((0xD, subleaf), [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx]);
    }
    fake.xcr0.set(enabled);
    *fake.xsave.get_mut() = state.0;
    let registers = fake.registers.get_mut();
    registers.system.cr4 |= CR4_OSXSAVE;
    registers.general.rbx = AREA;
    registers.general.rax = enabled;
    fake
}

/// What this host's processor has in its registers after loading `parts` of an area.
fn loaded(parts: u64) -> Area {
    let mut image = Area::filled(0);
    native_save(Form::Xsave, &Area::with(parts), DATA, &mut image);
    image
}

fn saved(form: Form, image: &Area, enabled: u64, parts: u64, before: &Area) -> Area {
    let mut fake = fake(form.code(), image, enabled);
    fake.memory.write(AREA, &before.0).unwrap();
    fake.registers.get_mut().general.rax = parts;
    assert_eq!(fake.emulate(), Emulated::Done, "{form:?}");
    assert_eq!(fake.now().general.rip, CODE + form.code().len() as u64);
    let mut area = Area::filled(0);
    fake.memory.read(AREA, &mut area.0).unwrap();
    area
}

/// Where two areas differ.
fn difference(ours: &Area, native: &Area) -> Option<String> {
    let at = (0..4096).find(|at| ours.0[*at] != native.0[*at])?;
    Some(format!("byte {at} is {:#x}, natively {:#x}", ours.0[at], native.0[at]))
}

/// Fails if `difference` finds one each time. Which parts a processor takes for being in use may
/// change when an interrupt comes between two instructions, so one time proves nothing.
fn assert_same(about: &str, difference: impl Fn() -> Option<String>) {
    let found: Vec<String> = (0..4).map_while(|_| difference()).collect();
    assert!(found.len() < 4, "{about}: {found:?}");
}

#[test]
fn every_way_to_save_writes_what_the_processor_writes() {
    let Some(all) = state() else { return };
    for in_use in [all, X87, SSE, X87 | SSE, AVX | SSE, all & !SSE, 0] {
        for parts in [all, X87, SSE, AVX, SSE | AVX, all & !AVX, 0] {
            for form in [Form::Xsave, Form::Xsave32, Form::Xsaveopt, Form::Xsavec] {
                assert_same(&format!("{form:?} of {parts:#x}, in use {in_use:#x}"), || {
                    let before = Area::filled(0x5A);
                    let image = loaded(in_use & all);
                    let mut native = before.clone();
                    native_save(form, &Area::with(in_use & all), parts, &mut native);
                    difference(&saved(form, &image, all, parts, &before), &native)
                });
            }
        }
    }
}

#[test]
fn what_is_restored_is_what_the_processor_restores() {
    let Some(all) = state() else { return };
    for in_use in [all, SSE, 0] {
        for stored in [all, X87, SSE, AVX | SSE, 0] {
            for parts in [all, X87, SSE, AVX, all & !AVX, 0] {
                for compacted in [false, true] {
                    let mut area = Area::with(stored & all);
                    area.0[24..28].copy_from_slice(&0x5F80_u32.to_le_bytes());
                    if compacted {
                        area.set_word(520, 1 << 63 | stored & all);
                    }
                    let about = format!("{parts:#x} of {stored:#x} over {in_use:#x}, compacted: {compacted}");
                    assert_same(&about, || restored_otherwise(all, in_use & all, &area, parts));
                }
            }
        }
    }
}

/// How what `xrstor` of `parts` leaves here differs from what it leaves natively.
fn restored_otherwise(all: u64, in_use: u64, area: &Area, parts: u64) -> Option<String> {
    let mut native = native_restore(&Area::with(in_use), area, parts);
    let mut fake = fake(&[0x48, 0x0F, 0xAE, 0x2B], &loaded(in_use), all);
    fake.memory.write(AREA, &area.0).unwrap();
    fake.registers.get_mut().general.rax = parts;
    assert_eq!(fake.emulate(), Emulated::Done);
    let ours = Area(*fake.xsave.get_mut());
    let ours = saved(Form::Xsave, &ours, all, all, &Area::filled(0));
    // KVM needs SSE to be in use for MXCSR, the processor does not.
    native.0[512] |= ours.0[512] & SSE as u8;
    difference(&ours, &native)
}

#[test]
fn invalid_xsave_headers_are_refused() {
    let all = X87 | SSE | AVX;
    let refused = |change: &dyn Fn(&mut Area)| {
        let mut area = Area::with(all);
        change(&mut area);
        let mut fake = fake(&[0x48, 0x0F, 0xAE, 0x2B], &loaded_plain(), all);
        fake.cpuid.insert((0xD, 1), [0b10, 0, 0, 0]);
        fake.cpuid.insert((0xD, 2), [256, 576, 0, 0]);
        fake.memory.write(AREA, &area.0).unwrap();
        fake.raises() == Some(Exception::protection(0))
    };
    assert!(!refused(&|_| {}));
    // A part that is not switched on, bits that must be zero, and MXCSR bits that do not exist.
    assert!(refused(&|area| area.0[513] = 1));
    assert!(refused(&|area| area.0[528] = 1));
    assert!(refused(&|area| area.0[520] = 1));
    assert!(refused(&|area| area.0[27] = 1));
    // Compacted: parts without room, room for what is not switched on, bits that must be zero.
    assert!(!refused(&|area| area.set_word(520, 1 << 63 | all)));
    assert!(refused(&|area| area.set_word(520, 1 << 63 | X87 | SSE)));
    assert!(refused(&|area| area.set_word(520, 1 << 63 | all | 1 << 9)));
    assert!(refused(&|area| {
        area.set_word(520, 1 << 63 | all);
        area.0[540] = 1;
    }));
}

fn loaded_plain() -> Area {
    Area(*FakeCpu::long_mode(&[]).xsave.get_mut())
}

#[test]
fn the_area_is_aligned_mapped_and_the_unit_is_there() {
    let all = X87 | SSE;
    for code in [Form::Xsave.code(), &[0x48, 0x0F, 0xAE, 0x2B]] {
        let prepared = |change: &dyn Fn(&mut FakeCpu)| {
            let mut fake = fake(code, &loaded_plain(), all);
            change(&mut fake);
            fake.raises()
        };
        assert_eq!(prepared(&|_| {}), None);
        let general = Some(Exception::protection(0));
        assert_eq!(prepared(&|fake| fake.registers.get_mut().general.rbx += 32), general);
        assert_eq!(prepared(&|fake| fake.registers.get_mut().general.rbx = 1 << 47), general);
        assert_eq!(prepared(&|fake| fake.registers.get_mut().system.cr0 |= 8), Some(Exception::NO_DEVICE));
        assert_eq!(
            prepared(&|fake| fake.registers.get_mut().system.cr4 &= !CR4_OSXSAVE),
            Some(Exception::UNDEFINED)
        );
        let fault = prepared(&|fake| fake.registers.get_mut().general.rbx = 1 << 40).unwrap();
        assert_eq!((fault.vector, fault.address), (14, Some(1 << 40)));
    }
}

#[test]
fn supervisor_forms_are_for_ring_0_and_for_compacted_areas() {
    let all = X87 | SSE;
    let with_xsaves = |code: &[u8]| {
        let mut fake = fake(code, &loaded_plain(), all);
        fake.cpuid.insert((0xD, 1), [0b1111, 0, 0, 0]);
        fake
    };
    const XSAVES: &[u8] = &[0x48, 0x0F, 0xC7, 0x2B];
    const XRSTORS: &[u8] = &[0x48, 0x0F, 0xC7, 0x1B];
    let mut fake = with_xsaves(XSAVES);
    assert_eq!(fake.emulate(), Emulated::Done);
    assert_eq!(fake.memory.read_word(AREA + 520, 8).unwrap(), 1 << 63 | all);
    let mut fake = with_xsaves(XRSTORS);
    assert_eq!(fake.raises(), Some(Exception::protection(0)));
    fake.memory.write_u64(AREA + 520, 1 << 63 | all).unwrap();
    assert_eq!(fake.raises(), None);
    for code in [XSAVES, XRSTORS] {
        let mut fake = with_xsaves(code);
        fake.registers.get_mut().system.ss.dpl = 3;
        assert_eq!(fake.raises(), Some(Exception::protection(0)));
        let mut fake = with_xsaves(code);
        fake.cpuid.insert((0xD, 1), [0b111, 0, 0, 0]);
        assert_eq!(fake.raises(), Some(Exception::UNDEFINED));
    }
}

#[test]
fn outside_of_64_bit_mode_eight_registers_are_saved_and_restored() {
    let all = X87 | SSE | AVX;
    let mut image = Area::with(all);
    image.0[28..32].copy_from_slice(&0xFFFF_u32.to_le_bytes());
    let in_32_bits = |code: &[u8]| {
        let mut fake = fake(code, &image, all);
        fake.cpuid.insert((0xD, 2), [256, 576, 0, 0]);
        let system = &mut fake.registers.get_mut().system;
        (system.cs.l, system.cs.db) = (0, 1);
        fake
    };
    let mut fake = in_32_bits(&[0x0F, 0xAE, 0x23]);
    assert_eq!(fake.emulate(), Emulated::Done);
    let mut saved = Area::filled(0);
    fake.memory.read(AREA, &mut saved.0).unwrap();
    assert_eq!(saved.0[160..288], image.0[160..288]);
    assert_eq!(saved.0[288..416], [0; 128]);
    assert_eq!(saved.0[576..704], image.0[576..704]);
    assert_eq!(saved.0[704..832], [0; 128]);
    // An empty area makes everything initial but the registers that cannot be seen.
    let mut fake = in_32_bits(&[0x0F, 0xAE, 0x2B]);
    assert_eq!(fake.emulate(), Emulated::Done);
    let now = fake.xsave.get_mut();
    assert_eq!(now[160..288], [0; 128]);
    assert_eq!(now[288..416], image.0[288..416]);
    assert_eq!(now[576..704], [0; 128]);
    assert_eq!(now[704..832], image.0[704..832]);
    assert_eq!(now[512], SSE as u8 | AVX as u8);
}
