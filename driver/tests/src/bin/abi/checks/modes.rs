// SPDX-License-Identifier: MIT OR GPL-2.0
//! The modes of a processor, and the ways from one to the other.

use std::path::Path;

use super::{Check, ensure, equal};
use crate::Outcome;
use crate::guest::{DATA, Machine, Mode, code};
use crate::kvm::Exit;

/// A guest that counts to ten in memory, and reports the number.
fn counts(device: &Path, mode: Mode, code: &[u8]) -> Outcome {
    let mut machine = Machine::new(device, mode, code)?;
    equal("AL", machine.expect_out(0xE0)?, 10)?;
    machine.expect(Exit::Halt)
}

const COUNT_16: fn() -> &'static [u8] = || {
    code!(16: "mov $0x5000, %ax", "mov %ax, %ds", "mov $10, %cx", "1: incw (0)", "loop 1b", "mov (0), %ax",
        "out %al, $0xE0", "hlt")
};
const COUNT_32: fn() -> &'static [u8] =
    || code!(32: "mov $10, %ecx", "1: incl DATA", "loop 1b", "mov DATA, %eax", "out %al, $0xE0", "hlt");
const COUNT_64: fn() -> &'static [u8] =
    || code!(64: "mov $10, %ecx", "1: incl DATA", "loop 1b", "mov DATA, %eax", "out %al, $0xE0", "hlt");

pub const CHECKS: &[Check] = &[
    ("real mode", |device| counts(device, Mode::Real, COUNT_16())),
    ("protected mode without paging", |device| counts(device, Mode::Protected, COUNT_32())),
    ("protected mode with 32-bit paging", |device| counts(device, Mode::Paging32, COUNT_32())),
    ("protected mode with PAE paging", |device| counts(device, Mode::Pae, COUNT_32())),
    ("long mode, ring 0", |device| counts(device, Mode::Long, COUNT_64())),
    ("long mode, ring 3, with an exception to ring 0", |device| {
        let mut machine = Machine::new(
            device,
            Mode::Long3,
            code!(64: "mov $10, %ecx", "1: incl DATA", "loop 1b", "mov DATA, %eax", "hlt"),
        )?;
        equal("AL", machine.expect_out(13)?, 10)?;
        let (regs, sregs) = (machine.vcpu.regs()?, machine.vcpu.sregs()?);
        equal("CS in the handler", sregs.cs.selector, 8)?;
        ensure(
            regs.rsp > crate::guest::STACK - 64 && regs.rsp < crate::guest::STACK,
            "not the stack of the TSS",
        )
    }),
    ("the state after a reset is that of the manual", |device| {
        use crate::kvm::{CREATE_VM, File, Vcpu};
        let device = File::open(device)?;
        let vm = device.create(CREATE_VM, 0)?;
        let vcpu = Vcpu::new(&device, &vm, 0)?;
        let (regs, sregs) = (vcpu.regs()?, vcpu.sregs()?);
        equal("RIP", regs.rip, 0xFFF0)?;
        equal("RFLAGS", regs.rflags, 2)?;
        equal("CS", sregs.cs.selector, 0xF000)?;
        equal("base of CS", sregs.cs.base, 0xFFFF_0000)?;
        equal("CR0", sregs.cr0, 0x6000_0010)?;
        equal("EFER", sregs.efer, 0)?;
        equal("limit of DS", sregs.ds.limit, 0xFFFF)
    }),
    ("from real mode to protected and long mode by the guest", |device| {
        let mut machine = Machine::real(
            device,
            code!(16:
                "cli",
                "xor %ax, %ax", "mov %ax, %ds",
                // Table registers in memory: the GDT of guest.rs.
                "mov $0x3F, %ax", "mov %ax, (0x900)", "movl $0x1000, (0x902)", "lgdtl (0x900)",
                "mov %cr0, %eax", "or $1, %eax", "mov %eax, %cr0",
                // ljmpl $0x28, $CODE + 0x40
                ".byte 0x66, 0xEA", ".long 0x10040", ".word 0x28",
                ".org 22b + 0x40", ".code32",
                "mov $0x10, %eax", "mov %eax, %ds", "mov %eax, %ss",
                "mov $0x32, %al", "out %al, $0xE0",
                "mov %cr4, %eax", "or $0x20, %eax", "mov %eax, %cr4",
                "mov $0x4000, %eax", "mov %eax, %cr3",
                "mov $0xC0000080, %ecx", "rdmsr", "or $0x100, %eax", "wrmsr",
                "mov %cr0, %eax", "or $0x80000000, %eax", "mov %eax, %cr0",
                ".byte 0xEA", ".long 0x10100", ".word 0x08",
                ".org 22b + 0x100", ".code64",
                "mov $0x64, %eax", "out %al, $0xE0",
                "mov $0x123456789A, %rax", "mov %rax, DATA", "hlt",
            ),
        )?;
        equal("in protected mode", machine.expect_out(0xE0)?, 0x32)?;
        equal("in long mode", machine.expect_out(0xE0)?, 0x64)?;
        machine.expect(Exit::Halt)?;
        equal("memory", machine.memory.u64(DATA), 0x12_3456_789A)?;
        equal("LMA", machine.vcpu.sregs()?.efer >> 10 & 1, 1)
    }),
    ("exceptions in real mode take the vector table", |device| {
        let mut machine = Machine::real(device, code!(16: "mov $0x77, %al", "ud2"))?;
        equal("AL", machine.expect_out(6)?, 0x77)
    }),
    ("the handler of #UD, #DE, #GP gets its frame and error code", |device| {
        let mut machine = Machine::long(device, code!(64: "ud2"))?;
        machine.expect_out(6)?;
        equal("RIP in the frame", machine.memory.u64(machine.vcpu.regs()?.rsp), crate::guest::CODE)?;
        let mut machine = Machine::long(device, code!(64: "xor %ecx, %ecx", "div %ecx"))?;
        machine.expect_out(0)?;
        let mut machine = Machine::long(device, code!(64: "mov $0x1238, %ax", "mov %ax, %ds"))?;
        machine.expect_out(13)?;
        equal("error code", machine.memory.u64(machine.vcpu.regs()?.rsp), 0x1238)
    }),
    ("a page fault has its address and error code", |device| {
        let mut machine = Machine::long(device, code!(64: "mov $0x40001234, %ebx", "mov %eax, (%rbx)"))?;
        machine.expect_out(14)?;
        equal("CR2", machine.vcpu.sregs()?.cr2, 0x4000_1234)?;
        equal("error code", machine.memory.u64(machine.vcpu.regs()?.rsp), 2)
    }),
    ("int n and int3 enter the guest's gates", |device| {
        let mut machine = Machine::long(device, code!(64: "int $0x80", "int3", "hlt"))?;
        machine.expect_out(0x80)?;
        machine.expect_out(3)?;
        machine.expect(Exit::Halt)
    }),
    ("syscall and sysret", |device| {
        let mut machine = Machine::new(
            device,
            Mode::Long3,
            code!(64:
                "mov $5, %eax", "syscall", "hlt",
                ".org 22b + 0x80",
                "add $1, %eax", "out %al, $0xE0", "sysretq",
            ),
        )?;
        let star = 0x0010_0008_u64 << 32;
        let msrs = [(0xC000_0081, star), (0xC000_0082, crate::guest::CODE + 0x80), (0xC000_0084, 0)];
        super::state::set_msrs(&machine, &msrs)?;
        equal("AL", machine.expect_out(0xE0)?, 6)?;
        equal("CPL", machine.vcpu.sregs()?.cs.selector & 3, 0)?;
        // Back in ring 3, where hlt is #GP.
        machine.expect_out(13).map(drop)
    }),
];
