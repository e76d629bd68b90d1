//! Event delivery on a processor with small descriptor tables in each mode.

#[path = "iret_test.rs"]
mod iret;
#[path = "long_test.rs"]
mod long;
#[path = "protected_test.rs"]
mod protected;
#[path = "real_test.rs"]
mod real;

use crate::arch::SegmentRegister;

use crate::emulate::testing::{CODE, FakeCpu};

const GDT: u64 = 0x4000;
const IDT: u64 = 0x5000;
const TSS: u64 = 0x6000;
/// Where the stack of ring 0 in the task state segment ends.
const RING_0_STACK: u64 = 0x7000;
/// Where the stack that the interrupted program uses ends.
const STACK: u64 = 0x8000;
/// Where the second stack of the interrupt stack table ends; not a multiple of 16.
const IST2: u64 = 0x9008;

const CODE_64: u16 = 0x08;
const DATA: u16 = 0x10;
const CODE_32: u16 = 0x18;
const USER_CODE_32: u16 = 0x20 | 3;
const USER_DATA: u16 = 0x28 | 3;
const USER_CODE_64: u16 = 0x30 | 3;
const CONFORMING: u16 = 0x38;
const CODE_NOT_PRESENT: u16 = 0x40;
const DATA_16: u16 = 0x48;
const READ_ONLY: u16 = 0x50;
const DATA_NOT_PRESENT: u16 = 0x58;
const LONG_AND_BIG: u16 = 0x60;
const SMALL_CODE: u16 = 0x68;
const BEYOND: u16 = 0x70;

const INTERRUPT: u8 = 0x8E;
const TRAP: u8 = 0x8F;
const USER_INTERRUPT: u8 = 0xEE;
const ABSENT: u8 = 0x0E;

/// Where the handler of `vector` is.
fn handler(vector: u8) -> u64 {
    0x20_0000 + 16 * u64::from(vector)
}

/// Writes the descriptor table; none of its segments has been accessed.
fn write_gdt(fake: &mut FakeCpu) {
    let descriptors: [u64; 14] = [
        0,
        0x00AF_9A00_0000_FFFF,
        0x00CF_9200_0000_FFFF,
        0x00CF_9A00_0000_FFFF,
        0x00CF_FA00_0000_FFFF,
        0x00CF_F200_0000_FFFF,
        0x00AF_FA00_0000_FFFF,
        0x00AF_9E00_0000_FFFF,
        0x00AF_1A00_0000_FFFF,
        0x0000_9200_0000_FFFF,
        0x00CF_9000_0000_FFFF,
        0x00CF_1200_0000_FFFF,
        0x00EF_9A00_0000_FFFF,
        0x0040_9A00_0000_0FFF,
    ];
    for (index, descriptor) in (0..).zip(descriptors) {
        fake.memory.write_u64(GDT + 8 * index, descriptor).unwrap();
    }
    let system = &mut fake.registers.get_mut().system;
    (system.gdt.base, system.gdt.limit) = (GDT, 8 * 14 - 1);
}

/// Makes the gate of `vector` in the table of 64-bit mode.
fn gate_64(fake: &FakeCpu, vector: u8, selector: u16, kind: u8, stack: u8) {
    let offset = handler(vector);
    let gate = offset & 0xFFFF
        | u64::from(selector) << 16
        | u64::from(stack) << 32
        | u64::from(kind) << 40
        | (offset >> 16 & 0xFFFF) << 48;
    fake.memory.write_u64(IDT + 16 * u64::from(vector), gate).unwrap();
}

/// Makes the gate of `vector` in the table of protected mode.
fn gate_32(fake: &FakeCpu, vector: u8, selector: u16, kind: u8) {
    let offset = handler(vector);
    let gate =
        offset & 0xFFFF | u64::from(selector) << 16 | u64::from(kind) << 40 | (offset >> 16 & 0xFFFF) << 48;
    fake.memory.write_u64(IDT + 8 * u64::from(vector), gate).unwrap();
}

/// Ring 0 of 64-bit mode, with gates for all vectors below 0x40 and for 0x80, which ring 3 may use.
fn long(code: &[u8]) -> FakeCpu {
    let mut fake = FakeCpu::long_mode(code);
    write_gdt(&mut fake);
    for vector in 0..0x40 {
        gate_64(&fake, vector, CODE_64, INTERRUPT, 0);
    }
    gate_64(&fake, 0x80, CODE_64, USER_INTERRUPT, 0);
    fake.memory.write_u64(TSS + 4, RING_0_STACK).unwrap();
    fake.memory.write_u64(TSS + 44, IST2).unwrap();
    let registers = fake.registers.get_mut();
    let system = &mut registers.system;
    (system.idt.base, system.idt.limit) = (IDT, 16 * 0x81 - 1);
    system.tr = SegmentRegister { base: TSS, limit: 103, selector: 0x78, type_: 11, present: 1, ..system.tr };
    system.ss = SegmentRegister { selector: DATA, db: 1, ..system.ss };
    fake
}

/// Ring 3 of long mode, in 64-bit code if `wide` and in 32-bit code if not.
fn user(code: &[u8], wide: bool) -> FakeCpu {
    let mut fake = long(code);
    let system = &mut fake.registers.get_mut().system;
    let cs = if wide { USER_CODE_64 } else { USER_CODE_32 };
    system.cs = SegmentRegister { selector: cs, l: wide.into(), db: (!wide).into(), dpl: 3, ..system.cs };
    system.ss = SegmentRegister { selector: USER_DATA, dpl: 3, ..system.ss };
    fake
}

/// Ring 0 of 32-bit protected mode without paging, with gates as [`long`] has them.
fn protected(code: &[u8]) -> FakeCpu {
    let mut fake = long(code);
    for at in (IDT..IDT + 0x1000).step_by(8) {
        fake.memory.write_u64(at, 0).unwrap();
    }
    for vector in 0..0x40 {
        gate_32(&fake, vector, CODE_32, INTERRUPT);
    }
    gate_32(&fake, 0x80, CODE_32, USER_INTERRUPT);
    fake.memory.write_u64(TSS + 4, RING_0_STACK | u64::from(DATA) << 32).unwrap();
    let system = &mut fake.registers.get_mut().system;
    (system.cr0, system.efer, system.idt.limit) = (0x33, 0, 8 * 0x81 - 1);
    system.cs = SegmentRegister { selector: CODE_32, l: 0, db: 1, ..system.cs };
    fake
}

/// Ring 3 of 32-bit protected mode.
fn protected_user(code: &[u8]) -> FakeCpu {
    let mut fake = protected(code);
    let system = &mut fake.registers.get_mut().system;
    system.cs = SegmentRegister { selector: USER_CODE_32, dpl: 3, ..system.cs };
    system.ss = SegmentRegister { selector: USER_DATA, dpl: 3, ..system.ss };
    fake
}

/// Virtual-8086 mode with I/O privilege level 3; the code is at 0x1000:0, the stack at 0x700:0x1000.
fn virtual_8086(code: &[u8]) -> FakeCpu {
    let mut fake = protected(code);
    let registers = fake.registers.get_mut();
    let segment = |selector: u16| super::loading::virtual_8086(selector);
    let system = &mut registers.system;
    (system.cs, system.ss) = (segment(0x1000), segment(0x700));
    (system.ds, system.es) = (segment(0x111), segment(0x222));
    (system.fs, system.gs) = (segment(0x333), segment(0x444));
    (registers.general.rip, registers.general.rsp) = (CODE - 0x1_0000, 0x1000);
    registers.general.rflags = 0x2_3202;
    fake
}

/// `count` values of `width` bytes from `address` on.
fn values(fake: &FakeCpu, address: u64, width: usize, count: usize) -> Vec<u64> {
    let value = |index: usize| {
        let mut bytes = [0; 8];
        fake.memory.read(address + (index * width) as u64, &mut bytes[..width]).unwrap();
        u64::from_le_bytes(bytes)
    };
    (0..count).map(value).collect()
}

/// `count` values of `width` bytes from the top of the stack on, where the base of SS is 0.
fn stacked(fake: &FakeCpu, width: usize, count: usize) -> Vec<u64> {
    values(fake, fake.now().general.rsp, width, count)
}

/// Puts `values` of `width` bytes each on the stack, the last of them deepest.
fn put(fake: &mut FakeCpu, width: usize, values: &[u64]) {
    let rsp = STACK - (values.len() * width) as u64;
    for (index, value) in values.iter().enumerate() {
        fake.memory.write(rsp + (index * width) as u64, &value.to_le_bytes()[..width]).unwrap();
    }
    fake.registers.get_mut().general.rsp = rsp;
}

/// The vector whose handler has been entered, with RIP at its first instruction.
fn entered(fake: &FakeCpu) -> Option<u8> {
    (0..=255).find(|vector| handler(*vector) == fake.now().general.rip)
}
