//! Runs, steps and stops the guest for a debugger, and says why it has stopped.
//!
//! What KVM's debug facilities do differs from host to host. What holds everywhere, and is used
//! here: a breakpoint stops the guest before its instruction, whatever it is made of (`technique`);
//! a step needs no breakpoints, so it is made with none in place; and a breakpoint the guest stands at
//! is left by a step with all others in place.
//!
//! Manual: KVM_SET_GUEST_DEBUG in api.rst.

use tracing::debug;

use super::console_control::ConsoleStops;
use super::debug_facilities::DebugFacilities;
use super::exception_catch::{HandlerPoints, VectorSet};
use super::guest_state::{GuestState, Pending};
use super::magic_breakpoints::MagicBreakpoints;
use super::mode_trace::SeenModes;
use super::periodic_attention::PeriodicAttention;
use super::resume_actions::ResumeActions;
use super::session::{CommandSession, Services};
use super::stopped_machine::RunStatus;
use super::technique::Technique;
use super::time_share::TimeShare;
use super::watchpoints::{Access, Hit};
use crate::arch::Registers;
use crate::inspect::report;
use crate::kvm::{GuestDebug, HostError};
use crate::machine::snapshots::Snapshots;
use crate::machine::{CpuId, Event, Machine, Outcome};

/// Printed for the user when the guest requests a reset.
const RESET: &str = "kvm: the guest requested a reset; continuing performs it.\n";

/// The same with `--no-reboot`.
const ENDING_RESET: &str = "kvm: the guest requested a reset; continuing ends the run (--no-reboot).\n";

/// A machine, what its guest is doing, and what debuggers and commands have set.
pub(crate) struct Supervisor<'m> {
    pub(crate) machine: &'m mut Machine,
    /// What the guest is doing.
    pub(crate) state: GuestState,
    /// Breakpoints, watchpoints and what steps need.
    pub(crate) facilities: DebugFacilities,
    /// Where the guest stops itself.
    pub(crate) magic_breakpoints: MagicBreakpoints,
    /// Where exceptions are noticed.
    pub(super) handler_points: HandlerPoints,
    /// The mode in which each CPU was seen last.
    pub(super) seen_modes: SeenModes,
    /// What each CPU does when a debugger resumes the guest.
    pub(crate) actions: ResumeActions,
    /// The CPU that the last event, or the step that is made, is about.
    pub(crate) cpu: CpuId,
    /// The CPU that commands show.
    pub(crate) selected: CpuId,
    /// Snapshots in memory.
    pub(crate) snapshots: Snapshots,
    /// What commands have set.
    pub(crate) session: CommandSession,
    /// What other rooms do for commands.
    pub(crate) services: Services,
    /// Text for the user that has not been printed yet.
    pub(crate) messages: String,
    /// Registers may have changed since a front end last read them, other than by its own doing.
    registers_changed: bool,
    /// The stops of a console-controlled guest, and who waits for the next one.
    pub(crate) stops: ConsoleStops,
    /// Stops a console-controlled guest at intervals.
    pub(crate) periodic_attention: PeriodicAttention,
    /// The time that the other CPUs get while one is stepped.
    pub(super) time_share: TimeShare,
}

/// Why the guest stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The instruction was executed.
    Stepped,
    /// Before a software breakpoint.
    Software,
    /// Before a hardware breakpoint.
    Hardware,
    /// After an access to watched data.
    Watch(Hit),
    /// Before a breakpoint that a command has set and the debugger does not know.
    Point,
    /// Behind a magic breakpoint, or the instruction by which it requested to be stopped.
    Requested,
    /// For a debug exception that is none of ours: the guest's own `int3`, say.
    Trap,
    /// After the instruction by which it requested a reset.
    Reset,
    /// It cannot go on; [`Supervisor::pending_end`] says why.
    Ended,
}

/// The result of resuming the guest.
#[derive(Debug)]
pub(crate) enum Advance {
    /// It has not stopped; the debugger may have sent something.
    Going,
    /// It has stopped.
    Stopped(Stop),
    /// The run is over; [`Supervisor::outcome`] says how it ended.
    Over,
}

impl<'m> Supervisor<'m> {
    /// A machine that has not run yet. With `wait` it does not start before a debugger has connected.
    pub(crate) fn new(machine: &'m mut Machine, wait: bool, services: Services) -> Supervisor<'m> {
        let actions = ResumeActions::new(machine.cpu_ids().count());
        let mut supervisor = Supervisor {
            machine,
            state: if wait { GuestState::WaitingForDebugger } else { GuestState::Running },
            facilities: DebugFacilities::default(),
            magic_breakpoints: MagicBreakpoints::default(),
            handler_points: HandlerPoints::default(),
            seen_modes: SeenModes::default(),
            actions,
            cpu: CpuId::BOOT,
            selected: CpuId::BOOT,
            snapshots: Snapshots::default(),
            session: CommandSession::default(),
            services,
            messages: String::new(),
            registers_changed: false,
            stops: ConsoleStops::default(),
            periodic_attention: PeriodicAttention::default(),
            time_share: TimeShare::default(),
        };
        if supervisor.machine.magic_break() {
            supervisor.find_magic_breakpoints();
            supervisor.take_control();
        }
        if supervisor.services.trace.exceptions {
            supervisor.session.catches.logged = VectorSet::exceptions();
        }
        if supervisor.services.trace.needs_stops() {
            supervisor.take_control();
        }
        supervisor
    }

    /// What the guest is doing.
    pub(crate) fn status(&self) -> RunStatus {
        self.state.status()
    }

    /// How the run ended; `None` while it goes on.
    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.state.outcome()
    }

    /// Why a stopped guest cannot go on, if it cannot.
    pub(crate) fn pending_end(&self) -> Option<&Outcome> {
        match &self.state.session()?.pending {
            Some(Pending::End(outcome)) => Some(outcome),
            _ => None,
        }
    }

    /// Ends the run.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        self.state.end(outcome);
    }

    /// Lets time pass while the guest is stopped.
    pub(crate) fn wait(&mut self) {
        let event = self.machine.wait();
        self.handle_undebugged(event);
    }

    /// Runs the guest without a debugger until an input needs attention or the run ends.
    pub(crate) fn run_freely(&mut self) {
        self.release_cpus();
        let switched = self.enable_on_all_cpus(GuestDebug::default());
        if let Err(error) = switched.and_then(|()| self.machine.watch(Vec::new())) {
            return self.end(Outcome::HostFailed(error));
        }
        let event = self.run_to_event();
        self.handle_undebugged(event);
    }

    /// Handles an event for which a guest without a debugger does not stop.
    fn handle_undebugged(&mut self, event: Event) {
        match event {
            Event::End(outcome) => self.end(outcome),
            Event::Reset => self.was_reset(),
            Event::ResetRequested => self.perform_reset(),
            Event::Attention | Event::StopRequested | Event::Debug(_) | Event::WatchedAccess(_) => {}
        }
    }

    /// A debugger has connected: the guest stops where it is, and the debugger decides from now on when it
    /// goes on.
    pub(crate) fn attach(&mut self) {
        self.state.attach();
        self.interrupt(CpuId::BOOT);
        self.actions.clear();
        self.take_pending();
        self.session.switches.physical = false;
    }

    /// The debugger has interrupted the guest: all CPUs stop where they are. It is notified of a stop of `cpu`; another
    /// that has just come to a breakpoint stops there when the guest goes on.
    pub(crate) fn interrupt(&mut self, cpu: CpuId) {
        self.state.set_resumed(false);
        if let Ok((_, pc)) = self.position_of(cpu) {
            self.interrupted_at(cpu, pc);
        }
    }

    /// The debugger has disconnected: the guest goes on without breakpoints, after the reset it may have
    /// requested. An `active` debugger has sent something.
    pub(crate) fn detach(&mut self, active: bool) {
        self.facilities.clear();
        self.actions.clear();
        match self.state.detach(active) {
            Some(Pending::End(outcome)) => self.end(outcome),
            Some(Pending::Reset) => self.perform_reset(),
            None => {}
        }
    }

    /// True, once, if registers may have changed since the last call other than by running the guest.
    pub(crate) fn take_registers_changed(&mut self) -> bool {
        std::mem::take(&mut self.registers_changed)
    }

    /// Registers may have been changed by a request.
    pub(crate) fn note_registers_changed(&mut self) {
        self.registers_changed = true;
    }

    /// Address of the instruction of a CPU whose breakpoint has been reported.
    pub(crate) fn reported_at(&self, cpu: CpuId) -> Option<u64> {
        self.state.session().and_then(|session| session.reported_at.get(cpu))
    }

    /// Sets [`Self::reported_at`].
    pub(crate) fn set_reported_at(&mut self, cpu: CpuId, pc: Option<u64>) {
        if let Some(session) = self.state.session_mut() {
            session.reported_at.set(cpu, pc);
        }
    }

    /// A CPU has been stopped at `pc`, but not because of `pc`: a breakpoint or log point there that has not
    /// been evaluated is evaluated when the guest goes on.
    pub(crate) fn interrupted_at(&mut self, cpu: CpuId, pc: u64) {
        if self.reported_at(cpu) != Some(pc) {
            self.set_reported_at(cpu, if self.has_point(pc) { None } else { Some(pc) });
        }
    }

    /// Lets the guest go on as [`Self::actions`] says.
    pub(crate) fn advance(&mut self) -> Advance {
        self.state.set_resumed(true);
        self.stops.current = None;
        let advance = self.resume().unwrap_or_else(|error| {
            self.end(Outcome::HostFailed(error));
            Advance::Over
        });
        if let Advance::Stopped(_) = advance {
            self.state.set_resumed(false);
            self.selected = self.cpu;
        }
        advance
    }

    pub(super) fn going_or_over(&self) -> Advance {
        if self.outcome().is_some() { Advance::Over } else { Advance::Going }
    }

    /// The instruction pointer of a CPU was written: a guest that could not go on there may be able to at the new
    /// address.
    pub(crate) fn moved(&mut self, cpu: CpuId) {
        if cpu != self.cpu {
            return;
        }
        let Some(session) = self.state.session_mut() else { return };
        if let Some(Pending::Reset | Pending::End(Outcome::Halted { .. } | Outcome::Refused(..))) =
            session.pending
        {
            session.pending = None;
        }
    }

    /// Registers of the CPU of the last event, and the linear address of its next instruction.
    pub(crate) fn position(&self) -> Result<(Registers, u64), HostError> {
        self.position_of(self.cpu)
    }

    /// Registers of a CPU, and the linear address of its next instruction.
    pub(crate) fn position_of(&self, cpu: CpuId) -> Result<(Registers, u64), HostError> {
        let registers = self.machine.cpu(cpu).registers()?;
        let pc = registers.next_instruction();
        Ok((registers, pc))
    }

    /// What breakpoints are made of on this host.
    pub(crate) fn technique(&self) -> Technique {
        self.facilities.technique(self.machine.kvm())
    }

    /// Decides whether `event` stops the guest.
    pub(crate) fn classify(&mut self, event: Event) -> Result<Advance, HostError> {
        match self.watched_access(&event)? {
            Access::Unwatched => self.classify_unwatched(event),
            Access::Ignored => Ok(Advance::Going),
            Access::Hit(hit) => self.stop_for(hit),
        }
    }

    /// Stops after an access to watched data.
    pub(crate) fn stop_for(&mut self, hit: Hit) -> Result<Advance, HostError> {
        let (_, pc) = self.position()?;
        self.interrupted_at(self.cpu, pc);
        Ok(Advance::Stopped(Stop::Watch(hit)))
    }

    /// The same as [`Self::classify`] for an event that is no access to watched data.
    pub(crate) fn classify_unwatched(&mut self, event: Event) -> Result<Advance, HostError> {
        match event {
            Event::Attention | Event::WatchedAccess(_) => Ok(Advance::Going),
            Event::Reset => {
                self.was_reset();
                Ok(Advance::Going)
            }
            Event::ResetRequested => {
                self.set_pending(Pending::Reset);
                if self.state.is_debugged() {
                    self.messages.push_str(if self.machine.no_reboot() { ENDING_RESET } else { RESET });
                }
                self.stop_here(Stop::Reset)
            }
            Event::StopRequested => self.stop_for_port(),
            Event::Debug(stop) => {
                let (_, pc) = self.position()?;
                debug!("stopped at {pc:#x}: {stop:x?}");
                Ok(self.stop(self.facilities.breakpoint_at(pc).unwrap_or(Stop::Trap), pc))
            }
            // Without a debugger nobody could repair what the guest has come to: the run ends.
            Event::End(outcome)
                if self.state.is_debugged()
                    && (outcome.is_crash() || matches!(outcome, Outcome::Halted { .. })) =>
            {
                let pc = self.position().ok().map(|(_, pc)| pc);
                self.set_pending(Pending::End(outcome));
                self.set_reported_at(self.cpu, pc);
                Ok(Advance::Stopped(Stop::Ended))
            }
            Event::End(outcome) => {
                self.end(outcome);
                Ok(Advance::Over)
            }
        }
    }

    /// Stops the guest where it is.
    pub(crate) fn stop_here(&mut self, stop: Stop) -> Result<Advance, HostError> {
        let (_, pc) = self.position()?;
        Ok(self.stop(stop, pc))
    }

    /// Stops the guest at `pc`, and notes that a breakpoint there has been reported.
    pub(crate) fn stop(&mut self, stop: Stop, pc: u64) -> Advance {
        self.set_reported_at(self.cpu, Some(pc));
        Advance::Stopped(stop)
    }

    /// Sets what happens when the debugger resumes the guest.
    pub(crate) fn set_pending(&mut self, pending: Pending) {
        if let Some(session) = self.state.session_mut() {
            session.pending = Some(pending);
        }
    }

    /// Performs the reset the guest has requested.
    pub(super) fn perform_reset(&mut self) {
        match self.machine.perform_reset() {
            Event::End(outcome) => self.end(outcome),
            _ => self.was_reset(),
        }
    }

    /// The machine was reset, or another state was restored.
    pub(crate) fn was_reset(&mut self) {
        self.registers_changed = true;
        self.stops.current = None;
        self.cpu = CpuId::BOOT;
        let count = self.machine.cpu_ids().count();
        self.actions.resize(count);
        if self.selected.index() >= count {
            self.selected = CpuId::BOOT;
        }
        self.facilities.watchpoints.forget_hits();
        self.find_magic_breakpoints();
        self.handler_points.forget();
        self.seen_modes.clear();
        if let Some(session) = self.state.session_mut() {
            session.reported_at.clear();
            session.pending = None;
        }
        if self.state.is_debugged() {
            self.take_pending();
        }
    }

    /// Takes the pending action out of the machine, which takes effect when the debugger resumes the guest.
    fn take_pending(&mut self) {
        match self.machine.take_pending_action() {
            Some(Event::ResetRequested) => self.set_pending(Pending::Reset),
            Some(Event::End(outcome)) => {
                // The debugger did not see it happen.
                self.messages.push_str(&format!("kvm: {}\n", report::end_message(self.machine, &outcome)));
                self.set_pending(Pending::End(outcome));
            }
            _ => {}
        }
    }
}
