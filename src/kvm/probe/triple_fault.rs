//! The guest's registers after a triple fault.

use super::code::guest_code;
use super::fact::Fact;
use super::guest::{GuestSetup, ProbeExit, ProbeGuest};
use super::layout::{CODE, ProbeMode};
use crate::kvm::{HostError, Kvm, VmExit};

/// The registers at the exit that reports a triple fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterTripleFault {
    /// They show where it happened.
    Preserved,
    /// They are those of a processor after reset: where it happened is unknown.
    Reset,
    /// In a way that no known host shows.
    Unclear,
}

/// The registers after a triple fault in ring 0.
pub static AFTER_TRIPLE_FAULT: Fact<AfterTripleFault> = Fact::new(triple_fault);

/// The address of the first instruction after reset, without its segment's base (Intel SDM volume
/// 3A, "First Instruction Executed").
const RESET_VECTOR: u64 = 0xFFF0;

fn triple_fault(kvm: &Kvm) -> Result<AfterTripleFault, HostError> {
    let code = guest_code!(64:
        "pushq $0",
        "pushw $0",
        "lidt (%rsp)",                  // a table without entries
        "nop",
        "5: ud2",
    );
    let mut guest = ProbeGuest::new(kvm, GuestSetup::Plain, ProbeMode::Long, code)?;
    if guest.run()? != ProbeExit::Exit(VmExit::Shutdown) {
        return Ok(AfterTripleFault::Unclear);
    }
    let fault = CODE + code.len() as u64 - 2;
    Ok(match guest.vcpu.registers()?.general.rip {
        rip if rip == fault => AfterTripleFault::Preserved,
        RESET_VECTOR => AfterTripleFault::Reset,
        _ => AfterTripleFault::Unclear,
    })
}
