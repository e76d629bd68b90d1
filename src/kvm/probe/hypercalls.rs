//! Hypercalls: the effect of `vmcall` (Intel) and `vmmcall` (AMD).
//!
//! On a physical processor, the other vendor's hypercall instruction raises #UD. By default, KVM replaces the
//! instruction in the guest's memory (KVM_X86_QUIRK_FIX_HYPERCALL_INSN in api.rst); [`Kvm::create_vm`]
//! disables that.

use super::code::guest_code;
use super::fact::Fact;
use super::guest::{GuestSetup, ProbeExit, ProbeGuest};
use super::layout::ProbeMode;
use crate::kvm::{HostError, Kvm, VmExit, cpuid};

/// The effect of a hypercall that KVM does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hypercall {
    /// An error number in RAX: KVM has handled it.
    Answered,
    /// Exception 6, #UD: this processor does not have the instruction.
    Undefined,
    /// Another exception.
    Raises(u8),
    /// KVM's instruction emulator refuses it.
    Refused,
    /// The vCPU never returns.
    Hangs,
    /// In a way that no known host shows.
    Unclear,
}

/// Intel's, in ring 0.
pub static VMCALL: Fact<Hypercall> = Fact::new(|kvm| hypercall(kvm, GuestSetup::Plain, vmcall()));

/// AMD's, in ring 0.
pub static VMMCALL: Fact<Hypercall> = Fact::new(|kvm| hypercall(kvm, GuestSetup::Plain, vmmcall()));

/// The other vendor's, in ring 0, with KVM's default behaviour.
pub static FOREIGN_HYPERCALL: Fact<Hypercall> = Fact::new(|kvm| {
    let foreign = if cpuid::vendor(kvm.cpuid()) == cpuid::INTEL { vmmcall() } else { vmcall() };
    hypercall(kvm, GuestSetup::PatchedHypercalls, foreign)
});

/// -KVM_ENOSYS (Documentation/virt/kvm/x86/hypercalls.rst), its low half.
const UNKNOWN: u32 = -1000_i32 as u32;

fn vmcall() -> &'static [u8] {
    guest_code!(64: "movl $0x7fff, %eax", "vmcall", "movl %eax, DONE")
}

fn vmmcall() -> &'static [u8] {
    guest_code!(64: "movl $0x7fff, %eax", "vmmcall", "movl %eax, DONE")
}

fn hypercall(kvm: &Kvm, setup: GuestSetup, code: &[u8]) -> Result<Hypercall, HostError> {
    Ok(match ProbeGuest::new(kvm, setup, ProbeMode::Long, code)?.run()? {
        ProbeExit::Done(UNKNOWN) => Hypercall::Answered,
        ProbeExit::Exception(6) => Hypercall::Undefined,
        ProbeExit::Exception(vector) => Hypercall::Raises(vector),
        ProbeExit::Exit(VmExit::Refused(_)) => Hypercall::Refused,
        ProbeExit::Hangs => Hypercall::Hangs,
        _ => Hypercall::Unclear,
    })
}
