//! What a supervised guest is doing, with the data that belongs to each state.
//!
//! ```text
//!  WaitingForDebugger --resume--> Running <--pause/resume--> Paused
//!          |                         |                          |
//!          +---------attach----------+----------attach----------+
//!                                    v
//!                                Debugged --detach--> the state before, but running
//!
//!  WaitingForDebugger, Running, Paused --take_console_control--> ConsoleControlled --attach--> Debugged
//!
//!  every state --end--> Over
//! ```
//!
//! Breakpoints, log points and steps of the console put a guest without a debugger under console control. It
//! runs and pauses there as it does in `Running` and `Paused`, and it pauses by itself at a breakpoint. A
//! debugger has priority: it takes the guest over, and console control returns when it disconnects.
//!
//! Without a debugger, what happens to the guest next ([`PendingAction`]) stays in the machine. A debugger
//! takes it out of there, because it decides when the guest goes on.

use super::per_cpu::PerCpu;
use super::stopped_machine::RunStatus;
use crate::machine::{Outcome, PendingAction};

/// What a supervised guest is doing.
#[derive(Debug)]
pub(crate) enum GuestState {
    /// It has not executed its first instruction, and waits for a debugger.
    WaitingForDebugger,
    /// It runs without a debugger.
    Running,
    /// A command or a migration has paused it.
    Paused,
    /// No debugger is connected, and breakpoints or steps of the console are in effect.
    ConsoleControlled(DebugSession),
    /// A debugger is connected and decides when it goes on.
    Debugged(DebugSession),
    /// The run is over.
    Over {
        /// How it ended.
        outcome: Outcome,
        /// What the guest would have come to next.
        pending: Option<PendingAction>,
    },
}

/// The guest as its debugger, or the console, controls it.
#[derive(Debug, Default)]
pub(crate) struct DebugSession {
    /// The debugger has resumed the guest and waits for it to stop.
    resumed: bool,
    /// A command or a migration has paused it, resumed or not.
    paused: bool,
    /// It had not started when the debugger connected, or the console took control.
    was_waiting: bool,
    /// It was under console control when the debugger connected.
    was_console_controlled: bool,
    /// What happens to the guest before it goes on.
    pub(crate) pending: Option<Pending>,
    /// Address of the instruction that a CPU last stopped at: a breakpoint there has been reported.
    pub(crate) reported_at: PerCpu<u64>,
    /// RIP of a CPU after its last step, unless it has run since.
    pub(crate) stepped_to: PerCpu<u64>,
}

/// What has happened to the guest and takes effect when its debugger resumes it.
#[derive(Debug)]
pub(crate) enum Pending {
    /// The guest has requested a reset.
    Reset,
    /// The guest cannot go on; resuming it ends the run.
    End(Outcome),
}

impl GuestState {
    /// The state as commands and requests report it.
    pub(crate) fn status(&self) -> RunStatus {
        match self {
            GuestState::WaitingForDebugger
            | GuestState::ConsoleControlled(DebugSession { was_waiting: true, .. }) => {
                RunStatus::WaitingForDebugger
            }
            GuestState::Paused
            | GuestState::ConsoleControlled(DebugSession { paused: true, .. })
            | GuestState::Debugged(DebugSession { paused: true, .. }) => RunStatus::Paused,
            GuestState::Running
            | GuestState::ConsoleControlled(_)
            | GuestState::Debugged(DebugSession { resumed: true, .. }) => RunStatus::Running,
            GuestState::Debugged(_) | GuestState::Over { .. } => RunStatus::Stopped,
        }
    }

    /// True if a debugger is connected.
    pub(crate) fn is_debugged(&self) -> bool {
        matches!(self, GuestState::Debugged(_))
    }

    /// True if breakpoints or steps of the console are in effect.
    pub(crate) fn is_console_controlled(&self) -> bool {
        matches!(self, GuestState::ConsoleControlled(_))
    }

    /// The view of the debugger or the console that controls the guest; `None` if neither does.
    pub(crate) fn session(&self) -> Option<&DebugSession> {
        match self {
            GuestState::Debugged(session) | GuestState::ConsoleControlled(session) => Some(session),
            _ => None,
        }
    }

    /// The same, to change it.
    pub(crate) fn session_mut(&mut self) -> Option<&mut DebugSession> {
        match self {
            GuestState::Debugged(session) | GuestState::ConsoleControlled(session) => Some(session),
            _ => None,
        }
    }

    /// How the run ended; `None` while it goes on.
    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        match self {
            GuestState::Over { outcome, .. } => Some(outcome),
            _ => None,
        }
    }

    /// What happens to the guest before it goes on, unless the machine knows of it itself.
    pub(crate) fn pending_action(&self) -> Option<PendingAction> {
        if let GuestState::Over { pending, .. } = self {
            return *pending;
        }
        match self.session()?.pending.as_ref()? {
            Pending::Reset => Some(PendingAction::Reset),
            Pending::End(outcome) => PendingAction::after(outcome),
        }
    }

    /// A debugger has connected: the guest is stopped, whether it ran, was paused or waited.
    pub(crate) fn attach(&mut self) {
        if self.outcome().is_none() {
            let was_waiting = self.status() == RunStatus::WaitingForDebugger;
            let was_console_controlled = self.is_console_controlled();
            let pending = self.session_mut().and_then(|session| session.pending.take());
            let session = DebugSession { was_waiting, was_console_controlled, pending, ..Default::default() };
            *self = GuestState::Debugged(session);
        }
    }

    /// Puts a guest without a debugger under console control; it runs, is paused or waits as before.
    pub(crate) fn take_console_control(&mut self) {
        let (was_waiting, paused) = match self {
            GuestState::WaitingForDebugger => (true, false),
            GuestState::Running => (false, false),
            GuestState::Paused => (false, true),
            _ => return,
        };
        *self =
            GuestState::ConsoleControlled(DebugSession { was_waiting, paused, ..DebugSession::default() });
    }

    /// Ends console control of a running guest: no breakpoint or step of the console is left.
    pub(crate) fn release_console_control(&mut self) {
        if self.is_console_controlled() && self.status() == RunStatus::Running {
            *self = GuestState::Running;
        }
    }

    /// The debugger has disconnected: the guest goes on as if it had never been there. One that waits for a
    /// debugger continues to wait unless this one was `active`. Returns what must happen first.
    pub(crate) fn detach(&mut self, active: bool) -> Option<Pending> {
        let session = self.is_debugged().then(|| self.session_mut().map(std::mem::take))??;
        *self = match session {
            DebugSession { was_waiting: true, .. } if !active => GuestState::WaitingForDebugger,
            DebugSession { paused: true, .. } => GuestState::Paused,
            _ => GuestState::Running,
        };
        if session.was_console_controlled {
            self.take_console_control();
        }
        session.pending
    }

    /// The debugger lets the guest go on (`true`), or has it stopped.
    pub(crate) fn set_resumed(&mut self, resumed: bool) {
        if let Some(session) = self.session_mut() {
            (session.resumed, session.paused) = (resumed, false);
        }
    }

    /// Pauses the guest, or resumes it. One that waits for a debugger starts without it.
    pub(crate) fn set_paused(&mut self, paused: bool) {
        match self {
            GuestState::WaitingForDebugger | GuestState::Running | GuestState::Paused => {
                *self = if paused { GuestState::Paused } else { GuestState::Running };
            }
            GuestState::Debugged(session) => session.paused = paused,
            GuestState::ConsoleControlled(session) => (session.paused, session.was_waiting) = (paused, false),
            GuestState::Over { .. } => {}
        }
    }

    /// The run ends. The first outcome counts.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        if self.outcome().is_none() {
            *self = GuestState::Over { pending: self.pending_action(), outcome };
        }
    }
}

#[cfg(test)]
#[path = "guest_state_test.rs"]
mod tests;
