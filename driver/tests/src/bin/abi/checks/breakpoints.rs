// SPDX-License-Identifier: MIT OR GPL-2.0
//! Breakpoints and watchpoints in debug registers, the debugger's and the guest's. AMD APM volume 2, chapter 13.1.

use std::path::Path;

use kvm_bindings::{KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_USE_HW_BP, kvm_debugregs};

use super::debug::{STEP, debug, stop};
use super::{Check, equal};
use crate::Outcome;
use crate::guest::{CODE, DATA, Machine, Mode, code};
use crate::kvm::{Exit, GET_DEBUGREGS};

const HARDWARE: u32 = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;

/// What a debug register stops at, as in DR7.
#[derive(Clone, Copy)]
enum Kind {
    Execute = 0b00,
    Write = 0b01,
    Access = 0b11,
}

/// The bits of DR7 for this debug register and a range of 1, 2, 4 or 8 bytes.
const fn dr7(number: u32, kind: Kind, size: u64) -> u64 {
    let length = match size {
        8 => 0b10,
        other => other - 1,
    };
    0x400 | 2 << (2 * number) | (length << 2 | kind as u64) << (16 + 4 * number)
}

/// Where code for real mode is within reach without a segment.
const CODE_16: u64 = 0xC000;
const EXECUTE: u64 = dr7(0, Kind::Execute, 1);

/// Runs to the stop of these debug registers (B0 to B3), at this address.
fn stop_at(machine: &mut Machine, registers: u64, address: u64) -> Outcome {
    let (exception, pc, dr6) = stop(machine)?;
    equal("exception", exception, 1)?;
    equal("pc", pc, address)?;
    equal("B0 to B3, BD and BS of DR6", dr6 & 0x600F, registers)
}

/// Continues over the breakpoint at RIP.
fn pass(machine: &Machine) -> Outcome {
    machine.set(|regs| regs.rflags |= 1 << 16)
}

/// A breakpoint at an instruction before an `out` stops once, and the guest goes on.
fn stops_once(mut machine: Machine, address: u64) -> Outcome {
    debug(&machine, HARDWARE, [address, 0, 0, 0], EXECUTE)?;
    stop_at(&mut machine, 1, address)?;
    equal("EAX", machine.vcpu.regs()?.rax, 0)?;
    pass(&machine)?;
    machine.expect_out(0xE0).map(drop)
}

/// A range of `size` bytes is watched; a write just behind it does not stop, one to its last byte does.
fn watches(device: &Path, number: u32, size: u64, code: &[u8]) -> Outcome {
    let mut machine = Machine::long(device, code)?;
    let mut addresses = [0; 4];
    addresses[number as usize] = DATA;
    debug(&machine, HARDWARE, addresses, dr7(number, Kind::Write, size))?;
    stop_at(&mut machine, 1 << number, CODE + code.len() as u64 - 1)?;
    equal("last byte", machine.memory.bytes::<1>(DATA + size - 1)[0], 2)?;
    machine.expect(Exit::Halt)
}

/// A guest with a breakpoint of its own: RBX is its address, RCX is DR7.
fn own_breakpoint(device: &Path, address: u64, dr7: u64, code: &[u8]) -> Result<Machine, String> {
    let machine = Machine::long(device, code)?;
    machine.set(|regs| (regs.rbx, regs.rcx) = (address, dr7))?;
    Ok(machine)
}

fn registers(machine: &Machine) -> Result<kvm_debugregs, crate::kvm::Errno> {
    machine.vcpu.file.get(GET_DEBUGREGS)
}

/// The guest is in its handler of #DB: the address in the frame, and what it finds in DR6.
fn in_handler(machine: &mut Machine, address: u64, dr6: u64) -> Outcome {
    machine.expect_out(1)?;
    equal("RIP in the frame", machine.memory.u64(machine.vcpu.regs()?.rsp), address)?;
    equal("B0 to B3, BD and BS of DR6", registers(machine)?.dr6 & 0x600F, dr6)
}

/// An error where hardware breakpoints do not stop. There QEMU 7.2 takes the guest's DR7.GD for the host's, and crashes.
fn has_breakpoints(device: &Path) -> Outcome {
    let mut machine = Machine::long(device, code!(64: "nop", "hlt"))?;
    debug(&machine, HARDWARE, [CODE + 1, 0, 0, 0], EXECUTE)?;
    stop_at(&mut machine, 1, CODE + 1)
}

/// RF in the frame of the handler, so that it returns over the breakpoint.
fn pass_by_frame(machine: &Machine) -> Outcome {
    let at = machine.vcpu.regs()?.rsp + 16;
    machine.memory.put_u64(at, machine.memory.u64(at) | 1 << 16);
    Ok(())
}

pub const CHECKS: &[Check] = &[
    ("a hardware breakpoint stops before the instruction", |device| {
        let mut machine = Machine::long(device, code!(64: "nop", "nop", "inc %eax", "hlt"))?;
        debug(&machine, HARDWARE, [CODE + 2, 0, 0, 0], EXECUTE)?;
        stop_at(&mut machine, 1, CODE + 2)?;
        equal("RAX", machine.vcpu.regs()?.rax, 0)
    }),
    ("RFLAGS.RF continues from it", |device| {
        let mut machine = Machine::long(device, code!(64: "nop", "inc %eax", "hlt"))?;
        debug(&machine, HARDWARE, [CODE + 1, 0, 0, 0], EXECUTE)?;
        stop_at(&mut machine, 1, CODE + 1)?;
        pass(&machine)?;
        machine.expect(Exit::Halt)?;
        equal("RAX", machine.vcpu.regs()?.rax, 1)
    }),
    ("RFLAGS.RF is over with an instruction that exits", |device| {
        let mut machine = Machine::long(device, code!(64: "cpuid", "out %al, $0xE0", "nop", "hlt"))?;
        let all = EXECUTE | dr7(1, Kind::Execute, 1) | dr7(2, Kind::Execute, 1);
        debug(&machine, HARDWARE, [CODE, CODE + 2, CODE + 4, 0], all)?;
        stop_at(&mut machine, 1, CODE)?;
        pass(&machine)?;
        stop_at(&mut machine, 2, CODE + 2)?;
        pass(&machine)?;
        machine.expect_out(0xE0)?;
        stop_at(&mut machine, 4, CODE + 4)
    }),
    ("four hardware breakpoints, each with its bit in DR6", |device| {
        let mut machine = Machine::long(device, code!(64: "nop", "nop", "nop", "nop", "hlt"))?;
        let all = (0..4).map(|number| dr7(number, Kind::Execute, 1)).fold(0, |all, one| all | one);
        debug(&machine, HARDWARE, [CODE, CODE + 1, CODE + 2, CODE + 3], all)?;
        for number in 0..4 {
            stop_at(&mut machine, 1 << number, CODE + number)?;
            pass(&machine)?;
        }
        machine.expect(Exit::Halt)
    }),
    ("two breakpoints at one address have both bits", |device| {
        let mut machine = Machine::long(device, code!(64: "nop", "nop", "hlt"))?;
        let both = EXECUTE | dr7(2, Kind::Execute, 1);
        debug(&machine, HARDWARE, [CODE + 1, 0, CODE + 1, 0], both)?;
        stop_at(&mut machine, 0b101, CODE + 1)
    }),
    ("a hardware breakpoint in ring 3", |device| {
        let mut machine = Machine::new(device, Mode::Long3, code!(64: "nop", "nop", "hlt"))?;
        debug(&machine, HARDWARE, [CODE + 1, 0, 0, 0], EXECUTE)?;
        stop_at(&mut machine, 1, CODE + 1)?;
        pass(&machine)?;
        machine.expect_out(13).map(drop)
    }),
    ("a hardware breakpoint in real mode", |device| {
        // CS.base is 0: with another one, QEMU 10 crashes.
        let code = code!(16: "nop", "inc %eax", "out %al, $0xE0", "hlt");
        let machine = Machine::real(device, code)?;
        machine.memory.put(CODE_16, code);
        let mut sregs = machine.vcpu.sregs()?;
        (sregs.cs.selector, sregs.cs.base) = (0, 0);
        machine.vcpu.set_sregs(&sregs)?;
        machine.set(|regs| regs.rip = CODE_16)?;
        stops_once(machine, CODE_16 + 1)
    }),
    ("a hardware breakpoint in protected mode", |device| {
        let code = code!(32: "nop", "inc %eax", "out %al, $0xE0", "hlt");
        stops_once(Machine::new(device, Mode::Protected, code)?, CODE + 1)
    }),
    ("a hardware breakpoint with 32-bit paging", |device| {
        let code = code!(32: "nop", "inc %eax", "out %al, $0xE0", "hlt");
        stops_once(Machine::new(device, Mode::Paging32, code)?, CODE + 1)
    }),
    ("a watched write stops behind the instruction", |device| {
        let mut machine = Machine::long(device, code!(64: "mov DATA, %eax", "movl $7, DATA", "nop", "hlt"))?;
        debug(&machine, HARDWARE, [DATA, 0, 0, 0], dr7(0, Kind::Write, 4))?;
        stop_at(&mut machine, 1, CODE + 7 + 11)?;
        equal("memory", machine.memory.u64(DATA), 7)
    }),
    ("a watched access stops at reads, too", |device| {
        let mut machine = Machine::long(device, code!(64: "nop", "mov DATA, %eax", "nop", "hlt"))?;
        debug(&machine, HARDWARE, [DATA, 0, 0, 0], dr7(0, Kind::Access, 4))?;
        stop_at(&mut machine, 1, CODE + 8)
    }),
    ("1, 2, 4 and 8 bytes are watched, and not one more", |device| {
        watches(device, 0, 1, code!(64: "movb $1, DATA + 1", "movb $2, DATA", "hlt"))?;
        watches(device, 1, 2, code!(64: "movb $1, DATA + 2", "movb $2, DATA + 1", "hlt"))?;
        watches(device, 2, 4, code!(64: "movb $1, DATA + 4", "movb $2, DATA + 3", "hlt"))?;
        watches(device, 3, 8, code!(64: "movb $1, DATA + 8", "movb $2, DATA + 7", "hlt"))
    }),
    ("a watched page that the guest has not touched before stops, too", |device| {
        let mut machine = Machine::long(device, code!(64: "movl $7, DATA + 0x1000", "nop", "hlt"))?;
        machine.memory.discard(DATA + 0x1000, 0x1000);
        debug(&machine, HARDWARE, [DATA + 0x1000, 0, 0, 0], dr7(0, Kind::Write, 4))?;
        stop_at(&mut machine, 1, CODE + 11)
    }),
    ("single steps onto a hardware breakpoint, and over it", |device| {
        let mut machine = Machine::long(device, code!(64: "nop", "inc %eax", "nop", "hlt"))?;
        debug(&machine, STEP | HARDWARE, [CODE + 1, 0, 0, 0], EXECUTE)?;
        let (_, pc, dr6) = stop(&mut machine)?;
        // B0 may be set: it is the next instruction.
        equal("pc", pc, CODE + 1)?;
        equal("BS of DR6", dr6 & 0x4000, 0x4000)?;
        pass(&machine)?;
        stop_at(&mut machine, 0x4000, CODE + 3)?;
        stop_at(&mut machine, 0x4000, CODE + 4)
    }),
    ("breakpoints of the debugger are not in the guest's registers", |device| {
        let mut machine = Machine::long(
            device,
            code!(64: "mov %dr0, %rax", "mov $0x77, %ebx", "mov %rbx, %dr1",
            "mov %dr1, %rcx", "mov %dr7, %rdx", "mov %dr6, %rsi", "hlt"),
        )?;
        debug(&machine, HARDWARE, [CODE + 3, 0, 0, 0], EXECUTE)?;
        stop_at(&mut machine, 1, CODE + 3)?;
        pass(&machine)?;
        machine.expect(Exit::Halt)?;
        let regs = machine.vcpu.regs()?;
        equal("DR0 of the guest", regs.rax, 0)?;
        equal("DR1 of the guest", regs.rcx, 0x77)?;
        equal("DR7 of the guest", regs.rdx, 0x400)?;
        equal("DR6 of the guest", regs.rsi, 0xFFFF_0FF0)?;
        let own = registers(&machine)?;
        equal("DR1", own.db[1], 0x77)?;
        equal("DR7", own.dr7, 0x400)
    }),
    ("the guest's own breakpoint is its exception", |device| {
        let code = code!(64: "mov %rbx, %dr0", "mov %rcx, %dr7", "nop", "inc %eax", "mov %dr6, %rdx", "hlt");
        let mut machine = own_breakpoint(device, CODE + 7, EXECUTE, code)?;
        in_handler(&mut machine, CODE + 7, 1)?;
        pass_by_frame(&machine)?;
        machine.expect(Exit::Halt)?;
        equal("DR6 that the guest reads", machine.vcpu.regs()?.rdx, 0xFFFF_0FF1)
    }),
    ("the guest's own watchpoint is its exception", |device| {
        let code = code!(64: "mov %rbx, %dr3", "mov %rcx, %dr7", "movl $7, DATA", "hlt");
        let mut machine = own_breakpoint(device, DATA, dr7(3, Kind::Write, 4), code)?;
        in_handler(&mut machine, CODE + 6 + 11, 8)?;
        machine.expect(Exit::Halt)
    }),
    ("the guest's own rest while the debugger has breakpoints", |device| {
        let code = code!(64: "mov %rbx, %dr0", "mov %rcx, %dr7", "nop", "1: out %al, $0xE0", "jmp 1b");
        let mut machine = own_breakpoint(device, CODE + 6, EXECUTE, code)?;
        debug(&machine, HARDWARE, [0, CODE + 7, 0, 0], dr7(1, Kind::Execute, 1))?;
        stop_at(&mut machine, 2, CODE + 7)?;
        pass(&machine)?;
        machine.expect_out(0xE0)?;
        equal("DR0 of the guest", registers(&machine)?.db[0], CODE + 6)?;
        debug(&machine, 0, [0; 4], 0)?;
        machine.set(|regs| (regs.rip, regs.rflags) = (CODE + 6, 2))?;
        in_handler(&mut machine, CODE + 6, 1)
    }),
    ("DR7.GD protects the debug registers once", |device| {
        has_breakpoints(device)?;
        let code = code!(64: "mov %rcx, %dr7", "mov %dr0, %rax", "mov %dr7, %rdx", "hlt");
        let mut machine = own_breakpoint(device, 0, 0x2400, code)?;
        in_handler(&mut machine, CODE + 3, 1 << 13)?;
        equal("DR7 in the handler", registers(&machine)?.dr7, 0x400)?;
        machine.expect(Exit::Halt)?;
        equal("DR7 behind it", machine.vcpu.regs()?.rdx, 0x400)
    }),
    ("each #DB clears DR7.GD", |device| {
        has_breakpoints(device)?;
        let code = code!(64: "mov %rbx, %dr0", "mov %rcx, %dr7", "nop", "nop", "hlt");
        let mut machine = own_breakpoint(device, CODE + 7, 0x2000 | EXECUTE, code)?;
        in_handler(&mut machine, CODE + 7, 1)?;
        equal("DR7 in the handler", registers(&machine)?.dr7, EXECUTE)
    }),
    ("an exception that is raised for the guest has RF in its frame", |device| {
        let mut machine = Machine::long(device, code!(64: "mov $0x12345, %ecx", "rdmsr", "hlt"))?;
        machine.expect_out(13)?;
        // Behind the error code, RIP and CS.
        equal("RF", machine.memory.u64(machine.vcpu.regs()?.rsp + 24) >> 16 & 1, 1)
    }),
];
