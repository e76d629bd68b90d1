//! Random instructions do in a guest what they do on the processor: the same registers, memory and exception.
//!
//! Encodings, registers, MXCSR, FCW, FSW and operands are random, from one seed; operands lie in one page, in
//! two, or partly in none. `KVM_FUZZ_SECONDS` has ten times as many compared, with another seed each time, and
//! `KVM_FUZZ_SEED` chooses the seed.

use iced_x86::{Instruction, OpKind, Register};

use super::direct::{CODE, DATA, DATA_SIZE, Direct, DirectState, Raised};
use super::forms::{canonical, number, random_extended};
use super::{Random, decode, guest};
use crate::emulate::cpu::{Cpu, Extended};
use crate::emulate::exception::EmulationError;
use crate::emulate::execute;
use crate::emulate::native::{allowed, image, processor};
use crate::emulate::testing::{Device, FakeCpu};

/// Instructions to compare.
const COUNT: u32 = 2_000;
const MORE: u32 = 20_000;
/// Where the guest has code and data in its physical memory.
pub const PHYSICAL_CODE: u64 = 0x1_0000;
const PHYSICAL_DATA: u64 = 0x3_0000;
/// RFLAGS: CF, PF, AF, ZF, SF and OF.
const STATUS_FLAGS: u64 = 0x8D5;

#[test]
fn random_instructions_do_what_they_do_natively() {
    let (random, seed, is_long) = chosen_random();
    let mut direct = Direct::lock();
    let fake = processor_with_data();
    let (mut compared, mut raised, mut differences) = (0, 0, Vec::new());
    while compared < if is_long { MORE } else { COUNT } {
        let code = random_code(&random);
        let instruction = decode(&code);
        if !can_run(&instruction) {
            continue;
        }
        let case = Case::new(code[..instruction.len()].to_vec(), instruction, &random);
        if !case.stays_in_reach() {
            continue;
        }
        compared += 1;
        match case.compare(&mut direct, &fake) {
            Ok(exception) => raised += u32::from(exception),
            Err(difference) => differences.push(difference),
        }
    }
    println!("{compared} instructions, {raised} of them with an exception, from seed {seed}");
    assert!(differences.is_empty(), "seed {seed}: {}:\n{}", differences.len(), differences.join("\n"));
    assert!(raised > compared / 50, "{raised} exceptions");
}

/// Random numbers from a seed that `KVM_FUZZ_SEED` can choose, the seed, and whether `KVM_FUZZ_SECONDS` asks for
/// more of them.
pub fn chosen_random() -> (Random, u64, bool) {
    let variable = |name| std::env::var(name).ok();
    let is_long = variable("KVM_FUZZ_SECONDS").is_some();
    let now =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_secs());
    let chosen = variable("KVM_FUZZ_SEED").and_then(|seed| seed.parse().ok());
    let seed = chosen.unwrap_or_else(|| if is_long { now() } else { 1 });
    (Random::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)), seed, is_long)
}

/// A processor with memory at the linear addresses that the process has it at, too.
pub fn processor_with_data() -> FakeCpu {
    let fake = guest(&[]);
    for (entry, value) in [
        (0x1000 + 8 * (CODE >> 39), 0x4007),
        (0x4000, 0x5007),
        (0x5000, 0x6007),
        (0x6000, PHYSICAL_CODE | 7),
        (0x6000 + 8 * 16, PHYSICAL_DATA | 7),
        (0x6000 + 8 * 17, (PHYSICAL_DATA + 0x1000) | 7),
    ] {
        fake.memory.write_u64(entry, value).unwrap();
    }
    fake
}

/// Bytes that are often an instruction of a vector unit, the x87 unit or BMI, with RSI or RDI as the address of a
/// memory operand.
fn random_code(random: &Random) -> [u8; 15] {
    let byte = || random.next() as u8;
    let one_of = |bytes: &[u8]| bytes[random.below(bytes.len() as u64) as usize];
    let mut code = Vec::new();
    let kind = random.below(16);
    match kind {
        // x87.
        0..=3 => code.push(one_of(&[0xD8, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF])),
        // VEX of two and three bytes.
        4..=5 => code.extend([0xC5, byte(), byte()]),
        6..=8 => code.extend([0xC4, 0x60 | byte() & 0x80 | one_of(&[1, 2, 2, 3]), byte(), byte()]),
        // The conversions between SSE and MMX, which are few.
        9 => {
            code.extend_from_slice([&[][..], &[0x66]][random.below(2) as usize]);
            code.extend([0x0F, one_of(&[0x2A, 0x2C, 0x2D])]);
        }
        _ => {
            code.extend_from_slice([&[][..], &[0x66], &[0xF3], &[0xF2]][random.below(4) as usize]);
            if random.below(4) == 0 {
                // A REX prefix with W and R.
                code.push(0x40 | byte() & 0b1100);
            }
            code.push(0x0F);
            match random.below(4) {
                0 => code.extend([0x38, byte()]),
                1 => code.extend([0x3A, byte() & 0x7F]),
                _ => code.push(
                    one_of(&[0x10, 0x20, 0x50, 0x60, 0x70, 0xC0, 0xD0, 0xE0, 0xF0, 0xB0]) | byte() & 0xF,
                ),
            }
        }
    }
    let modrm = byte();
    let (mode, register) = (modrm >> 6, modrm & 0b00_111_000);
    code.push(match mode {
        3 => modrm,
        _ => mode << 6 | register | 6 | modrm & 1,
    });
    match mode {
        1 => code.push(byte() & 0x3F),
        2 => code.extend([byte(), one_of(&[0, 0, 1, 0xFF]), 0, 0]),
        _ => {}
    }
    if mode == 2 && code[code.len() - 3] == 0xFF {
        let end = code.len();
        code[end - 2..].fill(0xFF);
    }
    let mut bytes = [0; 15];
    bytes.fill_with(byte);
    bytes[..code.len()].copy_from_slice(&code);
    bytes
}

/// True for what the emulator executes natively on this processor.
fn can_run(instruction: &Instruction) -> bool {
    !instruction.is_invalid()
        && allowed::unit(instruction).is_ok_and(|unit| processor::has(instruction, unit))
}

/// An instruction and everything it works on.
struct Case {
    code: Vec<u8>,
    instruction: Instruction,
    state: DirectState,
    data: Vec<u8>,
}

impl Case {
    fn new(code: Vec<u8>, instruction: Instruction, random: &Random) -> Case {
        let mut extended = random_extended(random);
        if random.below(2) == 0 {
            let mxcsr = random.next() as u32 & 0xFFFF & processor::mxcsr_mask();
            image::set_mxcsr(&mut extended, mxcsr);
        }
        let set_word = |extended: &mut Extended, at: usize, value: u16| {
            extended[at..at + 2].copy_from_slice(&value.to_le_bytes());
        };
        if random.below(2) == 0 {
            set_word(&mut extended, image::FCW, random.next() as u16 & 0xF3F | 0x40);
            set_word(&mut extended, image::FSW, random.next() as u16 & 0x7F3F);
        }
        // Exceptions that are not masked are rarely pending. The processor computes whether they are.
        let (control, status) = (image::word(&extended, image::FCW), image::word(&extended, image::FSW));
        let status = if random.below(4) != 0 { status & (control | !0x3F) } else { status };
        let is_pending = status & !control & 0x3F != 0;
        set_word(&mut extended, image::FSW, if is_pending { status | 0x8080 } else { status });
        let mut state = DirectState::new(extended);
        for register in &mut state.general {
            *register = if random.below(2) == 0 { number(random) } else { random.below(256) };
        }
        for register in [6, 7] {
            let pages = [DATA + 0x40, DATA + 0xFC0, DATA + 0x1FB0, DATA - 0x70];
            let start = pages[[0, 0, 1, 1, 2, 3][random.below(6) as usize]];
            let alignment = [1, 4, 16, 16, 32][random.below(5) as usize];
            state.general[register] = (start + random.below(0x80)) / alignment * alignment;
        }
        state.flags = 2 | random.next() & STATUS_FLAGS;
        let mut data = vec![0; DATA_SIZE];
        for bytes in data.as_chunks_mut::<8>().0 {
            *bytes = number(random).to_le_bytes();
        }
        Case { code, instruction, state, data }
    }

    /// True if the memory operand is at the data or beside it.
    fn stays_in_reach(&self) -> bool {
        let instruction = &self.instruction;
        (0..instruction.op_count()).all(|operand| match instruction.op_kind(operand) {
            OpKind::Memory => {
                let base = match instruction.memory_base() {
                    Register::RSI => self.state.general[6],
                    Register::RDI => self.state.general[7],
                    _ => return false,
                };
                let address = base.wrapping_add(instruction.memory_displacement64());
                instruction.memory_index() == Register::None
                    && instruction.segment_prefix() == Register::None
                    && (DATA - 0x1000..DATA + DATA_SIZE as u64 + 0x1000).contains(&address)
            }
            OpKind::Register => true,
            // Whether elements that are not stored can fault depends on the processor.
            OpKind::MemorySegRDI => (DATA..DATA + DATA_SIZE as u64 - 16).contains(&self.state.general[7]),
            kind => !matches!(kind, OpKind::MemorySegDI | OpKind::MemorySegEDI),
        })
    }

    /// Gives a processor what this works on.
    fn prepare(&self, fake: &FakeCpu) {
        fake.memory.write(PHYSICAL_CODE, &self.code).unwrap();
        fake.memory.write(PHYSICAL_DATA, &self.data).unwrap();
        *fake.xsave.borrow_mut() = self.state.extended;
        let mut registers = fake.registers.borrow_mut();
        set_general(&mut registers.general, &self.state.general);
        (registers.general.rip, registers.general.rflags) = (CODE, self.state.flags);
    }

    /// Executes it both ways; true if an exception was raised, the same one.
    fn compare(&self, direct: &mut Direct, fake: &FakeCpu) -> Result<bool, String> {
        self.prepare(fake);
        let mut device = Device::default();
        let mut cpu = Cpu::new(fake, &fake.memory, &mut device).unwrap();
        let done = execute(&mut cpu);
        if done.is_err() {
            cpu.restart();
        }
        cpu.commit().unwrap();
        let emulated = match done {
            Ok(()) => None,
            Err(EmulationError::Exception(exception)) => Some(Raised {
                vector: exception.vector,
                code: exception.code.unwrap_or(0),
                address: exception.address.unwrap_or(0),
            }),
            Err(other) => return Err(self.difference(&format!("{other:?}"))),
        };

        let mut state = self.state.clone();
        direct.data().copy_from_slice(&self.data);
        let native = direct.run(&self.code, &mut state).map(|raised| match raised.vector {
            // In a process, accesses are those of ring 3.
            14 => Raised { code: raised.code & !4, ..raised },
            _ => Raised { address: 0, ..raised },
        });
        // Processors access the parts of an x87 state in an order of their own.
        let address = if self.instruction.memory_size().size() > 16 { !0xFFF } else { !0 };
        let seen = |raised: Option<Raised>| {
            raised.map(|raised| Raised { address: raised.address & address, ..raised })
        };
        if seen(emulated) != seen(native) {
            return Err(self.difference(&format!("raises {emulated:x?} and not {native:x?}")));
        }
        let mut general = [0; 16];
        get_general(&fake.now().general, &mut general);
        if general != state.general {
            return Err(
                self.difference(&format!("general registers are {general:x?} and not {:x?}", state.general))
            );
        }
        let (flags, native_flags) = (fake.now().general.rflags & STATUS_FLAGS, state.flags & STATUS_FLAGS);
        if flags != native_flags {
            return Err(self.difference(&format!("flags are {flags:#x} and not {native_flags:#x}")));
        }
        let mut memory = vec![0; DATA_SIZE];
        fake.memory.read(PHYSICAL_DATA, &mut memory).unwrap();
        let native_memory = direct.data();
        if memory != *native_memory
            && let Some(at) = (0..DATA_SIZE).find(|&at| memory[at] != native_memory[at])
        {
            let (emulated, native) = (memory[at], native_memory[at]);
            return Err(self.difference(&format!("memory at {at:#x} is {emulated:#x} and not {native:#x}")));
        }
        let (extended, native) = (canonical(&fake.xsave.borrow()), canonical(&state.extended));
        let differ: Vec<String> = (0..if extended == native { 0 } else { extended.len() })
            .filter(|&at| extended[at] != native[at])
            .map(|at| format!("{at}: {:#x} and not {:#x}", extended[at], native[at]))
            .take(12)
            .collect();
        if !differ.is_empty() {
            return Err(self.difference(&format!("extended registers {}", differ.join(", "))));
        }
        Ok(emulated.is_some())
    }

    fn difference(&self, what: &str) -> String {
        let (mxcsr, extended) = (image::mxcsr(&self.state.extended), &self.state.extended);
        let (control, status) = (image::control(extended), image::status(extended));
        format!(
            "{:02x?} {:?} mxcsr {mxcsr:#x} fcw {control:#x} fsw {status:#x} rsi {:#x} rdi {:#x}: {what}",
            self.code,
            self.instruction.code(),
            self.state.general[6],
            self.state.general[7]
        )
    }
}

fn set_general(to: &mut crate::arch::GeneralRegisters, from: &[u64; 16]) {
    [
        to.rax, to.rcx, to.rdx, to.rbx, to.rsp, to.rbp, to.rsi, to.rdi, to.r8, to.r9, to.r10, to.r11, to.r12,
        to.r13, to.r14, to.r15,
    ] = *from;
}

fn get_general(from: &crate::arch::GeneralRegisters, to: &mut [u64; 16]) {
    *to = [
        from.rax, from.rcx, from.rdx, from.rbx, from.rsp, from.rbp, from.rsi, from.rdi, from.r8, from.r9,
        from.r10, from.r11, from.r12, from.r13, from.r14, from.r15,
    ];
}
