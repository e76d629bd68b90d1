//! The command that looks for what is wrong.

use super::super::error::CommandError;
use crate::inspect;
use crate::supervisor::stopped_machine::{GuestNames, StoppedMachine};

/// What looks wrong with the guest, a sentence each.
pub(in crate::control) fn lint(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    Ok(inspect::lint::lint(guest.memory(), &guest.registers()?, &GuestNames(guest)).to_string())
}
