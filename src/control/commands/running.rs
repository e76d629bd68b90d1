//! Commands that let the guest run, hold it, start it again and end it.

use super::super::CommandError;
use crate::supervisor::stopped_machine::{RunStatus, StoppedMachine};

pub(in crate::control) fn status(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    Ok(match guest.status() {
        RunStatus::Running if guest.is_debugged() => "the guest runs under a debugger\n",
        RunStatus::Running => "the guest runs\n",
        RunStatus::Paused => "the guest is paused; `resume` lets it go on\n",
        RunStatus::WaitingForDebugger => {
            "the guest waits for gdb at its first instruction; `resume` starts it without\n"
        }
        RunStatus::Stopped => "gdb has stopped the guest, and decides when it goes on\n",
    }
    .to_owned())
}

pub(in crate::control) fn pause(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    match guest.status() {
        RunStatus::Running => guest.set_paused(true),
        RunStatus::Paused => {}
        RunStatus::WaitingForDebugger => {
            return Err(CommandError::StandsStill("it waits for gdb at its first instruction"));
        }
        RunStatus::Stopped => return Err(CommandError::StandsStill("gdb has stopped it")),
    }
    Ok("the guest is paused; `resume` lets it go on\n".to_owned())
}

pub(in crate::control) fn resume(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    if guest.status() == RunStatus::Stopped {
        return Err(CommandError::StoppedByDebugger);
    }
    guest.set_paused(false);
    Ok("the guest runs\n".to_owned())
}

pub(in crate::control) fn reset(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    let debugged = guest.is_debugged();
    Ok(match guest.reset() {
        true if debugged => {
            "the machine was reset; in gdb, `maintenance flush register-cache` shows its new registers\n"
        }
        true => "the machine was reset\n",
        false if debugged => "the run is over, as soon as the guest is to go on\n",
        false => "the run is over\n",
    }
    .to_owned())
}

pub(in crate::control) fn quit(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    guest.quit();
    Ok("the run ends\n".to_owned())
}
