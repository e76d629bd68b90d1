//! The frequency of the time stamp counter of a vCPU whose state comes from another one.
//!
//! A guest keeps the CPUID leaves that tell it the frequency, so its counter should run at that frequency, too. Where
//! the host cannot scale it, the guest's clocks are wrong from then on, which the log says.
//!
//! Manual: KVM_GET_TSC_KHZ and KVM_SET_TSC_KHZ in api.rst.

use std::fmt;

use super::{Vcpu, cpuid};

/// The time stamp counter does not run at the frequency that the guest knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TscMismatch {
    /// The frequency in kHz that CPUID tells the guest, or at which its counter ran.
    known: u32,
    /// The frequency in kHz here; 0 if the host does not report it.
    here: u32,
}

impl fmt::Display for TscMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Mhz(self.known);
        match self.here {
            0 => write!(
                f,
                "the guest's time stamp counter now runs at a frequency that this host does not report; the guest was \
                 told {known}"
            ),
            here => write!(
                f,
                "the guest's time stamp counter now runs at {}, but the guest was told {known}, and this host cannot \
                 scale it: times that the guest measures by it are wrong",
                Mhz(here)
            ),
        }
    }
}

/// A frequency in kHz, shown in MHz.
struct Mhz(u32);

impl fmt::Display for Mhz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} MHz", self.0 / 1000, self.0 % 1000)
    }
}

impl Vcpu {
    /// Sets the frequency of the time stamp counter to the one that CPUID tells the guest or, if it tells none, to
    /// `before` (kHz; 0 if unknown), the one at which the counter ran. Returns the difference that remains, once for
    /// each frequency.
    pub(super) fn set_tsc_frequency(&self, before: u32) -> Option<TscMismatch> {
        let known = cpuid::tsc_frequency(&self.cpuid).unwrap_or(before);
        let here = self.tsc_khz();
        if known == 0 || known == here || self.cached.refused_tsc_khz.get() == known {
            return None;
        }
        // A frequency within KVM's tolerance is accepted without scaling.
        if self.fd.set_tsc_khz(known).is_ok() {
            self.cached.tsc_khz.set(Some(known));
            return None;
        }
        self.cached.refused_tsc_khz.set(known);
        Some(TscMismatch { known, here })
    }

    /// Frequency of the time stamp counter in kHz; 0 if the host does not report it.
    pub fn tsc_khz(&self) -> u32 {
        if let Some(known) = self.cached.tsc_khz.get() {
            return known;
        }
        let found = self.fd.get_tsc_khz().unwrap_or(0);
        self.cached.tsc_khz.set(Some(found));
        found
    }
}

#[cfg(test)]
#[path = "tsc_test.rs"]
mod tests;
