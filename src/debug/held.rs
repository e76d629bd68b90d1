//! The guest as others reach it between two instructions: commands, and requests that come through the
//! door.

use super::debuggee::Debuggee;
use super::facilities;
use crate::boot::Image;
use crate::control::door::{Door, HeldGuest};
use crate::control::{Doing, Facility, Session, StoppedGuest};
use crate::host::{HostError, Registers};
use crate::machine::inputs::Input;
use crate::machine::snapshots::{Kept, SnapshotError};
use crate::machine::{Due, Event, Machine, Outcome};
use crate::memory::GuestMemory;

impl Debuggee<'_> {
    /// Carries out what others have asked for.
    pub(super) fn answer_requests(&mut self, door: &Door) {
        while let Some(request) = door.next() {
            request(self);
            // It may have changed some.
            self.view.registers.forget();
        }
    }
}

impl StoppedGuest for Debuggee<'_> {
    fn registers(&self) -> Result<Registers, HostError> {
        self.machine.registers()
    }

    fn memory(&self) -> &GuestMemory {
        self.machine.memory()
    }

    fn image(&self) -> &dyn Image {
        self.machine.image()
    }

    fn bias(&self) -> u64 {
        self.machine.bias()
    }

    fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    fn facilities(&self) -> Vec<Facility> {
        facilities::of(self)
    }

    fn reset(&mut self) -> bool {
        self.machine.inputs().push(Input::Reset);
        match self.machine.wait() {
            Event::End(outcome) => {
                self.ended = Some(outcome);
                false
            }
            _ => {
                self.was_reset();
                true
            }
        }
    }

    fn take_snapshot(&mut self, name: &str) -> Result<Kept, SnapshotError> {
        let due = if self.reset_asked { Some(Due::Reset) } else { self.ended.as_ref().and_then(Due::after) };
        self.snapshots.take(self.machine, name, due)
    }

    fn go_back(&mut self, name: &str) -> Result<Kept, SnapshotError> {
        let kept = self.snapshots.go_back(self.machine, name)?;
        self.was_reset();
        match self.machine.take_due() {
            Some(Event::End(outcome)) => self.ended = Some(outcome),
            Some(_) => self.reset_asked = true,
            None => {}
        }
        self.watchpoints.forget_hits();
        self.stopped_at = self.position().ok().map(|(_, pc)| pc);
        Ok(kept)
    }

    fn forget_snapshots(&mut self, name: Option<&str>) -> Result<(), SnapshotError> {
        match name {
            Some(name) => self.snapshots.forget(self.machine, name),
            None => self.snapshots.forget_all(self.machine),
        }
    }

    fn snapshots(&self) -> (Vec<Kept>, u64) {
        (self.snapshots.list(), self.snapshots.kept())
    }

    fn quit(&mut self) {
        self.machine.inputs().push(Input::Quit);
    }

    fn doing(&self) -> Doing {
        self.doing
    }

    fn is_debugged(&self) -> bool {
        self.debugged
    }

    fn set_paused(&mut self, paused: bool) {
        self.doing = if paused { Doing::Paused } else { Doing::Runs };
    }
}

impl HeldGuest for Debuggee<'_> {
    fn machine(&mut self) -> &mut Machine {
        self.machine
    }

    fn replaced(&mut self) {
        self.was_reset();
    }

    fn end(&mut self, outcome: Outcome) {
        self.over = Some(outcome);
    }
}

#[cfg(test)]
#[path = "held_test.rs"]
mod tests;
