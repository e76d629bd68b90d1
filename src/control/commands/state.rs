//! Commands that save and restore the machine: in a file, or in memory.

use super::super::command::invalid;
use super::super::error::CommandError;
use super::super::overwrite;
use super::snapshots;
use super::values::place;
use crate::state;
use crate::supervisor::stopped_machine::StoppedMachine;

/// Saves the machine in a file, or takes a snapshot in memory.
pub(in crate::control) fn snapshot(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let (force, name) = overwrite::split_force(arguments);
    let Some(file) = state::snapshot_path(name) else {
        if force {
            return Err(invalid("`-f` is for files, whose names end in .kvmstate or have a `/`"));
        }
        return snapshots::take(guest, name);
    };
    overwrite::check("snapshot", &file, force)?;
    let saved = guest.snapshot(&file)?;
    let (path, memory) = (saved.path.display(), saved.memory >> 10);
    let mut text = format!(
        "saved in {path}: {} KiB, with {memory} KiB of memory{}, in {} ms\n",
        saved.length.div_ceil(1024),
        if saved.compressed { ", compressed" } else { "" },
        saved.took.as_millis()
    );
    if !saved.guest_file {
        text.push_str("the guest file is not included: a reset needs it at its current path\n");
    }
    for disk in &saved.disks {
        text += &match disk.in_memory {
            true => {
                format!("what the guest has written to disk {} (`,snapshot`) is not included\n", disk.unit)
            }
            false => {
                format!("the contents of disk {} are not included: keep a copy of its image\n", disk.unit)
            }
        };
    }
    Ok(text)
}

/// Restores the machine from a file, or from a snapshot in memory.
pub(in crate::control) fn restore(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let Some(file) = state::snapshot_path(arguments) else { return snapshots::restore(guest, arguments) };
    let notes: String = guest.restore(&file)?.iter().map(|note| format!("{note}\n")).collect();
    let rip = guest.registers()?.general.rip;
    let (place, hint) = (place(guest, rip), snapshots::hint(guest));
    Ok(format!("the machine was restored from {}, at {place}\n{notes}{hint}", file.display()))
}
