//! Running for a debugger: from event to event, and instruction by instruction.
//!
//! When one of these functions returns, the vCPU stands between two instructions: an access it
//! stopped at has been completed, and all output that the host had collected has been sent.

use super::cpu::{CpuId, RunState};
use super::run::Next;
use super::watchpoint_pages::Touch;
use super::{Machine, Outcome};
use crate::arch::flags::RFLAGS_IF;
use crate::kvm::{DebugStop, HostError, Refusal, VmExit};

/// What stops a machine that is run for a debugger.
#[derive(Debug)]
pub enum Event {
    /// [`super::inputs::Input::Attention`] came in.
    Attention,
    /// The guest has asked for a reset, by the instruction it has just carried out;
    /// [`Machine::carry_out_reset`] does that.
    ResetAsked,
    /// The machine was reset and is at the guest's first instruction again: other memory contents,
    /// another vCPU.
    Reset,
    /// The vCPU stopped for a debug facility that was switched on.
    Debug(DebugStop),
    /// The guest has accessed memory that is watched ([`Machine::watch`]): in the instruction it has just
    /// carried out, or the round of a repeated one.
    Touched(Vec<Touch>),
    /// The run is over, but memory and registers are still there to be looked at.
    End(Outcome),
}

impl Machine {
    /// Runs the guest until an event.
    pub fn run_to_event(&mut self) -> Event {
        if let Some(event) = self.take_pending_action() {
            return event;
        }
        // Those of an instruction that has led to another event.
        self.watchpoint_pages.take_touches();
        loop {
            if self.watchpoint_pages.is_touched() {
                let event = self.settle(self.current);
                return self.touched(event).unwrap_or(Event::Attention);
            }
            match self.advance() {
                Ok(Next::Run) => {}
                Ok(Next::Stop(Event::ResetAsked)) => {
                    let event = self.settle_reset(self.current);
                    return self.touched(event).unwrap_or(Event::ResetAsked);
                }
                Ok(Next::Stop(Event::Attention)) => {
                    let event = self.settle(self.current);
                    return self.touched(event).unwrap_or(Event::Attention);
                }
                Ok(Next::Stop(event)) => return event,
                Err(error) => return failed(error),
            }
        }
    }

    /// Runs the one instruction at `rip`, which RIP must be and which is not `hlt`; `None` if it was
    /// carried out without an event.
    ///
    /// Single-stepping must have been switched on.
    pub fn step_instruction(&mut self, cpu: CpuId, rip: u64) -> Option<Event> {
        self.current = cpu;
        if self.cpus[cpu].is_halted() {
            return Some(self.wait());
        }
        let event = self.step_one(cpu, rip);
        self.touched(event)
    }

    /// Carries out the instruction at RIP without entering the guest, exactly as the processor would
    /// ([`crate::emulate`]); `None` if there was no event in that.
    pub fn carry_out_instruction(&mut self, cpu: CpuId) -> Option<Event> {
        self.current = cpu;
        if self.cpus[cpu].is_halted() {
            return Some(self.wait());
        }
        match self.emulate_refused(cpu, Refusal::new(Refusal::EMULATION, &[])) {
            Ok(Next::Run) => self.touched(Ok(None)),
            Ok(Next::Stop(event)) => self.touched(Ok(Some(event))),
            Err(error) => Some(failed(error)),
        }
    }

    /// Carries out the one-byte `hlt` at RIP, which hosts do not agree how to step over, and lets
    /// time pass until an event.
    pub fn step_halt(&mut self, cpu: CpuId) -> Event {
        self.current = cpu;
        if self.cpus[cpu].is_halted() {
            return self.wait();
        }
        self.carry_out_halt(cpu).unwrap_or_else(failed)
    }

    /// Lets time pass until an event, without running the guest: keys are taken, and what ends a run
    /// ends it.
    pub fn wait(&mut self) -> Event {
        self.sleep().unwrap_or_else(failed)
    }

    fn step_one(&mut self, cpu: CpuId, before: u64) -> Result<Option<Event>, HostError> {
        let emulated = self.cpus[cpu].emulated.total();
        loop {
            if self.inputs.has_pending()
                && let Some(event) = self.take_inputs()?
            {
                return Ok(Some(event));
            }
            let exit = self.cpus[cpu].run()?;
            let next = match exit {
                // Reported before the instruction began; `waiting` says why.
                VmExit::Interrupted => continue,
                VmExit::Halt { interruptible: true } => {
                    self.cpus[cpu].run_state = RunState::Halted;
                    return Ok(None);
                }
                exit => self.deal_with(cpu, exit)?,
            };
            let event = match next {
                Next::Run => self.settle(cpu)?,
                Next::Stop(Event::ResetAsked) => self.settle_reset(cpu)?,
                Next::Stop(event) => Some(event),
            };
            match event {
                Some(Event::Debug(stop)) if stop.exception == DebugStop::DEBUG => {
                    let watchpoints = self.cpus[cpu].guest_debug().watchpoints.iter().enumerate();
                    let mut used = watchpoints.filter(|(_, watchpoint)| watchpoint.is_some());
                    let watch = used.any(|(register, _)| stop.dr6 >> register & 1 == 1);
                    return Ok(watch.then_some(Event::Debug(stop)));
                }
                Some(event) => return Ok(Some(event)),
                // Completed, though the host reports no step.
                None if self.cpus[cpu].general_registers()?.rip != before => return Ok(None),
                // The host knows nothing of what was done in its place, and that may lead to itself.
                None if self.cpus[cpu].emulated.total() != emulated => return Ok(None),
                // A round of a repeated instruction.
                None if self.watchpoint_pages.is_touched() => return Ok(None),
                // The middle of a repeated instruction, or memory that had to be attached first.
                None => {}
            }
        }
    }

    fn carry_out_halt(&mut self, cpu: CpuId) -> Result<Event, HostError> {
        let mut registers = self.cpus[cpu].general_registers()?;
        registers.rip = registers.rip.wrapping_add(1);
        self.cpus[cpu].set_general_registers(&registers)?;
        self.halt(cpu, registers.rflags & RFLAGS_IF != 0)
    }

    /// What an instruction that is done has come to: accesses to watched memory, unless it was the end.
    fn touched(&mut self, event: Result<Option<Event>, HostError>) -> Option<Event> {
        let touches = self.watchpoint_pages.take_touches();
        match event {
            Ok(None | Some(Event::Debug(_))) if !touches.is_empty() => Some(Event::Touched(touches)),
            Ok(event) => event,
            Err(error) => Some(failed(error)),
        }
    }

    /// Completes the access the vCPU stopped at, and takes what the host still holds; an event if
    /// there is one in that.
    pub(super) fn settle(&mut self, cpu: CpuId) -> Result<Option<Event>, HostError> {
        let mut reset = None;
        loop {
            match self.cpus[cpu].complete()? {
                VmExit::Interrupted => return Ok(reset),
                // No sleep here: the caller has something to do first.
                VmExit::Halt { interruptible: true } => {
                    self.cpus[cpu].run_state = RunState::Halted;
                    return Ok(reset);
                }
                exit => match self.deal_with(cpu, exit)? {
                    Next::Run => {}
                    // One round of a repeated instruction, which has others to complete.
                    Next::Stop(Event::ResetAsked) => reset = Some(Event::ResetAsked),
                    Next::Stop(Event::Debug(_)) if reset.is_some() => return Ok(reset),
                    Next::Stop(event) => return Ok(Some(event)),
                },
            }
        }
    }

    /// Completes the access by which the guest has asked for a reset. That a step ends with it is no
    /// news beside that.
    fn settle_reset(&mut self, cpu: CpuId) -> Result<Option<Event>, HostError> {
        Ok(match self.settle(cpu)? {
            Some(Event::End(outcome)) => Some(Event::End(outcome)),
            _ => Some(Event::ResetAsked),
        })
    }
}

fn failed(error: HostError) -> Event {
    Event::End(Outcome::HostFailed(error))
}
