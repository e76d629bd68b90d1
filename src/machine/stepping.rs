//! Running under a supervisor: from event to event, and instruction by instruction.
//!
//! When one of these functions returns, the vCPU is at an instruction boundary: a pending I/O or MMIO exit
//! has been completed, and all coalesced output has been sent.

use super::cpu::{CpuId, RunState};
use super::run::Next;
use super::watchpoint_pages::WatchedAccess;
use super::{Machine, Outcome};
use crate::arch::flags::RFLAGS_IF;
use crate::kvm::{DebugStop, HostError, Refusal, VmExit};

/// Why a machine that runs under a supervisor has stopped.
#[derive(Debug)]
pub enum Event {
    /// [`super::inputs::Input::Attention`] has arrived.
    Attention,
    /// The instruction that the guest has just executed requests a reset; [`Machine::perform_reset`]
    /// performs it.
    ResetRequested,
    /// The instruction that the guest has just executed requests a stop in the debugger.
    StopRequested,
    /// The machine was reset and is at the guest's first instruction, with new memory contents and new
    /// vCPUs.
    Reset,
    /// The vCPU stopped for an enabled debug facility.
    Debug(DebugStop),
    /// The guest has accessed watched memory ([`Machine::watch`]) in the instruction it has just executed, or
    /// in one iteration of a repeated one.
    WatchedAccess(Vec<WatchedAccess>),
    /// The run has ended. Memory and registers can still be read.
    End(Outcome),
}

impl Machine {
    /// Keeps a CPU stopped while [`Self::run_to_event`] runs the others, or lets it run with them again. What arrives
    /// for it meanwhile waits. A machine with a CPU that is held does not end because all others are halted for good.
    pub fn set_held(&mut self, cpu: CpuId, held: bool) {
        self.cpus[cpu].held = held;
    }

    /// True if a CPU would execute instructions if it were not held: it runs, or something waits for it that may
    /// wake or start it.
    pub fn has_work(&self, cpu: CpuId) -> bool {
        match self.cpus[cpu].run_state {
            RunState::Running => true,
            RunState::Halted => self.has_vector(cpu) || self.board.has_request(cpu.number()),
            RunState::HaltedForGood | RunState::WaitForSipi | RunState::WaitForDisk => {
                self.board.has_request(cpu.number())
            }
        }
    }

    /// Runs the guest until an event: all CPUs that are not held, unless the machine has one. The event is that of
    /// [`Self::current_cpu`].
    pub fn run_to_event(&mut self) -> Event {
        let event = self.run_unstopped();
        match self.stop_cpus() {
            Ok(()) => event,
            Err(error) => failed(error),
        }
    }

    fn run_unstopped(&mut self) -> Event {
        self.time.resume();
        if let Some(event) = self.take_pending_action() {
            return event;
        }
        if let Err(error) = self.begin_halt_watch() {
            return failed(error);
        }
        // Accesses of an instruction that was reported with another event.
        self.watchpoint_pages.take_accesses();
        let is_measured = self.exit_times.is_some();
        loop {
            if self.watchpoint_pages.has_accesses() {
                let event = self.complete_pending(self.current);
                return self.with_watched_accesses(event).unwrap_or(Event::Attention);
            }
            let next = if is_measured { self.advance_measured() } else { self.advance() };
            match next {
                Ok(Next::Run) => {}
                Ok(Next::Stop(request @ (Event::ResetRequested | Event::StopRequested))) => {
                    let event = self.complete_pending_request(self.current, request);
                    return self.with_watched_accesses(event).unwrap_or(Event::Attention);
                }
                Ok(Next::Stop(Event::Attention)) => {
                    let stopped = self.stop_cpus();
                    let event = stopped.and_then(|()| self.complete_pending(self.current));
                    return self.with_watched_accesses(event).unwrap_or(Event::Attention);
                }
                Ok(Next::Stop(event)) => return event,
                Err(error) => return failed(error),
            }
        }
    }

    /// Executes the instruction at `rip`, which must equal RIP and must not be `hlt`; `None` if it completed
    /// without an event.
    ///
    /// Single-stepping must be enabled. With `interrupts` an interrupt that the processor accepts is delivered first;
    /// otherwise none is.
    pub fn step_instruction(&mut self, cpu: CpuId, rip: u64, interrupts: bool) -> Option<Event> {
        self.make_current(cpu);
        self.time.resume();
        if !self.cpus[cpu].is_running() {
            return self.step_halted(cpu);
        }
        if let Err(error) = self.prepare_step(cpu, interrupts) {
            return Some(failed(error));
        }
        let event = self.step_one(cpu, rip);
        self.with_watched_accesses(event)
    }

    /// Emulates the instruction at RIP without entering the guest ([`crate::emulate`]); `None` if it completed
    /// without an event.
    pub fn emulate_instruction(&mut self, cpu: CpuId) -> Option<Event> {
        self.make_current(cpu);
        self.time.resume();
        if !self.cpus[cpu].is_running() {
            return self.step_halted(cpu);
        }
        match self.emulate_refused(cpu, Refusal::new(Refusal::EMULATION, &[])) {
            Ok(Next::Run) => {
                let rip = self.cpus[cpu].general_registers().map(|registers| registers.rip);
                let rescued = rip.and_then(|rip| self.rescue_at(cpu, rip));
                self.with_watched_accesses(rescued)
            }
            Ok(Next::Stop(event)) => self.with_watched_accesses(Ok(Some(event))),
            Err(error) => Some(failed(error)),
        }
    }

    /// Emulates the one-byte `hlt` at RIP, which not all hosts can single-step, and waits for an event; `None` if an
    /// interrupt has ended the wait, which is delivered when the guest runs freely.
    pub fn step_halt(&mut self, cpu: CpuId) -> Option<Event> {
        self.make_current(cpu);
        self.time.resume();
        if !self.cpus[cpu].is_running() {
            return self.step_halted(cpu);
        }
        into_event(self.emulate_halt(cpu))
    }

    /// Waits in a `hlt` that was executed before.
    fn step_halted(&mut self, cpu: CpuId) -> Option<Event> {
        let next =
            if self.halts_in_kernel(cpu) { self.step_sleep_in_kernel(cpu) } else { self.sleep_halted(cpu) };
        into_event(next)
    }

    fn prepare_step(&mut self, cpu: CpuId, interrupts: bool) -> Result<(), HostError> {
        self.pass_lines()?;
        if interrupts && self.interrupt_pending(cpu) {
            return self.deliver_interrupt(cpu);
        }
        self.hold_interrupts(cpu)
    }

    /// Waits for an event without running the guest. Inputs are accepted meanwhile and can end the run.
    pub fn wait(&mut self) -> Event {
        self.stay_stopped().unwrap_or_else(failed)
    }

    fn step_one(&mut self, cpu: CpuId, before: u64) -> Result<Option<Event>, HostError> {
        let emulated = self.cpus[cpu].emulated.total();
        loop {
            if let Some(event) = self.pending_event()? {
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
                exit => self.handle_exit(cpu, exit)?,
            };
            let event = match next {
                Next::Run => self.complete_pending(cpu)?,
                Next::Stop(request @ (Event::ResetRequested | Event::StopRequested)) => {
                    self.complete_pending_request(cpu, request)?
                }
                Next::Stop(event) => Some(event),
            };
            match event {
                Some(Event::Debug(stop)) if stop.exception == DebugStop::DEBUG => {
                    let rescued = self.rescue_at(cpu, stop.pc)?;
                    let watched = self.is_watchpoint(cpu, stop).then_some(Event::Debug(stop));
                    return Ok(rescued.or(watched));
                }
                Some(event) => return Ok(Some(event)),
                None => {}
            }
            let rip = self.cpus[cpu].general_registers()?.rip;
            // Completed, although the host does not report the step.
            if rip != before {
                return self.rescue_at(cpu, rip);
            }
            // An emulated instruction, which the host does not report; it may be a jump to itself. Or an iteration of a
            // repeated instruction.
            if self.cpus[cpu].emulated.total() != emulated || self.watchpoint_pages.has_accesses() {
                return Ok(None);
            }
            // Else the middle of a repeated instruction, or a memory slot that was mapped on first access.
        }
    }

    fn emulate_halt(&mut self, cpu: CpuId) -> Result<Next, HostError> {
        let interruptible = self.skip_halt(cpu)?;
        self.halt(cpu, interruptible)
    }

    /// Moves RIP behind the one-byte `hlt` there; true if interrupts are on.
    pub(super) fn skip_halt(&mut self, cpu: CpuId) -> Result<bool, HostError> {
        let mut registers = self.cpus[cpu].general_registers()?;
        registers.rip = registers.rip.wrapping_add(1);
        self.cpus[cpu].set_general_registers(&registers)?;
        Ok(registers.rflags & RFLAGS_IF != 0)
    }

    /// The event of a completed instruction: accesses to watched memory take precedence, except over an end.
    pub(super) fn with_watched_accesses(&mut self, event: Result<Option<Event>, HostError>) -> Option<Event> {
        let accesses = self.watchpoint_pages.take_accesses();
        match event {
            Ok(None | Some(Event::Debug(_))) if !accesses.is_empty() => Some(Event::WatchedAccess(accesses)),
            Ok(event) => event,
            Err(error) => Some(failed(error)),
        }
    }

    /// Completes the pending exit of the vCPU and takes coalesced output from the host; returns an event that
    /// results from it.
    pub(super) fn complete_pending(&mut self, cpu: CpuId) -> Result<Option<Event>, HostError> {
        let mut request = None;
        loop {
            match self.cpus[cpu].complete()? {
                VmExit::Interrupted => {
                    self.sync_run_state(cpu)?;
                    return Ok(request);
                }
                // The caller decides when to sleep.
                VmExit::Halt { interruptible: true } => {
                    self.cpus[cpu].run_state = RunState::Halted;
                    return Ok(request);
                }
                exit => match self.handle_exit(cpu, exit)? {
                    Next::Run => {}
                    // One iteration of a repeated instruction, whose others are still to be completed.
                    Next::Stop(Event::ResetRequested) => request = Some(Event::ResetRequested),
                    Next::Stop(Event::StopRequested) => request = request.or(Some(Event::StopRequested)),
                    Next::Stop(Event::Debug(_)) if request.is_some() => return Ok(request),
                    Next::Stop(event) => return Ok(Some(event)),
                },
            }
        }
    }

    /// Completes the access that makes `request`. The request takes precedence over the end of a single step.
    pub(super) fn complete_pending_request(
        &mut self,
        cpu: CpuId,
        request: Event,
    ) -> Result<Option<Event>, HostError> {
        Ok(Some(match self.complete_pending(cpu)? {
            Some(event @ (Event::End(_) | Event::ResetRequested)) => event,
            _ => request,
        }))
    }
}

fn into_event(next: Result<Next, HostError>) -> Option<Event> {
    match next {
        Ok(Next::Run) => None,
        Ok(Next::Stop(event)) => Some(event),
        Err(error) => Some(failed(error)),
    }
}

fn failed(error: HostError) -> Event {
    Event::End(Outcome::HostFailed(error))
}
