//! The guest as others reach it between two instructions: commands, and requests that come through the
//! door.

use std::path::Path;

use super::debuggee::Debuggee;
use super::facilities;
use crate::boot::Image;
use crate::control::door::{Door, HeldGuest};
use crate::control::{Doing, Facility, Session, StoppedGuest};
use crate::host::{HostError, Registers};
use crate::inspect::screen::Shot;
use crate::machine::inputs::{Input, Inputs};
use crate::machine::{Due, Event, Machine, Outcome};
use crate::memory::GuestMemory;
use crate::settings::LayoutName;
use crate::state::{self, Saved, SnapshotError};

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

    fn snapshot(&mut self, file: &Path) -> Result<Saved, SnapshotError> {
        let due = self.due();
        state::save(self.machine, due, file)
    }

    fn restore(&mut self, file: &Path) -> Result<(), SnapshotError> {
        let restored = state::restore(self.machine, file);
        match &restored {
            Ok(()) => {
                self.was_reset();
                // Whatever is there has been reported when it was saved.
                self.stopped_at = self.position().ok().map(|(_, pc)| pc);
            }
            Err(error) if error.is_fatal() => {
                let reason = error.to_string();
                self.over =
                    Some(Outcome::HostFailed(HostError::Refused { what: "restore a snapshot", reason }));
            }
            Err(_) => {}
        }
        restored
    }

    fn quit(&mut self) {
        self.machine.inputs().push(Input::Quit);
    }

    fn screen(&self) -> Shot {
        let screen = self.machine.screen();
        let colours = self.machine.board().vga.colours();
        Shot { cells: screen.cells(), view: screen.view(), colours }
    }

    fn inputs(&self) -> &Inputs {
        self.machine.inputs()
    }

    fn layout(&self) -> LayoutName {
        self.machine.layout()
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

    fn due(&self) -> Option<Due> {
        let asked = self.reset_asked.then_some(Due::Reset);
        self.ended.as_ref().and_then(Due::after).or(asked)
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
