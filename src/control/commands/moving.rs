//! Commands that move the guest to another host.

use std::sync::Arc;

use super::super::CommandError;
use super::super::table::wrong;
use crate::supervisor::migrator::Migrator;
use crate::supervisor::stopped_machine::StoppedMachine;

fn mover(guest: &mut dyn StoppedMachine) -> Result<Arc<dyn Migrator>, CommandError> {
    let none = || CommandError::Move("this guest cannot be moved: nothing here moves guests".to_owned());
    guest.session().migrator.clone().ok_or_else(none)
}

pub(in crate::control) fn migrate(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let mut words = arguments.split_whitespace();
    let (Some(host), Some(port), None) = (words.next(), words.next(), words.next()) else {
        return Err(wrong("migrate", "a host and a port are needed"));
    };
    let port = match port.parse() {
        Ok(port @ 1..) => port,
        _ => return Err(wrong("migrate", format!("Invalid ip address or port: `{port}` is no TCP port"))),
    };
    let story = mover(guest)?.start(host, port).map_err(CommandError::Move)?;
    guest.session().progress = Some(story);
    Ok(format!("the guest is on its way to {host}:{port}; `migrate status` tells how far it is\n"))
}

pub(in crate::control) fn cancel(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    mover(guest)?.cancel().map_err(CommandError::Move)?;
    Ok("the guest stays here\n".to_owned())
}

pub(in crate::control) fn status(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    Ok(mover(guest)?.status() + "\n")
}
