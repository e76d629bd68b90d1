//! The loop that runs a machine for its whole life, with debuggers and requests.

use super::front_end::DebuggerFrontEnd;
use super::request_queue::RequestQueue;
use super::run_control::Supervisor;
use super::session::Services;
use super::stopped_machine::{RunStatus, StoppedMachine};
use crate::machine::{Machine, Outcome, PendingAction};

/// Runs `machine` until its run is over, serves what arrives through `requests`, and hands the guest to the
/// clients of `front_end`.
///
/// With `wait` the guest's first instruction waits for the first debugger. Whenever none is connected after
/// that, the guest runs freely.
pub(crate) fn run(
    machine: &mut Machine,
    front_end: Option<&mut dyn DebuggerFrontEnd>,
    wait: bool,
    requests: &RequestQueue,
    services: Services,
) -> Outcome {
    let mut supervisor = Supervisor::new(machine, wait, services);
    let (outcome, pending) = supervise(&mut supervisor, front_end, requests);
    // A debugger that ends the run leaves a pending action undone.
    if let Some(pending) = pending {
        machine.set_pending_action(pending);
    }
    machine.log_totals();
    outcome
}

/// Calls `view` with a machine that does not run: before its run, or after it.
pub(crate) fn view<T>(
    machine: &mut Machine,
    services: Services,
    view: impl FnOnce(&dyn StoppedMachine) -> T,
) -> T {
    view(&Supervisor::new(machine, true, services))
}

/// Runs the guest, unless it is paused or waits, and serves debuggers, until the run is over. Returns the
/// outcome and what the guest would have come to next.
pub(crate) fn supervise(
    supervisor: &mut Supervisor<'_>,
    mut front_end: Option<&mut dyn DebuggerFrontEnd>,
    requests: &RequestQueue,
) -> (Outcome, Option<PendingAction>) {
    loop {
        supervisor.serve_requests(requests);
        requests.notify(supervisor.take_notice());
        if let Some(end) = supervisor.take_end() {
            return end;
        }
        if front_end.as_mut().is_some_and(|front_end| front_end.serve(supervisor, requests)) {
            continue;
        }
        match supervisor.status() {
            RunStatus::Running if supervisor.is_console_controlled() => supervisor.run_to_console_stop(),
            RunStatus::Running => supervisor.run_freely(),
            _ => supervisor.wait(),
        }
    }
}
