//! How a guest goes on: which CPUs run, which one steps, and which stay stopped.
//!
//! One CPU is stepped at a time, while all others are stopped: no other can pass a breakpoint whose byte is out of
//! memory for the step. Others that are to run meanwhile take turns with the steps ([`super::time_share`]).

use super::breakpoint_bytes::Opcode;
use super::debug_facilities::DebugFacilities;
use super::guest_state::Pending;
use super::lookahead::Kind;
use super::resume_actions::ResumeAction;
use super::run_control::{Advance, Stop, Supervisor};
use crate::arch::Registers;
use crate::arch::flags::CR0_PG;
use crate::kvm::{GuestDebug, HostError};
use crate::machine::inputs::Input;
use crate::machine::{CpuId, Event, RunState};

/// The CPUs whose page tables say where breakpoint bytes belong, one of each address space. A CPU without paging,
/// one that has just been started for example, counts only where none has paging: to it, the addresses of code are
/// those of other memory.
fn address_spaces(positions: &[(CpuId, Registers, u64)]) -> Vec<&Registers> {
    let has_paging = |registers: &Registers| registers.system.cr0 & CR0_PG != 0;
    let any = positions.iter().any(|(_, registers, _)| has_paging(registers));
    let mut spaces: Vec<&Registers> = Vec::new();
    for (_, registers, _) in positions {
        let space = |registers: &Registers| {
            let system = &registers.system;
            (system.cr3, system.cr4, system.efer)
        };
        let is_new = spaces.iter().all(|known| space(known) != space(registers));
        if has_paging(registers) == any && is_new {
            spaces.push(registers);
        }
    }
    spaces
}

impl Supervisor<'_> {
    /// Lets the guest go on as [`Self::actions`] says, after what is pending.
    pub(super) fn resume(&mut self) -> Result<Advance, HostError> {
        match self.state.session_mut().and_then(|session| session.pending.take()) {
            Some(Pending::End(outcome)) => {
                self.end(outcome);
                return Ok(Advance::Over);
            }
            Some(Pending::Reset) => return self.go_on_by_reset(),
            None => {}
        }
        // One instruction may hit several watchpoints; a stop reports one.
        if let Some(hit) = self.facilities.watchpoints.next_hit() {
            return Ok(Advance::Stopped(Stop::Watch(hit)));
        }
        self.facilities.forget_code();
        self.arm_watchpoints()?;
        let continuing = self.actions.continuing();
        match self.stepping_cpu() {
            Some(cpu) => self.step_in_turn(cpu, &continuing),
            None if !continuing.is_empty() => self.go(&continuing),
            None => {
                self.wait();
                Ok(self.going_or_over())
            }
        }
    }

    /// The CPU that steps next: the one of the last stop, else the first that can.
    fn stepping_cpu(&self) -> Option<CpuId> {
        let stepping = |cpu: &CpuId| self.actions.steps(*cpu);
        let ready = |cpu: &CpuId| self.actions.steps(*cpu) && self.can_step(*cpu);
        let all = || self.machine.cpu_ids();
        Some(self.cpu).filter(ready).or_else(|| all().find(ready)).or_else(|| all().find(stepping))
    }

    /// True if a CPU executes its next instruction, or would wake for it.
    fn can_step(&self, cpu: CpuId) -> bool {
        self.machine.has_work(cpu)
    }

    /// Steps `cpu`, after the turn of `others` if it is theirs.
    fn step_in_turn(&mut self, cpu: CpuId, others: &[CpuId]) -> Result<Advance, HostError> {
        let shares = others.iter().any(|other| self.machine.has_work(*other));
        if shares && self.time_share.is_others_turn() || !others.is_empty() && !self.can_step(cpu) {
            self.time_share.begin(self.machine.inputs());
            let advance = self.go(others);
            self.time_share.end(self.machine.inputs());
            match advance? {
                Advance::Going if self.outcome().is_none() && self.can_step(cpu) => {}
                stopped => return Ok(stopped),
            }
        } else if self.machine.cpu(cpu).run_state() == RunState::WaitForSipi && !self.can_step(cpu) {
            self.wait();
            return Ok(self.going_or_over());
        }
        self.cpu = cpu;
        if !others.is_empty() && self.is_at_halt()? {
            // Has the step return instead of waiting for what the others may cause.
            self.machine.inputs().push(Input::Attention);
        }
        match self.actions.of(cpu).clone() {
            ResumeAction::StepRange(range) => self.step_out_of(&range, shares),
            _ => self.step_once(),
        }
    }

    /// True if the CPU that steps is about to halt.
    fn is_at_halt(&mut self) -> Result<bool, HostError> {
        let (registers, pc) = self.position()?;
        let kind = self.facilities.lookahead.kind(self.machine.memory(), &registers, pc);
        Ok(kind == Kind::Halt && !self.machine.cpu(self.cpu).is_halted())
    }

    /// Performs the reset the guest has requested before breakpoints are put in place: memory and page tables
    /// change. A step ends at the guest's first instruction.
    fn go_on_by_reset(&mut self) -> Result<Advance, HostError> {
        self.perform_reset();
        if self.outcome().is_some() || *self.actions.of(self.cpu) == ResumeAction::Continue {
            return Ok(self.going_or_over());
        }
        let (_, pc) = self.position()?;
        let point = self.evaluate_points(pc)?;
        Ok(self.stop(self.facilities.breakpoint_at(pc).or(point).unwrap_or(Stop::Stepped), pc))
    }

    /// Runs `cpus` with all breakpoints in place, while the others stay stopped.
    fn go(&mut self, cpus: &[CpuId]) -> Result<Advance, HostError> {
        let mut positions = Vec::new();
        for cpu in self.machine.cpu_ids() {
            let runs = cpus.contains(&cpu);
            self.machine.set_held(cpu, !runs);
            if !runs || self.machine.cpu(cpu).run_state() == RunState::WaitForSipi {
                continue;
            }
            let (registers, pc) = self.position_of(cpu)?;
            positions.push((cpu, registers, pc));
        }
        self.find_handlers(&positions);
        self.trace_modes(&positions);
        for (cpu, registers, pc) in &positions {
            // A CPU that is halted has not reached the instruction yet.
            if !self.machine.cpu(*cpu).is_halted() && self.has_magic_breakpoint(registers, *pc) {
                self.cpu = *cpu;
                return self.stop_behind_magic_breakpoint(registers, *pc);
            }
        }
        let mut leave = Vec::new();
        for (cpu, registers, pc) in &positions {
            if !self.machine.cpu(*cpu).is_halted()
                && self.reported_at(*cpu) == Some(*pc)
                && self.would_stop_again(registers, *pc)
            {
                leave.push((*cpu, *registers, *pc));
            } else {
                self.set_reported_at(*cpu, None);
            }
        }
        let debug = self.guest_debug();
        self.enable_on_all_cpus(debug)?;
        for registers in address_spaces(&positions) {
            self.insert_breakpoints(registers, &debug);
        }
        let advanced = self.run_with_breakpoints(debug, leave);
        self.facilities.inserted.remove(self.machine.memory());
        advanced
    }

    /// Inserts the bytes of the breakpoints that have no debug register, where these page tables map them.
    fn insert_breakpoints(&mut self, registers: &Registers, debug: &GuestDebug) {
        let opcode = self.technique().inserted;
        let magic = self.magic_breakpoints.addresses();
        let addresses = self.facilities.breakpoints.software().chain(self.session.points.addresses());
        // Memory may have something else there than the guest file, which stays as it is.
        let without_register: Vec<u64> = addresses
            .chain(magic.filter(|address| self.has_magic_breakpoint(registers, *address)))
            .chain(self.handler_addresses(registers))
            .filter(|address| !debug.hardware_breakpoints.contains(&Some(*address)))
            .collect();
        let without_register = without_register.into_iter();
        self.facilities.inserted.insert(self.machine.memory(), registers, opcode, without_register);
    }

    /// Enables the same debug facilities on all CPUs.
    pub(super) fn enable_on_all_cpus(&mut self, debug: GuestDebug) -> Result<(), HostError> {
        for cpu in self.machine.cpu_ids() {
            self.machine.cpu_mut(cpu).set_guest_debug(debug)?;
        }
        Ok(())
    }

    /// No CPU stays stopped any more when the guest runs.
    pub(super) fn release_cpus(&mut self) {
        for cpu in self.machine.cpu_ids() {
            self.machine.set_held(cpu, false);
        }
    }

    /// Runs the CPUs that are not held until an event, and notes the CPU that it is about.
    pub(super) fn run_to_event(&mut self) -> Event {
        let event = self.machine.run_to_event();
        self.cpu = self.machine.current_cpu();
        event
    }

    /// The CPU of the last event, if the machine has several.
    pub(crate) fn one_of_several(&self) -> Option<CpuId> {
        (self.machine.cpu_ids().count() > 1).then_some(self.cpu)
    }

    /// That CPU, behind what a message says has happened there; empty if the machine has only one.
    pub(crate) fn on_cpu(&self) -> String {
        self.one_of_several().map(|cpu| format!(" on {cpu}")).unwrap_or_default()
    }

    /// The CPU whose page tables say what a client's addresses mean: the one of the last event, unless it has no
    /// paging and another has.
    pub(super) fn addressing_cpu(&self) -> Result<Registers, HostError> {
        let registers = self.machine.cpu(self.cpu).registers()?;
        if registers.system.cr0 & CR0_PG == 0 {
            for cpu in self.machine.cpu_ids().filter(|cpu| *cpu != self.cpu) {
                let other = self.machine.cpu(cpu).registers()?;
                if other.system.cr0 & CR0_PG != 0 {
                    return Ok(other);
                }
            }
        }
        Ok(registers)
    }

    /// The breakpoint in each debug register while the guest runs.
    fn registers_in_use(&self) -> [Option<u64>; 4] {
        let DebugFacilities { breakpoints, watchpoints, .. } = &self.facilities;
        let watching = watchpoints.in_registers(breakpoints).map(|watch| watch.is_some());
        breakpoints.registers(self.technique().registers, watching, self.own_addresses())
    }

    /// The addresses of the points that commands have set, of magic breakpoints, and where exceptions are noticed.
    fn own_addresses(&self) -> impl Iterator<Item = u64> + '_ {
        let points = self.session.points.addresses().chain(self.magic_breakpoints.addresses());
        points.chain(self.handler_points.addresses())
    }

    /// True if the guest must be stopped briefly at intervals: there are breakpoints without a debug register,
    /// whose bytes could not be inserted yet or may be overwritten, by a loader for example; or the guest may set gates
    /// of exceptions that are reported.
    pub(crate) fn needs_periodic_stops(&self) -> bool {
        !self.actions.continuing().is_empty()
            && (self.session.catches.any() || self.services.trace.mode || self.has_inserted_breakpoints())
    }

    /// True if there are breakpoints without a debug register.
    fn has_inserted_breakpoints(&self) -> bool {
        let registers = self.registers_in_use();
        !self.actions.continuing().is_empty()
            && self
                .facilities
                .breakpoints
                .software()
                .chain(self.own_addresses())
                .any(|address| !registers.contains(&Some(address)))
    }

    /// The debug settings with which the vCPU runs until a breakpoint.
    fn guest_debug(&self) -> GuestDebug {
        let inserted = self.has_inserted_breakpoints();
        let technique = self.technique();
        GuestDebug {
            software_breakpoints: inserted && technique.inserted == Opcode::Int3
                || self.session.switches.catch_int3,
            halts: inserted && technique.stops_at_halts(),
            hardware_breakpoints: self.registers_in_use(),
            watchpoints: self.facilities.watchpoints.in_registers(&self.facilities.breakpoints),
            ..GuestDebug::default()
        }
    }

    /// True if running on from `pc` would stop there without having moved: at a breakpoint, or at an
    /// `int3` of the guest's own, which only a step delivers to the guest.
    fn would_stop_again(&mut self, registers: &Registers, pc: u64) -> bool {
        self.facilities.breakpoint_at(pc).is_some()
            || self.has_point(pc)
            || self.facilities.lookahead.kind(self.machine.memory(), registers, pc) == Kind::Interrupt
    }
}

#[cfg(test)]
#[path = "resumption_test.rs"]
mod tests;
