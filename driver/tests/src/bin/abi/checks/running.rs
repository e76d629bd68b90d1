// SPDX-License-Identifier: MIT OR GPL-2.0
//! Entering and leaving the guest.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kvm_bindings::kvm_signal_mask;

use super::{Check, ensure, equal};
use crate::guest::{CODE, DATA, Machine, Mode, STACK, code, supported_cpuid};
use crate::kvm::{Exit, SET_CPUID2, SET_SIGNAL_MASK, Vcpu};

/// The signal that interrupts guests.
const SIGNAL: i32 = libc::SIGUSR1;

extern "C" fn on_signal(_: i32) {}

/// Makes [`SIGNAL`] interrupt system calls.
fn handle_signal() {
    // SAFETY: an action without flags, whose handler does nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        libc::sigaction(SIGNAL, &action, std::ptr::null_mut());
    }
}

/// Sends [`SIGNAL`] to this thread after a while.
fn signal_later() -> std::thread::JoinHandle<()> {
    // SAFETY: it only returns a number.
    let thread = unsafe { libc::pthread_self() };
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        // SAFETY: the thread waits for this one.
        unsafe { libc::pthread_kill(thread, SIGNAL) };
    })
}

fn endless(device: &Path) -> Result<Machine, String> {
    Machine::long(device, code!(64: "1: inc %rax", "jmp 1b"))
}

/// A kernel's set of signals with one member.
fn set_of(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Sets the mask of signals during KVM_RUN.
fn set_signal_mask(machine: &Machine, blocked: u64) -> Result<(), String> {
    #[repr(C)]
    struct Mask {
        head: kvm_signal_mask,
        set: [u8; 8],
    }
    let mask = Mask { head: kvm_signal_mask { len: 8, ..Default::default() }, set: blocked.to_le_bytes() };
    Ok(machine.vcpu.file.set(SET_SIGNAL_MASK, &mask)?)
}

pub const CHECKS: &[Check] = &[
    ("hlt exits, behind the instruction", |device| {
        let mut machine = Machine::long(device, code!(64: "hlt", "mov $7, %al", "out %al, $0xE0"))?;
        machine.expect(Exit::Halt)?;
        equal("RIP", machine.vcpu.regs()?.rip, CODE + 1)?;
        equal("AL", machine.expect_out(0xE0)?, 7)
    }),
    ("a triple fault is a shutdown", |device| {
        let mut machine = Machine::long(device, code!(64: "ud2"))?;
        let mut sregs = machine.vcpu.sregs()?;
        sregs.idt.limit = 0;
        machine.vcpu.set_sregs(&sregs)?;
        machine.expect(Exit::Shutdown)
    }),
    ("the registers at a shutdown are the guest's", |device| {
        let mut machine = Machine::long(device, code!(64: "mov $0x1234, %eax", "ud2"))?;
        let mut sregs = machine.vcpu.sregs()?;
        sregs.idt.limit = 0;
        machine.vcpu.set_sregs(&sregs)?;
        machine.expect(Exit::Shutdown)?;
        let regs = machine.vcpu.regs()?;
        equal("RIP", regs.rip, CODE + 5)?;
        equal("RAX", regs.rax, 0x1234)?;
        equal("RSP", regs.rsp, STACK)
    }),
    ("immediate_exit enters no guest", |device| {
        let mut machine = Machine::long(device, code!(64: "inc %rax", "hlt"))?;
        machine.vcpu.run_area().immediate_exit = 1;
        machine.expect(Exit::Interrupted)?;
        let regs = machine.vcpu.regs()?;
        equal("RIP", regs.rip, CODE)?;
        equal("RAX", regs.rax, 0)?;
        machine.vcpu.run_area().immediate_exit = 0;
        machine.expect(Exit::Halt)
    }),
    ("immediate_exit completes an in, and nothing more", |device| {
        let mut machine = Machine::long(device, code!(64: "in $0xE0, %al", "inc %al", "hlt"))?;
        machine.expect(Exit::In { port: 0xE0, size: 1, count: 1 })?;
        machine.vcpu.answer_port(&[0x40]);
        machine.vcpu.run_area().immediate_exit = 1;
        machine.expect(Exit::Interrupted)?;
        let regs = machine.vcpu.regs()?;
        equal("RAX", regs.rax, 0x40)?;
        equal("RIP", regs.rip, CODE + 2)
    }),
    ("a signal interrupts a guest that computes for ever", |device| {
        handle_signal();
        let mut machine = endless(device)?;
        let sender = signal_later();
        machine.expect(Exit::Interrupted)?;
        let _ = sender.join();
        ensure(machine.vcpu.regs()?.rax > 0, "it has not run")
    }),
    ("another thread's immediate_exit and signal end the guest", |device| {
        handle_signal();
        let mut machine = endless(device)?;
        let flag = machine.vcpu.immediate_exit() as usize;
        let sender = signal_later();
        // SAFETY: the byte is in kvm_run, which outlives this.
        unsafe { (flag as *mut u8).write_volatile(0) };
        machine.expect(Exit::Interrupted)?;
        let _ = sender.join();
        // SAFETY: as above.
        unsafe { (flag as *mut u8).write_volatile(1) };
        machine.expect(Exit::Interrupted)
    }),
    ("signals can be blocked except in KVM_RUN", |device| {
        handle_signal();
        let mut machine = endless(device)?;
        set_signal_mask(&machine, 0)?;
        // SAFETY: sets of signals on the stack.
        let pending = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&mut set, SIGNAL);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            libc::pthread_kill(libc::pthread_self(), SIGNAL);
            machine.expect(Exit::Interrupted)?;
            libc::sigpending(&mut set);
            libc::sigismember(&set, SIGNAL)
        };
        equal("the signal is pending", pending, 1)
    }),
    ("a signal that is blocked in KVM_RUN alone waits", |device| {
        handle_signal();
        let mut machine =
            Machine::long(device, code!(64: "mov $20000000, %ecx", "1: dec %ecx", "jnz 1b", "hlt"))?;
        set_signal_mask(&machine, set_of(SIGNAL))?;
        let sender = signal_later();
        let found = machine.expect(Exit::Halt);
        let _ = sender.join();
        found
    }),
    ("cpuid answers what KVM_SET_CPUID2 has set", |device| {
        let code = code!(64: "mov $0x40000000, %eax", "cpuid", "mov %ebx, DATA", "mov $1, %eax", "cpuid",
            "mov %ecx, DATA + 4", "hlt");
        let mut machine = Machine::long(device, code)?;
        let mut leaves = supported_cpuid(&machine.device)?;
        let at = leaves.count as usize;
        leaves.entries[at].function = 0x4000_0000;
        leaves.entries[at].ebx = 0x6162_6364;
        // The last one with this function counts for KVM, the first one for others: there is only one.
        leaves.count += 1;
        for entry in &mut leaves.entries[..at] {
            if entry.function == 0x4000_0000 {
                (entry.function, entry.ebx) = (0x4000_00F0, 0);
            }
            if entry.function == 1 {
                entry.ecx = 1 << 31 | 1;
            }
        }
        machine.vcpu.file.with(SET_CPUID2, &mut *leaves)?;
        machine.expect(Exit::Halt)?;
        equal("EBX of leaf 40000000h", machine.memory.u64(DATA) as u32, 0x6162_6364)?;
        // Bit 27 repeats a bit of CR4.
        equal("ECX of leaf 1", machine.memory.u64(DATA + 4) as u32 & !(1 << 27), 1 << 31 | 1)
    }),
    ("the guest's model-specific registers", |device| {
        let code = code!(64: "mov $0xC0000102, %ecx", "rdmsr", "add $1, %eax", "wrmsr", "out %al, $0xE0",
            "mov $0x12345, %ecx", "rdmsr");
        let mut machine = Machine::long(device, code)?;
        super::state::set_msrs(&machine, &[(0xC000_0102, 0x1_0000_0041)])?;
        equal("AL", machine.expect_out(0xE0)?, 0x42)?;
        equal("kernel GS base", super::state::msr(&machine, 0xC000_0102)?, 0x1_0000_0042)?;
        // One that does not exist.
        machine.expect_out(13).map(drop)
    }),
    ("wrmsr of a value that is not allowed is #GP", |device| {
        let code = code!(64: "mov $0xC0000080, %ecx", "mov $-1, %eax", "mov %eax, %edx", "wrmsr", "hlt");
        Machine::long(device, code)?.expect_out(13).map(drop)
    }),
    ("wrmsr of LSTAR takes canonical addresses", |device| {
        let code = code!(64: "mov $0xC0000082, %ecx", "mov $0x12345678, %edx", "wrmsr", "hlt");
        Machine::long(device, code)?.expect_out(13).map(drop)
    }),
    ("instructions of AMD-V raise #UD in the guest", |device| {
        Machine::long(device, code!(64: "mov $DATA, %eax", "vmrun %rax"))?.expect_out(6)?;
        Machine::long(device, code!(64: "clgi"))?.expect_out(6).map(drop)
    }),
    ("vector registers survive exits, and are the guest's own", |device| {
        let code = code!(64: "mov $DATA, %ebx", "movdqu (%rbx), %xmm3", "out %al, $0xE0", "movdqu %xmm3, 16(%rbx)",
            "movdqu %xmm9, 32(%rbx)", "out %al, $0xE0");
        let mut machine = Machine::long(device, code)?;
        machine.memory.put_u64(DATA, 0x1122_3344_5566_7788);
        machine.expect_out(0xE0)?;
        // SAFETY: overwrites registers, which it declares.
        unsafe {
            core::arch::asm!("pcmpeqd %xmm3, %xmm3", "pcmpeqd %xmm9, %xmm9", out("xmm3") _, out("xmm9") _,
                options(att_syntax, nomem, nostack));
        }
        machine.expect_out(0xE0)?;
        equal("XMM3", machine.memory.u64(DATA + 16), 0x1122_3344_5566_7788)?;
        equal("XMM9", machine.memory.u64(DATA + 32), 0)
    }),
    ("the time stamp counter runs, and can be set", |device| {
        let code = code!(64: "rdtsc", "mov %eax, DATA", "mov %edx, DATA + 4", "out %al, $0xE0", "rdtsc",
            "mov %eax, DATA + 8", "mov %edx, DATA + 12", "out %al, $0xE0");
        let mut machine = Machine::long(device, code)?;
        super::state::set_msrs(&machine, &[(0x10, 1 << 50)])?;
        machine.expect_out(0xE0)?;
        machine.expect_out(0xE0)?;
        let (first, second) = (machine.memory.u64(DATA), machine.memory.u64(DATA + 8));
        ensure((1 << 50..(1 << 50) + (1 << 40)).contains(&first), format!("first {first:#x}"))?;
        ensure(second > first, format!("{second:#x} after {first:#x}"))
    }),
    ("CR8 and cr8 of kvm_run are the same", |device| {
        let code =
            code!(64: "mov %cr8, %rax", "out %al, $0xE0", "mov $9, %eax", "mov %rax, %cr8", "out %al, $0xE0");
        let mut machine = Machine::long(device, code)?;
        machine.vcpu.run_area().cr8 = 5;
        // KVM's exit for a write of CR8 is allowed in between.
        equal("AL", machine.expect_out(0xE0)?, 5)?;
        let mut exit = machine.vcpu.run()?;
        if exit == Exit::Other(kvm_bindings::KVM_EXIT_SET_TPR) {
            exit = machine.vcpu.run()?;
        }
        ensure(matches!(exit, Exit::Out { .. }), machine.instead(&exit, "out"))?;
        equal("cr8", machine.vcpu.run_area().cr8, 9)
    }),
    ("RAX to R15, RSP, RFLAGS and segments survive an exit", |device| {
        let code = code!(64: "out %al, $0xE0", "out %al, $0xE0");
        let mut machine = Machine::long(device, code)?;
        machine.set(|regs| {
            (regs.rbx, regs.rcx, regs.rbp, regs.rsi, regs.rdi) = (1, 2, 3, 4, 5);
            (regs.r8, regs.r9, regs.r10, regs.r11, regs.r12) = (6, 7, 8, 9, 10);
            (regs.r13, regs.r14, regs.r15, regs.rflags) = (11, 12, 13, 0xCD7 & !0x300);
        })?;
        let before = machine.vcpu.regs()?;
        let segments = machine.vcpu.sregs()?;
        machine.expect_out(0xE0)?;
        machine.expect_out(0xE0)?;
        let after = machine.vcpu.regs()?;
        let same = kvm_bindings::kvm_regs { rip: before.rip, ..after };
        ensure(same == before, format!("{after:x?}, not {before:x?}"))?;
        let found = machine.vcpu.sregs()?;
        ensure(
            (found.cs, found.ss, found.tr, found.gdt)
                == (segments.cs, segments.ss, segments.tr, segments.gdt),
            "other segments",
        )
    }),
    ("two vCPUs on two threads share memory", |device| {
        const ROUNDS: u64 = 100_000;
        let code = code!(64: "mov $100000, %ecx", "1: lock incq DATA", "dec %ecx", "jnz 1b", "hlt");
        let mut machine = Machine::new(device, Mode::Long, code)?;
        let mut second = Vcpu::new(&machine.device, &machine.vm, 1)?;
        second.file.with(SET_CPUID2, &mut *supported_cpuid(&machine.device)?)?;
        second.set_sregs(&machine.vcpu.sregs()?)?;
        second.set_regs(&kvm_bindings::kvm_regs { rsp: STACK - 0x1000, ..machine.vcpu.regs()? })?;
        let halted = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| halted.store(matches!(second.run(), Ok(Exit::Halt)), Ordering::SeqCst));
            machine.expect(Exit::Halt)
        })?;
        ensure(halted.load(Ordering::SeqCst), "the second one has not halted")?;
        equal("count", machine.memory.u64(DATA), 2 * ROUNDS)
    }),
];
