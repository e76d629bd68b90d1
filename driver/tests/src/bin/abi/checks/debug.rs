// SPDX-License-Identifier: MIT OR GPL-2.0
//! Single steps and software breakpoints by KVM_SET_GUEST_DEBUG, and the guest's own debugging.

use kvm_bindings::{
    KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_SW_BP, kvm_debugregs, kvm_guest_debug,
};

use super::{Check, ensure, equal};
use crate::guest::{CODE, Machine, Mode, code};
use crate::kvm::{Exit, GET_DEBUGREGS, SET_DEBUGREGS, SET_GUEST_DEBUG};

pub const STEP: u32 = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
const SOFTWARE: u32 = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;

/// Debugs with these facilities; DR0 to DR3, and DR7.
pub fn debug(machine: &Machine, control: u32, addresses: [u64; 4], dr7: u64) -> Result<(), String> {
    let mut request = kvm_guest_debug { control, ..Default::default() };
    request.arch.debugreg[..4].copy_from_slice(&addresses);
    request.arch.debugreg[7] = dr7;
    Ok(machine.vcpu.file.set(SET_GUEST_DEBUG, &request)?)
}

/// Runs to a debug stop; its vector, address and DR6.
pub fn stop(machine: &mut Machine) -> Result<(u32, u64, u64), String> {
    match machine.vcpu.run()? {
        Exit::Debug { exception, pc, dr6 } => Ok((exception, pc, dr6)),
        other => Err(machine.instead(&other, "a debug stop")),
    }
}

pub const CHECKS: &[Check] = &[
    ("a single step is one instruction", |device| {
        let mut machine = Machine::long(device, code!(64: "nop", "mov $5, %eax", "push %rax", "hlt"))?;
        debug(&machine, STEP, [0; 4], 0)?;
        for length in [1, 6, 7] {
            let (exception, pc, dr6) = stop(&mut machine)?;
            equal("exception", exception, 1)?;
            equal("pc", pc, CODE + length)?;
            equal("BS of DR6", dr6 >> 14 & 1, 1)?;
            equal("RIP", machine.vcpu.regs()?.rip, CODE + length)?;
        }
        equal("TF", machine.vcpu.regs()?.rflags >> 8 & 1, 0)
    }),
    ("a step over out and in ends behind them", |device| {
        let mut machine = Machine::long(device, code!(64: "out %al, $0xE0", "in $0xE0, %al", "nop", "hlt"))?;
        debug(&machine, STEP, [0; 4], 0)?;
        machine.expect_out(0xE0)?;
        let (_, pc, _) = stop(&mut machine)?;
        equal("pc", pc, CODE + 2)?;
        machine.expect(Exit::In { port: 0xE0, size: 1, count: 1 })?;
        machine.vcpu.answer_port(&[0x31]);
        let (_, pc, _) = stop(&mut machine)?;
        equal("pc", pc, CODE + 4)?;
        equal("AL", machine.vcpu.regs()?.rax, 0x31)
    }),
    ("steps in real mode, and each round of rep movsb", |device| {
        let code = code!(16: "mov $3, %cx", "mov $0x100, %si", "mov $0x200, %di", "rep movsb", "hlt");
        let mut machine = Machine::real(device, code)?;
        debug(&machine, STEP, [0; 4], 0)?;
        for at in [3, 6, 9, 9, 9, 11] {
            let (_, pc, _) = stop(&mut machine)?;
            equal("pc", pc, CODE + at)?;
        }
        Ok(())
    }),
    ("switched off, the guest runs", |device| {
        let mut machine = Machine::long(device, code!(64: "nop", "nop", "nop", "hlt"))?;
        debug(&machine, STEP, [0; 4], 0)?;
        stop(&mut machine)?;
        debug(&machine, 0, [0; 4], 0)?;
        machine.expect(Exit::Halt)
    }),
    ("a step does not show in the guest's flags", |device| {
        let mut machine = Machine::long(device, code!(64: "nop", "pushf", "hlt"))?;
        debug(&machine, STEP, [0; 4], 0)?;
        stop(&mut machine)?;
        stop(&mut machine)?;
        equal("pushed flags", machine.memory.u64(machine.vcpu.regs()?.rsp) & 0x100, 0)
    }),
    ("a software breakpoint stops at int3", |device| {
        let mut machine = Machine::long(device, code!(64: "nop", "int3", "hlt"))?;
        debug(&machine, SOFTWARE, [0; 4], 0)?;
        let (exception, pc, _) = stop(&mut machine)?;
        equal("exception", exception, 3)?;
        equal("pc", pc, CODE + 1)?;
        equal("RIP", machine.vcpu.regs()?.rip, CODE + 1)
    }),
    ("software breakpoints in every mode, and on from them", |device| {
        let modes = [
            (Mode::Real, code!(16: "nop", "int3", "out %al, $0xE0")),
            (Mode::Protected, code!(32: "nop", "int3", "out %al, $0xE0")),
            (Mode::Long, code!(64: "nop", "int3", "out %al, $0xE0")),
            (Mode::Long3, code!(64: "nop", "int3", "hlt")),
        ];
        for (mode, code) in modes {
            let mut machine = Machine::new(device, mode, code)?;
            debug(&machine, SOFTWARE, [0; 4], 0)?;
            let (exception, pc, _) = stop(&mut machine).map_err(|error| format!("{mode:?}: {error}"))?;
            equal("exception", exception, 3)?;
            equal("pc", pc, CODE + 1)?;
            // A nop.
            machine.memory.put(CODE + 1, &[0x90]);
            machine.expect_out(if mode == Mode::Long3 { 13 } else { 0xE0 })?;
        }
        Ok(())
    }),
    ("without the debugger int3 is the guest's", |device| {
        let mut machine = Machine::long(device, code!(64: "nop", "int3", "hlt"))?;
        debug(&machine, SOFTWARE, [0; 4], 0)?;
        debug(&machine, 0, [0; 4], 0)?;
        machine.expect_out(3)?;
        equal("RIP in the frame", machine.memory.u64(machine.vcpu.regs()?.rsp), CODE + 2)
    }),
    ("the guest's own single step is its exception", |device| {
        let mut machine =
            Machine::long(device, code!(64: "pushf", "orl $0x100, (%rsp)", "popf", "nop", "hlt"))?;
        machine.expect_out(1)?;
        equal("RIP in the frame", machine.memory.u64(machine.vcpu.regs()?.rsp), CODE + 1 + 7 + 1 + 1)
    }),
    ("the guest's debug registers are kept", |device| {
        let mut machine = Machine::long(
            device,
            code!(64: "mov %dr2, %rax", "mov $0x1234, %ebx", "mov %rbx, %dr3",
            "mov %dr7, %rcx", "hlt"),
        )?;
        let mut registers: kvm_debugregs = machine.vcpu.file.get(GET_DEBUGREGS)?;
        equal("DR6 after a reset", registers.dr6, 0xFFFF_0FF0)?;
        equal("DR7 after a reset", registers.dr7, 0x400)?;
        registers.db[2] = 0x5678;
        machine.vcpu.file.set(SET_DEBUGREGS, &registers)?;
        machine.expect(Exit::Halt)?;
        let regs = machine.vcpu.regs()?;
        equal("DR2", regs.rax, 0x5678)?;
        equal("DR7", regs.rcx, 0x400)?;
        registers = machine.vcpu.file.get(GET_DEBUGREGS)?;
        equal("DR3", registers.db[3], 0x1234)
    }),
    ("DR4 and DR5 are DR6 and DR7, or #UD with CR4.DE", |device| {
        let code =
            code!(64: "mov %db4, %rax", "mov %cr4, %rbx", "or $8, %ebx", "mov %rbx, %cr4", "mov %db4, %rcx");
        let mut machine = Machine::long(device, code)?;
        machine.expect_out(6)?;
        equal("DR4", machine.vcpu.regs()?.rax, 0xFFFF_0FF0)
    }),
    ("upper halves of DR6 and DR7 are refused", |device| {
        let machine = Machine::long(device, code!(64: "hlt"))?;
        let registers: kvm_debugregs = machine.vcpu.file.get(GET_DEBUGREGS)?;
        let wrong = [
            kvm_debugregs { dr6: 1 << 32, ..registers },
            kvm_debugregs { dr7: 1 << 32, ..registers },
            kvm_debugregs { flags: 1, ..registers },
        ];
        for registers in wrong {
            super::fails_with("registers", machine.vcpu.file.set(SET_DEBUGREGS, &registers), libc::EINVAL)?;
        }
        Ok(())
    }),
    ("a page fault that is stepped into is the guest's", |device| {
        let code = code!(64: "nop", "mov $0x40000000, %ebx", "mov (%rbx), %eax");
        let mut machine = Machine::long(device, code)?;
        debug(&machine, STEP, [0; 4], 0)?;
        for _ in 0..2 {
            stop(&mut machine)?;
        }
        // The stop may be in the handler or behind it; its out comes in any case.
        for _ in 0..3 {
            match machine.vcpu.run()? {
                Exit::Out { port: 14, .. } => return Ok(()),
                Exit::Debug { .. } => {}
                other => return Err(machine.instead(&other, "the page fault")),
            }
        }
        ensure(false, "no page fault")
    }),
];
