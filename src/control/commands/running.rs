//! Commands that pause, resume, reset and end the guest.

use super::super::error::CommandError;
use crate::supervisor::stopped_machine::{RunStatus, StoppedMachine};

pub(in crate::control) fn status(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    Ok(match guest.status() {
        RunStatus::Running if guest.is_debugged() => "the guest runs under a debugger\n",
        RunStatus::Running => "the guest runs\n",
        RunStatus::Paused => "the guest is paused; `resume` resumes it\n",
        RunStatus::WaitingForDebugger => {
            "the guest waits for gdb at its first instruction; `resume` starts it without gdb\n"
        }
        RunStatus::Stopped => "the guest is stopped in gdb; `continue` in gdb resumes it\n",
    }
    .to_owned())
}

pub(in crate::control) fn pause(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    match guest.status() {
        RunStatus::Running => guest.set_paused(true),
        RunStatus::Paused => {}
        RunStatus::WaitingForDebugger => {
            return Err(CommandError::AlreadyStopped("it waits for gdb at its first instruction"));
        }
        RunStatus::Stopped => return Err(CommandError::AlreadyStopped("gdb has stopped it")),
    }
    Ok("the guest is paused; `resume` resumes it\n".to_owned())
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
        false if debugged => "the run ends when gdb resumes the guest\n",
        false => "the run is over\n",
    }
    .to_owned())
}

pub(in crate::control) fn quit(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    guest.quit();
    Ok("the run ends\n".to_owned())
}
