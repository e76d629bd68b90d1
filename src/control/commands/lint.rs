//! The command that looks for what is wrong.

use super::super::command::{only_json, shown};
use super::super::error::CommandError;
use crate::inspect;
use crate::supervisor::stopped_machine::{GuestNames, StoppedMachine};

/// What looks wrong with the guest, a sentence each.
pub(in crate::control) fn lint(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let json = only_json(arguments)?;
    Ok(shown(&inspect::lint::lint(guest.memory(), &guest.registers()?, &GuestNames(guest)), json))
}
