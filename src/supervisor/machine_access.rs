//! What commands and requests reach of the supervised machine, between two instructions.

use std::fmt::Display;
use std::path::Path;

use tracing::warn;

use super::facilities::{self, Facility};
use super::request_queue::RequestQueue;
use super::run_control::Supervisor;
use super::session::CommandSession;
use super::stopped_machine::{PausedMachine, RunStatus, StoppedMachine};
use crate::arch::Registers;
use crate::boot::Symbol;
use crate::inspect::screen::Shot;
use crate::kvm::HostError;
use crate::machine::inputs::{Input, Inputs};
use crate::machine::snapshots::{InMemorySnapshotError, SnapshotInfo};
use crate::machine::{Event, Machine, Outcome, PendingAction};
use crate::memory::GuestMemory;
use crate::settings::LayoutName;
use crate::state::{self, SaveReport, SnapshotError};

impl Supervisor<'_> {
    /// What happens before the guest goes on, as far as it has not been carried out.
    pub(crate) fn due(&self) -> Option<PendingAction> {
        let asked = self.reset_asked.then_some(PendingAction::Reset);
        self.ended.as_ref().and_then(PendingAction::after).or(asked)
    }

    /// The guest is where a snapshot was taken. A pending action and a breakpoint there were reported before.
    fn was_restored(&mut self) {
        self.was_reset();
        self.stopped_at = self.position().ok().map(|(_, pc)| pc);
    }

    /// Serves the pending requests.
    pub(crate) fn carry_out(&mut self, requests: &RequestQueue) {
        while let Some(request) = requests.next() {
            request.serve(self);
            self.note_registers_changed();
        }
    }
}

/// The outcome of a run whose machine is left half restored.
fn not_restored<T, E: Display>(result: &Result<T, E>) -> Outcome {
    let reason = result.as_ref().err().map_or_else(String::new, E::to_string);
    Outcome::HostFailed(HostError::because("restore a snapshot", reason))
}

impl StoppedMachine for Supervisor<'_> {
    fn registers(&self) -> Result<Registers, HostError> {
        self.machine.cpu(self.machine.current_cpu()).registers()
    }

    fn memory(&self) -> &GuestMemory {
        self.machine.memory()
    }

    fn symbol_at(&self, address: u64) -> Option<Symbol> {
        self.machine.symbol_at(address)
    }

    fn address_of(&self, name: &str) -> Option<u64> {
        self.machine.address_of(name)
    }

    fn session(&mut self) -> &mut CommandSession {
        &mut self.session
    }

    fn facilities(&self) -> Vec<Facility> {
        facilities::of(self)
    }

    fn reset(&mut self) -> bool {
        self.machine.inputs().push(Input::Reset);
        match self.machine.wait() {
            Event::End(outcome) => {
                self.ended = Some(outcome);
                false
            }
            _ => {
                self.was_reset();
                true
            }
        }
    }

    fn take_snapshot(&mut self, name: &str) -> Result<SnapshotInfo, InMemorySnapshotError> {
        let due = self.due();
        self.snapshots.take(self.machine, name, due)
    }

    fn go_back(&mut self, name: &str) -> Result<SnapshotInfo, InMemorySnapshotError> {
        let kept = self.snapshots.restore(self.machine, name);
        match &kept {
            Ok(_) => self.was_restored(),
            Err(InMemorySnapshotError::Mixture(_)) => self.over = Some(not_restored(&kept)),
            Err(_) => {}
        }
        kept
    }

    fn forget_snapshots(&mut self, name: Option<&str>) -> Result<(), InMemorySnapshotError> {
        match name {
            Some(name) => self.snapshots.delete(self.machine, name),
            None => self.snapshots.delete_all(self.machine),
        }
    }

    fn snapshots(&self) -> (Vec<SnapshotInfo>, u64) {
        (self.snapshots.list(), self.snapshots.bytes())
    }

    fn snapshot(&mut self, file: &Path) -> Result<SaveReport, SnapshotError> {
        let due = self.due();
        state::save(self.machine, due, file)
    }

    fn restore(&mut self, file: &Path) -> Result<(), SnapshotError> {
        let restored = state::restore(self.machine, file);
        match &restored {
            Ok(()) => {
                self.was_restored();
                // They are of another guest.
                if let Err(error) = self.snapshots.delete_all(self.machine) {
                    warn!("{error}");
                }
            }
            Err(error) if error.is_fatal() => self.over = Some(not_restored(&restored)),
            Err(_) => {}
        }
        restored
    }

    fn quit(&mut self) {
        self.machine.inputs().push(Input::Quit);
    }

    fn screen(&self) -> Shot {
        let screen = self.machine.screen();
        let colours = self.machine.board().vga().colours();
        Shot { cells: screen.cells(), view: screen.view(), colours }
    }

    fn inputs(&self) -> &Inputs {
        self.machine.inputs()
    }

    fn layout(&self) -> LayoutName {
        self.machine.layout()
    }

    fn status(&self) -> RunStatus {
        self.status
    }

    fn is_debugged(&self) -> bool {
        self.debugged
    }

    fn set_paused(&mut self, paused: bool) {
        self.status = if paused { RunStatus::Paused } else { RunStatus::Running };
    }
}

impl PausedMachine for Supervisor<'_> {
    fn machine(&mut self) -> &mut Machine {
        self.machine
    }

    fn due(&self) -> Option<PendingAction> {
        Supervisor::due(self)
    }

    fn end(&mut self, outcome: Outcome) {
        self.over = Some(outcome);
    }
}
