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

use crate::arch::GeneralRegisters;

use super::handlers::{self, Handlers};
use super::lookahead::Kind;
use super::run_control::{Advance, Stop, Supervisor};
use super::watchpoints::Seen;
use crate::arch::Registers;
use crate::arch::flags::RFLAGS_RF;
use crate::kvm::{GuestDebug, HostError};
use crate::machine::{Event, Outcome};

/// How often a step may stay where it is although it leads on, before it counts.
const PATIENCE: u32 = 16;

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
    let elsewhere = |address: Option<u64>| address.filter(|address| *address != pc);
    let mut stops = breakpoints.map(elsewhere);
    for handler in handlers.map(elsewhere).into_iter().flatten() {
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
    /// Carries out the instruction the guest is at, with `breakpoints` in the debug registers but for one
    /// that is there; `None` if there was no event in that.
    pub(crate) fn step_instruction(
        &mut self,
        registers: &Registers,
        pc: u64,
        breakpoints: [Option<u64>; 4],
    ) -> Result<Option<Event>, HostError> {
        let kind = self.ahead.kind(self.machine.memory(), registers, pc);
        match kind {
            // In a less privileged ring it is no halt but an exception, which a step shows well.
            Kind::Halt if registers.ring() == 0 => {
                return Ok(Some(self.machine.step_halt(self.machine.current_cpu())));
            }
            _ => {}
        }
        let carried_out = match kind {
            Kind::Interrupt => true,
            Kind::InterruptReturn => self.technique().emulated,
            _ => false,
        };
        if carried_out {
            match self.machine.emulate_instruction(self.machine.current_cpu()) {
                // Beyond what is carried out here, but the host may be able to.
                Some(Event::End(Outcome::Refused(..))) => {}
                done => return Ok(done),
            }
        }
        let debug = self.step_debug(registers, pc, breakpoints);
        let mut patience = PATIENCE;
        loop {
            if !self.technique().emulated || registers.ring() != 0 {
                self.machine.cpu(self.machine.current_cpu()).renew_guest_debug();
            }
            self.machine.cpu_mut(self.machine.current_cpu()).set_guest_debug(debug)?;
            if let Some(event) =
                self.machine.step_instruction(self.machine.current_cpu(), registers.general.rip)
            {
                // In a handler that ran unseen, perhaps.
                if matches!(event, Event::Debug(_) | Event::WatchedAccess(_)) {
                    self.hide_trap_flag(kind, registers)?;
                }
                return Ok(Some(event));
            }
            let after = self.machine.cpu(self.machine.current_cpu()).general_registers()?;
            if after.rip != registers.general.rip {
                self.stepped_to = Some(after.rip);
                break;
            }
            match kind {
                Kind::Repeated => {}
                Kind::Jump => break,
                _ if patience > 0 && nothing_done(&registers.general, &after) => patience -= 1,
                _ => break,
            }
        }
        self.hide_trap_flag(kind, registers)?;
        Ok(None)
    }

    /// What the vCPU needs for a step: in the debug registers the breakpoints that are to stay in force, and
    /// the entries of exception handlers where they leave room.
    fn step_debug(&mut self, registers: &Registers, pc: u64, breakpoints: [Option<u64>; 4]) -> GuestDebug {
        let technique = self.technique();
        let watchpoints = self.watchpoints.in_registers(&self.breakpoints);
        let handlers = if technique.registers { self.handlers_of(registers) } else { [None; 4] };
        let planted = self.planting.any();
        GuestDebug {
            single_step: true,
            block_interrupts: !self.session.switches.step_interrupts,
            hardware_breakpoints: stops(breakpoints, handlers, watchpoints.map(|watch| watch.is_some()), pc),
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

    /// Takes out of memory what a step of the instruction at `before` has left there of the trap flag.
    fn hide_trap_flag(&mut self, kind: Kind, before: &Registers) -> Result<(), HostError> {
        // Neither a jump to a handler nor a plain instruction in front of one moves it.
        if self.machine.cpu(self.machine.current_cpu()).general_registers()?.rsp == before.general.rsp {
            return Ok(());
        }
        let after = self.machine.cpu(self.machine.current_cpu()).registers()?;
        let memory = self.machine.memory();
        if handlers::hide_trap_flag(memory, before, &after) {
            self.machine.cpu(self.machine.current_cpu()).renew_guest_debug();
        } else if kind == Kind::PushFlags && !(self.technique().emulated && before.ring() == 0) {
            // The instruction emulator pushes those of the guest.
            self.machine.cpu(self.machine.current_cpu()).renew_guest_debug();
            handlers::clear_pushed_trap_flag(memory, &after);
        }
        Ok(())
    }

    /// Steps; a point where the guest is, and one the step leads to, has its say, but the guest steps and
    /// stops anyway.
    pub(crate) fn step_once(&mut self) -> Result<Advance, HostError> {
        self.depart()?;
        let advanced = self.step()?;
        if let Advance::Stopped(Stop::Stepped) = advanced {
            let (_, pc) = self.position()?;
            self.arrive(pc)?;
        }
        Ok(advanced)
    }

    /// Lets a point where the guest is have its say, if it has not had it; a stop if that is what it wants.
    fn depart(&mut self) -> Result<Option<(Stop, u64)>, HostError> {
        let (_, pc) = self.position()?;
        // In `hlt` it has not come there yet.
        if self.reset_asked
            || self.machine.cpu(self.machine.current_cpu()).is_halted()
            || self.stopped_at == Some(pc)
        {
            return Ok(None);
        }
        let stop = self.arrive(pc)?;
        self.stopped_at = Some(pc);
        Ok(stop.map(|stop| (stop, pc)))
    }

    /// Steps, and stops for the breakpoint the step leads to, if there is one.
    fn step_onto(&mut self) -> Result<Advance, HostError> {
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
    pub(crate) fn step_out_of(&mut self, range: &Range<u64>) -> Result<Advance, HostError> {
        if let Some((stop, pc)) = self.depart()? {
            return Ok(self.stop(stop, pc));
        }
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
        let (registers, pc) = self.position()?;
        match self.step_instruction(&registers, pc, [None; 4])? {
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
