//! Commands for snapshots in memory.

use std::fmt::Write;

use super::super::CommandError;
use super::super::table::wrong;
use super::place;
use crate::supervisor::stopped_machine::StoppedMachine;

/// Note for gdb users after a restore.
const GDB: &str = "gdb still shows what it knew: `maintenance flush register-cache` makes it look again \
                   (the `goback` of docs/snapshots.md does so by itself)\n";

/// What follows the place where the guest is now.
pub(super) fn hint(guest: &dyn StoppedMachine) -> &'static str {
    if guest.is_debugged() { GDB } else { "" }
}

pub(in crate::control) fn take(guest: &mut dyn StoppedMachine, name: &str) -> Result<String, CommandError> {
    if name.is_empty() {
        return Err(wrong("snapshot", "it needs a name"));
    }
    let kept = guest.take_snapshot(name)?;
    let place = place(guest, kept.rip);
    Ok(format!("snapshot `{name}` at {place}: {} looked at, {} kept\n", pages(kept.pages), size(kept.new)))
}

pub(in crate::control) fn go_back(
    guest: &mut dyn StoppedMachine,
    name: &str,
) -> Result<String, CommandError> {
    if name.is_empty() {
        return Err(wrong("restore", "it needs the name of a snapshot; `snapshots` lists all"));
    }
    let kept = guest.go_back(name)?;
    let place = place(guest, kept.rip);
    let hint = hint(guest);
    Ok(format!("as in snapshot `{name}`, at {place}: {} written back\n{hint}", pages(kept.pages)))
}

pub(in crate::control) fn list(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    if let Some(rest) = arguments.strip_prefix("delete") {
        let name = rest.trim();
        if rest.len() == name.len() && !name.is_empty() {
            return Err(wrong("snapshots", format!("`{arguments}` is no `delete`")));
        }
        guest.forget_snapshots(if name.is_empty() { None } else { Some(name) })?;
    } else if !arguments.is_empty() {
        return Err(wrong("snapshots", format!("`{arguments}` is no `delete`")));
    }
    let (all, bytes) = guest.snapshots();
    if all.is_empty() {
        return Ok("no snapshots\n".to_owned());
    }
    let width = all.iter().map(|kept| kept.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for kept in &all {
        let place = place(guest, kept.rip);
        let new = size(kept.new);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:width$}  at {place}, {}, {new} kept for it", kept.name, pages(kept.pages));
    }
    let _ = writeln!(text, "{} kept in all", size(bytes));
    Ok(text)
}

/// A number of pages in words.
fn pages(count: u64) -> String {
    if count == 1 { "1 page".to_owned() } else { format!("{count} pages") }
}

/// A number of bytes in words.
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
    fn sizes_are_told_in_a_unit_that_fits() {
        assert_eq!(size(0), "0 KiB");
        assert_eq!(size(0xF_F000), "1020 KiB");
        assert_eq!(size(0x18_0000), "1.5 MiB");
        assert_eq!(size(3 << 30), "3072.0 MiB");
    }
}
