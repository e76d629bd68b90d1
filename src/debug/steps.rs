//! Steps: one instruction, whatever it is, and no more.
//!
//! What KVM's single-step does over some instructions differs from host to host. So here
//!
//! - `hlt`, `int n`, `int3`, `int1` and `into` are not stepped but carried out: a step over them ends
//!   at the handler's first instruction everywhere;
//! - so is `iret` where KVM's emulator runs ring 0, as no stop follows it there;
//! - a repeated string instruction is stepped to its end, and a stop at which nothing has happened yet
//!   does not count;
//! - the free debug registers stand at the guest's exception handlers, so that a step ends at the
//!   first instruction of one where debug registers stop the guest;
//! - the trap flag, by which processors step, is taken out of what `pushf` or an exception pushed.
//!
//! Manual: KVM_SET_GUEST_DEBUG in api.rst; Intel SDM volume 3B, "Single-Step Exception Condition".

use std::ops::Range;

use kvm_bindings::kvm_regs;

use super::ahead::Kind;
use super::debuggee::{Advance, Debuggee, Stop};
use super::handlers::{self, Handlers};
use super::watchpoints::Seen;
use crate::host::{GuestDebug, HostError, Registers};
use crate::machine::{Event, Outcome};

/// How often a step may stay where it is although it leads on, before it counts.
const PATIENCE: u32 = 16;

/// RFLAGS: a breakpoint at the next instruction is passed over once.
const RESUME_FLAG: u64 = 1 << 16;

/// True if no register differs, RFLAGS.RF aside.
fn nothing_done(before: &kvm_regs, after: &kvm_regs) -> bool {
    let without = |registers: &kvm_regs| kvm_regs { rflags: registers.rflags & !RESUME_FLAG, ..*registers };
    without(before) == without(after)
}

impl Debuggee<'_> {
    /// Carries out the instruction the guest is at; `None` if there was no event in that.
    pub(super) fn step_instruction(
        &mut self,
        registers: &Registers,
        pc: u64,
    ) -> Result<Option<Event>, HostError> {
        let kind = self.ahead.kind(self.machine.memory(), registers, pc);
        match kind {
            // In a less privileged ring it is no halt but an exception, which a step shows well.
            Kind::Halt if registers.ring() == 0 => return Ok(Some(self.machine.step_halt())),
            _ => {}
        }
        let carried_out = match kind {
            Kind::Interrupt => true,
            Kind::InterruptReturn => self.technique().emulated,
            _ => false,
        };
        if carried_out {
            match self.machine.carry_out_instruction() {
                // Beyond what is carried out here, but the host may be able to.
                Some(Event::End(Outcome::Refused(_))) => {}
                done => return Ok(done),
            }
        }
        let debug = self.step_debug(registers, pc);
        let mut patience = PATIENCE;
        loop {
            if !self.technique().emulated || registers.ring() != 0 {
                self.machine.renew_guest_debug();
            }
            self.machine.set_guest_debug(debug)?;
            if let Some(event) = self.machine.step_instruction(registers.general.rip) {
                return Ok(Some(event));
            }
            let after = self.machine.general_registers()?;
            if after.rip != registers.general.rip {
                break;
            }
            match kind {
                Kind::Repeated => {}
                Kind::Jump => break,
                _ if patience > 0 && nothing_done(&registers.general, &after) => patience -= 1,
                _ => break,
            }
        }
        self.hide_trap_flag(kind, &debug)?;
        Ok(None)
    }

    /// What the vCPU needs for a step: no breakpoints, but the entries of exception handlers.
    fn step_debug(&mut self, registers: &Registers, pc: u64) -> GuestDebug {
        let technique = self.technique();
        let watchpoints = self.watchpoints.in_registers(&self.breakpoints);
        let mut entries = [None; 4];
        if technique.registers {
            entries = self.handlers_of(registers);
            for (entry, watch) in entries.iter_mut().zip(&watchpoints) {
                // Where the step begins it would not let it begin.
                entry.take_if(|address| *address == pc || watch.is_some());
            }
        }
        let planted = self.planting.any();
        GuestDebug {
            single_step: true,
            block_interrupts: !self.session.switches.step_interrupts,
            hardware_breakpoints: entries,
            watchpoints,
            // A handler that runs unseen may get to one of the others.
            software_breakpoints: planted,
            halts: planted && technique.stops_at_halts(),
        }
    }

    /// The exception handlers, read again when the guest says that they are elsewhere, and for every
    /// command of the client's.
    fn handlers_of(&mut self, registers: &Registers) -> [Option<u64>; 4] {
        match &self.handlers {
            Some(known) if known.are_of(registers) => known.entries,
            _ => self.handlers.insert(Handlers::read(self.machine.memory(), registers)).entries,
        }
    }

    /// Takes out of memory what a step has left there of the trap flag.
    fn hide_trap_flag(&mut self, kind: Kind, debug: &GuestDebug) -> Result<(), HostError> {
        let (registers, pc) = self.position()?;
        let handler = debug.hardware_breakpoints.iter().position(|entry| *entry == Some(pc));
        if handler.is_none() && kind != Kind::PushFlags {
            return Ok(());
        }
        self.machine.renew_guest_debug();
        match handler {
            Some(place) => handlers::hide_trap_flag(self.machine.memory(), &registers, place),
            None => handlers::clear_trap_flag(self.machine.memory(), &registers, 0),
        }
        Ok(())
    }

    /// Steps; a point the step leads to has its say, but the guest stops anyway.
    pub(super) fn step_once(&mut self) -> Result<Advance, HostError> {
        let advanced = self.step()?;
        if let Advance::Stopped(Stop::Stepped) = advanced {
            let (_, pc) = self.position()?;
            self.arrive(pc)?;
        }
        Ok(advanced)
    }

    /// Steps, and stops for the breakpoint the step leads to, if there is one.
    pub(super) fn step_onto(&mut self) -> Result<Advance, HostError> {
        let advanced = self.step()?;
        if let (Advance::Stopped(Stop::Stepped), Some(pc)) = (&advanced, self.stopped_at) {
            let point = self.arrive(pc)?;
            if let Some(stop) = self.breakpoint_at(pc).or(point) {
                return Ok(self.stop(stop, pc));
            }
        }
        Ok(advanced)
    }

    /// Steps until something else than a step stops the guest, it is outside of `range`, or it is at a
    /// breakpoint.
    pub(super) fn step_out_of(&mut self, range: &Range<u64>) -> Result<Advance, HostError> {
        loop {
            match self.step_onto()? {
                Advance::Stopped(Stop::Stepped) => {}
                other => return Ok(other),
            }
            if self.stopped_at.is_none_or(|pc| !range.contains(&pc)) {
                return Ok(Advance::Stopped(Stop::Stepped));
            }
            if !self.said.is_empty() {
                return Ok(Advance::Going);
            }
        }
    }

    fn step(&mut self) -> Result<Advance, HostError> {
        if self.reset_asked {
            return match self.carry_out_reset() {
                Some(outcome) => Ok(Advance::Over(outcome)),
                None => self.stopped(Stop::Stepped),
            };
        }
        let (registers, pc) = self.position()?;
        match self.step_instruction(&registers, pc)? {
            Some(Event::Reset) => {
                self.was_reset();
                self.stopped(Stop::Stepped)
            }
            Some(event) => match self.seen(&event)? {
                Seen::Nothing => self.judge_other(event),
                Seen::Passed => self.stopped(Stop::Stepped),
                Seen::Hit(hit) => self.stop_for(hit),
            },
            None => self.stopped(Stop::Stepped),
        }
    }
}
