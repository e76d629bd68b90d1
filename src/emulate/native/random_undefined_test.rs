//! Random bytes that are no instruction raise in a guest what they raise on the processor: #UD, or #GP if they
//! are too long. Prefixes pad many of them up to the longest instruction and beyond.

use super::direct::{CODE, Direct, DirectState};
use super::random::{chosen_random, processor_with_data};
use super::{Random, decode};
use crate::emulate::cpu::Cpu;
use crate::emulate::exception::EmulationError;
use crate::emulate::execute;
use crate::emulate::native::image;
use crate::emulate::testing::{Device, FakeCpu};
use crate::emulate::{LONGEST_INSTRUCTION, Obstacle};

/// Encodings to compare.
const COUNT: u32 = 2_000;
const MORE: u32 = 20_000;
/// An address at which no memory can be: it is not canonical.
const NOWHERE: u64 = 1 << 63;
const PREFIXES: [u8; 16] =
    [0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x66, 0x67, 0xF0, 0xF2, 0xF3, 0x40, 0x41, 0x48, 0x4F];

#[test]
fn random_undefined_encodings_raise_what_they_raise_natively() {
    let (random, seed, is_long) = chosen_random();
    let mut direct = Direct::lock();
    let fake = processor_with_data();
    let (mut compared, mut too_long, mut unknown) = (0, 0, 0);
    let (mut differences, mut lengths) = (Vec::new(), Vec::new());
    while compared < if is_long { MORE } else { COUNT } {
        let code = random_code(&random);
        if !decode(&code).is_invalid() {
            continue;
        }
        let emulated = match raised(&fake, &code) {
            Ok(vector) => vector,
            Err(Obstacle::Unknown) => {
                unknown += 1;
                continue;
            }
            Err(obstacle) => panic!("{code:02x?}: {obstacle:?}"),
        };
        compared += 1;
        too_long += u32::from(emulated == 13);
        let mut extended = *fake.xsave.borrow();
        image::bring_into_use(&mut extended);
        let mut state = DirectState::new(extended);
        state.general = [NOWHERE; 16];
        let native = direct.run(&code, &mut state).map(|raised| raised.vector);
        if matches!((emulated, native), (6, Some(13)) | (13, Some(6))) {
            lengths.push(format!("{code:02x?}: raises {emulated}"));
        } else if native != Some(emulated) {
            differences.push(format!("{code:02x?}: raises {emulated} and not {native:?}"));
        }
    }
    println!("{compared} encodings, {too_long} of them too long, {unknown} unknown, from seed {seed}");
    assert!(differences.is_empty(), "seed {seed}: {}:\n{}", differences.len(), differences.join("\n"));
    // How long an encoding is that does not exist depends on the processor; AMD's agree about those here.
    let (count, most) = (lengths.len(), compared as usize / 100);
    assert!(count <= most, "seed {seed}: {count} lengths:\n{}", lengths.join("\n"));
    assert!(too_long > compared / 50, "{too_long} too long");
    assert!(unknown < compared / 5, "{unknown} unknown");
}

/// The vector of the exception that `code`, which is no instruction, raises in a guest.
fn raised(fake: &FakeCpu, code: &[u8]) -> Result<u8, Obstacle> {
    fake.memory.write(super::random::PHYSICAL_CODE, code).unwrap();
    fake.registers.borrow_mut().general.rip = CODE;
    let mut device = Device::default();
    let mut cpu = Cpu::new(fake, &fake.memory, &mut device).unwrap();
    match execute(&mut cpu) {
        Err(EmulationError::Exception(exception)) => Ok(exception.vector),
        Err(EmulationError::Unsupported(obstacle)) => Err(obstacle),
        other => panic!("{code:02x?}: {other:?}"),
    }
}

/// Bytes that are often no instruction, with some prefixes or many. No operand lies in memory that exists: no
/// address has an index.
fn random_code(random: &Random) -> [u8; LONGEST_INSTRUCTION] {
    let byte = || random.next() as u8;
    let one_of = |bytes: &[u8]| bytes[random.below(bytes.len() as u64) as usize];
    let is_padded = random.below(3) != 0;
    let count = if is_padded { 4 + random.below(11) } else { random.below(4) };
    let mut code: Vec<u8> = (0..count).map(|_| one_of(&PREFIXES)).collect();
    match random.below(12) {
        // Whether map 1 has a ModRM byte where it has no instruction depends on the processor.
        0 if !is_padded => code.extend([0xC5, byte(), byte()]),
        0..=2 => code.extend([0xC4, byte() & 0xE0 | one_of(&[0, 2, 2, 3, 3, 5, 9]), byte(), byte()]),
        3..=4 => code.extend([0x62, byte(), byte(), byte(), byte()]),
        5 => code.extend([0x8F, 0xE8 | byte() & 3, byte(), byte()]),
        6 => code.push(one_of(&[0xD9, 0xDA, 0xDB, 0xDD, 0xDF])),
        7 => {
            code.push(one_of(&[0x06, 0x27, 0x60, 0x62, 0x82, 0x8F, 0xC6, 0xC7, 0xD4, 0xD5, 0xD6, 0xFE, 0xFF]))
        }
        8 => code.extend([0x0F, 0x38, byte()]),
        9 => code.extend([0x0F, 0x3A, byte()]),
        // The same for these, what LOCK does before `verw`, and the size of a jump with an operand-size prefix.
        _ => match byte() {
            0x00
            | 0x24..=0x27
            | 0x36
            | 0x39
            | 0x3B..=0x3F
            | 0x7A
            | 0x7B
            | 0x80..=0x8F
            | 0xA6
            | 0xA7
            | 0xB9
            | 0xFF => code.extend([0x0F, 0x04]),
            opcode => code.extend([0x0F, opcode]),
        },
    }
    let modrm = byte();
    code.push(match modrm >> 6 {
        3 => modrm,
        // RSI or RDI.
        _ => modrm & 0b11_111_000 | 6 | modrm & 1,
    });
    let mut bytes = [0; LONGEST_INSTRUCTION];
    bytes.fill_with(byte);
    let length = code.len().min(bytes.len());
    bytes[..length].copy_from_slice(&code[..length]);
    bytes
}
