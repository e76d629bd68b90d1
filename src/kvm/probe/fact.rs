//! A property of the host, measured once, on demand.

use std::sync::OnceLock;

use crate::kvm::{HostError, Kvm};

/// Description of a behaviour that no known host shows.
pub const UNCLEAR: &str = "ended in a way that no known host shows";

/// A property of this host.
#[derive(Debug)]
pub struct Fact<T> {
    measured: OnceLock<T>,
    measure: fn(&Kvm) -> Result<T, HostError>,
}

impl<T: Copy> Fact<T> {
    /// A property that is not measured yet.
    pub(super) const fn new(measure: fn(&Kvm) -> Result<T, HostError>) -> Fact<T> {
        Fact { measured: OnceLock::new(), measure }
    }

    /// The property, measured now if it was not before. Measuring takes about a millisecond, most of it for
    /// creating a virtual machine.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if the host cannot create a virtual machine; the next call tries again.
    pub fn get(&self, kvm: &Kvm) -> Result<T, HostError> {
        if let Some(known) = self.measured.get() {
            return Ok(*known);
        }
        let measured = (self.measure)(kvm)?;
        Ok(*self.measured.get_or_init(|| measured))
    }

    /// The property, if it has been measured.
    pub fn known(&self) -> Option<T> {
        self.measured.get().copied()
    }
}

/// A property that can differ between ring 0 and ring 3.
#[derive(Debug)]
pub struct PerRing<T> {
    /// In ring 0.
    pub ring0: Fact<T>,
    /// In ring 3.
    pub ring3: Fact<T>,
}

impl<T: Copy> PerRing<T> {
    pub(super) const fn new(
        ring0: fn(&Kvm) -> Result<T, HostError>,
        ring3: fn(&Kvm) -> Result<T, HostError>,
    ) -> PerRing<T> {
        PerRing { ring0: Fact::new(ring0), ring3: Fact::new(ring3) }
    }
}
