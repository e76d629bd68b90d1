//! What happens where a breakpoint or log point that was set by a command is reached.
//!
//! This is a hot path: a condition that is false lets the guest go on without anybody hearing of it.
//! Only what is planted there is taken out, for one step.

use tracing::{debug, info};

use super::lookahead::Kind;
use super::run_control::{Advance, Stop, Supervisor};
use crate::arch::Registers;
use crate::arch::flags::{DR6_BS, RFLAGS_TF};
use crate::inspect::values::Known;
use crate::kvm::{DebugStop, GuestDebug, HostError};
use crate::machine::Event;
use crate::supervisor::points::Decision;

impl Supervisor<'_> {
    /// Runs the guest with all breakpoints in place, until there is something to tell; `leave` is where
    /// it stands if it would stop there at once.
    pub(crate) fn run_planted(
        &mut self,
        debug: GuestDebug,
        mut leave: Option<(Registers, u64)>,
    ) -> Result<Advance, HostError> {
        loop {
            if let Some((registers, pc)) = leave.take() {
                if let Some(advance) = self.pass(&registers, pc, &debug)? {
                    return Ok(advance);
                }
                self.machine.cpu_mut(self.machine.current_cpu()).set_guest_debug(debug)?;
            }
            let event = self.machine.run_to_event();
            self.forget_code();
            let stepped_to = self.stepped_to.take();
            let Event::Debug(stop) = &event else { return self.judge(event) };
            let own = debug.guest_exception_bits(stop);
            if own == Some(DR6_BS) && self.is_end_of_step(stepped_to)? {
                continue;
            }
            if let Some(bits @ 1..) = own {
                debug!("a debug exception of the guest's own: {stop:x?}");
                self.machine.inject_debug_exception(self.machine.current_cpu(), bits)?;
            }
            if self.is_watched(stop) {
                return self.judge(event);
            }
            if matches!(own, Some(1..)) {
                // A breakpoint there has its turn when the guest comes back from its handler.
                continue;
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
                // An `int1` is carried out below; what else there may be is handed on.
                None if own.is_some() && !self.is_interrupt(&registers, pc) => {
                    self.machine.inject_debug_exception(self.machine.current_cpu(), 0)?;
                    continue;
                }
                // A debug register that was ours a moment ago.
                None if own.is_none() && !at_instruction => return self.judge(event),
                None if self.catches(&registers, pc) => return self.judge(event),
                // A condition that is false, or an instruction of the guest's own.
                _ => {}
            }
            leave = Some((registers, pc));
        }
    }

    /// True if a debug exception for a step is that of our own step to `stepped_to`, which has been reported
    /// already: some processors with VT-x have it again, at the next entry, after a step over an instruction
    /// that has left the guest.
    fn is_end_of_step(&self, stepped_to: Option<u64>) -> Result<bool, HostError> {
        let registers = self.machine.cpu(self.machine.current_cpu()).general_registers()?;
        Ok(stepped_to == Some(registers.rip) && registers.rflags & RFLAGS_TF == 0)
    }

    /// True if the user wants to stop for the guest's own instruction at `pc`.
    fn catches(&mut self, registers: &Registers, pc: u64) -> bool {
        self.session.switches.catch_int3
            && self.planting.at(self.machine.memory(), registers, pc).is_none()
            && self.is_interrupt(registers, pc)
    }

    /// True if an instruction of the guest's own at `pc` raises an interrupt.
    fn is_interrupt(&mut self, registers: &Registers, pc: u64) -> bool {
        self.ahead.kind(self.machine.memory(), registers, pc) == Kind::Interrupt
    }

    /// Steps from the breakpoint at `pc`, or over the guest's own instruction that looks like one, or
    /// over code that has a breakpoint at another address; something to tell if that was more than a
    /// step. The other breakpoints stay in force: the instruction's handler may run unseen.
    fn pass(
        &mut self,
        registers: &Registers,
        pc: u64,
        debug: &GuestDebug,
    ) -> Result<Option<Advance>, HostError> {
        let planted = self.planting.at(self.machine.memory(), registers, pc);
        if let Some(physical) = planted {
            self.machine.memory().lift_breakpoint(physical);
        }
        let event = self.step_instruction(registers, pc, debug.hardware_breakpoints)?;
        if let Some(physical) = planted {
            self.machine.memory().reinsert_breakpoint(physical);
        }
        match event {
            None => Ok(None),
            // A handler has got to another one, which has its say when the guest goes on.
            Some(Event::Debug(stop)) if stop.exception == DebugStop::BREAKPOINT && stop.pc != pc => Ok(None),
            Some(event) => {
                // If it has not been left, it has been decided on.
                self.stopped_at = Some(pc);
                self.judge(event).map(Some)
            }
        }
    }

    /// The guest has stepped to `pc`: has a point there its say? A stop if that is what it wants.
    pub(crate) fn arrive(&mut self, pc: u64) -> Result<Option<Stop>, HostError> {
        if !self.session.points.is_at(pc) {
            return Ok(None);
        }
        let registers = self.machine.cpu(self.machine.current_cpu()).registers()?;
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
