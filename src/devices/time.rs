//! Machine time, the only time that devices know.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on the machine's own clock, in nanoseconds since power-on. It is not the host's time: it advances
/// only by inputs of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MachineTime(u64);

impl MachineTime {
    /// `nanoseconds` after power-on.
    pub const fn from_nanos(nanoseconds: u64) -> MachineTime {
        MachineTime(nanoseconds)
    }

    /// Nanoseconds since power-on.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This time and `elapsed` later; the last representable time (after 584 years) if that is beyond.
    #[must_use]
    pub fn after(self, elapsed: Duration) -> MachineTime {
        MachineTime(self.0.saturating_add(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_advances_and_saturates() {
        let time = MachineTime::from_nanos(5).after(Duration::from_micros(1));
        assert_eq!(time.as_nanos(), 1005);
        assert_eq!(time.after(Duration::MAX).as_nanos(), u64::MAX);
    }
}
