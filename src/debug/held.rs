//! The guest as others reach it between two instructions: commands, and requests that come through the
//! door.

use super::debuggee::Debuggee;
use super::facilities;
use crate::boot::Image;
use crate::control::door::{Door, HeldGuest};
use crate::control::{Doing, Facility, Session, StoppedGuest};
use crate::host::{HostError, Registers};
use crate::inspect::screen::Shot;
use crate::machine::inputs::{Input, Inputs};
use crate::machine::{Event, Machine, Outcome};
use crate::memory::GuestMemory;
use crate::settings::LayoutName;

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
