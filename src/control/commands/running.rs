//! Commands that let the guest run, hold it, start it again and end it.

use super::super::{CommandError, Doing, StoppedGuest};

pub(in crate::control) fn status(guest: &mut dyn StoppedGuest, _: &str) -> Result<String, CommandError> {
    Ok(match guest.doing() {
        Doing::Runs if guest.is_debugged() => "the guest runs under a debugger\n",
        Doing::Runs => "the guest runs\n",
        Doing::Paused => "the guest is paused; `resume` lets it go on\n",
        Doing::Waits => "the guest waits for gdb at its first instruction; `resume` starts it without\n",
        Doing::Stopped => "gdb has stopped the guest, and decides when it goes on\n",
    }
    .to_owned())
}

pub(in crate::control) fn pause(guest: &mut dyn StoppedGuest, _: &str) -> Result<String, CommandError> {
    match guest.doing() {
        Doing::Runs => guest.set_paused(true),
        Doing::Paused => {}
        Doing::Waits => return Err(CommandError::StandsStill("it waits for gdb at its first instruction")),
        Doing::Stopped => return Err(CommandError::StandsStill("gdb has stopped it")),
    }
    Ok("the guest is paused; `resume` lets it go on\n".to_owned())
}

pub(in crate::control) fn resume(guest: &mut dyn StoppedGuest, _: &str) -> Result<String, CommandError> {
    if guest.doing() == Doing::Stopped {
        return Err(CommandError::StoppedByDebugger);
    }
    guest.set_paused(false);
    Ok("the guest runs\n".to_owned())
}

pub(in crate::control) fn reset(guest: &mut dyn StoppedGuest, _: &str) -> Result<String, CommandError> {
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

pub(in crate::control) fn quit(guest: &mut dyn StoppedGuest, _: &str) -> Result<String, CommandError> {
    guest.quit();
    Ok("the run ends\n".to_owned())
}
