// SPDX-License-Identifier: MIT OR GPL-2.0
//! Ports, and memory that is not there.

use std::path::Path;

use super::{Check, ensure, equal};
use crate::Outcome;
use crate::guest::{DATA, MMIO, Machine, code};
use crate::kvm::Exit;

/// Data of `outs` until it halts, and the ports and sizes.
fn strings_out(machine: &mut Machine, port: u16, size: u8) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    loop {
        match machine.vcpu.run()? {
            Exit::Out { port: at, size: found, data } if at == port && found == size => all.extend(data),
            Exit::Halt => return Ok(all),
            other => return Err(machine.instead(&other, "outs")),
        }
    }
}

/// Answers `ins` with 1, 2, 3 ... until it halts.
fn strings_in(machine: &mut Machine, port: u16, size: u8) -> Result<u32, String> {
    let mut next = 0_u8;
    let mut total = 0;
    loop {
        match machine.vcpu.run()? {
            Exit::In { port: at, size: found, count } if at == port && found == size => {
                let bytes: Vec<u8> = (0..count * u32::from(size))
                    .map(|_| {
                        next = next.wrapping_add(1);
                        next
                    })
                    .collect();
                machine.vcpu.answer_port(&bytes);
                total += count;
            }
            Exit::Halt => return Ok(total),
            other => return Err(machine.instead(&other, "ins")),
        }
    }
}

/// The write of these bytes to [`MMIO`] plus `offset`.
fn write(offset: u64, data: &[u8]) -> Exit {
    Exit::Write { gpa: MMIO + offset, data: data.to_vec() }
}

fn read(offset: u64, size: u32) -> Exit {
    Exit::Read { gpa: MMIO + offset, size }
}

/// Runs to a read from [`MMIO`] plus `offset`, which gets `value`.
fn answer(machine: &mut Machine, offset: u64, size: u32, value: u64) -> Outcome {
    machine.expect(read(offset, size))?;
    machine.vcpu.answer_read(value);
    Ok(())
}

fn real(device: &Path, code: &[u8]) -> Result<Machine, String> {
    Machine::real(device, code)
}

pub const CHECKS: &[Check] = &[
    ("out of 8, 16 and 32 bits, in real mode", |device| {
        let code = code!(16: "mov $0x11223344, %eax", "mov $0x3F8, %dx", "out %al, %dx", "out %ax, %dx",
            "out %eax, %dx", "out %al, $0xE1", "hlt");
        let mut machine = real(device, code)?;
        machine.expect(Exit::Out { port: 0x3F8, size: 1, data: vec![0x44] })?;
        machine.expect(Exit::Out { port: 0x3F8, size: 2, data: vec![0x44, 0x33] })?;
        machine.expect(Exit::Out { port: 0x3F8, size: 4, data: vec![0x44, 0x33, 0x22, 0x11] })?;
        machine.expect(Exit::Out { port: 0xE1, size: 1, data: vec![0x44] })?;
        machine.expect(Exit::Halt)
    }),
    ("in of 8, 16 and 32 bits changes the right part of RAX", |device| {
        let code = code!(64: "mov $-1, %rax", "mov $0x3F8, %dx", "in %dx, %al", "mov %rax, DATA", "in %dx, %ax",
            "mov %rax, DATA + 8", "in %dx, %eax", "mov %rax, DATA + 16", "hlt");
        let mut machine = Machine::long(device, code)?;
        for size in [1, 2, 4] {
            machine.expect(Exit::In { port: 0x3F8, size, count: 1 })?;
            machine.vcpu.answer_port(&[0x11; 4][..usize::from(size)]);
        }
        machine.expect(Exit::Halt)?;
        equal("AL", machine.memory.u64(DATA), 0xFFFF_FFFF_FFFF_FF11)?;
        equal("AX", machine.memory.u64(DATA + 8), 0xFFFF_FFFF_FFFF_1111)?;
        equal("EAX", machine.memory.u64(DATA + 16), 0x1111_1111)
    }),
    ("rep outsb has all data, and leaves RSI and RCX right", |device| {
        let code =
            code!(64: "mov $DATA, %esi", "mov $300, %ecx", "mov $0x3F8, %dx", "cld", "rep outsb", "hlt");
        let mut machine = Machine::long(device, code)?;
        let text: Vec<u8> = (0..300_u32).map(|number| number as u8).collect();
        machine.memory.put(DATA, &text);
        ensure(strings_out(&mut machine, 0x3F8, 1)? == text, "other data")?;
        let regs = machine.vcpu.regs()?;
        equal("RSI", regs.rsi, DATA + 300)?;
        equal("RCX", regs.rcx, 0)
    }),
    ("outsl backwards, and outsw in real mode with another segment", |device| {
        let code =
            code!(64: "mov $DATA + 4, %esi", "mov $2, %ecx", "mov $0x3F8, %dx", "std", "rep outsl", "hlt");
        let mut machine = Machine::long(device, code)?;
        machine.memory.put(DATA, &[1, 2, 3, 4, 5, 6, 7, 8]);
        ensure(strings_out(&mut machine, 0x3F8, 4)? == [5, 6, 7, 8, 1, 2, 3, 4], "other data")?;
        let code = code!(16: "mov $0x5000, %ax", "mov %ax, %fs", "xor %si, %si", "mov $3, %cx",
            "mov $0x3F8, %dx", "cld", "rep outsw %fs:(%si), %dx", "hlt");
        let mut machine = real(device, code)?;
        machine.memory.put(DATA, &[1, 2, 3, 4, 5, 6]);
        ensure(strings_out(&mut machine, 0x3F8, 2)? == [1, 2, 3, 4, 5, 6], "other data in real mode")?;
        equal("SI", machine.vcpu.regs()?.rsi, 6)
    }),
    ("rep insb and insl fill memory", |device| {
        let code =
            code!(64: "mov $DATA, %edi", "mov $200, %ecx", "mov $0x3F8, %dx", "cld", "rep insb", "hlt");
        let mut machine = Machine::long(device, code)?;
        equal("elements", strings_in(&mut machine, 0x3F8, 1)?, 200)?;
        let filled: [u8; 200] = machine.memory.bytes(DATA);
        ensure((1..=200).eq(filled), "other data")?;
        equal("behind it", machine.memory.bytes::<1>(DATA + 200)[0], 0)?;
        let code = code!(64: "mov $DATA, %edi", "mov $3, %ecx", "mov $0x3F8, %dx", "cld", "rep insl", "hlt");
        let mut machine = Machine::long(device, code)?;
        equal("elements", strings_in(&mut machine, 0x3F8, 4)?, 3)?;
        equal("RDI", machine.vcpu.regs()?.rdi, DATA + 12)?;
        equal("memory", machine.memory.u64(DATA + 4), 0x0C0B_0A09_0807_0605)
    }),
    ("writes of 1, 2, 4 and 8 bytes to no memory exit with the data", |device| {
        let code = code!(64: "mov $0x1122334455667788, %rax", "mov $MMIO, %ebx", "mov %al, (%rbx)", "mov %ax, 2(%rbx)",
            "mov %eax, 4(%rbx)", "mov %rax, 8(%rbx)", "movl $0x99, 16(%rbx)", "hlt");
        let mut machine = Machine::long(device, code)?;
        machine.expect(write(0, &[0x88]))?;
        machine.expect(write(2, &[0x88, 0x77]))?;
        machine.expect(write(4, &[0x88, 0x77, 0x66, 0x55]))?;
        machine.expect(write(8, &[0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]))?;
        machine.expect(write(16, &[0x99, 0, 0, 0]))?;
        machine.expect(Exit::Halt)
    }),
    ("reads from no memory get the value, with its extension", |device| {
        let code = code!(64: "mov $MMIO, %ebx", "mov $-1, %rax", "mov (%rbx), %al", "mov %rax, DATA",
            "movzbl 1(%rbx), %eax", "mov %rax, DATA + 8", "movsbq 2(%rbx), %rax", "mov %rax, DATA + 16",
            "movslq 4(%rbx), %rax", "mov %rax, DATA + 24", "mov 8(%rbx), %rax", "mov %rax, DATA + 32", "hlt");
        let mut machine = Machine::long(device, code)?;
        answer(&mut machine, 0, 1, 0x80)?;
        answer(&mut machine, 1, 1, 0x80)?;
        answer(&mut machine, 2, 1, 0x80)?;
        answer(&mut machine, 4, 4, 0x8000_0000)?;
        answer(&mut machine, 8, 8, 0x0123_4567_89AB_CDEF)?;
        machine.expect(Exit::Halt)?;
        for (number, wanted) in (0..).zip([
            0xFFFF_FFFF_FFFF_FF80,
            0x80,
            0xFFFF_FFFF_FFFF_FF80,
            0xFFFF_FFFF_8000_0000,
            0x0123_4567_89AB_CDEF,
        ]) {
            equal(&format!("read {number}"), machine.memory.u64(DATA + 8 * number), wanted)?;
        }
        Ok(())
    }),
    ("instructions that read and write no memory exit twice", |device| {
        let code = code!(64: "mov $MMIO, %ebx", "addl $5, (%rbx)", "pushf", "pop %rcx", "orb $0x80, 4(%rbx)",
            "xchg %eax, 8(%rbx)", "hlt");
        let mut machine = Machine::long(device, code)?;
        machine.set(|regs| regs.rax = 0x55)?;
        answer(&mut machine, 0, 4, 0xFFFF_FFFB)?;
        machine.expect(write(0, &[0, 0, 0, 0]))?;
        answer(&mut machine, 4, 1, 1)?;
        machine.expect(write(4, &[0x81]))?;
        answer(&mut machine, 8, 4, 0x66)?;
        machine.expect(write(8, &[0x55, 0, 0, 0]))?;
        machine.expect(Exit::Halt)?;
        let regs = machine.vcpu.regs()?;
        equal("EAX", regs.rax, 0x66)?;
        equal("CF and ZF", regs.rcx & 0x41, 0x41)
    }),
    ("comparisons with no memory set the flags", |device| {
        let code = code!(64: "mov $MMIO, %ebx", "cmpl $7, (%rbx)", "sete %al", "testb $1, 4(%rbx)", "setz %cl", "hlt");
        let mut machine = Machine::long(device, code)?;
        answer(&mut machine, 0, 4, 7)?;
        answer(&mut machine, 4, 1, 2)?;
        machine.expect(Exit::Halt)?;
        let regs = machine.vcpu.regs()?;
        equal("equal", regs.rax & 0xFF, 1)?;
        equal("zero", regs.rcx & 0xFF, 1)
    }),
    ("string instructions work with no memory", |device| {
        let code = code!(64: "cld", "mov $MMIO, %edi", "mov $3, %ecx", "mov $0x5A, %al", "rep stosb",
            "mov $MMIO + 16, %esi", "mov $DATA, %edi", "mov $2, %ecx", "rep movsl", "hlt");
        let mut machine = Machine::long(device, code)?;
        for offset in 0..3 {
            machine.expect(write(offset, &[0x5A]))?;
        }
        answer(&mut machine, 16, 4, 0x1111_1111)?;
        answer(&mut machine, 20, 4, 0x2222_2222)?;
        machine.expect(Exit::Halt)?;
        equal("memory", machine.memory.u64(DATA), 0x2222_2222_1111_1111)?;
        equal("RCX", machine.vcpu.regs()?.rcx, 0)
    }),
    ("the instruction ends when the guest is entered again", |device| {
        let mut machine =
            Machine::long(device, code!(64: "mov $MMIO, %ebx", "mov (%rbx), %eax", "out %al, $0xE0"))?;
        answer(&mut machine, 0, 4, 0x42)?;
        machine.vcpu.run_area().immediate_exit = 1;
        machine.expect(Exit::Interrupted)?;
        equal("EAX", machine.vcpu.regs()?.rax, 0x42)?;
        machine.vcpu.run_area().immediate_exit = 0;
        equal("AL", machine.expect_out(0xE0)?, 0x42)
    }),
    ("no memory in real mode and in protected mode", |device| {
        let code =
            code!(32: "mov $MMIO, %ebx", "movw $0x1234, (%ebx)", "mov 4(%ebx), %eax", "out %al, $0xE0");
        let mut machine = Machine::new(device, crate::guest::Mode::Protected, code)?;
        machine.expect(write(0, &[0x34, 0x12]))?;
        answer(&mut machine, 4, 4, 0x21)?;
        equal("AL", machine.expect_out(0xE0)?, 0x21)?;
        // Real mode reaches the first MiB: without its slot, and with one for the code.
        let code =
            code!(16: "mov $0x8000, %ax", "mov %ax, %ds", "movb $7, (5)", "mov (6), %al", "out %al, $0xE0");
        let mut machine = real(device, code)?;
        crate::guest::map(&machine.vm, 0, 0, &machine.memory, 0, 0, 0)?;
        crate::guest::map(&machine.vm, 0, 0, &machine.memory, 0, 0x8_0000, 0)?;
        machine.expect(Exit::Write { gpa: 0x8_0005, data: vec![7] })?;
        machine.expect(Exit::Read { gpa: 0x8_0006, size: 1 })?;
        machine.vcpu.answer_read(0x31);
        equal("AL in real mode", machine.expect_out(0xE0)?, 0x31)
    }),
    ("an instruction fetched from no memory is an internal error", |device| {
        let mut machine = Machine::long(device, code!(64: "mov $MMIO, %ebx", "jmp *%rbx"))?;
        match machine.vcpu.run()? {
            Exit::InternalError(1) => Ok(()),
            other => Err(machine.instead(&other, "an internal error of emulation")),
        }
    }),
];
