//! What happens where a breakpoint or log point that was set by a command is reached.
//!
//! This is a hot path: a condition that is false lets the guest go on without anybody hearing of it.
//! Only the `int3` that is in the way is taken out, for one step, and only the registers the
//! condition asks for are read.

use tracing::info;

use super::breakpoints::INT3;
use super::debuggee::{Advance, Debuggee, Stop};
use super::memory::Addressing;
use crate::control::points::Decision;
use crate::control::values::Known;
use crate::host::{DebugStop, GuestDebug, HostError, Registers};
use crate::machine::{Event, Outcome};

/// The opcode of `hlt`.
const HLT: u8 = 0xF4;

/// How a host stops the guest at an `int3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Int3 {
    /// With a debug exit.
    DebugExit,
    /// By refusing to execute it.
    Refusal,
}

impl Int3 {
    /// The way in which `event` is a stop at an `int3`, if it is one.
    fn of(event: &Event) -> Option<Int3> {
        match event {
            Event::Debug(stop) if stop.exception == DebugStop::BREAKPOINT => Some(Int3::DebugExit),
            Event::End(Outcome::Refused(refusal)) if refusal.bytes().first() == Some(&INT3) => {
                Some(Int3::Refusal)
            }
            _ => None,
        }
    }
}

impl Debuggee<'_> {
    /// Runs the guest with all breakpoints in place, until there is something to tell.
    pub(super) fn run_planted(&mut self, debug: GuestDebug) -> Result<Advance, HostError> {
        loop {
            let event = self.machine.run_to_event();
            let Some(way) = Int3::of(&event) else { return self.judge(event) };
            let (registers, pc) = self.position()?;
            let decision = self.decide(&registers, pc)?;
            match decision {
                _ if self.breakpoints.is_software(pc) => {
                    self.int3 = Some(way);
                    return self.judge(event);
                }
                Some(decision) => {
                    self.int3 = Some(way);
                    if decision.stop {
                        return Ok(self.stop(Stop::Point, pc));
                    }
                    if !self.said.is_empty() {
                        self.stopped_at = Some(pc);
                        return Ok(Advance::Going);
                    }
                }
                None if way == Int3::Refusal || self.session.switches.catch_int3 => return self.judge(event),
                // The guest's own, for its own handler.
                None => {}
            }
            if let Some(advance) = self.pass(&registers, pc)? {
                return Ok(advance);
            }
            self.machine.vcpu().set_guest_debug(debug)?;
        }
    }

    /// Steps from the breakpoint at `pc`; something to tell if that was more than a step.
    fn pass(&mut self, registers: &Registers, pc: u64) -> Result<Option<Advance>, HostError> {
        let code = self.breakpoints.lift(self.machine.memory(), pc);
        let halts = code == Some(HLT) && registers.system.cs.selector & 3 == 0;
        let event = self.step_instruction(registers.general.rip, halts)?;
        self.breakpoints.put_back(self.machine.memory(), pc);
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

    /// What the client's addresses are.
    pub(super) fn addressing(&self) -> Addressing {
        if self.session.switches.physical { Addressing::Physical } else { Addressing::Virtual }
    }
}
