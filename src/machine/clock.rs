//! The machine's clock. It advances by inputs alone, so that the same inputs give the same times.

use std::time::Duration;

use crate::devices::MachineTime;

/// The clock of a machine; only [`super::inputs::Input::Time`] advances it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    now: MachineTime,
}

impl Clock {
    /// A clock at `now`.
    pub fn at(now: MachineTime) -> Clock {
        Clock { now }
    }

    /// The time.
    pub fn now(&self) -> MachineTime {
        self.now
    }

    /// Advances by `elapsed`, and gives the new time.
    pub fn advance(&mut self, elapsed: Duration) -> MachineTime {
        self.now = self.now.after(elapsed);
        self.now
    }
}
