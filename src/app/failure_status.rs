//! The exit statuses of runs that fail before the guest starts.

use crate::boot::BootError;
use crate::machine::MachineError;
use crate::machine::outcome::status;

/// The exit status for a machine that cannot be made.
pub(super) fn machine_status(error: &MachineError) -> u8 {
    match error {
        MachineError::Boot(error) => boot_status(error),
        MachineError::State(_) | MachineError::Disk { .. } => status::GUEST_FILE,
        MachineError::Memory(_)
        | MachineError::Host(_)
        | MachineError::DiskThread(_)
        | MachineError::Interpreted { .. }
        | MachineError::Features { .. } => status::HOST,
    }
}

/// The exit status for a guest file that cannot be run.
pub(super) fn boot_status(error: &BootError) -> u8 {
    match error {
        BootError::NoMoreFiles { .. } => status::HOST,
        _ => status::GUEST_FILE,
    }
}
