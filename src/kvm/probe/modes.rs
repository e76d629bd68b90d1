//! In which modes of the processor a guest can run.

use super::code::guest_code;
use super::fact::Fact;
use super::guest::{GuestSetup, ProbeExit, ProbeGuest};
use super::layout::{self, ProbeMode};
use crate::kvm::{HostError, Kvm, VmExit};

/// The result of starting a guest in a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeSupport {
    /// It runs.
    Runs,
    /// KVM accepts the registers, but paging is off afterwards.
    PagingDropped,
    /// Its first instruction causes a triple fault.
    TripleFault,
    /// KVM rejects its registers, or refuses to run it.
    Refused,
    /// It ended in a way that no known host shows.
    Unclear,
}

/// One mode and its support.
#[derive(Debug)]
pub struct ModeFact {
    /// The mode.
    pub mode: ProbeMode,
    /// The result of starting a guest in it.
    pub fact: Fact<ModeSupport>,
}

/// All modes.
pub static MODES: [ModeFact; 7] = [
    ModeFact { mode: ProbeMode::Real, fact: Fact::new(|kvm| start(kvm, ProbeMode::Real)) },
    ModeFact { mode: ProbeMode::Protected, fact: Fact::new(|kvm| start(kvm, ProbeMode::Protected)) },
    ModeFact { mode: ProbeMode::Paging32, fact: Fact::new(|kvm| start(kvm, ProbeMode::Paging32)) },
    ModeFact { mode: ProbeMode::PagingPae, fact: Fact::new(|kvm| start(kvm, ProbeMode::PagingPae)) },
    ModeFact { mode: ProbeMode::Long, fact: Fact::new(|kvm| start(kvm, ProbeMode::Long)) },
    ModeFact { mode: ProbeMode::LongHuge, fact: Fact::new(|kvm| start(kvm, ProbeMode::LongHuge)) },
    ModeFact { mode: ProbeMode::LongRing3, fact: Fact::new(|kvm| start(kvm, ProbeMode::LongRing3)) },
];

fn start(kvm: &Kvm, mode: ProbeMode) -> Result<ModeSupport, HostError> {
    let code = match mode {
        ProbeMode::Real => guest_code!(16: "movb $42, %al", "outb %al, $DONE_PORT"),
        ProbeMode::Protected | ProbeMode::Paging32 | ProbeMode::PagingPae => {
            guest_code!(32: "movl $42, %eax", "movl %eax, DONE")
        }
        ProbeMode::Long | ProbeMode::LongHuge | ProbeMode::LongRing3 => {
            guest_code!(64: "movl $42, %eax", "movl %eax, DONE")
        }
    };
    let mut guest = match ProbeGuest::new(kvm, GuestSetup::Plain, mode, code) {
        Ok(guest) => guest,
        Err(HostError::Refused { what: "write the system registers", .. }) => {
            return Ok(ModeSupport::Refused);
        }
        Err(error) => return Err(error),
    };
    let with_paging = !matches!(mode, ProbeMode::Real | ProbeMode::Protected);
    if with_paging && !layout::paging(&guest.vcpu.registers()?) {
        return Ok(ModeSupport::PagingDropped);
    }
    Ok(match guest.run()? {
        ProbeExit::Done(42) => ModeSupport::Runs,
        ProbeExit::Exit(VmExit::Shutdown) => ModeSupport::TripleFault,
        ProbeExit::Exit(VmExit::Refused(_) | VmExit::EntryFailed(_)) => ModeSupport::Refused,
        _ => ModeSupport::Unclear,
    })
}
