// SPDX-License-Identifier: MIT OR GPL-2.0
//! Memory that is not there.

use super::{Check, equal};
use crate::Outcome;
use crate::guest::{CODE, DATA, MMIO, Machine, Mode, STACK, code, map};
use crate::kvm::{Exit, Memory};

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

/// A guest that single-steps itself: how many traps have come before its code ends.
fn traps(machine: &mut Machine) -> Result<u32, String> {
    let mut count = 0;
    loop {
        match machine.vcpu.run()? {
            Exit::Out { port: 1, .. } => count += 1,
            Exit::Read { .. } => machine.vcpu.answer_read(1),
            Exit::Write { .. } => {}
            Exit::Halt => return Ok(count),
            other => return Err(machine.instead(&other, "a trap")),
        }
    }
}

pub const CHECKS: &[Check] = &[
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
        let mut machine = Machine::new(device, Mode::Protected, code)?;
        machine.expect(write(0, &[0x34, 0x12]))?;
        answer(&mut machine, 4, 4, 0x21)?;
        equal("AL", machine.expect_out(0xE0)?, 0x21)?;
        // Real mode reaches the first MiB: without its slot, and with one for the code.
        let code =
            code!(16: "mov $0x8000, %ax", "mov %ax, %ds", "movb $7, (5)", "mov (6), %al", "out %al, $0xE0");
        let mut machine = Machine::real(device, code)?;
        map(&machine.vm, 0, 0, &machine.memory, 0, 0, 0)?;
        map(&machine.vm, 0, 0, &machine.memory, 0, 0x8_0000, 0)?;
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
    ("the stack is where no memory is", |device| {
        let code = code!(64: "mov $MMIO + 0x100, %esp", "push $0x12", "pop %rax", "call 1f", "hlt", "1:", "std", "pushf",
            "popf", "ret");
        let mut machine = Machine::long(device, code)?;
        machine.expect(write(0xF8, &[0x12, 0, 0, 0, 0, 0, 0, 0]))?;
        answer(&mut machine, 0xF8, 8, 0x34)?;
        let Exit::Write { data: back, .. } = machine.vcpu.run()? else { return Err("no call".into()) };
        machine.expect(write(0xF0, &[0x02, 0x04, 0, 0, 0, 0, 0, 0]))?;
        answer(&mut machine, 0xF0, 8, 2)?;
        answer(&mut machine, 0xF8, 8, u64::from_le_bytes(back.try_into().unwrap_or_default()))?;
        machine.expect(Exit::Halt)?;
        let regs = machine.vcpu.regs()?;
        equal("RAX", regs.rax, 0x34)?;
        equal("RSP", regs.rsp, MMIO + 0x100)?;
        equal("RFLAGS", regs.rflags, 2)
    }),
    ("an operand that is no memory is called, and pushed", |device| {
        let code = code!(64: "mov $MMIO, %ebx", "call *(%rbx)", "push 8(%rbx)", "hlt");
        let mut machine = Machine::long(device, code)?;
        machine.memory.put(CODE + 0x100, &[0xC3]);
        answer(&mut machine, 0, 8, CODE + 0x100)?;
        answer(&mut machine, 8, 8, 0x1234_5678_9ABC_DEF0)?;
        machine.expect(Exit::Halt)?;
        equal("the stack", machine.memory.u64(STACK - 8), 0x1234_5678_9ABC_DEF0)
    }),
    ("both operands of cmps and movs are no memory", |device| {
        let code = code!(64: "cld", "mov $MMIO, %esi", "mov $MMIO + 0x800, %edi", "cmpsl", "setb %al",
            "mov $MMIO + 0x2000, %edi", "movsl", "mov $MMIO + 8, %edi", "movsl", "hlt");
        let mut machine = Machine::long(device, code)?;
        let mut reads = 0;
        for _ in 0..2 {
            match machine.vcpu.run()? {
                Exit::Read { gpa, size: 4 } => {
                    reads += gpa - MMIO;
                    machine.vcpu.answer_read(if gpa == MMIO { 5 } else { 6 });
                }
                other => return Err(machine.instead(&other, "a read")),
            }
        }
        equal("the operands of cmps", reads, 0x800)?;
        answer(&mut machine, 4, 4, 0x1111)?;
        machine.expect(write(0x2000, &[0x11, 0x11, 0, 0]))?;
        answer(&mut machine, 8, 4, 0x2222)?;
        machine.expect(write(8, &[0x22, 0x22, 0, 0]))?;
        machine.expect(Exit::Halt)?;
        equal("below", machine.vcpu.regs()?.rax & 0xFF, 1)
    }),
    ("vector registers are read and written in pieces of 8 bytes", |device| {
        let code = code!(64: "mov $MMIO, %ebx", "movups (%rbx), %xmm1", "movss %xmm1, 32(%rbx)", "movups %xmm1, 16(%rbx)",
            "hlt");
        let mut machine = Machine::long(device, code)?;
        answer(&mut machine, 0, 8, 0x0807_0605_0403_0201)?;
        answer(&mut machine, 8, 8, 0x100F_0E0D_0C0B_0A09)?;
        machine.expect(write(32, &[1, 2, 3, 4]))?;
        machine.expect(write(16, &[1, 2, 3, 4, 5, 6, 7, 8]))?;
        machine.expect(write(24, &[9, 10, 11, 12, 13, 14, 15, 16]))?;
        machine.expect(Exit::Halt)
    }),
    ("cmpxchg16b and movbe work with no memory", |device| {
        let code = code!(64: "mov $MMIO, %ebx", "mov $5, %ecx", "lock cmpxchg16b (%rbx)", "setz %cl",
            "movbe 16(%rbx), %esi", "hlt");
        let mut machine = Machine::long(device, code)?;
        machine.set(|regs| (regs.rax, regs.rdx) = (1, 2))?;
        answer(&mut machine, 0, 8, 1)?;
        answer(&mut machine, 8, 8, 2)?;
        machine.expect(write(0, &[0, 0, 0, 0x10, 0, 0, 0, 0]))?;
        machine.expect(write(8, &[5, 0, 0, 0, 0, 0, 0, 0]))?;
        answer(&mut machine, 16, 4, 0x1122_3344)?;
        machine.expect(Exit::Halt)?;
        let regs = machine.vcpu.regs()?;
        equal("ZF", regs.rcx & 0xFF, 1)?;
        equal("ESI", regs.rsi, 0x4433_2211)
    }),
    ("an operand begins in memory and ends where there is none", |device| {
        let code =
            code!(64: "mov $0x1122334455667788, %rax", "mov %rax, 0x3FFFFB", "mov 0x3FFFFE, %ecx", "hlt");
        let mut machine = Machine::long(device, code)?;
        machine.expect(Exit::Write { gpa: 0x40_0000, data: vec![0x33, 0x22, 0x11] })?;
        match machine.vcpu.run()? {
            Exit::Read { gpa: 0x40_0000, .. } => machine.vcpu.answer_read(0xEEDD),
            other => return Err(machine.instead(&other, "a read")),
        }
        machine.expect(Exit::Halt)?;
        equal("the part in memory", machine.memory.u64(0x3F_FFF8) >> 24, 0x44_5566_7788)?;
        equal("ECX", machine.vcpu.regs()?.rcx, 0xEEDD_4455)
    }),
    ("read-only memory is read, and only writes exit", |device| {
        let code = code!(64: "mov $MMIO, %ebx", "addl $1, 4(%rbx)", "mov %ebx, %esi", "lea 8(%rbx), %edi", "movsl", "hlt");
        let mut machine = Machine::long(device, code)?;
        let rom = Memory::new(4096);
        rom.put(0, &[1, 2, 3, 4, 9, 0, 0, 0]);
        map(&machine.vm, 1, MMIO, &rom, 0, 4096, kvm_bindings::KVM_MEM_READONLY)?;
        machine.expect(write(4, &[10, 0, 0, 0]))?;
        machine.expect(write(8, &[1, 2, 3, 4]))?;
        machine.expect(Exit::Halt)?;
        equal("the memory", rom.u64(0), 0x9_0403_0201)
    }),
    ("memory that comes while a read is answered is written", |device| {
        let code = code!(64: "mov $MMIO, %esi", "lea 8(%rsi), %edi", "movsl", "hlt");
        let mut machine = Machine::long(device, code)?;
        answer(&mut machine, 0, 4, 0x2222)?;
        let page = Memory::new(4096);
        map(&machine.vm, 1, MMIO, &page, 0, 4096, 0)?;
        machine.expect(Exit::Halt)?;
        equal("the memory", page.u64(8), 0x2222)
    }),
    ("an exception of an instruction that reads no memory is the guest's", |device| {
        let code = code!(64: "mov $MMIO, %ebx", "divl (%rbx)");
        let mut machine = Machine::long(device, code)?;
        answer(&mut machine, 0, 4, 0)?;
        machine.expect_out(0)?;
        equal("RBX", machine.vcpu.regs()?.rbx, MMIO)?;
        // The other operand of MOVS has no page.
        let code = code!(64: "mov $MMIO, %esi", "mov $0x40000000, %edi", "movsl");
        let mut machine = Machine::long(device, code)?;
        match machine.vcpu.run()? {
            Exit::Read { gpa: MMIO, size: 4 } => machine.expect_out(14)?,
            Exit::Out { port: 14, .. } => 0,
            other => return Err(machine.instead(&other, "a page fault")),
        };
        equal("CR2", machine.vcpu.sregs()?.cr2, 0x4000_0000)
    }),
    ("the guest's own single step traps behind accesses to no memory", |device| {
        let code = code!(64: "mov $MMIO, %ebx", "pushf", "orb $1, 1(%rsp)", "popf", "mov (%rbx), %eax",
            "mov %eax, (%rbx)", "add %eax, (%rbx)", "nop", "pushf", "andb $0xFE, 1(%rsp)", "popf", "hlt");
        let mut machine = Machine::long(device, code)?;
        // From the instruction behind the first popf to the second one.
        equal("traps", traps(&mut machine)?, 7)
    }),
];
