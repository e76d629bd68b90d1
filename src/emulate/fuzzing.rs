//! Arbitrary bytes as code, registers and descriptor tables: emulation must handle all of them without a
//! panic or a hang, and must access nothing but the guest.

use crate::arch::SegmentRegister;

use super::testing::{CODE, FakeCpu};
use super::{Emulated, LONGEST_INSTRUCTION};

/// Where the descriptor tables are put, as far as there is input for them.
const TABLES: u64 = 0x4000;
/// Bits of RFLAGS that do not choose a mode.
const FLAGS: u64 = 0x25_7FD5;

/// Emulates the instruction in `input` on the processor that `input` describes.
pub fn emulate_anything(input: &[u8]) {
    let mut input = Input(input);
    let choice = input.word();
    let mut code = [0x90; LONGEST_INSTRUCTION];
    input.fill(&mut code);
    let mut fake = FakeCpu::long_mode(&code);
    prepare(&mut fake, choice, &mut input);
    let before = fake.now();
    if let Emulated::Unsupported(_) = fake.emulate() {
        assert!(fake.now() == before, "what was not carried out has changed registers");
        assert!(fake.device.writes.is_empty(), "what was not carried out has written to a device");
    }
    assert!(fake.now().system.cr0 == before.system.cr0 && fake.now().system.cr3 == before.system.cr3);
}

/// Chooses mode, ring and features, and fills registers and tables.
fn prepare(fake: &mut FakeCpu, choice: u64, input: &mut Input) {
    let bit = |number: u32| choice >> number & 1;
    fake.xcr0.set(if bit(0) == 1 { 7 } else { 1 });
    for leaf in [1, 7, 0x8000_0001, 0x8000_0008] {
        let features = input.word();
        let bits = [48, features as u32, (features >> 32) as u32, (features >> 16) as u32];
        fake.cpuid.insert((leaf, 0), bits);
    }
    fake.cpuid.insert((0xD, 0), [7, 832, 832, 0]);
    fake.cpuid.insert((0xD, 1), [choice as u32 >> 8 & 0xF, 832, 0, 0]);
    fake.cpuid.insert((0xD, 2), [256, 576, 0, 0]);
    fake.msrs.insert(0x10, choice);
    let mut words = [0; 18];
    words.fill_with(|| input.word());
    let registers = fake.registers.get_mut();
    let general = &mut registers.general;
    let places = [
        &mut general.rax,
        &mut general.rbx,
        &mut general.rcx,
        &mut general.rdx,
        &mut general.rsi,
        &mut general.rdi,
        &mut general.rsp,
        &mut general.rbp,
        &mut general.r8,
        &mut general.r12,
    ];
    for (place, word) in places.into_iter().zip(words) {
        // Mostly addresses in RAM, or every one.
        *place = if word & 1 == 0 { word >> 1 & 0x3F_FFFF } else { word };
    }
    general.rflags = words[10] & FLAGS | 2;
    let system = &mut registers.system;
    system.cr0 |= bit(1) << 3 | bit(2) << 2;
    system.cr4 |= bit(3) << 18 | bit(4) << 21;
    let ring = (choice >> 5 & 3) as u8;
    (system.cs.dpl, system.ss.dpl) = (ring, ring);
    (system.gdt.base, system.gdt.limit) = (TABLES, words[11] as u16);
    (system.idt.base, system.idt.limit) = (TABLES + 0x400, words[12] as u16);
    system.tr =
        SegmentRegister { base: TABLES + 0x800, limit: 0x67, type_: 11, present: 1, ..Default::default() };
    match choice >> 62 {
        // Real mode.
        0 => (system.cr0, system.efer, system.cs.l, system.idt.base) = (0x30, 0, 0, 0),
        // Protected mode without paging.
        1 => (system.cr0, system.efer, system.cs.l, system.cs.db) = (0x33, 0, 0, bit(60) as u8),
        // Compatibility mode.
        2 => (system.cs.l, system.cs.db) = (0, bit(60) as u8),
        _ => {}
    }
    let mut tables = [0; 0xC00];
    input.fill(&mut tables);
    // These addresses are in RAM.
    fake.memory.write(TABLES, &tables).unwrap();
    fake.memory.write(CODE + 0x1000, &tables).unwrap();
    // MXCSR and FCW, as they differ from those after a reset.
    let controls = input.word();
    let extended = fake.xsave.get_mut();
    extended[..2].copy_from_slice(&(0x37F ^ controls as u16 & 0xF3F).to_le_bytes());
    extended[24..28].copy_from_slice(&(0x1F80 ^ (controls >> 16) as u32 & 0xFFFF).to_le_bytes());
}

/// The input, followed by zeros.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn fill(&mut self, bytes: &mut [u8]) {
        let count = self.0.len().min(bytes.len());
        let (now, rest) = self.0.split_at(count);
        bytes[..count].copy_from_slice(now);
        self.0 = rest;
    }

    fn word(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::FuzzDriver;

    /// First bytes of emulated instructions.
    const OPCODES: [&[u8]; 6] = [&[0x0F], &[0xCD], &[0xCF], &[0x66, 0x0F], &[0xF3, 0x0F], &[0x0F, 0xAE]];

    #[test]
    fn random_instructions_in_random_states_are_emulated_or_refused() {
        FuzzDriver::new("emulate").dictionary(&OPCODES).run(emulate_anything);
    }
}
