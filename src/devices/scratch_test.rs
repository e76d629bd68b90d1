//! A device that only tests have: a scratch register and a countdown. It shows that a file and an entry of the
//! table are all that a device needs; CONTRIBUTING.md shows a similar one.

use serde::{Deserialize, Serialize};

use super::table::{Registration, Timing};
use super::{Action, Device, MachineTime, Snapshot, StateError};

/// The register's port; the next one starts a countdown in microseconds, at whose end the line rises.
pub(crate) const PORT: u16 = 0x1E0;

/// Its interrupt line.
pub(crate) const LINE: u8 = 5;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scratch {
    value: u8,
    deadline: Option<MachineTime>,
    now: MachineTime,
    line: bool,
}

pub(crate) const ENTRY: Registration = Registration {
    base: PORT,
    ports: &[PORT..=PORT + 1],
    interrupt: Some(LINE),
    timing: Timing::Deadlines,
    ..Registration::of::<Scratch>()
};

impl Device for Scratch {
    fn read(&mut self, _offset: u16) -> (u8, Action) {
        (self.value, Action::NONE)
    }

    fn write(&mut self, offset: u16, value: u8) -> Action {
        if offset == 0 {
            self.value = value;
            return Action::NONE;
        }
        let deadline = MachineTime::from_nanos(self.now.as_nanos() + u64::from(value) * 1000);
        (self.deadline, self.line) = (Some(deadline), false);
        Action { deadline: true, ..Action::line(false) }
    }

    fn line(&self) -> bool {
        self.line
    }

    fn next_deadline(&self) -> Option<MachineTime> {
        self.deadline
    }

    fn advance(&mut self, now: MachineTime) -> Action {
        self.now = now;
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return Action::NONE;
        }
        (self.deadline, self.line) = (None, true);
        Action::line(true)
    }
}

impl Snapshot for Scratch {
    const KIND: &'static str = "scratch";
    const VERSION: u16 = 1;
    type State = Scratch;

    fn state(&self) -> Scratch {
        *self
    }

    fn set_state(&mut self, state: Scratch) -> Result<(), StateError> {
        *self = state;
        Ok(())
    }
}
