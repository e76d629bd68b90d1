//! What has happened in the machine: the flight recorder, and the exits.

use super::super::error::CommandError;
use super::values::count;
use crate::supervisor::stopped_machine::StoppedMachine;

/// Lines that `events` shows without a count.
const DEFAULT_LINES: usize = 16;
/// Lines that it shows at most.
const MOST_LINES: u64 = 256;

/// The last events.
pub(in crate::control) fn events(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let lines = match arguments {
        "" => DEFAULT_LINES,
        count_text => count(guest, count_text, MOST_LINES)? as usize,
    };
    let events = guest.events(lines).to_string();
    Ok(match events.as_str() {
        "" => "nothing has been recorded yet\n".to_owned(),
        _ => events,
    })
}

/// The exits by reason and by port.
pub(in crate::control) fn exits(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    Ok(guest.exits().to_string())
}
