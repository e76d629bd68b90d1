//! Runs, steps and stops the guest for a debugger, and says why it has stopped.
//!
//! What KVM's debug facilities do differs from host to host. What holds everywhere, and is used
//! here: a breakpoint stops the guest before its instruction, whatever it is made of (`technique`);
//! a step needs no breakpoints, so it is made with none in place; and a breakpoint the guest stands at
//! is left by a step with all others in place.
//!
//! Manual: KVM_SET_GUEST_DEBUG in api.rst.

use tracing::debug;

use super::breakpoint_bytes::Opcode;
use super::console_control::ConsoleStops;
use super::debug_facilities::DebugFacilities;
use super::guest_state::{GuestState, Pending};
use super::lookahead::Kind;
use super::magic_breakpoints::MagicBreakpoints;
use super::periodic_attention::PeriodicAttention;
use super::resume_actions::{ResumeAction, ResumeActions};
use super::session::{CommandSession, Services};
use super::stopped_machine::RunStatus;
use super::technique::Technique;
use super::watchpoints::{Access, Hit};
use crate::arch::Registers;
use crate::inspect::report;
use crate::kvm::{GuestDebug, HostError};
use crate::machine::snapshots::Snapshots;
use crate::machine::{Event, Machine, Outcome};

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
    /// What each CPU does when a debugger resumes the guest.
    pub(crate) actions: ResumeActions,
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
            actions,
            snapshots: Snapshots::default(),
            session: CommandSession::default(),
            services,
            messages: String::new(),
            registers_changed: false,
            stops: ConsoleStops::default(),
            periodic_attention: PeriodicAttention::default(),
        };
        if supervisor.machine.magic_break() {
            supervisor.find_magic_breakpoints();
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
        let cpu = self.machine.current_cpu();
        let switched = self.machine.cpu_mut(cpu).set_guest_debug(GuestDebug::default());
        if let Err(error) = switched.and_then(|()| self.machine.watch(Vec::new())) {
            return self.end(Outcome::HostFailed(error));
        }
        let event = self.machine.run_to_event();
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
        self.interrupt();
        self.actions.clear();
        self.take_pending();
        self.session.switches.physical = false;
    }

    /// The debugger has interrupted the guest, which stops where it is.
    pub(crate) fn interrupt(&mut self) {
        self.state.set_resumed(false);
        if let Ok((_, pc)) = self.position() {
            self.interrupted_at(pc);
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

    /// Address of the instruction whose breakpoint has been reported.
    pub(crate) fn reported_at(&self) -> Option<u64> {
        self.state.session().and_then(|session| session.reported_at)
    }

    /// Sets [`Self::reported_at`].
    pub(crate) fn set_reported_at(&mut self, pc: Option<u64>) {
        if let Some(session) = self.state.session_mut() {
            session.reported_at = pc;
        }
    }

    /// The guest has been stopped at `pc`, but not because of `pc`: a breakpoint or log point there that has not
    /// been evaluated is evaluated when the guest goes on.
    pub(crate) fn interrupted_at(&mut self, pc: u64) {
        if self.reported_at() != Some(pc) {
            self.set_reported_at(if self.session.points.is_at(pc) { None } else { Some(pc) });
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
        }
        advance
    }

    fn resume(&mut self) -> Result<Advance, HostError> {
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
        match self.current_action().clone() {
            ResumeAction::Step => self.step_once(),
            ResumeAction::StepRange(range) => self.step_out_of(&range),
            ResumeAction::Continue => self.go(),
            ResumeAction::Stay => {
                self.wait();
                Ok(self.going_or_over())
            }
        }
    }

    /// What the current CPU does when the guest goes on.
    fn current_action(&self) -> &ResumeAction {
        self.actions.of(self.machine.current_cpu())
    }

    fn going_or_over(&self) -> Advance {
        if self.outcome().is_some() { Advance::Over } else { Advance::Going }
    }

    /// The debugger has moved the instruction pointer: a guest that could not go on may be able to at the new
    /// address.
    pub(crate) fn moved(&mut self) {
        let Some(session) = self.state.session_mut() else { return };
        if let Some(Pending::Reset | Pending::End(Outcome::Halted { .. } | Outcome::Refused(..))) =
            session.pending
        {
            session.pending = None;
        }
    }

    /// Registers of the current CPU, and the linear address of its next instruction.
    pub(crate) fn position(&self) -> Result<(Registers, u64), HostError> {
        let registers = self.machine.cpu(self.machine.current_cpu()).registers()?;
        let pc = registers.next_instruction();
        Ok((registers, pc))
    }

    /// Performs the reset the guest has requested before breakpoints are put in place: memory and page tables
    /// change. A step ends at the guest's first instruction.
    fn go_on_by_reset(&mut self) -> Result<Advance, HostError> {
        self.perform_reset();
        if self.outcome().is_some() || *self.current_action() == ResumeAction::Continue {
            return Ok(self.going_or_over());
        }
        let (_, pc) = self.position()?;
        let point = self.evaluate_points(pc)?;
        Ok(self.stop(self.facilities.breakpoint_at(pc).or(point).unwrap_or(Stop::Stepped), pc))
    }

    fn go(&mut self) -> Result<Advance, HostError> {
        let (registers, pc) = self.position()?;
        if self.is_at_magic_breakpoint(&registers, pc) {
            return self.stop_behind_magic_breakpoint(&registers, pc);
        }
        let reported = self.reported_at() == Some(pc) && self.would_stop_again(&registers, pc);
        self.set_reported_at(None);
        let debug = self.guest_debug();
        self.machine.cpu_mut(self.machine.current_cpu()).set_guest_debug(debug)?;
        let opcode = self.technique().inserted;
        let magic = self.magic_breakpoints.addresses();
        let addresses = self.facilities.breakpoints.software().chain(self.session.points.addresses());
        // Memory may have something else there than the guest file, which stays as it is.
        let without_register: Vec<u64> = addresses
            .chain(magic.filter(|address| self.has_magic_breakpoint(&registers, *address)))
            .filter(|address| !debug.hardware_breakpoints.contains(&Some(*address)))
            .collect();
        let without_register = without_register.into_iter();
        self.facilities.inserted.insert(self.machine.memory(), &registers, opcode, without_register);
        let advanced = self.run_with_breakpoints(debug, reported.then_some((registers, pc)));
        self.facilities.inserted.remove(self.machine.memory());
        advanced
    }

    /// What breakpoints are made of on this host.
    pub(crate) fn technique(&self) -> Technique {
        self.facilities.technique(self.machine.kvm())
    }

    /// The breakpoint in each debug register while the guest runs.
    fn registers_in_use(&self) -> [Option<u64>; 4] {
        let DebugFacilities { breakpoints, watchpoints, .. } = &self.facilities;
        let watching = watchpoints.in_registers(breakpoints).map(|watch| watch.is_some());
        breakpoints.registers(self.technique().registers, watching, self.own_addresses())
    }

    /// The addresses of the points that commands have set, and of magic breakpoints.
    fn own_addresses(&self) -> impl Iterator<Item = u64> + '_ {
        self.session.points.addresses().chain(self.magic_breakpoints.addresses())
    }

    /// True if the guest must be stopped briefly at intervals: there are breakpoints without a debug register,
    /// whose bytes could not be inserted yet or may be overwritten, by a loader for example.
    pub(crate) fn needs_periodic_stops(&self) -> bool {
        let registers = self.registers_in_use();
        *self.current_action() == ResumeAction::Continue
            && self
                .facilities
                .breakpoints
                .software()
                .chain(self.own_addresses())
                .any(|address| !registers.contains(&Some(address)))
    }

    /// The debug settings with which the vCPU runs until a breakpoint.
    fn guest_debug(&self) -> GuestDebug {
        let inserted = self.needs_periodic_stops();
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
        self.interrupted_at(pc);
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
                self.set_reported_at(pc);
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
        self.set_reported_at(Some(pc));
        Advance::Stopped(stop)
    }

    /// Sets what happens when the debugger resumes the guest.
    pub(crate) fn set_pending(&mut self, pending: Pending) {
        if let Some(session) = self.state.session_mut() {
            session.pending = Some(pending);
        }
    }

    /// Performs the reset the guest has requested.
    fn perform_reset(&mut self) {
        match self.machine.perform_reset() {
            Event::End(outcome) => self.end(outcome),
            _ => self.was_reset(),
        }
    }

    /// The machine was reset, or another state was restored.
    pub(crate) fn was_reset(&mut self) {
        self.registers_changed = true;
        self.stops.current = None;
        self.facilities.watchpoints.forget_hits();
        self.find_magic_breakpoints();
        if let Some(session) = self.state.session_mut() {
            (session.reported_at, session.pending) = (None, None);
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

    /// True if running on from `pc` would stop there without having moved: at a breakpoint, or at an
    /// `int3` of the guest's own, which only a step delivers to the guest.
    fn would_stop_again(&mut self, registers: &Registers, pc: u64) -> bool {
        self.facilities.breakpoint_at(pc).is_some()
            || self.session.points.is_at(pc)
            || self.facilities.lookahead.kind(self.machine.memory(), registers, pc) == Kind::Interrupt
    }
}
