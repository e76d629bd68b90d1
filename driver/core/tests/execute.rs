// SPDX-License-Identifier: MIT OR GPL-2.0
//! Instructions do what the processor does that the tests run on: registers, flags and memory after each
//! of hundreds of thousands of random ones.

mod random;

use std::arch::asm;

use iced_x86::{Decoder, DecoderOptions, Register};
use random::Random;
use yakvm_core::decode::decode;
use yakvm_core::execute::{Registers, yakvm_advance, yakvm_elements, yakvm_execute, yakvm_offset};
use yakvm_core::insn::{self, Insn, ONCE, Operation};

const RSP: usize = 4;
const RCX: usize = 1;
/// Memory that instructions use: a page, addressed in its middle.
const SIZE: usize = 4096;
const MIDDLE: u64 = SIZE as u64 / 2;

/// Pages in the lowest 2 GiB, so that four bytes can hold their addresses: code, data.
fn map() -> (*mut u8, *mut u8) {
    // SAFETY: a new mapping.
    let pages = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            2 * SIZE,
            libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
            -1,
            0,
        )
    };
    assert_ne!(pages, libc::MAP_FAILED);
    let pages: *mut u8 = pages.cast();
    (pages, pages.wrapping_add(SIZE))
}

/// What the assembly below loads and stores: RAX to R15 without RSP, flags, the address of the code.
static mut STATE: [u64; 18] = [0; 18];

/// Runs the function at `code` with these registers; RSP stays.
///
/// # Safety
/// The code must return, and use no memory but its own. Only one thread may do this.
unsafe fn run(code: *const u8, registers: &mut Registers) {
    // SAFETY: see above; the registers that the compiler reserves are saved.
    unsafe {
        let mut state = [0; 18];
        state[..16].copy_from_slice(&registers.gpr);
        state[16] = registers.rflags;
        state[17] = code as u64;
        (&raw mut STATE).write(state);
        asm!(
            "push rbx", "push rbp",
            "push qword ptr [rip + {0} + 128]", "popfq",
            "mov rax, [rip + {0}]", "mov rcx, [rip + {0} + 8]", "mov rdx, [rip + {0} + 16]",
            "mov rbx, [rip + {0} + 24]", "mov rbp, [rip + {0} + 40]", "mov rsi, [rip + {0} + 48]",
            "mov rdi, [rip + {0} + 56]", "mov r8, [rip + {0} + 64]", "mov r9, [rip + {0} + 72]",
            "mov r10, [rip + {0} + 80]", "mov r11, [rip + {0} + 88]", "mov r12, [rip + {0} + 96]",
            "mov r13, [rip + {0} + 104]", "mov r14, [rip + {0} + 112]", "mov r15, [rip + {0} + 120]",
            "call qword ptr [rip + {0} + 136]",
            "mov [rip + {0}], rax", "mov [rip + {0} + 8], rcx", "mov [rip + {0} + 16], rdx",
            "mov [rip + {0} + 24], rbx", "mov [rip + {0} + 40], rbp", "mov [rip + {0} + 48], rsi",
            "mov [rip + {0} + 56], rdi", "mov [rip + {0} + 64], r8", "mov [rip + {0} + 72], r9",
            "mov [rip + {0} + 80], r10", "mov [rip + {0} + 88], r11", "mov [rip + {0} + 96], r12",
            "mov [rip + {0} + 104], r13", "mov [rip + {0} + 112], r14", "mov [rip + {0} + 120], r15",
            "pushfq", "pop qword ptr [rip + {0} + 128]", "cld",
            "pop rbp", "pop rbx",
            sym STATE,
            out("rax") _, out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _, out("r8") _, out("r9") _,
            out("r10") _, out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
        let state = (&raw const STATE).read();
        registers.gpr.copy_from_slice(&state[..16]);
        registers.rflags = state[16];
    }
}

/// An instruction with an operand at a register's address, or a string instruction.
fn instruction(random: &mut Random) -> Vec<u8> {
    const ONE: &[u8] = &[
        0x63, 0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0xa4, 0xa5, 0xaa, 0xab, 0xac,
        0xad, 0xae, 0xaf, 0xc6, 0xc7, 0x69, 0x6b, 0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3, 0xf6, 0xf7, 0xfe, 0xff,
    ];
    const TWO: &[u8] =
        &[0xa3, 0xab, 0xb0, 0xb1, 0xb3, 0xb6, 0xb7, 0xba, 0xbb, 0xbe, 0xbf, 0xc0, 0xc1, 0xaf, 0xc7];
    let mut bytes = Vec::new();
    for prefix in [0x66, 0x67, 0xf0, 0xf2, 0xf3] {
        if random.below(5) == 0 {
            bytes.push(prefix);
        }
    }
    if random.below(2) == 0 {
        bytes.push(0x40 | random.below(16) as u8);
    }
    match random.below(4) {
        0 => bytes.push((random.below(8) << 3 | random.below(4)) as u8),
        1 if random.below(3) == 0 => {
            bytes.extend([0x0f, (0x40 + random.below(2) * 0x50 + random.below(16)) as u8]);
        }
        1 => bytes.extend([0x0f, TWO[random.below(TWO.len())]]),
        _ => bytes.push(ONE[random.below(ONE.len())]),
    }
    // No SIB byte, no displacement.
    bytes.push((random.below(8) << 3 | [0, 1, 2, 3, 6, 7][random.below(6)]) as u8);
    let random_bytes = random.bytes();
    bytes.extend(random_bytes);
    bytes.truncate(15);
    bytes
}

/// The flags that the instruction leaves undefined, started with these registers.
fn undefined(insn: &Insn, before: &Registers) -> u64 {
    use Operation::*;
    const AF: u64 = 0x10;
    const OF: u64 = 0x800;
    let bits = u64::from(insn.memory_size) * 8;
    let count = if insn.immediate_source != 0 { insn.immediate } else { before.gpr[RCX] };
    let count = count & if bits == 64 { 63 } else { 31 };
    match insn.operation {
        And | Or | Xor | Test => AF,
        // OF, SF, AF, PF.
        Bt | Bts | Btr | Btc => OF | 0x80 | AF | 4,
        // SF, ZF, AF, PF.
        Imul | Mul | MulSigned => 0xd4,
        Div | DivSigned => 0x8d5,
        Rol | Ror | Rcl | Rcr if count > 1 => OF,
        Shl | Shr | Sar if count > bits => OF | AF | 1,
        Shl | Shr | Sar if count > 1 => OF | AF,
        Shl | Shr | Sar => AF,
        _ => 0,
    }
}

/// Registers with which the instruction stays within the page at `page`.
fn registers(random: &mut Random, insn: &Insn, page: u64) -> Registers {
    let mut registers = Registers { gpr: std::array::from_fn(|_| random.number()), ..Default::default() };
    let string = insn.access & insn::STRING != 0;
    if string && insn.repeat != ONCE {
        registers.gpr[RCX] = random.below(6) as u64;
    }
    if insn.bit_string != 0 {
        // Bits of the page on both sides, in a register of any size.
        registers.gpr[usize::from(insn.reg)] = (random.below(0x3000) as u64).wrapping_sub(0x1800);
    }
    registers.gpr[usize::from(insn.base)] = page + MIDDLE + random.below(9) as u64;
    if insn.access & insn::COPIES != 0 {
        registers.gpr[7] = page + MIDDLE + random.below(300) as u64;
    }
    registers.gpr[RSP] = 0;
    // All flags of results, and the direction.
    registers.rflags = random.next() & 0x8d5 | 0x202 | if string { random.next() & 0x400 } else { 0 };
    registers.rip = random.next();
    registers
}

/// Executes `insn` to its end, unless it raises #DE, as the driver does, in the copy `memory` of the page at `page`.
fn emulate(insn: &Insn, registers: &mut Registers, memory: &mut [u8], page: u64) -> bool {
    let next = registers.rip.wrapping_add(u64::from(insn.length));
    let size = usize::from(insn.memory_size);
    while registers.rip != next {
        if insn.access & insn::STRING != 0 && yakvm_elements(insn, registers, 0, 1) == 0 {
            yakvm_advance(insn, registers, 0);
            break;
        }
        let source = (yakvm_offset(insn, registers, false) - page) as usize;
        let copies = insn.access & insn::COPIES != 0;
        let target = if copies { (yakvm_offset(insn, registers, true) - page) as usize } else { source };
        let mut value = [0; 8];
        if insn.access & insn::READS != 0 {
            value[..size].copy_from_slice(&memory[source..source + size]);
        }
        let result = yakvm_execute(insn, registers, u64::from_le_bytes(value));
        if registers.rip != next && insn.access & insn::STRING == 0 {
            assert!(matches!(insn.operation, Operation::Div | Operation::DivSigned));
            return false;
        }
        if insn.access & insn::WRITES != 0 {
            memory[target..target + size].copy_from_slice(&result.to_le_bytes()[..size]);
        }
    }
    assert_eq!(registers.rip, next);
    true
}

#[test]
fn instructions_do_what_the_processor_does() {
    let mut random = Random::new(4);
    let (code, page) = map();
    let mut done = std::collections::BTreeMap::new();
    for _ in 0..400_000 {
        let bytes = instruction(&mut random);
        let Ok(insn) = decode(&bytes, 64) else { continue };
        if usize::from(insn.base) == RSP || usize::from(insn.reg) == RSP && insn.high == 0 {
            continue;
        }
        // The stack is that of this test.
        if matches!(insn.operation, Operation::Push | Operation::Pop) {
            continue;
        }
        if insn.bit_string != 0 && insn.reg == insn.base {
            continue;
        }
        let before = registers(&mut random, &insn, page as u64);
        let memory: [u8; SIZE] = std::array::from_fn({
            // A page of few different values, so that comparisons find something.
            let kind = random.next();
            let mut state = random.next();
            move |_| {
                state = state.rotate_left(7).wrapping_mul(0x2545_f491_4f6c_dd1d);
                if kind & 3 == 0 { state as u8 } else { (kind >> 2) as u8 }
            }
        });
        let (mut theirs, mut ours, mut our_memory) = (before, before, memory);
        if !emulate(&insn, &mut ours, &mut our_memory, page as u64) {
            assert_eq!(ours, before, "#DE changes nothing");
            continue;
        }
        // SAFETY: the pages are ours; the instruction uses the second one, and a RET follows it.
        let their_memory = unsafe {
            std::ptr::copy_nonoverlapping(memory.as_ptr(), page, SIZE);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), code, usize::from(insn.length));
            code.add(usize::from(insn.length)).write(0xc3);
            run(code, &mut theirs);
            std::slice::from_raw_parts(page, SIZE)
        };
        let context = || format!("{bytes:02x?} {insn:?} from {before:x?}");
        assert_eq!(ours.gpr, theirs.gpr, "registers of {}", context());
        let defined = !undefined(&insn, &before);
        assert_eq!(ours.rflags & defined, theirs.rflags & defined, "flags of {}", context());
        assert!(our_memory == their_memory, "memory of {}", context());
        *done.entry(insn.operation as u8).or_insert(0) += 1;
    }
    assert_eq!(done.len(), 37, "not every operation was met: {done:?}");
    assert!(done.values().all(|count| *count > 400), "some operations are rare: {done:?}");
}

#[test]
fn addresses_are_those_that_iced_computes() {
    let mut random = Random::new(5);
    let mut compared = 0;
    for bits in [16, 32, 64] {
        for _ in 0..400_000 {
            let mut bytes = random.bytes();
            if random.below(2) == 0 {
                bytes[0] = 0x89;
            }
            let Ok(insn) = decode(&bytes, bits) else { continue };
            if insn.bit_string != 0 || insn.access & insn::COPIES != 0 {
                continue;
            }
            let mut registers = Registers { rip: random.next() >> (64 - bits), ..Default::default() };
            registers.gpr = std::array::from_fn(|_| random.number());
            let mut decoder = Decoder::with_ip(bits, &bytes, registers.rip, DecoderOptions::NONE);
            let instruction = decoder.decode();
            let memory = instruction.op_kinds().position(|kind| {
                use iced_x86::OpKind::*;
                !matches!(kind, Register | Immediate8 | Immediate16 | Immediate32 | Immediate8to16)
                    && !matches!(kind, Immediate8to32 | Immediate8to64 | Immediate32to64)
            });
            let value = |register: Register, _, _| {
                let mask = u64::MAX >> (64 - 8 * register.size().min(8));
                Some(if register.is_gpr() { registers.gpr[register.number()] & mask } else { 0 })
            };
            let theirs = instruction.virtual_address(memory.unwrap() as u32, 0, value).unwrap();
            let ours = yakvm_offset(&insn, &registers, false);
            assert_eq!(ours, theirs, "{bits}-bit code {bytes:02x?}: {insn:?}");
            compared += 1;
        }
    }
    assert!(compared > 500_000, "only {compared} were known");
}

#[test]
fn push_and_pop_move_the_stack() {
    let mut registers = Registers::default();
    registers.gpr[RSP] = 0x1000;
    registers.gpr[0] = 0xb8000;
    // PUSH [RAX]; POP [RSP+8], whose address counts from the stack after it.
    let push = decode(&[0xff, 0x30], 64).unwrap();
    assert_eq!(
        (yakvm_offset(&push, &registers, false), yakvm_offset(&push, &registers, true)),
        (0xb8000, 0xff8)
    );
    assert_eq!(yakvm_execute(&push, &mut registers, 5), 5);
    assert_eq!((registers.gpr[RSP], registers.rip), (0xff8, 2));
    let pop = decode(&[0x8f, 0x44, 0x24, 0x08], 64).unwrap();
    assert_eq!(
        (yakvm_offset(&pop, &registers, false), yakvm_offset(&pop, &registers, true)),
        (0xff8, 0x1008)
    );
    assert_eq!(yakvm_execute(&pop, &mut registers, 7), 7);
    assert_eq!((registers.gpr[RSP], registers.rip), (0x1000, 6));
    // In 16-bit code SP wraps.
    registers.gpr[RSP] = 0x5_0000;
    let push = decode(&[0xff, 0x37], 16).unwrap();
    assert_eq!(yakvm_offset(&push, &registers, true), 0xfffe);
    yakvm_execute(&push, &mut registers, 0);
    assert_eq!(registers.gpr[RSP], 0x5_fffe);
}

#[test]
fn divisions_without_a_result_change_nothing() {
    // DIV and IDIV of RDX:RAX by [RDI].
    for (bytes, rdx, rax, divisor) in [
        ([0x48, 0xf7, 0x37], 0, 1, 0),
        ([0x48, 0xf7, 0x37], 2, 0, 2),
        ([0x48, 0xf7, 0x3f], 0, 0, 0),
        ([0x48, 0xf7, 0x3f], u64::MAX, 1 << 63, u64::MAX),
        ([0x48, 0xf7, 0x3f], 1 << 63, 0, u64::MAX),
        ([0x48, 0xf7, 0x3f], 0, 1 << 63, 1),
    ] {
        let insn = decode(&bytes, 64).unwrap();
        let mut registers = Registers { rip: 9, ..Registers::default() };
        (registers.gpr[0], registers.gpr[2]) = (rax, rdx);
        let before = registers;
        yakvm_execute(&insn, &mut registers, divisor);
        assert_eq!(registers, before, "{rdx:x}:{rax:x} by {divisor:x}");
    }
}

#[test]
fn string_io_moves_what_fits_into_the_page_at_once() {
    // REP INSD, and INSD.
    let repeated = decode(&[0xf3, 0x6d], 64).unwrap();
    let single = decode(&[0x6d], 64).unwrap();
    let mut registers = Registers::default();
    registers.gpr[RCX] = 100;
    let elements = |insn, registers: &Registers, linear| yakvm_elements(insn, registers, linear, 1024);
    assert_eq!(elements(&repeated, &registers, 0x1000), 100);
    assert_eq!(elements(&repeated, &registers, 0x1ff0), 4, "up to the end of the page");
    assert_eq!(elements(&repeated, &registers, 0x1ffe), 1, "one across the end");
    assert_eq!(yakvm_elements(&repeated, &registers, 0x1000, 7), 7);
    assert_eq!(elements(&single, &registers, 0x1000), 1);
    yakvm_advance(&repeated, &mut registers, 4);
    assert_eq!((registers.gpr[RCX], registers.gpr[7], registers.rip), (96, 16, 0));
    yakvm_advance(&repeated, &mut registers, 96);
    assert_eq!((registers.gpr[RCX], registers.gpr[7], registers.rip), (0, 400, 2));
    assert_eq!(elements(&repeated, &registers, 0x1000), 0);
    yakvm_advance(&repeated, &mut registers, 0);
    assert_eq!((registers.gpr[RCX], registers.gpr[7], registers.rip), (0, 400, 4));
    // Downwards one at a time.
    registers.gpr[RCX] = 3;
    registers.rflags = 1 << 10;
    assert_eq!(elements(&repeated, &registers, 0x1000), 1);
    yakvm_advance(&repeated, &mut registers, 1);
    assert_eq!((registers.gpr[RCX], registers.gpr[7], registers.rip), (2, 396, 4));
}
