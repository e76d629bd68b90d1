//! What has happened in the machine: the flight recorder, and the exits.

use super::super::command::{invalid, shown, split_json, to_json};
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
    let (json, arguments) = split_json(arguments);
    let lines = match arguments {
        "" => DEFAULT_LINES,
        count_text => count(guest, count_text, MOST_LINES)? as usize,
    };
    let events = guest.events(lines);
    if json {
        return Ok(to_json(&events));
    }
    let nothing = if events.lines.is_empty() { "nothing has been recorded yet\n" } else { "" };
    Ok(format!("{nothing}{events}"))
}

/// The exits by reason and by port.
pub(in crate::control) fn exits(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let (json, arguments) = split_json(arguments);
    let on = match arguments.split_whitespace().collect::<Vec<_>>()[..] {
        [] => return Ok(shown(&guest.exits(), json)),
        ["time", "on"] => true,
        ["time", "off"] => false,
        _ => return Err(invalid(format!("`{arguments}` is neither `time on` nor `time off`"))),
    };
    let cpus = guest.cpu_count();
    if on && cpus > 1 {
        return Err(invalid(format!("time is measured only with one CPU, and the machine has {cpus}")));
    }
    guest.measure_exits(on);
    Ok(match on {
        true => "each exit is measured from now on, which makes all of them slower; `exits` shows the time\n",
        false => "exits are not measured\n",
    }
    .to_owned())
}
