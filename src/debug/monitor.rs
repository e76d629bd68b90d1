//! Commands of the user's: what gdb's `monitor` sends is handed on, and the answer printed.

use std::convert::Infallible;

use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd};

use super::debuggee::Debuggee;
use super::facilities;
use super::session::pieces;
use crate::boot::Image;
use crate::control::{self, Facility, Session, StoppedGuest};
use crate::host::{HostError, Registers};
use crate::machine::Event;
use crate::machine::inputs::Input;
use crate::memory::GuestMemory;

impl MonitorCmd for Debuggee<'_> {
    fn handle_monitor_cmd(&mut self, command: &[u8], mut out: ConsoleOutput<'_>) -> Result<(), Infallible> {
        let answer = match control::answer(self, &String::from_utf8_lossy(command)) {
            Ok(answer) => answer,
            Err(error) => format!("{error}\n"),
        };
        // It may have changed some.
        self.view.registers.forget();
        for piece in pieces(&answer) {
            out.write_raw(piece);
            out.flush();
        }
        Ok(())
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
}
