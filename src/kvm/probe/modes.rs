//! In which modes of the processor a guest can run.

use super::bench::{Bench, Fitting, Stop};
use super::code::guest_code;
use super::fact::Fact;
use super::layout::{self, Mode};
use crate::kvm::{HostError, Kvm, VmExit};

/// What becomes of a guest that starts in a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It runs.
    Runs,
    /// KVM takes the registers, and then paging is off.
    PagingDropped,
    /// Its first instruction is a triple fault.
    TripleFault,
    /// KVM does not take its registers, or refuses to run it.
    Refused,
    /// It ended in a way that no known host shows.
    Unclear,
}

/// What is known of one mode.
#[derive(Debug)]
pub struct ModeFact {
    /// The mode.
    pub mode: Mode,
    /// What becomes of a guest that starts in it.
    pub fact: Fact<Started>,
}

/// All modes.
pub static MODES: [ModeFact; 7] = [
    ModeFact { mode: Mode::Real, fact: Fact::new(|kvm| start(kvm, Mode::Real)) },
    ModeFact { mode: Mode::Protected, fact: Fact::new(|kvm| start(kvm, Mode::Protected)) },
    ModeFact { mode: Mode::Paging32, fact: Fact::new(|kvm| start(kvm, Mode::Paging32)) },
    ModeFact { mode: Mode::PagingPae, fact: Fact::new(|kvm| start(kvm, Mode::PagingPae)) },
    ModeFact { mode: Mode::Long, fact: Fact::new(|kvm| start(kvm, Mode::Long)) },
    ModeFact { mode: Mode::LongHuge, fact: Fact::new(|kvm| start(kvm, Mode::LongHuge)) },
    ModeFact { mode: Mode::LongRing3, fact: Fact::new(|kvm| start(kvm, Mode::LongRing3)) },
];

fn start(kvm: &Kvm, mode: Mode) -> Result<Started, HostError> {
    let code = match mode {
        Mode::Real => guest_code!(16: "movb $42, %al", "outb %al, $DONE_PORT"),
        Mode::Protected | Mode::Paging32 | Mode::PagingPae => {
            guest_code!(32: "movl $42, %eax", "movl %eax, DONE")
        }
        Mode::Long | Mode::LongHuge | Mode::LongRing3 => {
            guest_code!(64: "movl $42, %eax", "movl %eax, DONE")
        }
    };
    let mut bench = match Bench::new(kvm, Fitting::Plain, mode, code) {
        Ok(bench) => bench,
        Err(HostError::Refused { what: "write the system registers", .. }) => return Ok(Started::Refused),
        Err(error) => return Err(error),
    };
    let with_paging = !matches!(mode, Mode::Real | Mode::Protected);
    if with_paging && !layout::paging(&bench.vcpu.registers()?) {
        return Ok(Started::PagingDropped);
    }
    Ok(match bench.run()? {
        Stop::Done(42) => Started::Runs,
        Stop::Exit(VmExit::Shutdown) => Started::TripleFault,
        Stop::Exit(VmExit::Refused(_) | VmExit::EntryFailed(_)) => Started::Refused,
        _ => Started::Unclear,
    })
}
