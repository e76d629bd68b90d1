//! Commands of the user's: what gdb's `monitor` sends is handed on, and the answer printed.

use std::convert::Infallible;

use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd};

use super::debuggee::Debuggee;
use crate::boot::Image;
use crate::control::{self, Facility, Session, StoppedGuest};
use crate::host::{HostError, Registers};
use crate::machine::Event;
use crate::machine::inputs::Input;
use crate::memory::GuestMemory;

/// Bytes of an answer in one packet.
const PRINTED: usize = 2048;

impl MonitorCmd for Debuggee<'_> {
    fn handle_monitor_cmd(&mut self, command: &[u8], mut out: ConsoleOutput<'_>) -> Result<(), Infallible> {
        let answer = match control::answer(self, &String::from_utf8_lossy(command)) {
            Ok(answer) => answer,
            Err(error) => format!("{error}\n"),
        };
        for piece in answer.as_bytes().chunks(PRINTED) {
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
        let hardware = self.breakpoints.hardware_in_use();
        let interrupts = match self.session.switches.step_interrupts {
            true => ("let in", "`step-irq on` was given"),
            false => ("held back", "a step would end in an interrupt handler; `step-irq on` lets them in"),
        };
        let addresses = match self.session.switches.physical {
            true => ("guest-physical", "`phys on` was given"),
            false => ("virtual, through the guest's own page tables", "as its code uses them"),
        };
        [
            (
                "software breakpoints",
                "an int3 in guest memory while the guest runs".to_owned(),
                "it stops the guest both where the host executes int3 and where it refuses to",
            ),
            (
                "hardware breakpoints",
                format!("debug registers, {hardware} of 4 in use"),
                "gdb's hbreak asks for them; they change no memory",
            ),
            (
                "conditions and log points",
                format!("decided in kvm, {} set", self.session.points.addresses().count()),
                "gdb is not asked, so a hit costs no round trip",
            ),
            (
                "steps",
                "KVM's single-step, with no breakpoint in place".to_owned(),
                "hlt is carried out by kvm, as hosts do not agree how to step over it",
            ),
            ("interrupts while stepping", interrupts.0.to_owned(), interrupts.1),
            (
                "watchpoints",
                "none in hardware".to_owned(),
                "gdb steps and compares after `set can-use-hw-watchpoints 0`",
            ),
            ("addresses", addresses.0.to_owned(), addresses.1),
        ]
        .into_iter()
        .map(|(name, technique, reason)| Facility { name, technique, reason: reason.to_owned() })
        .collect()
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
