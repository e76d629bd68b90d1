// SPDX-License-Identifier: MIT OR GPL-2.0
//! Interrupts, NMIs, exceptions that are injected.

use std::path::Path;

use kvm_bindings::{
    KVM_MP_STATE_HALTED, KVM_MP_STATE_RUNNABLE, KVM_VCPUEVENT_VALID_NMI_PENDING, kvm_interrupt, kvm_mp_state,
    kvm_vcpu_events,
};

use super::{Check, ensure, equal, fails_with};
use crate::guest::{CODE, Machine, Mode, STACK, code};
use crate::kvm::{Exit, GET_MP_STATE, GET_VCPU_EVENTS, INTERRUPT, NMI, SET_MP_STATE, SET_VCPU_EVENTS};

/// A guest that reports rounds at port 0xE0, with interrupts on.
fn counting(device: &Path) -> Result<Machine, String> {
    Machine::long(device, code!(64: "sti", "1: out %al, $0xE0", "inc %eax", "jmp 1b"))
}

fn inject(machine: &Machine, irq: u32) -> Result<(), crate::kvm::Errno> {
    machine.vcpu.file.set(INTERRUPT, &kvm_interrupt { irq })
}

fn events(machine: &Machine) -> Result<kvm_vcpu_events, crate::kvm::Errno> {
    machine.vcpu.file.get(GET_VCPU_EVENTS)
}

pub const CHECKS: &[Check] = &[
    ("an interrupt is delivered to its handler", |device| {
        let mut machine = counting(device)?;
        machine.expect_out(0xE0)?;
        inject(&machine, 0x30)?;
        machine.expect_out(0x30)?;
        machine.expect_out(0xE0).map(drop)
    }),
    ("an interrupt that is given before a trap waits for the trap's handler", |device| {
        let code = code!(64: "sti", "pushf", "orb $1, 1(%rsp)", "popf", "in $0x70, %al", "1: nop", "jmp 1b");
        let mut machine = Machine::long(device, code)?;
        match machine.vcpu.run()? {
            Exit::In { port: 0x70, .. } => machine.vcpu.answer_port(&[7]),
            other => return Err(machine.instead(&other, "in")),
        }
        inject(&machine, 0x30)?;
        machine.expect_out(1)?;
        machine.expect_out(0x30)?;
        // One frame on the stack: the trap's handler is over.
        equal("RSP", machine.vcpu.regs()?.rsp, STACK - 40)
    }),
    ("an interrupt in real mode, and its vector table", |device| {
        let mut machine = Machine::real(device, code!(16: "sti", "1: out %al, $0xE0", "jmp 1b"))?;
        machine.expect_out(0xE0)?;
        inject(&machine, 8)?;
        machine.expect_out(8).map(drop)
    }),
    ("vectors above 255 are refused", |device| {
        fails_with("256", inject(&counting(device)?, 256), libc::EINVAL)
    }),
    ("an interrupt shows in the events, and can be taken back", |device| {
        let mut machine = counting(device)?;
        machine.expect_out(0xE0)?;
        inject(&machine, 0x30)?;
        let mut pending = events(&machine)?;
        equal("injected", pending.interrupt.injected, 1)?;
        equal("vector", pending.interrupt.nr, 0x30)?;
        pending.interrupt.injected = 0;
        machine.vcpu.file.set(SET_VCPU_EVENTS, &pending)?;
        machine.expect_out(0xE0).map(drop)
    }),
    ("kvm_run reports IF and whether an interrupt can be injected", |device| {
        let code = code!(64: "cli", "out %al, $0xE0", "sti", "nop", "out %al, $0xE0");
        let mut machine = Machine::long(device, code)?;
        machine.expect_out(0xE0)?;
        equal("if_flag", machine.vcpu.run_area().if_flag, 0)?;
        equal("ready", machine.vcpu.run_area().ready_for_interrupt_injection, 0)?;
        machine.expect_out(0xE0)?;
        equal("if_flag", machine.vcpu.run_area().if_flag, 1)?;
        equal("ready", machine.vcpu.run_area().ready_for_interrupt_injection, 1)
    }),
    ("the window for an interrupt exits when it opens", |device| {
        let code = code!(64: "cli", "mov $3, %ecx", "1: out %al, $0xE0", "loop 1b", "sti", "nop", "nop", "cli", "hlt");
        let mut machine = Machine::long(device, code)?;
        machine.vcpu.run_area().request_interrupt_window = 1;
        for _ in 0..3 {
            machine.expect_out(0xE0)?;
        }
        machine.expect(Exit::Window)?;
        ensure(machine.vcpu.run_area().ready_for_interrupt_injection == 1, "it cannot be injected")?;
        machine.vcpu.run_area().request_interrupt_window = 0;
        inject(&machine, 0x31)?;
        machine.expect_out(0x31)?;
        machine.expect(Exit::Halt)
    }),
    ("the window exits at once where interrupts are on", |device| {
        let mut machine = counting(device)?;
        machine.expect_out(0xE0)?;
        machine.vcpu.run_area().request_interrupt_window = 1;
        machine.expect(Exit::Window)
    }),
    ("hlt with interrupts on ends by an injected interrupt", |device| {
        let mut machine = Machine::long(device, code!(64: "sti", "hlt", "mov $9, %al", "out %al, $0xE0"))?;
        machine.expect(Exit::Halt)?;
        inject(&machine, 0x32)?;
        machine.expect_out(0x32)?;
        equal("AL", machine.expect_out(0xE0)?, 9)
    }),
    ("an NMI is delivered, and another one waits for its iret", |device| {
        let code = code!(64: "1: out %al, $0xE0", "jmp 1b");
        let mut machine = Machine::long(device, code)?;
        machine.expect_out(0xE0)?;
        machine.vcpu.file.request(NMI, 0)?;
        machine.expect_out(2)?;
        equal("masked", events(&machine)?.nmi.masked, 1)?;
        machine.vcpu.file.request(NMI, 0)?;
        // The handler's iret; then the second one, before or after an instruction of the guest.
        let mut exit = machine.vcpu.run()?;
        if matches!(exit, Exit::Out { port: 0xE0, .. }) {
            exit = machine.vcpu.run()?;
        }
        ensure(matches!(exit, Exit::Out { port: 2, .. }), machine.instead(&exit, "the second NMI"))
    }),
    ("an NMI interrupts a guest with interrupts off", |device| {
        let mut machine = Machine::long(device, code!(64: "cli", "1: out %al, $0xE0", "jmp 1b"))?;
        machine.expect_out(0xE0)?;
        machine.vcpu.file.request(NMI, 0)?;
        machine.expect_out(2).map(drop)
    }),
    ("an NMI that is set by KVM_SET_VCPU_EVENTS is delivered", |device| {
        let mut machine = Machine::long(device, code!(64: "1: out %al, $0xE0", "jmp 1b"))?;
        machine.expect_out(0xE0)?;
        let mut wanted = events(&machine)?;
        wanted.nmi.pending = 1;
        wanted.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING;
        machine.vcpu.file.set(SET_VCPU_EVENTS, &wanted)?;
        machine.expect_out(2).map(drop)
    }),
    ("an exception that is set by KVM_SET_VCPU_EVENTS is delivered", |device| {
        let mut machine = Machine::long(device, code!(64: "1: out %al, $0xE0", "jmp 1b"))?;
        machine.expect_out(0xE0)?;
        let mut wanted = events(&machine)?;
        wanted.exception.injected = 1;
        wanted.exception.nr = 13;
        wanted.exception.has_error_code = 1;
        wanted.exception.error_code = 0x5678;
        machine.vcpu.file.set(SET_VCPU_EVENTS, &wanted)?;
        machine.expect_out(13)?;
        equal("error code", machine.memory.u64(machine.vcpu.regs()?.rsp), 0x5678)
    }),
    ("events that do not exist are refused", |device| {
        let machine = counting(device)?;
        let mut wrong = events(&machine)?;
        wrong.flags = 1 << 31;
        fails_with("flags", machine.vcpu.file.set(SET_VCPU_EVENTS, &wrong), libc::EINVAL)?;
        let mut wrong = events(&machine)?;
        (wrong.exception.injected, wrong.exception.nr) = (1, 32);
        fails_with("exception 32", machine.vcpu.file.set(SET_VCPU_EVENTS, &wrong), libc::EINVAL)
    }),
    ("the shadow of sti ends with the instruction behind it", |device| {
        let mut machine = Machine::long(device, code!(64: "cli", "sti", "out %al, $0xE0", "hlt"))?;
        machine.expect_out(0xE0)?;
        machine.vcpu.run_area().immediate_exit = 1;
        machine.expect(Exit::Interrupted)?;
        equal("shadow", events(&machine)?.interrupt.shadow, 0)
    }),
    ("an interrupt whose delivery meets missing memory is not lost", |device| {
        // The stack's page is not there before the first push: the first one after a discard.
        let mut machine = Machine::long(device, code!(64: "sti", "1: out %al, $0xE0", "jmp 1b"))?;
        machine.expect_out(0xE0)?;
        machine.memory.discard(crate::guest::STACK - 0x1000, 0x1000);
        inject(&machine, 0x33)?;
        machine.expect_out(0x33)?;
        equal("RIP in the frame", machine.memory.u64(machine.vcpu.regs()?.rsp) & !3, CODE & !3)
    }),
    ("the guest's exceptions are the same in ring 3", |device| {
        let mut machine = Machine::new(device, Mode::Long3, code!(64: "nop", "cli"))?;
        machine.expect_out(13)?;
        equal("CS in the frame", machine.memory.u64(machine.vcpu.regs()?.rsp + 16) & 3, 3)
    }),
    ("a vCPU is runnable, and nothing else without a local APIC", |device| {
        let machine = counting(device)?;
        let found: kvm_mp_state = machine.vcpu.file.get(GET_MP_STATE)?;
        equal("state", found.mp_state, KVM_MP_STATE_RUNNABLE)?;
        let set = |mp_state| machine.vcpu.file.set(SET_MP_STATE, &kvm_mp_state { mp_state });
        set(KVM_MP_STATE_RUNNABLE)?;
        fails_with("halted", set(KVM_MP_STATE_HALTED), libc::EINVAL)?;
        fails_with("77", set(77), libc::EINVAL)
    }),
];
