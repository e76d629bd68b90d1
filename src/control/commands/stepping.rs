//! Commands that step the guest, wait for it to stop, and show where it is.

use std::sync::mpsc::channel;

use super::super::error::CommandError;
use super::values::count;
use crate::supervisor::stopped_machine::{RunStatus, StoppedMachine};

/// Maximum number of steps of one command.
const MOST_STEPS: u64 = 100_000;

/// Executes instructions of a guest without a debugger, and pauses it.
pub(in crate::control) fn step(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    if guest.is_debugged() {
        return Err(CommandError::HasDebugger("use `stepi`"));
    }
    let steps = if arguments.is_empty() { 1 } else { count(guest, arguments, MOST_STEPS)? };
    Ok(guest.step(steps))
}

/// Answers when the guest has stopped.
pub(in crate::control) fn wait(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    if guest.is_debugged() {
        return Err(CommandError::HasDebugger("wait for the stop"));
    }
    let stop = match (guest.status(), guest.current_stop()) {
        (RunStatus::Paused, None) => return here(guest),
        // A console that has reported this stop does not repeat it.
        (RunStatus::Paused, Some(stop)) => {
            let (sender, answer) = channel();
            let _ = sender.send(stop);
            answer
        }
        _ => guest.next_stop(),
    };
    guest.session().progress = Some(stop);
    Ok(String::new())
}

/// The instruction the guest is at.
fn here(guest: &mut dyn StoppedMachine) -> Result<String, CommandError> {
    super::memory::disassemble(guest, "$pc 1")
}

/// The functions that the guest is in.
pub(in crate::control) fn backtrace(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    let frames = guest.backtrace()?;
    let lines = frames.iter().enumerate().map(|(number, frame)| format!("#{number:<3} {frame}\n"));
    let mut text: String = lines.collect();
    if frames.iter().filter(|frame| frame.inlined.is_none()).count() == 1 {
        text.push_str(
            "no caller is known: the file has no call frame information for this place, and RBP holds no frame \
             pointer; -g gives the one, -fno-omit-frame-pointer the other\n",
        );
    }
    Ok(text)
}
