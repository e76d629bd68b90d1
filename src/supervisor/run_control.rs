//! The guest as a debugger handles it: run, stepped, and found to have stopped for a reason.
//!
//! What KVM's debug facilities do differs from host to host. What holds everywhere, and is used
//! here: a breakpoint stops the guest before its instruction, whatever it is made of (`technique`);
//! a step needs no breakpoints, so it is made with none in place; and a breakpoint the guest stands at
//! is left by a step with all others in place.
//!
//! Manual: KVM_SET_GUEST_DEBUG in api.rst.

use std::cell::OnceCell;
use std::num::NonZeroUsize;

use tracing::debug;

use super::breakpoint_bytes::{Opcode, Planting};
use super::breakpoints::Breakpoints;
use super::handlers::Handlers;
use super::lookahead::{Ahead, Kind};
use super::resume_actions::{ResumeAction, ResumeActions};
use super::session::CommandSession;
use super::stopped_machine::RunStatus;
use super::technique::Technique;
use super::watchpoints::{Hit, Seen, Watchpoints};
use crate::arch::Registers;
use crate::inspect::report;
use crate::kvm::{GuestDebug, HostError};
use crate::machine::snapshots::Snapshots;
use crate::machine::{CpuId, Event, Machine, Outcome};

/// Printed for the user when the guest requests a reset.
const RESET: &str = "kvm: the guest asked for a reset; going on carries it out.\n";

/// The same with `--no-reboot`.
const ENDING_RESET: &str = "kvm: the guest asked for a reset; going on ends the run (--no-reboot).\n";

/// How many vCPUs a machine has: what is asked of it is asked of [`CpuId::BOOT`].
const VCPUS: NonZeroUsize = NonZeroUsize::MIN;

/// A machine with breakpoints.
pub(crate) struct Supervisor<'m> {
    pub(crate) machine: &'m mut Machine,
    pub(crate) breakpoints: Breakpoints,
    pub(crate) watchpoints: Watchpoints,
    /// What of them is in guest memory now.
    pub(crate) planting: Planting,
    /// The code the guest is in.
    pub(crate) ahead: Ahead,
    /// The guest's exception handlers, once a step has asked for them.
    pub(crate) handlers: Option<Handlers>,
    technique: OnceCell<Technique>,
    /// Snapshots in memory.
    pub(crate) snapshots: Snapshots,
    /// What commands have set.
    pub(crate) session: CommandSession,
    /// What is to be printed for the user.
    pub(crate) said: String,
    /// What each vCPU does when the guest goes on.
    pub(crate) actions: ResumeActions,
    /// Registers may be others than when a front end last read them, and not by its own doing.
    registers_changed: bool,
    /// Where the guest was when it last stopped: the breakpoint there has been reported.
    pub(crate) stopped_at: Option<u64>,
    /// RIP after the last step, if the guest has not run since.
    pub(crate) stepped_to: Option<u64>,
    /// The run is over, but the client still looks at the machine.
    pub(crate) ended: Option<Outcome>,
    /// The guest has asked for a reset, which is carried out when it is to go on.
    pub(crate) reset_asked: bool,
    /// The run is over for good: a request has ended it.
    pub(crate) over: Option<Outcome>,
    /// What the guest does while no request is carried out.
    pub(crate) status: RunStatus,
    /// A client is connected.
    pub(crate) debugged: bool,
}

/// Why the guest stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The instruction was carried out.
    Stepped,
    /// Before a software breakpoint.
    Software,
    /// Before a hardware breakpoint.
    Hardware,
    /// After an access to watched data.
    Watch(Hit),
    /// Before a breakpoint that was set by a command and that the client knows nothing of.
    Point,
    /// For a debug exception that is none of ours: the guest's own `int3`, say.
    Trap,
    /// After the instruction by which it asked for a reset.
    Reset,
    /// It cannot go on; [`Supervisor::ended`] says why.
    Ended,
}

/// What came of letting the guest go on.
pub(crate) enum Advance {
    /// It has not stopped; the client may have sent something.
    Going,
    /// It has stopped.
    Stopped(Stop),
    /// The run is over for good.
    Over(Outcome),
}

impl<'m> Supervisor<'m> {
    /// A machine that has not run yet.
    pub(crate) fn new(machine: &'m mut Machine) -> Supervisor<'m> {
        Supervisor {
            machine,
            breakpoints: Breakpoints::default(),
            watchpoints: Watchpoints::default(),
            planting: Planting::default(),
            ahead: Ahead::default(),
            handlers: None,
            technique: OnceCell::new(),
            snapshots: Snapshots::default(),
            session: CommandSession::default(),
            said: String::new(),
            actions: ResumeActions::new(VCPUS),
            registers_changed: false,
            stopped_at: None,
            stepped_to: None,
            ended: None,
            reset_asked: false,
            over: None,
            status: RunStatus::Running,
            debugged: false,
        }
    }

    /// Why the guest cannot go on, if it cannot.
    pub(crate) fn ended(&self) -> Option<&Outcome> {
        self.ended.as_ref()
    }

    /// Lets time pass while the guest is stopped; an outcome if the run ends.
    pub(crate) fn wait(&mut self) -> Option<Outcome> {
        let event = self.machine.wait();
        self.passed(event)
    }

    /// Runs the guest with no debugger at all until something comes in; an outcome if the run ends.
    pub(crate) fn run_freely(&mut self) -> Option<Outcome> {
        let switched =
            self.machine.cpu_mut(self.machine.current_cpu()).set_guest_debug(GuestDebug::default());
        if let Err(error) = switched.and_then(|()| self.machine.watch(Vec::new())) {
            return Some(Outcome::HostFailed(error));
        }
        let event = self.machine.run_to_event();
        self.passed(event)
    }

    fn passed(&mut self, event: Event) -> Option<Outcome> {
        match event {
            Event::End(outcome) => Some(outcome),
            Event::Reset => {
                self.was_reset();
                None
            }
            Event::ResetRequested => self.perform_reset(),
            Event::Attention | Event::Debug(_) | Event::WatchedAccess(_) => None,
        }
    }

    /// A debugger has connected: the guest stops where it is, and the debugger decides from now on when it
    /// goes on.
    pub(crate) fn attach(&mut self) {
        self.debugged = true;
        self.interrupt();
        self.actions.clear();
        self.take_due();
        self.session.switches.physical = false;
    }

    /// The debugger has interrupted the guest, which stops where it is.
    pub(crate) fn interrupt(&mut self) {
        self.status = RunStatus::Stopped;
        if let Ok((_, pc)) = self.position() {
            self.stands_at(pc);
        }
    }

    /// The session of a debugger is over: the guest runs on, or waits for another debugger.
    pub(crate) fn after_session(&mut self, wait: bool) {
        self.debugged = false;
        self.status = if wait { RunStatus::WaitingForDebugger } else { RunStatus::Running };
    }

    /// True, once, if registers may have changed since the last call other than by running the guest.
    pub(crate) fn take_registers_changed(&mut self) -> bool {
        std::mem::take(&mut self.registers_changed)
    }

    /// Registers may have been changed by a request.
    pub(crate) fn note_registers_changed(&mut self) {
        self.registers_changed = true;
    }

    /// The guest has been stopped at `pc`, but not for that place: a point there that has not had its say
    /// is still to have it.
    fn stands_at(&mut self, pc: u64) {
        if self.stopped_at != Some(pc) {
            self.stopped_at = if self.session.points.is_at(pc) { None } else { Some(pc) };
        }
    }

    /// The client has disconnected: the guest runs without breakpoints, after the reset it may have requested
    /// for. An outcome if it cannot run.
    pub(crate) fn detach(&mut self) -> Option<Outcome> {
        self.breakpoints.clear();
        self.watchpoints.clear();
        self.stopped_at = None;
        self.ended.take().or_else(|| if self.reset_asked { self.perform_reset() } else { None })
    }

    /// Lets the guest go on as [`Self::actions`] says.
    pub(crate) fn advance(&mut self) -> Advance {
        if let Some(outcome) = self.ended.take() {
            return Advance::Over(outcome);
        }
        if self.reset_asked {
            return self.go_on_by_reset().unwrap_or_else(|error| Advance::Over(Outcome::HostFailed(error)));
        }
        // One instruction may hit several watchpoints; a stop reports one.
        if let Some(hit) = self.watchpoints.next_hit() {
            return Advance::Stopped(Stop::Watch(hit));
        }
        self.forget_code();
        let advanced = self.arm_watchpoints().and_then(|()| match self.actions.of(CpuId::BOOT).clone() {
            ResumeAction::Step => self.step_once(),
            ResumeAction::StepRange(range) => self.step_out_of(&range),
            ResumeAction::Continue => self.go(),
            ResumeAction::Stay => Ok(self.wait().map_or(Advance::Going, Advance::Over)),
        });
        advanced.unwrap_or_else(|error| Advance::Over(Outcome::HostFailed(error)))
    }

    /// The guest has run, or the client may have written to it: what was read of its code and tables may
    /// have changed.
    pub(crate) fn forget_code(&mut self) {
        self.ahead.forget();
        self.handlers = None;
    }

    /// The client has sent the guest elsewhere: what could not go on may be able to, there.
    pub(crate) fn moved(&mut self) {
        if matches!(self.ended, Some(Outcome::Halted { .. } | Outcome::Refused(..))) {
            self.ended = None;
        }
        self.reset_asked = false;
    }

    /// Registers, and the linear address of the next instruction.
    pub(crate) fn position(&self) -> Result<(Registers, u64), HostError> {
        let registers = self.machine.cpu(self.machine.current_cpu()).registers()?;
        let pc = registers.next_instruction();
        Ok((registers, pc))
    }

    /// Carries out the reset the guest has asked for, before anything is put in force: memory and page tables
    /// are others then. A step ends at the guest's first instruction.
    fn go_on_by_reset(&mut self) -> Result<Advance, HostError> {
        if let Some(outcome) = self.perform_reset() {
            return Ok(Advance::Over(outcome));
        }
        if *self.actions.of(CpuId::BOOT) == ResumeAction::Continue {
            return Ok(Advance::Going);
        }
        let (_, pc) = self.position()?;
        let point = self.arrive(pc)?;
        Ok(self.stop(self.breakpoint_at(pc).or(point).unwrap_or(Stop::Stepped), pc))
    }

    fn go(&mut self) -> Result<Advance, HostError> {
        let (registers, pc) = self.position()?;
        let stands = self.stopped_at == Some(pc) && self.would_stop_again(&registers, pc);
        self.stopped_at = None;
        let debug = self.guest_debug();
        self.machine.cpu_mut(self.machine.current_cpu()).set_guest_debug(debug)?;
        let addresses = self.breakpoints.software().chain(self.session.points.addresses());
        let planted = addresses.filter(|address| !debug.hardware_breakpoints.contains(&Some(*address)));
        self.planting.plant(self.machine.memory(), &registers, self.technique().planted, planted);
        let advanced = self.run_planted(debug, stands.then_some((registers, pc)));
        self.planting.unplant(self.machine.memory());
        advanced
    }

    /// What breakpoints are made of here.
    pub(crate) fn technique(&self) -> Technique {
        *self.technique.get_or_init(|| Technique::of_host(self.machine.kvm()))
    }

    /// What each debug register is for while the guest runs.
    fn registers_in_use(&self) -> [Option<u64>; 4] {
        let watching = self.watchpoints.in_registers(&self.breakpoints).map(|watch| watch.is_some());
        self.breakpoints.registers(self.technique().registers, watching, self.session.points.addresses())
    }

    /// True if the guest is to be stopped for a moment now and then: there are breakpoints without a
    /// debug register, which could not be planted yet or may be written over, by a loader for example.
    pub(crate) fn wants_visits(&self) -> bool {
        let registers = self.registers_in_use();
        *self.actions.of(CpuId::BOOT) == ResumeAction::Continue
            && self
                .breakpoints
                .software()
                .chain(self.session.points.addresses())
                .any(|address| !registers.contains(&Some(address)))
    }

    /// What the vCPU needs to run until a breakpoint.
    fn guest_debug(&self) -> GuestDebug {
        let planted = self.wants_visits();
        let technique = self.technique();
        GuestDebug {
            software_breakpoints: planted && technique.planted == Opcode::Int3
                || self.session.switches.catch_int3,
            halts: planted && technique.stops_at_halts(),
            hardware_breakpoints: self.registers_in_use(),
            watchpoints: self.watchpoints.in_registers(&self.breakpoints),
            ..GuestDebug::default()
        }
    }

    pub(crate) fn judge(&mut self, event: Event) -> Result<Advance, HostError> {
        match self.seen(&event)? {
            Seen::Nothing => self.judge_other(event),
            Seen::Passed => Ok(Advance::Going),
            Seen::Hit(hit) => self.stop_for(hit),
        }
    }

    /// Stops after an access to watched data.
    pub(crate) fn stop_for(&mut self, hit: Hit) -> Result<Advance, HostError> {
        let (_, pc) = self.position()?;
        self.stands_at(pc);
        Ok(Advance::Stopped(Stop::Watch(hit)))
    }

    pub(crate) fn judge_other(&mut self, event: Event) -> Result<Advance, HostError> {
        match event {
            Event::Attention | Event::WatchedAccess(_) => Ok(Advance::Going),
            Event::Reset => {
                self.was_reset();
                Ok(Advance::Going)
            }
            Event::ResetRequested => {
                self.reset_asked = true;
                self.said.push_str(if self.machine.no_reboot() { ENDING_RESET } else { RESET });
                self.stopped(Stop::Reset)
            }
            Event::Debug(stop) => {
                let (_, pc) = self.position()?;
                debug!("stopped at {pc:#x}: {stop:x?}");
                Ok(self.stop(self.breakpoint_at(pc).unwrap_or(Stop::Trap), pc))
            }
            Event::End(outcome) => {
                let pc = self.position().ok().map(|(_, pc)| pc);
                self.judge_end(outcome, pc)
            }
        }
    }

    fn judge_end(&mut self, outcome: Outcome, pc: Option<u64>) -> Result<Advance, HostError> {
        if outcome.is_crash() || matches!(outcome, Outcome::Halted { .. }) {
            return self.stopped_for_good(outcome, pc);
        }
        Ok(Advance::Over(outcome))
    }

    fn stopped_for_good(&mut self, outcome: Outcome, pc: Option<u64>) -> Result<Advance, HostError> {
        self.ended = Some(outcome);
        self.stopped_at = pc;
        Ok(Advance::Stopped(Stop::Ended))
    }

    pub(crate) fn stopped(&mut self, stop: Stop) -> Result<Advance, HostError> {
        let (_, pc) = self.position()?;
        Ok(self.stop(stop, pc))
    }

    pub(crate) fn stop(&mut self, stop: Stop, pc: u64) -> Advance {
        self.stopped_at = Some(pc);
        Advance::Stopped(stop)
    }

    /// Does what the guest has asked for; an outcome if the run ends by that.
    pub(crate) fn perform_reset(&mut self) -> Option<Outcome> {
        match self.machine.perform_reset() {
            Event::End(outcome) => Some(outcome),
            _ => {
                self.was_reset();
                None
            }
        }
    }

    pub(crate) fn was_reset(&mut self) {
        self.registers_changed = true;
        self.watchpoints.forget_hits();
        (self.stopped_at, self.ended, self.reset_asked) = (None, None, false);
        if self.debugged {
            self.take_due();
        }
    }

    /// What was due when the machine was saved happens when the client lets the guest go on.
    fn take_due(&mut self) {
        match self.machine.take_pending_action() {
            Some(Event::ResetRequested) => self.reset_asked = true,
            Some(Event::End(outcome)) => {
                // The client did not see it happen.
                self.said.push_str(&format!("kvm: {}\n", report::end_message(self.machine, &outcome)));
                self.ended = Some(outcome);
            }
            _ => {}
        }
    }

    /// The breakpoint at `pc`, as the client knows it.
    pub(crate) fn breakpoint_at(&self, pc: u64) -> Option<Stop> {
        if self.breakpoints.is_software(pc) {
            return Some(Stop::Software);
        }
        self.breakpoints.is_hardware(pc).then_some(Stop::Hardware)
    }

    /// True if running on from `pc` would stop there without having moved: at a breakpoint, or at an
    /// `int3` of the guest's own, which only a step hands to the guest.
    fn would_stop_again(&mut self, registers: &Registers, pc: u64) -> bool {
        self.breakpoint_at(pc).is_some()
            || self.session.points.is_at(pc)
            || self.ahead.kind(self.machine.memory(), registers, pc) == Kind::Interrupt
    }
}
