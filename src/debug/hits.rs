//! What happens where a breakpoint or log point that was set by a command is reached.
//!
//! This is a hot path: a condition that is false lets the guest go on without anybody hearing of it.
//! Only what is planted there is taken out, for one step.

use tracing::info;

use super::ahead::Kind;
use super::debuggee::{Advance, Debuggee, Stop};
use crate::control::points::Decision;
use crate::control::values::Known;
use crate::host::{DebugStop, GuestDebug, HostError, Registers};
use crate::machine::Event;

impl Debuggee<'_> {
    /// Runs the guest with all breakpoints in place, until there is something to tell.
    pub(super) fn run_planted(&mut self, debug: GuestDebug) -> Result<Advance, HostError> {
        loop {
            let event = self.machine.run_to_event();
            let Event::Debug(stop) = &event else { return self.judge(event) };
            if self.is_watched(stop) {
                return self.judge(event);
            }
            let (registers, pc) = self.position()?;
            let at_instruction = stop.exception == DebugStop::BREAKPOINT;
            let decision = self.decide(&registers, pc)?;
            if self.breakpoint_at(pc).is_some() {
                return self.judge(event);
            }
            match decision {
                Some(decision) if decision.stop => return Ok(self.stop(Stop::Point, pc)),
                Some(_) if !self.said.is_empty() => {
                    self.stopped_at = Some(pc);
                    return Ok(Advance::Going);
                }
                // Nothing of ours in a debug register.
                None if !at_instruction => return self.judge(event),
                None if self.catches(&registers, pc) => return self.judge(event),
                // A condition that is false, or an instruction of the guest's own.
                _ => {}
            }
            if let Some(advance) = self.pass(&registers, pc)? {
                return Ok(advance);
            }
            self.machine.set_guest_debug(debug)?;
        }
    }

    /// True if the user wants to stop for the guest's own instruction at `pc`.
    fn catches(&mut self, registers: &Registers, pc: u64) -> bool {
        self.session.switches.catch_int3
            && self.planting.at(self.machine.memory(), registers, pc).is_none()
            && self.ahead.kind(self.machine.memory(), registers, pc) == Kind::Interrupt
    }

    /// Steps from the breakpoint at `pc`, or over the guest's own instruction that looks like one, or
    /// over code that has a breakpoint at another address; something to tell if that was more than a
    /// step.
    fn pass(&mut self, registers: &Registers, pc: u64) -> Result<Option<Advance>, HostError> {
        let planted = self.planting.at(self.machine.memory(), registers, pc);
        if let Some(physical) = planted {
            self.machine.memory().lift(physical);
        }
        let event = self.step_instruction(registers, pc)?;
        if let Some(physical) = planted {
            self.machine.memory().put_back(physical);
        }
        match event {
            None => Ok(None),
            Some(event) => {
                // If it has not been left, it has been decided on.
                self.stopped_at = Some(pc);
                self.judge(event).map(Some)
            }
        }
    }

    /// The guest has stepped to `pc`: has a point there its say? A stop if that is what it wants.
    pub(super) fn arrive(&mut self, pc: u64) -> Result<Option<Stop>, HostError> {
        if !self.session.points.is_at(pc) {
            return Ok(None);
        }
        let registers = self.machine.registers()?;
        let decision = self.decide(&registers, pc)?;
        Ok(decision.filter(|decision| decision.stop).map(|_| Stop::Point))
    }

    /// What is to be done about the points at `pc`; `None` if there are none.
    fn decide(&mut self, registers: &Registers, pc: u64) -> Result<Option<Decision>, HostError> {
        if !self.session.points.is_at(pc) {
            return Ok(None);
        }
        let mut values = Known { registers, memory: self.machine.memory() };
        let decision = self.session.points.decide(pc, &mut values);
        for line in decision.text.lines() {
            info!(target: "kvm::points", "{line}");
        }
        self.said.push_str(&decision.text);
        Ok(Some(decision))
    }
}
