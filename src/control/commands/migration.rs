//! Commands for live migration.

use std::sync::Arc;

use super::super::command::invalid;
use super::super::error::CommandError;
use crate::supervisor::migrator::{Migrator, MigratorError};
use crate::supervisor::stopped_machine::StoppedMachine;

/// The contents of the disks are sent.
const WITH_DISK: &str = "--with-disk";

fn migrator(guest: &mut dyn StoppedMachine) -> Result<Arc<dyn Migrator>, CommandError> {
    Ok(guest.migrator().ok_or(MigratorError::Unavailable)?)
}

pub(in crate::control) fn migrate(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let with_disk = arguments.split_whitespace().any(|word| word == WITH_DISK);
    let mut words = arguments.split_whitespace().filter(|word| *word != WITH_DISK);
    let (Some(host), Some(port), None) = (words.next(), words.next(), words.next()) else {
        return Err(invalid("a host and a port are needed"));
    };
    let port = match port.parse() {
        Ok(port @ 1..) => port,
        _ => {
            return Err(invalid(format!(
                "Invalid ip address or port: the port `{port}` is not a number from 1 to 65535"
            )));
        }
    };
    let progress = migrator(guest)?.start(host, port, with_disk)?;
    guest.session().progress = Some(progress);
    Ok(format!("migration to {host}:{port} started; `migrate status` shows its progress\n"))
}

pub(in crate::control) fn cancel(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    migrator(guest)?.cancel()?;
    Ok("migration cancelled; the guest stays on this host\n".to_owned())
}

pub(in crate::control) fn status(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    Ok(migrator(guest)?.status() + "\n")
}
