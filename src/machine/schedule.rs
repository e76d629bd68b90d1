//! How the CPUs of a machine with several run: all at the same time, each on a thread of its own, or by turns on the
//! thread of the machine.
//!
//! In both cases everything but KVM_RUN happens on the thread of the machine: exits are handled there one by one, so
//! devices need no locks. In parallel, a CPU is *away* from the moment it enters the guest until its exit is taken.
//! [`Machine::stop_cpus`] brings all of them back, which leaves the machine as if they had taken turns: what the
//! others did meanwhile is carried out, and an event that it causes is reported when the machine runs again.
//!
//! A turn ends when the CPU has nothing to execute, after a number of exits, or after a time if it has not exited that
//! often. A machine that runs by turns does the same again as long as no turn ends by time; one that does is in the
//! journal.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::coalescing::Coalescing;
use super::cpu::{Cpu, CpuId, RunState};
use super::journal::JournalEvent;
use super::kernel_irqchip::{FIRST_LOOK, LONGEST_INTERVAL};
use super::run::Next;
use super::{Event, Machine, Outcome};
use crate::boot;
use crate::kvm::{DeadlineTimer, DebugStop, HaltState, HostError, VmExit};
use crate::settings::{BootKind, Schedule};

/// Exits of a CPU until the next one's turn.
const EXITS_PER_TURN: u32 = 16;
/// The longest turn.
const LONGEST_TURN: Duration = Duration::from_millis(2);

/// What the machine keeps to run several CPUs.
#[derive(Debug, Default)]
pub(super) struct Scheduler {
    pub(super) schedule: Schedule,
    /// Events of CPUs other than the one whose event has stopped the machine.
    events: VecDeque<(CpuId, Event)>,
    /// Exits that are left of this turn.
    exits_left: u32,
    /// When this turn ends.
    turn_end: Option<Instant>,
    /// Ends a turn; made for the first one.
    timer: Option<DeadlineTimer>,
    /// When CPUs that may sleep in KVM are looked at, and the time from there to the next look.
    look: Option<(Instant, Duration)>,
}

impl Scheduler {
    /// A scheduler that has run nothing yet.
    pub(super) fn new(schedule: Schedule) -> Scheduler {
        Scheduler { schedule, ..Scheduler::default() }
    }

    /// Which writes of `cpus` KVM coalesces: none of CPUs that run at the same time, whose writes share one ring.
    pub(super) fn coalescing(&self, cpus: &[Cpu]) -> Coalescing {
        let in_parallel = cpus.len() > 1 && self.schedule == Schedule::Parallel;
        Coalescing::new(!in_parallel && cpus.iter().all(|cpu| cpu.vcpu.can_coalesce_writes()))
    }

    /// The machine was reset or restored: nothing is left to report.
    pub(super) fn forget(&mut self) {
        self.events.clear();
        self.turn_end = None;
    }
}

/// The earlier one of two times, if there is any.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

impl Machine {
    /// True if CPUs run at the same time.
    #[inline]
    pub(super) fn runs_in_parallel(&self) -> bool {
        self.cpus.len() > 1 && self.scheduler.schedule == Schedule::Parallel
    }

    /// Runs several CPUs to the next exit of one of them, or sleeps while all are halted.
    pub(super) fn advance_several(&mut self) -> Result<Next, HostError> {
        if let Some(event) = self.next_event() {
            return Ok(Next::Stop(event));
        }
        match self.scheduler.schedule {
            Schedule::Parallel => self.advance_in_parallel(),
            Schedule::Serial => self.advance_by_turns(),
        }
    }

    /// An event that is still to be reported, of a CPU that may run.
    fn next_event(&mut self) -> Option<Event> {
        let cpus = &self.cpus;
        let at = self.scheduler.events.iter().position(|(cpu, _)| !cpus[*cpu].is_held())?;
        let (cpu, event) = self.scheduler.events.remove(at)?;
        self.make_current(cpu);
        Some(event)
    }

    /// `cpu` runs next, or the next event is its.
    pub(super) fn make_current(&mut self, cpu: CpuId) {
        if self.current == cpu {
            return;
        }
        self.current = cpu;
        if !self.runs_in_parallel() {
            // All share one thread, and a kick is meant for the one that runs.
            self.cpus[cpu].vcpu.aim_kicker();
        }
    }

    fn advance_in_parallel(&mut self) -> Result<Next, HostError> {
        loop {
            if let Some(event) = self.due_event()? {
                return Ok(Next::Stop(event));
            }
            self.pass_lines()?;
            if let Some(cpu) = self.inputs.next_returned(self.current) {
                if !self.cpus[cpu].is_away() {
                    continue;
                }
                self.current = cpu;
                let exit = self.cpus[cpu].finish().map_err(|error| self.reason(error))?;
                return self.handle_exit(cpu, exit);
            }
            // Every access to a watched page exits: a locked instruction there is atomic only if no other CPU runs.
            let one_at_a_time = self.watchpoint_pages.any();
            let mut away = self.cpus.iter().any(Cpu::is_away);
            for cpu in self.next_first() {
                if self.cpus[cpu].is_away() {
                    let requested = self.board.requested(cpu.number());
                    self.cpus[cpu].kick_for(requested);
                } else if !(away && one_at_a_time)
                    && let Some(exit) = self.begin(cpu)?
                {
                    self.current = cpu;
                    return self.handle_exit(cpu, exit);
                } else {
                    away |= self.cpus[cpu].is_away();
                }
            }
            if !away && let Some(end) = self.end_of_halted()? {
                return Ok(end);
            }
            let deadline = earlier(self.next_deadline_on_host(), self.next_look());
            if away && one_at_a_time {
                let turn_end = Instant::now() + LONGEST_TURN;
                self.inputs.wait_for_return(earlier(deadline, Some(turn_end)));
                self.cpus.iter().filter(|cpu| cpu.is_away()).for_each(|cpu| cpu.kicker().kick());
            } else {
                self.inputs.wait_for_return(deadline);
            }
        }
    }

    /// With KVM's interrupt controllers: looks for CPUs that sleep with interrupts off are frequent again.
    pub(super) fn begin_looks(&mut self) {
        let in_kernel = self.halts_in_kernel(CpuId::BOOT);
        self.scheduler.look = in_kernel.then(|| (Instant::now() + FIRST_LOOK, FIRST_LOOK));
    }

    /// When CPUs are looked at next: they are kicked then.
    fn next_look(&mut self) -> Option<Instant> {
        let (at, interval) = self.scheduler.look?;
        let now = Instant::now();
        if at > now {
            return Some(at);
        }
        self.cpus.iter().filter(|cpu| cpu.is_away()).for_each(|cpu| cpu.kicker().kick());
        let interval = (interval * 2).min(LONGEST_INTERVAL);
        self.scheduler.look = Some((now + interval, interval));
        Some(now + interval)
    }

    /// A CPU with a local APIC of KVM was looked at; the end of the run if none can go on.
    pub(super) fn look_at_end(&mut self, cpu: CpuId) -> Result<Next, HostError> {
        if self.cpus[cpu].is_running() {
            return Ok(Next::Run);
        }
        if self.cpus[cpu].run_state == RunState::HaltedForGood {
            let next = self.halt_one(cpu, false)?;
            if matches!(next, Next::Stop(_)) {
                return Ok(next);
            }
        }
        // What is known of the others may be old.
        if self.all_may_be_over() {
            self.stop_cpus()?;
            if let Some(end) = self.end_of_halted()? {
                return Ok(end);
            }
        }
        Ok(Next::Run)
    }

    /// All CPUs, from the one after the current one on.
    fn next_first(&self) -> impl Iterator<Item = CpuId> + use<> {
        let (first, count) = (self.current.index() + 1, self.cpus.len());
        (0..count).map(move |distance| CpuId::new(((first + distance) % count) as u8))
    }

    /// Lets a CPU enter the guest, if it has something to execute; an exit that it has already.
    fn begin(&mut self, cpu: CpuId) -> Result<Option<VmExit>, HostError> {
        if !self.can_run(cpu)? {
            return Ok(None);
        }
        if self.interrupt_pending(cpu) {
            self.deliver_interrupt(cpu)?;
            // That may have been INIT.
            if !self.halts_in_kernel(cpu) && !self.cpus[cpu].is_running() {
                return Ok(None);
            }
        }
        let requested = self.board.requested(cpu.number());
        self.cpus[cpu].begin(requested).map_err(|error| self.reason(error))
    }

    fn advance_by_turns(&mut self) -> Result<Next, HostError> {
        if let Some(event) = self.pending_event()? {
            return Ok(Next::Stop(event));
        }
        // The timer may have expired while nothing ran.
        if self.scheduler.turn_end.is_none_or(|end| end <= Instant::now()) {
            self.scheduler.exits_left = 0;
        }
        if self.scheduler.exits_left == 0 || !self.can_run(self.current)? {
            match self.next_to_run()? {
                Some(cpu) => self.begin_turn(cpu)?,
                None => return self.sleep_together(),
            }
        }
        self.scheduler.exits_left -= 1;
        self.step(self.current)
    }

    /// The CPU whose turn is next: the first after the current one that has something to execute.
    fn next_to_run(&mut self) -> Result<Option<CpuId>, HostError> {
        for cpu in self.next_first() {
            if self.can_run(cpu)? {
                return Ok(Some(cpu));
            }
        }
        Ok(None)
    }

    fn begin_turn(&mut self, cpu: CpuId) -> Result<(), HostError> {
        if cpu != self.current {
            self.make_current(cpu);
            self.note(|| JournalEvent::Turn { cpu: cpu.number() });
        }
        self.scheduler.exits_left = EXITS_PER_TURN;
        self.scheduler.turn_end = Some(Instant::now() + LONGEST_TURN);
        if self.scheduler.timer.is_none() {
            self.scheduler.timer = Some(DeadlineTimer::new(self.inputs.attention())?);
        }
        if let Some(timer) = &self.scheduler.timer {
            timer.arm(LONGEST_TURN);
        }
        Ok(())
    }

    /// No CPU has anything to execute.
    fn sleep_together(&mut self) -> Result<Next, HostError> {
        if let Some(end) = self.end_of_halted()? {
            return Ok(end);
        }
        if self.deadline_has_come() {
            return Ok(self.sync_clock()?.map_or(Next::Run, Next::Stop));
        }
        match self.next_deadline_on_host() {
            Some(deadline) => self.inputs.wait_until(deadline),
            None => self.inputs.wait(),
        }
        Ok(Next::Run)
    }

    /// True if the CPU has something to execute and may run. What is requested of it may wake or start it.
    fn can_run(&mut self, cpu: CpuId) -> Result<bool, HostError> {
        if self.cpus[cpu].is_held() {
            return Ok(false);
        }
        // It sleeps, and is started, there.
        if self.halts_in_kernel(cpu) {
            return Ok(true);
        }
        if self.cpus[cpu].run_state != RunState::Running && self.wakes(cpu)? {
            self.cpus[cpu].run_state = RunState::Running;
        }
        Ok(self.cpus[cpu].run_state == RunState::Running)
    }

    /// True if no CPU has anything to execute and none can be woken by an interrupt. None of them is away.
    fn all_are_over(&self) -> bool {
        self.all_may_be_over() && self.cpu_ids().all(|cpu| !self.may_be_parked(cpu) || self.is_parked(cpu))
    }

    /// The same without the registers of sleeping processors: KVM would not give those of one that is away before it
    /// returns, and it may sleep there for ever.
    fn all_may_be_over(&self) -> bool {
        self.cpu_ids().all(|cpu| match self.cpus[cpu].run_state {
            RunState::HaltedForGood | RunState::WaitForSipi => true,
            RunState::Halted => self.may_be_parked(cpu),
            RunState::Running | RunState::WaitForDisk => false,
        })
    }

    /// True for a sleeping processor of a kind of guest that has parked ones.
    fn may_be_parked(&self, cpu: CpuId) -> bool {
        self.options.kind == Some(BootKind::Limine)
            && cpu != CpuId::BOOT
            && self.cpus[cpu].run_state == RunState::Halted
    }

    /// True for a sleeping processor that only looks whether the guest has started it. It is not away.
    fn is_parked(&self, cpu: CpuId) -> bool {
        self.cpus[cpu].registers().is_ok_and(|registers| {
            let code = self.next_code::<{ boot::PARKED_MARK_LENGTH }>(&registers);
            code.is_some_and(|code| boot::is_parked_processor(&code))
        })
    }

    /// The end of the run, if nothing but a reset can make any CPU go on. None of them is away.
    fn end_of_halted(&mut self) -> Result<Option<Next>, HostError> {
        if !self.all_are_over() {
            return Ok(None);
        }
        Ok(Some(Next::Stop(Event::End(self.halted_outcome(CpuId::BOOT)?))))
    }

    /// Brings all CPUs back from the guest. What they did meanwhile is carried out up to an instruction boundary.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if KVM cannot run a vCPU at all.
    pub(super) fn stop_cpus(&mut self) -> Result<(), HostError> {
        if !self.runs_in_parallel() {
            return Ok(());
        }
        for cpu in self.cpus.iter().filter(|cpu| cpu.is_away()) {
            cpu.kicker().kick();
        }
        for cpu in self.cpu_ids() {
            if self.cpus[cpu].is_away() {
                let exit = self.cpus[cpu].finish().map_err(|error| self.reason(error))?;
                self.take_back(cpu, exit)?;
            }
        }
        self.inputs.forget_returned();
        self.cpu_ids().try_for_each(|cpu| self.sync_run_state(cpu).map(drop))
    }

    /// Handles the exit of a CPU that was brought back.
    fn take_back(&mut self, cpu: CpuId, exit: VmExit) -> Result<(), HostError> {
        let exit = match exit {
            VmExit::Interrupted => return self.take_back_from_breakpoint(cpu),
            VmExit::Debug(stop) if self.is_at_own_halt(cpu, stop)? => {
                VmExit::Halt { interruptible: self.skip_halt(cpu)? }
            }
            // It stands before a breakpoint, and stops there again if that is still in place.
            VmExit::Debug(stop) if stop.is_at_breakpoint() && !self.is_watchpoint(cpu, stop) => return Ok(()),
            exit => exit,
        };
        let event = match self.handle_exit(cpu, exit)? {
            Next::Run => self.complete_pending(cpu)?,
            Next::Stop(request @ (Event::ResetRequested | Event::StopRequested)) => {
                self.complete_pending_request(cpu, request)?
            }
            Next::Stop(event) => Some(event),
        };
        if let Some(event) = self.with_watched_accesses(Ok(event)) {
            self.scheduler.events.push_back((cpu, event));
        }
        Ok(())
    }

    /// True if a CPU has stopped, where breakpoints are inserted `hlt`, for one of the guest's own. It is carried out then:
    /// at its next entry, an interrupt would come before the `hlt` instead of waking the CPU from it, although the `sti`
    /// in front of it keeps interrupts off until then (Intel SDM volume 2B, "STI").
    fn is_at_own_halt(&self, cpu: CpuId, stop: DebugStop) -> Result<bool, HostError> {
        if !self.cpus[cpu].guest_debug().halts || stop.exception != DebugStop::BREAKPOINT {
            return Ok(false);
        }
        let at = self.next_code_at(&self.cpus[cpu].registers()?);
        Ok(at.is_some_and(|at| !self.memory.has_breakpoint(at)))
    }

    /// A CPU that sleeps in KVM at an inserted `hlt` stands before it, and stops there again.
    fn take_back_from_breakpoint(&mut self, cpu: CpuId) -> Result<(), HostError> {
        let inserted = self.halts_in_kernel(cpu) && self.cpus[cpu].guest_debug().halts;
        if inserted && matches!(self.sync_run_state(cpu)?, HaltState::Halted { .. }) {
            self.cpus[cpu].vcpu.stop_at_halt()?;
            self.cpus[cpu].run_state = RunState::Running;
        }
        Ok(())
    }

    /// True if a watchpoint register has caused the stop.
    pub(super) fn is_watchpoint(&self, cpu: CpuId, stop: DebugStop) -> bool {
        let registers = self.cpus[cpu].guest_debug().watchpoints.iter().enumerate();
        let mut used = registers.filter(|(_, watchpoint)| watchpoint.is_some());
        stop.exception == DebugStop::DEBUG && used.any(|(register, _)| stop.dr6 >> register & 1 == 1)
    }

    /// The end or the reset that a CPU has caused and that is still to be reported.
    pub(super) fn unreported(&self) -> Option<&Event> {
        let ends = |event: &&Event| matches!(event, Event::End(_) | Event::ResetRequested);
        self.scheduler.events.iter().map(|(_, event)| event).find(ends)
    }

    /// Handles `hlt` of one of several CPUs.
    pub(super) fn halt_one(&mut self, cpu: CpuId, interruptible: bool) -> Result<Next, HostError> {
        self.cpus[cpu].run_state = if interruptible { RunState::Halted } else { RunState::HaltedForGood };
        if interruptible {
            return Ok(Next::Run);
        }
        let rip = self.cpus[cpu].general_registers()?.rip;
        if let Some(end) = self.rescue_at(cpu, rip)? {
            return Ok(Next::Stop(end));
        }
        if cpu != CpuId::BOOT {
            return Ok(Next::Run);
        }
        // The guest's entry function has returned: it is over, whatever the other CPUs do.
        match self.halted_outcome(cpu)? {
            outcome @ Outcome::Halted { returned: true, .. } => Ok(Next::Stop(Event::End(outcome))),
            _ => Ok(Next::Run),
        }
    }
}

#[cfg(test)]
#[path = "schedule_test.rs"]
mod tests;
