//! What breakpoints are made of on this host.
//!
//! KVM reports the same for every host although hosts differ, so what the probe
//! ([`crate::kvm::probe`]) has measured decides:
//!
//! | breakpoint | made of |
//! |---|---|
//! | a hardware breakpoint of the client's | a debug register, always |
//! | any other, while debug registers are left and stop the guest here | a debug register: no byte of the guest's changes, and it makes no difference what is mapped there, or whether a loader writes there later |
//! | any other | a byte inserted into the guest's code while it runs: `int3` where the host exits for it, else `hlt`, for which every host exits |
//!
//! A hardware breakpoint that comes later drives out one of the others. A byte that cannot be inserted
//! yet, because nothing is mapped there, and one that the guest has written over, is inserted when the
//! guest goes on after its next stop; there is one every 10 ms while there are breakpoints without a
//! debug register.

use tracing::debug;

use super::breakpoint_bytes::Opcode;
use crate::kvm::Kvm;
use crate::kvm::probe::{
    HARDWARE_BREAKPOINTS, HardwareBreakpoints, SOFTWARE_BREAKPOINTS, SoftwareBreakpoints,
};

/// What this host can do, for ring 0, in which most guests run all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Technique {
    /// Debug registers stop the guest.
    pub(crate) registers: bool,
    /// The instruction that is inserted.
    pub(crate) inserted: Opcode,
    /// Ring 0 is run by KVM's instruction emulator, which steps without RFLAGS.TF.
    pub(crate) emulated: bool,
}

impl Technique {
    /// The host exits for an inserted `hlt`.
    pub(crate) fn stops_at_halts(self) -> bool {
        self.inserted == Opcode::Halt
    }

    /// The measured properties of the host; what cannot be measured is assumed to be as in KVM's manual.
    pub(crate) fn of_host(kvm: &Kvm) -> Technique {
        let int3 = SOFTWARE_BREAKPOINTS.ring0.get(kvm);
        let registers = HARDWARE_BREAKPOINTS.ring0.get(kvm);
        let inserted = match int3 {
            Ok(SoftwareBreakpoints::Guest | SoftwareBreakpoints::Missed | SoftwareBreakpoints::Unclear) => {
                Opcode::Halt
            }
            _ => Opcode::Int3,
        };
        let technique = Technique {
            registers: matches!(registers, Ok(HardwareBreakpoints::Stop)),
            inserted,
            emulated: matches!(int3, Ok(SoftwareBreakpoints::Refused)),
        };
        debug!("breakpoints: {technique:?}");
        technique
    }
}
