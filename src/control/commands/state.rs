//! Commands that save the machine and bring it back.

use super::super::CommandError;
use super::{place, snapshots};
use crate::state;
use crate::supervisor::stopped_machine::StoppedMachine;

/// Saves the machine in a file, or keeps it in memory.
pub(in crate::control) fn snapshot(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let Some(file) = state::snapshot_path(arguments) else { return snapshots::take(guest, arguments) };
    let saved = guest.snapshot(&file)?;
    let (path, memory) = (saved.path.display(), saved.memory >> 10);
    let mut text = format!(
        "saved in {path}: {} KiB, with {memory} KiB of memory{}, in {} ms\n",
        saved.length.div_ceil(1024),
        if saved.compressed { ", compressed" } else { "" },
        saved.took.as_millis()
    );
    if !saved.guest_file {
        text.push_str("the guest's file is not in it: a reset needs it where it is now\n");
    }
    Ok(text)
}

/// Has the machine go on from a file, or from what was kept in memory.
pub(in crate::control) fn restore(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let Some(file) = state::snapshot_path(arguments) else { return snapshots::go_back(guest, arguments) };
    guest.restore(&file)?;
    let rip = guest.registers()?.general.rip;
    let (place, hint) = (place(guest, rip), snapshots::hint(guest));
    Ok(format!("the machine is as it was in {}, at {place}\n{hint}", file.display()))
}
