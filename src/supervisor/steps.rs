//! Steps: one instruction, whatever it is, and no more.
//!
//! What KVM's single-step does over some instructions differs from host to host. Therefore:
//!
//! - `hlt`, `int n`, `int3`, `int1` and `into` are not stepped but emulated: a step over them ends
//!   at the handler's first instruction everywhere;
//! - so is `iret` where KVM's emulator runs ring 0, as no stop follows it there;
//! - a repeated string instruction is stepped to its end, and a stop before anything has happened
//!   does not count;
//! - the free debug registers stand at the guest's exception handlers, so that a step ends at the
//!   first instruction of one where debug registers stop the guest;
//! - the trap flag, by which processors step, is taken out of what `pushf` or an exception pushed.
//!
//! Manual: KVM_SET_GUEST_DEBUG in api.rst; Intel SDM volume 3B, "Single-Step Exception Condition".

use std::ops::Range;

use crate::arch::GeneralRegisters;

use super::handlers;
use super::lookahead::Kind;
use super::run_control::{Advance, Stop, Supervisor};
use super::watchpoints::Access;
use crate::arch::Registers;
use crate::arch::flags::RFLAGS_RF;
use crate::kvm::{GuestDebug, HostError};
use crate::machine::{Event, Outcome};

/// How often a step may end at the instruction it began at before it counts as done.
const MAX_RETRIES: u32 = 16;

/// True if no register differs, RFLAGS.RF aside.
fn nothing_done(before: &GeneralRegisters, after: &GeneralRegisters) -> bool {
    let without = |registers: &GeneralRegisters| GeneralRegisters {
        rflags: registers.rflags & !RFLAGS_RF,
        ..*registers
    };
    without(before) == without(after)
}

/// What the debug registers that do not watch hold while the guest steps from `pc`, where nothing may stop
/// it: `breakpoints`, and as many of `handlers` as there is room for.
fn stops(
    breakpoints: [Option<u64>; 4],
    handlers: [Option<u64>; 4],
    watching: [bool; 4],
    pc: u64,
) -> [Option<u64>; 4] {
    let not_at_pc = |address: Option<u64>| address.filter(|address| *address != pc);
    let mut stops = breakpoints.map(not_at_pc);
    for handler in handlers.map(not_at_pc).into_iter().flatten() {
        if stops.contains(&Some(handler)) {
            continue;
        }
        let mut free = stops.iter_mut().zip(watching).filter(|(used, watches)| used.is_none() && !watches);
        let Some((register, _)) = free.next() else { break };
        *register = Some(handler);
    }
    stops
}

impl Supervisor<'_> {
    /// Executes the instruction at `pc` with `breakpoints` in the debug registers, except one at `pc` itself;
    /// `None` if that caused no event.
    pub(crate) fn step_instruction(
        &mut self,
        registers: &Registers,
        pc: u64,
        breakpoints: [Option<u64>; 4],
    ) -> Result<Option<Event>, HostError> {
        let kind = self.facilities.lookahead.kind(self.machine.memory(), registers, pc);
        match kind {
            // In a less privileged ring it is no halt but an exception, which a step shows well.
            Kind::Halt if registers.ring() == 0 => {
                return Ok(self.machine.step_halt(self.cpu));
            }
            _ => {}
        }
        let emulated = match kind {
            Kind::Interrupt => true,
            Kind::InterruptReturn => self.technique().emulated,
            _ => false,
        };
        if emulated {
            match self.machine.emulate_instruction(self.cpu) {
                // The emulator does not know it, but the host may.
                Some(Event::End(Outcome::Refused(..))) => {}
                done => return Ok(done),
            }
        }
        let debug = self.step_debug(registers, pc, breakpoints);
        let mut retries = MAX_RETRIES;
        let (cpu, interrupts) = (self.cpu, self.session.switches.step_interrupts);
        loop {
            if !self.technique().emulated || registers.ring() != 0 {
                self.machine.cpu(self.cpu).renew_guest_debug();
            }
            self.machine.cpu_mut(self.cpu).set_guest_debug(debug)?;
            if let Some(event) = self.machine.step_instruction(cpu, registers.general.rip, interrupts) {
                // Possibly in a handler that ran without a stop.
                if matches!(event, Event::Debug(_) | Event::WatchedAccess(_)) {
                    self.hide_trap_flag(kind, registers)?;
                }
                return Ok(Some(event));
            }
            let after = self.machine.cpu(self.cpu).general_registers()?;
            if after.rip != registers.general.rip {
                if let Some(session) = self.state.session_mut() {
                    session.stepped_to.set(cpu, Some(after.rip));
                }
                break;
            }
            match kind {
                Kind::Repeated => {}
                Kind::Jump => break,
                _ if retries > 0 && nothing_done(&registers.general, &after) => retries -= 1,
                _ => break,
            }
        }
        self.hide_trap_flag(kind, registers)?;
        Ok(None)
    }

    /// What the vCPU needs for a step: in the debug registers the breakpoints that stay in place, and
    /// the entries of exception handlers where they leave room.
    fn step_debug(&mut self, registers: &Registers, pc: u64, breakpoints: [Option<u64>; 4]) -> GuestDebug {
        let technique = self.technique();
        let watchpoints = self.facilities.watchpoints.in_registers(&self.facilities.breakpoints);
        let handlers = if technique.registers {
            self.facilities.handlers(self.machine.memory(), registers)
        } else {
            [None; 4]
        };
        let inserted = self.facilities.inserted.any();
        GuestDebug {
            single_step: true,
            block_interrupts: !self.session.switches.step_interrupts,
            hardware_breakpoints: stops(breakpoints, handlers, watchpoints.map(|watch| watch.is_some()), pc),
            watchpoints,
            // A handler that runs without a stop may reach one of the others.
            software_breakpoints: inserted,
            halts: inserted && technique.stops_at_halts(),
        }
    }

    /// Takes out of memory what a step of the instruction at `before` has left there of the trap flag.
    fn hide_trap_flag(&mut self, kind: Kind, before: &Registers) -> Result<(), HostError> {
        // Neither a jump to a handler nor a plain instruction in front of one moves it.
        if self.machine.cpu(self.cpu).general_registers()?.rsp == before.general.rsp {
            return Ok(());
        }
        let after = self.machine.cpu(self.cpu).registers()?;
        if let Some(flags) = handlers::flags_of_frame(self.machine.memory(), before, &after) {
            handlers::clear_trap_flag(self.machine, &after, flags);
            self.machine.cpu(self.cpu).renew_guest_debug();
        } else if kind == Kind::PushFlags && !(self.technique().emulated && before.ring() == 0) {
            // The instruction emulator pushes those of the guest.
            self.machine.cpu(self.cpu).renew_guest_debug();
            handlers::clear_trap_flag(self.machine, &after, after.top_of_stack());
        }
        Ok(())
    }

    /// Steps. Log points and breakpoints of commands at the instruction and behind it are evaluated, but the
    /// guest steps and stops whatever they decide. Without a debugger the stop is that of the breakpoint.
    pub(crate) fn step_once(&mut self) -> Result<Advance, HostError> {
        self.evaluate_unreported_points()?;
        let advanced = self.step()?;
        if let Advance::Stopped(Stop::Stepped) = advanced {
            let (_, pc) = self.position()?;
            let point = self.evaluate_points(pc)?;
            if let Some(stop) = point.filter(|_| !self.state.is_debugged()) {
                return Ok(self.stop(stop, pc));
            }
        }
        Ok(advanced)
    }

    /// Evaluates the points where the guest is, unless that has been done; a stop if they decide so.
    fn evaluate_unreported_points(&mut self) -> Result<Option<(Stop, u64)>, HostError> {
        let (_, pc) = self.position()?;
        // A CPU that is halted has not reached the instruction yet.
        if self.machine.cpu(self.cpu).is_halted() || self.reported_at(self.cpu) == Some(pc) {
            return Ok(None);
        }
        let stop = self.evaluate_points(pc)?;
        self.set_reported_at(self.cpu, Some(pc));
        Ok(stop.map(|stop| (stop, pc)))
    }

    /// Steps, and stops for a breakpoint at the next instruction, if there is one.
    fn step_to_breakpoint(&mut self) -> Result<Advance, HostError> {
        let advanced = self.step()?;
        if let (Advance::Stopped(Stop::Stepped), Some(pc)) = (&advanced, self.reported_at(self.cpu)) {
            let point = self.evaluate_points(pc)?;
            if let Some(stop) = self.facilities.breakpoint_at(pc).or(point) {
                return Ok(self.stop(stop, pc));
            }
        }
        Ok(advanced)
    }

    /// Steps until the guest stops for another reason than a step, leaves `range`, or reaches a breakpoint; or, if
    /// other CPUs get their share of the time, until it is their turn.
    pub(crate) fn step_out_of(&mut self, range: &Range<u64>, shares: bool) -> Result<Advance, HostError> {
        if let Some((stop, pc)) = self.evaluate_unreported_points()? {
            return Ok(self.stop(stop, pc));
        }
        loop {
            match self.step_to_breakpoint()? {
                Advance::Stopped(Stop::Stepped) => {}
                other => return Ok(other),
            }
            if self.reported_at(self.cpu).is_none_or(|pc| !range.contains(&pc)) {
                return Ok(Advance::Stopped(Stop::Stepped));
            }
            if !self.messages.is_empty() || shares && self.time_share.is_others_turn() {
                return Ok(Advance::Going);
            }
        }
    }

    fn step(&mut self) -> Result<Advance, HostError> {
        let (registers, pc) = self.position()?;
        match self.step_instruction(&registers, pc, [None; 4])? {
            Some(Event::Reset) => {
                self.was_reset();
                self.stop_here(Stop::Stepped)
            }
            Some(event) => match self.watched_access(&event)? {
                Access::Unwatched => self.classify_unwatched(event),
                Access::Ignored => self.stop_here(Stop::Stepped),
                Access::Hit(hit) => self.stop_for(hit),
            },
            None => self.stop_here(Stop::Stepped),
        }
    }
}
