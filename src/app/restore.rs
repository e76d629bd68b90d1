//! Machines from snapshot files.

use std::io::Write;
use std::path::Path;

use super::failure_status::machine_status;
use super::{Failure, fail};
use crate::frontends::snapshot;
use crate::machine::Machine;
use crate::machine::inputs::Inputs;
use crate::machine::outcome::status;
use crate::machine::output::OutputQueue;
use crate::settings::{SerialBackend, Settings};
use crate::state::saved_disks::SavedDisk;
use crate::state::{SnapshotError, SnapshotFile, UserInterface};

/// The machine in a snapshot.
pub(super) fn restored_machine(
    settings: &Settings,
    file: &Path,
    inputs: Inputs,
    outputs: OutputQueue,
) -> Result<(Machine, Vec<SavedDisk>), Failure> {
    let machine = SnapshotFile::open(file).and_then(|opened| {
        let disks = opened.disks().to_vec();
        Ok((opened.into_machine(user_interface(settings), inputs, outputs)?, disks))
    });
    machine.map_err(|error| {
        let status = match &error {
            SnapshotError::Machine { error, .. } => machine_status(error),
            SnapshotError::Host(_) => status::HOST,
            _ => status::GUEST_FILE,
        };
        Failure::new(status, error)
    })
}

pub(super) fn user_interface(settings: &Settings) -> UserInterface {
    UserInterface {
        device: settings.device.clone(),
        keys: settings.keys,
        layout: settings.layout,
        terminal: (0..4).find(|port| settings.serial[usize::from(*port)] == SerialBackend::Stdio),
        no_reboot: settings.no_reboot,
        schedule: settings.schedule,
        clock: settings.clock,
        irqchip: settings.irqchip,
        magic_break: settings.magic_break,
    }
}

/// `kvm check-snapshot`.
pub(super) fn check_snapshot(file: &Path) -> u8 {
    match snapshot::describe(file) {
        Ok(text) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            status::HALTED
        }
        Err(error) => fail(Failure::new(status::GUEST_FILE, error)),
    }
}
