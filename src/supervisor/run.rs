//! The loop that runs a machine for its whole life, with debuggers and requests.

use std::sync::Arc;

use super::front_end::{DebuggerFrontEnd, SessionEnd};
use super::migrator::Migrator;
use super::request_queue::RequestQueue;
use super::run_control::Supervisor;
use super::stopped_machine::RunStatus;
use crate::machine::{Machine, Outcome};

/// Runs `machine` until its run is over, carries out what comes in through `requests`, and hands the guest
/// to the clients of `front_end`.
///
/// With `wait` the guest's first instruction waits for the first debugger. Whenever none is connected after
/// that, the guest runs freely. Migrations are started by `migrator`, if there is one.
pub(crate) fn run(
    machine: &mut Machine,
    front_end: Option<&mut dyn DebuggerFrontEnd>,
    wait: bool,
    requests: &RequestQueue,
    migrator: Option<Arc<dyn Migrator>>,
) -> Outcome {
    let mut supervisor = Supervisor::new(machine);
    supervisor.session.migrator = migrator;
    supervisor.status = if wait { RunStatus::WaitingForDebugger } else { RunStatus::Running };
    let outcome = supervise(&mut supervisor, front_end, requests);
    // A debugger that ends the run does not carry out a pending action.
    if let Some(pending) = supervisor.due() {
        machine.set_pending_action(pending);
    }
    machine.log_totals();
    outcome
}

/// Runs the guest, unless it is paused or waits, and serves debuggers, until the run is over.
pub(crate) fn supervise(
    supervisor: &mut Supervisor<'_>,
    mut front_end: Option<&mut dyn DebuggerFrontEnd>,
    requests: &RequestQueue,
) -> Outcome {
    loop {
        supervisor.carry_out(requests);
        if let Some(outcome) = supervisor.over.take().or_else(|| supervisor.ended.take()) {
            return outcome;
        }
        let waited = supervisor.status == RunStatus::WaitingForDebugger;
        if let Some(end) = front_end.as_mut().and_then(|front_end| front_end.serve(supervisor, requests)) {
            match end {
                SessionEnd::Over(outcome) => return outcome,
                SessionEnd::Detached { active } => supervisor.after_session(waited && !active),
            }
            continue;
        }
        let over = match supervisor.status {
            RunStatus::Running => supervisor.run_freely(),
            _ => supervisor.wait(),
        };
        if let Some(outcome) = over {
            return outcome;
        }
    }
}
