//! Running for a debugger: from event to event, and instruction by instruction.
//!
//! When one of these functions returns, the vCPU stands between two instructions: an access it
//! stopped at has been completed, and all output that the host had collected has been sent.

use crate::arch::{GeneralRegisters, SystemRegisters};

use super::run::Next;
use super::watched::Touch;
use super::{Machine, Outcome};
use crate::arch::flags::RFLAGS_IF;
use crate::kvm::{DebugStop, GuestDebug, HostError, Refusal, VmEntry, VmExit};

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
        if let Some(event) = self.take_due() {
            return event;
        }
        let mut entry = VmEntry::Resume;
        // Those of an instruction that has led to another event.
        self.watched.take_touches();
        loop {
            if self.watched.is_touched() {
                let event = self.settle(entry);
                return self.touched(event).unwrap_or(Event::Attention);
            }
            let next = if self.halted { self.sleep().map(Next::Stop) } else { self.step(entry) };
            match next {
                Ok(Next::Run(next)) => entry = next,
                Ok(Next::Stop(Event::ResetAsked)) => {
                    let event = self.settle_reset();
                    return self.touched(event).unwrap_or(Event::ResetAsked);
                }
                Ok(Next::Stop(Event::Attention)) => return self.settled_or(entry, Event::Attention),
                Ok(Next::Stop(event)) => return event,
                Err(error) => return failed(error),
            }
        }
    }

    /// Runs the one instruction at `rip`, which RIP must be and which is not `hlt`; `None` if it was
    /// carried out without an event.
    ///
    /// Single-stepping must have been switched on.
    pub fn step_instruction(&mut self, rip: u64) -> Option<Event> {
        if self.halted {
            return Some(self.wait());
        }
        let event = self.step_one(rip);
        self.touched(event)
    }

    /// Carries out the instruction at RIP without entering the guest, exactly as the processor would
    /// ([`crate::kvm::Vcpu::rescue`]); `None` if there was no event in that.
    pub fn carry_out_instruction(&mut self) -> Option<Event> {
        if self.halted {
            return Some(self.wait());
        }
        match self.rescue(Refusal::new(Refusal::EMULATION, &[])) {
            Ok(Next::Run(_)) => self.touched(Ok(None)),
            Ok(Next::Stop(event)) => self.touched(Ok(Some(event))),
            Err(error) => Some(failed(error)),
        }
    }

    /// Carries out the one-byte `hlt` at RIP, which hosts do not agree how to step over, and lets
    /// time pass until an event.
    pub fn step_halt(&mut self) -> Event {
        if self.halted {
            return self.wait();
        }
        self.carry_out_halt().unwrap_or_else(failed)
    }

    /// Switches debug facilities on and off, from the next entry.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`], for example for a breakpoint at an address that is not canonical.
    pub fn set_guest_debug(&mut self, debug: GuestDebug) -> Result<(), HostError> {
        self.processor.vcpu.set_guest_debug(debug)?;
        self.debug = debug;
        Ok(())
    }

    /// Hands the guest a debug exception of its own that has stopped it
    /// ([`crate::kvm::Vcpu::inject_debug_exception`]).
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`], for example if another exception waits for the guest.
    pub fn inject_debug_exception(&mut self, bits: u64) -> Result<(), HostError> {
        self.processor.vcpu.inject_debug_exception(bits)
    }

    /// True if the processor waits in `hlt` for an interrupt.
    pub fn is_halted(&self) -> bool {
        self.halted
    }

    /// Has the next [`Self::set_guest_debug`] tell the host again what it knows
    /// ([`crate::kvm::Vcpu::renew_guest_debug`]).
    pub fn renew_guest_debug(&self) {
        self.processor.vcpu.renew_guest_debug();
    }

    /// The general registers, RIP and RFLAGS.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn general_registers(&self) -> Result<GeneralRegisters, HostError> {
        self.processor.vcpu.general_registers()
    }

    /// Lets time pass until an event, without running the guest: keys are taken, and what ends a run
    /// ends it.
    pub fn wait(&mut self) -> Event {
        self.sleep().unwrap_or_else(failed)
    }

    /// Writes the general registers, RIP and RFLAGS. A halted processor that is sent elsewhere wakes.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn set_general_registers(&mut self, registers: &GeneralRegisters) -> Result<(), HostError> {
        if self.halted && self.registers()?.general.rip != registers.rip {
            self.halted = false;
        }
        self.processor.vcpu.set_general_registers(registers)
    }

    /// Writes segments, descriptor tables, control registers and EFER.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if they are a state the processor cannot be in.
    pub fn set_system_registers(&mut self, registers: &SystemRegisters) -> Result<(), HostError> {
        self.processor.vcpu.set_system_registers(registers)
    }

    fn step_one(&mut self, before: u64) -> Result<Option<Event>, HostError> {
        let rescues = self.tally.total();
        loop {
            if self.inputs.has_pending()
                && let Some(event) = self.take_inputs()?
            {
                return Ok(Some(event));
            }
            let exit = self.processor.vcpu.run(VmEntry::Resume)?;
            let next = match exit {
                // Told before the instruction was begun; `waiting` says why.
                VmExit::Interrupted => continue,
                VmExit::Halt { interruptible: true } => {
                    self.halted = true;
                    return Ok(None);
                }
                exit => self.deal_with(exit)?,
            };
            let event = match next {
                Next::Run(entry) => self.settle(entry)?,
                Next::Stop(Event::ResetAsked) => self.settle_reset()?,
                Next::Stop(event) => Some(event),
            };
            match event {
                Some(Event::Debug(stop)) if stop.exception == DebugStop::DEBUG => {
                    let watchpoints = self.debug.watchpoints.iter().enumerate();
                    let mut used = watchpoints.filter(|(_, watchpoint)| watchpoint.is_some());
                    let watch = used.any(|(register, _)| stop.dr6 >> register & 1 == 1);
                    return Ok(watch.then_some(Event::Debug(stop)));
                }
                Some(event) => return Ok(Some(event)),
                // Completed, though the host reports no step.
                None if self.processor.vcpu.general_registers()?.rip != before => return Ok(None),
                // The host knows nothing of what was done in its place, and that may lead to itself.
                None if self.tally.total() != rescues => return Ok(None),
                // A round of a repeated instruction.
                None if self.watched.is_touched() => return Ok(None),
                // The middle of a repeated instruction, or memory that had to be attached first.
                None => {}
            }
        }
    }

    fn carry_out_halt(&mut self) -> Result<Event, HostError> {
        let mut registers = self.processor.vcpu.general_registers()?;
        registers.rip = registers.rip.wrapping_add(1);
        self.processor.vcpu.set_general_registers(&registers)?;
        self.halt(registers.rflags & RFLAGS_IF != 0)
    }

    fn settled_or(&mut self, entry: VmEntry, event: Event) -> Event {
        let other = self.settle(entry);
        self.touched(other).unwrap_or(event)
    }

    /// What an instruction that is done has come to: accesses to watched memory, unless it was the end.
    fn touched(&mut self, event: Result<Option<Event>, HostError>) -> Option<Event> {
        let touches = self.watched.take_touches();
        match event {
            Ok(None | Some(Event::Debug(_))) if !touches.is_empty() => Some(Event::Touched(touches)),
            Ok(event) => event,
            Err(error) => Some(failed(error)),
        }
    }

    /// Completes the access the vCPU stopped at, and takes what the host still holds; an event if
    /// there is one in that.
    pub(super) fn settle(&mut self, entry: VmEntry) -> Result<Option<Event>, HostError> {
        let mut entry = entry;
        let mut reset = None;
        loop {
            match self.processor.vcpu.complete(entry)? {
                VmExit::Interrupted => return Ok(reset),
                // Not slept through here: whoever called has something to do first.
                VmExit::Halt { interruptible: true } => {
                    self.halted = true;
                    return Ok(reset);
                }
                exit => match self.deal_with(exit)? {
                    Next::Run(next) => entry = next,
                    // One round of a repeated instruction, which has others to complete.
                    Next::Stop(Event::ResetAsked) => {
                        reset = Some(Event::ResetAsked);
                        entry = VmEntry::Resume;
                    }
                    Next::Stop(Event::Debug(_)) if reset.is_some() => return Ok(reset),
                    Next::Stop(event) => return Ok(Some(event)),
                },
            }
        }
    }

    /// Completes the access by which the guest has asked for a reset. That a step ends with it is no
    /// news beside that.
    fn settle_reset(&mut self) -> Result<Option<Event>, HostError> {
        Ok(match self.settle(VmEntry::Resume)? {
            Some(Event::End(outcome)) => Some(Event::End(outcome)),
            _ => Some(Event::ResetAsked),
        })
    }
}

fn failed(error: HostError) -> Event {
    Event::End(Outcome::HostFailed(error))
}
