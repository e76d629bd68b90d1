//! Commands for snapshots in memory.

use std::fmt::Write;

use super::super::command::invalid;
use super::super::error::CommandError;
use super::values::place;
use crate::supervisor::stopped_machine::StoppedMachine;

/// Note for gdb users after a restore.
const GDB: &str = "gdb still shows old registers: `maintenance flush register-cache` updates them (the `goback` of \
                   docs/snapshots.md does that, too)\n";

/// The note after a restore; empty without gdb.
pub(super) fn hint(guest: &dyn StoppedMachine) -> &'static str {
    if guest.is_debugged() { GDB } else { "" }
}

pub(in crate::control) fn take(guest: &mut dyn StoppedMachine, name: &str) -> Result<String, CommandError> {
    if name.is_empty() {
        return Err(invalid("a name is missing"));
    }
    let snapshot = guest.take_snapshot(name)?;
    let place = place(guest, snapshot.rip);
    let note = disks(&snapshot.disks, "part of it");
    Ok(format!(
        "snapshot `{name}` at {place}: {} compared, {} stored\n{note}",
        pages(snapshot.pages),
        size(snapshot.new)
    ))
}

pub(in crate::control) fn restore(
    guest: &mut dyn StoppedMachine,
    name: &str,
) -> Result<String, CommandError> {
    if name.is_empty() {
        return Err(invalid("the name of a snapshot is missing; `snapshots` lists all"));
    }
    let snapshot = guest.restore_snapshot(name)?;
    let place = place(guest, snapshot.rip);
    let hint = hint(guest);
    let note = disks(
        &snapshot.disks,
        "restored: the guest has written to it since, and may remember other contents",
    );
    Ok(format!("restored snapshot `{name}` at {place}: {} written back\n{note}{hint}", pages(snapshot.pages)))
}

/// That the contents of disks are not `what`, a line each.
fn disks(units: &[u8], what: &str) -> String {
    units.iter().map(|unit| format!("the contents of disk {unit} are not {what}\n")).collect()
}

pub(in crate::control) fn list(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    if let Some(rest) = arguments.strip_prefix("delete") {
        let name = rest.trim();
        if rest.len() == name.len() && !name.is_empty() {
            return Err(invalid(format!("unexpected argument `{arguments}`")));
        }
        guest.delete_snapshots(if name.is_empty() { None } else { Some(name) })?;
    } else if !arguments.is_empty() {
        return Err(invalid(format!("unexpected argument `{arguments}`")));
    }
    let (all, bytes) = guest.snapshots();
    if all.is_empty() {
        return Ok("no snapshots\n".to_owned());
    }
    let width = all.iter().map(|snapshot| snapshot.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for snapshot in &all {
        let place = place(guest, snapshot.rip);
        let new = size(snapshot.new);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:width$}  at {place}, {}, {new}", snapshot.name, pages(snapshot.pages));
    }
    let _ = writeln!(text, "{} in total", size(bytes));
    Ok(text)
}

/// A number of pages as text.
fn pages(count: u64) -> String {
    if count == 1 { "1 page".to_owned() } else { format!("{count} pages") }
}

/// A number of bytes as text.
fn size(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{}.{} MiB", bytes >> 20, (bytes >> 10 & 0x3FF) * 10 / 1024),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_a_unit_that_fits() {
        assert_eq!(size(0), "0 KiB");
        assert_eq!(size(0xF_F000), "1020 KiB");
        assert_eq!(size(0x18_0000), "1.5 MiB");
        assert_eq!(size(3 << 30), "3072.0 MiB");
    }
}
