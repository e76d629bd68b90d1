//! Whether the transitions from ring 3 to ring 0 that a kernel uses work.
//!
//! Manual: Intel SDM volume 2B, "SYSCALL"; AMD APM volume 3, "SYSCALL".

use super::code::guest_code;
use super::fact::Fact;
use super::guest::{GuestSetup, ProbeExit, ProbeGuest};
use super::layout::{CODE, ProbeMode};
use crate::kvm::{HostError, Kvm};

/// The result of `syscall`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemCalls {
    /// To the kernel's entry point in ring 0.
    EnterRing0,
    /// To the kernel's entry point, but in ring 3.
    StayInRing3,
    /// To the handler of this exception.
    Raise(u8),
    /// At another place: no known host shows it.
    Unclear,
}

/// `syscall` in ring 3.
pub static SYSTEM_CALLS: Fact<SystemCalls> = Fact::new(system_calls);

/// Selectors that SYSCALL and SYSRET use (IA32_STAR).
const STAR: u32 = 0xC000_0081;
/// Where SYSCALL leads (IA32_LSTAR).
const LSTAR: u32 = 0xC000_0082;

/// CS 0x08 and SS 0x10 for the kernel, SS 0x18 and CS 0x20 for its programs.
const SELECTORS: u64 = 0x0010_0008 << 32;
/// Offset of the kernel in this guest's code.
const KERNEL: u64 = 16;

fn system_calls(kvm: &Kvm) -> Result<SystemCalls, HostError> {
    let code = guest_code!(64:
        "syscall",
        "movl $1, DONE",
        ".balign 16",
        "movq %cr0, %rax",              // only ring 0 may
        "movl %cs, %eax",
        "movl %eax, DONE",
    );
    let mut guest = ProbeGuest::new(kvm, GuestSetup::Plain, ProbeMode::LongRing3, code)?;
    guest.set_msr(STAR, SELECTORS)?;
    guest.set_msr(LSTAR, CODE + KERNEL)?;
    Ok(match guest.run()? {
        ProbeExit::Done(0x08) => SystemCalls::EnterRing0,
        ProbeExit::Exception(13) => SystemCalls::StayInRing3,
        ProbeExit::Exception(vector) => SystemCalls::Raise(vector),
        _ => SystemCalls::Unclear,
    })
}
