//! What happens where a breakpoint or log point that was set by a command is reached.
//!
//! This is a hot path: when a condition is false the guest goes on without a round trip to the debugger.
//! Only the byte inserted there is removed, for one step.

use tracing::{debug, info};

use super::lookahead::Kind;
use super::run_control::{Advance, Stop, Supervisor};
use crate::arch::Registers;
use crate::arch::flags::{DR6_BS, RFLAGS_TF};
use crate::inspect::values::Known;
use crate::kvm::{DebugStop, GuestDebug, HostError};
use crate::machine::{CpuId, Event};
use crate::supervisor::points::Decision;

impl Supervisor<'_> {
    /// Runs the guest with all breakpoints in place until it stops or there is something to print. `leave` has the
    /// CPUs that would stop at once where they are: each is stepped off while all others stay, so that none of them
    /// passes the breakpoint unseen.
    pub(crate) fn run_with_breakpoints(
        &mut self,
        debug: GuestDebug,
        mut leave: Vec<(CpuId, Registers, u64)>,
    ) -> Result<Advance, HostError> {
        loop {
            for (cpu, registers, pc) in leave.drain(..) {
                self.cpu = cpu;
                self.set_reported_at(cpu, None);
                if let Some(advance) = self.step_over(&registers, pc, &debug)? {
                    return Ok(advance);
                }
                if self.handler_points.is_load(pc) {
                    // The guest has another IDT now: its handlers get breakpoints before it goes on.
                    return Ok(Advance::Going);
                }
                self.machine.cpu_mut(cpu).set_guest_debug(debug)?;
            }
            let event = self.run_to_event();
            self.facilities.forget_code();
            let cpu = self.cpu;
            let stepped_to = self.state.session_mut().and_then(|session| session.stepped_to.take(cpu));
            let Event::Debug(stop) = &event else { return self.classify(event) };
            let own = debug.guest_exception_bits(stop);
            if own == Some(DR6_BS) && self.is_end_of_step(stepped_to)? {
                continue;
            }
            if let Some(bits @ 1..) = own {
                debug!("a debug exception of the guest's own: {stop:x?}");
                self.machine.inject_debug_exception(self.cpu, bits)?;
            }
            if self.is_watched(stop) {
                return self.classify(event);
            }
            if matches!(own, Some(1..)) {
                // A breakpoint there stops the guest when its handler has returned.
                continue;
            }
            let (registers, pc) = self.position()?;
            let at_instruction = stop.exception == DebugStop::BREAKPOINT;
            let decision = self.decide(&registers, pc)?;
            if self.facilities.breakpoint_at(pc).is_some() {
                return self.classify(event);
            }
            match decision {
                Some(decision) if decision.stop => return Ok(self.stop(Stop::Point, pc)),
                Some(_) if !self.messages.is_empty() => {
                    self.set_reported_at(self.cpu, Some(pc));
                    return Ok(Advance::Going);
                }
                _ if self.is_at_magic_breakpoint(&registers, pc) => {
                    return self.stop_behind_magic_breakpoint(&registers, pc);
                }
                // The guest has overwritten it.
                None if self.magic_breakpoints.is_at(pc) => {}
                // An `int1` is emulated below; the guest gets every other exception.
                None if own.is_some() && !self.is_interrupt(&registers, pc) => {
                    self.machine.inject_debug_exception(self.cpu, 0)?;
                    continue;
                }
                // A debug register that was ours until now.
                None if own.is_none() && !at_instruction => return self.classify(event),
                None if self.catches(&registers, pc) => return self.classify(event),
                // A condition that is false, or an instruction of the guest's own.
                _ => {}
            }
            leave.push((cpu, registers, pc));
        }
    }

    /// True if a debug exception for a step is that of our own step to `stepped_to`, which has been reported
    /// already: some processors with VT-x have it again, at the next entry, after a step over an instruction
    /// that has left the guest.
    fn is_end_of_step(&self, stepped_to: Option<u64>) -> Result<bool, HostError> {
        let registers = self.machine.cpu(self.cpu).general_registers()?;
        Ok(stepped_to == Some(registers.rip) && registers.rflags & RFLAGS_TF == 0)
    }

    /// True if the user wants to stop for the guest's own instruction at `pc`.
    fn catches(&mut self, registers: &Registers, pc: u64) -> bool {
        self.session.switches.catch_int3
            && self.facilities.inserted.at(self.machine.memory(), registers, pc).is_none()
            && self.is_interrupt(registers, pc)
    }

    /// True if an instruction of the guest's own at `pc` raises an interrupt.
    fn is_interrupt(&mut self, registers: &Registers, pc: u64) -> bool {
        self.facilities.lookahead.kind(self.machine.memory(), registers, pc) == Kind::Interrupt
    }

    /// Steps from the breakpoint at `pc`, or over an instruction of the guest's own that looks like one, or
    /// over code that has a breakpoint at another address; `Some` if that was more than a
    /// step. The other breakpoints stay in place: the instruction's handler may run without a stop.
    fn step_over(
        &mut self,
        registers: &Registers,
        pc: u64,
        debug: &GuestDebug,
    ) -> Result<Option<Advance>, HostError> {
        let inserted = self.facilities.inserted.at(self.machine.memory(), registers, pc);
        if let Some(physical) = inserted {
            self.machine.memory().lift_breakpoint(physical);
        }
        let event = self.step_instruction(registers, pc, debug.hardware_breakpoints)?;
        if let Some(physical) = inserted {
            self.machine.memory().reinsert_breakpoint(physical);
        }
        match event {
            None => Ok(None),
            // A handler has reached another one, which stops the guest when it goes on.
            Some(Event::Debug(stop)) if stop.exception == DebugStop::BREAKPOINT && stop.pc != pc => Ok(None),
            Some(event) => {
                // If the guest is still there, the breakpoint has been evaluated.
                self.set_reported_at(self.cpu, Some(pc));
                self.classify(event).map(Some)
            }
        }
    }

    /// The guest has reached `pc`: evaluates the points there; a stop if they decide so.
    pub(crate) fn evaluate_points(&mut self, pc: u64) -> Result<Option<Stop>, HostError> {
        if !self.has_point(pc) {
            return Ok(None);
        }
        let registers = self.machine.cpu(self.cpu).registers()?;
        let decision = self.decide(&registers, pc)?;
        Ok(decision.filter(|decision| decision.stop).map(|_| Stop::Point))
    }

    /// The decision of the points and catches at `pc`; `None` if there are none.
    fn decide(&mut self, registers: &Registers, pc: u64) -> Result<Option<Decision>, HostError> {
        if !self.has_point(pc) {
            return Ok(None);
        }
        let caught = self.catch_exception(registers, pc);
        let on = self.one_of_several();
        let mut values = Known { registers, memory: self.machine.memory() };
        let mut decision = self.session.points.decide(pc, on, &mut values);
        if let Some(text) = caught {
            decision.stop = true;
            decision.text.push_str(&text);
        }
        for line in decision.text.lines() {
            info!(target: "kvm::points", "{line}");
        }
        self.messages.push_str(&decision.text);
        Ok(Some(decision))
    }
}
