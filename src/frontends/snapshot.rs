//! `kvm check-snapshot`: describes a snapshot file.

use std::path::Path;

use super::messages::escaped;
use crate::machine::RunState;
use crate::state::{SavedMachine, SnapshotError, SnapshotFile};

/// Reads all of the snapshot in `file` and describes its contents.
///
/// # Errors
///
/// [`SnapshotError`] if it is not a snapshot, or not complete.
#[cold]
pub fn describe(file: &Path) -> Result<String, SnapshotError> {
    let opened = SnapshotFile::open(file)?;
    opened.verify()?;
    Ok(description(file, opened.saved(), opened.memory_in_use()))
}

/// Describes `file`, which holds `in_use` bytes of memory. Some of these strings are chosen by the creator of
/// the file.
fn description(file: &Path, saved: &SavedMachine, in_use: u64) -> String {
    let mut text = format!(
        "{}: whole\n\
         written by   {}\n\
         guest        {}\n\
         memory       {} MiB, {} KiB of them in use\n\
         processor    {}\n",
        file.display(),
        escaped(&saved.writer, &[]),
        escaped(&saved.guest.path().display().to_string(), &[]),
        saved.memory >> 20,
        in_use >> 10,
        saved.features.vendor(),
    );
    for (number, cpu) in saved.machine.cpus.iter().enumerate() {
        let name = if number == 0 { "next".to_owned() } else { format!("next, CPU {number}") };
        let rip = cpu.vcpu.rip();
        text += &match cpu.run_state {
            RunState::Halted => format!("{name:<12} {rip:#x}, halted\n"),
            RunState::WaitForDisk => format!("{name:<12} {rip:#x}, waiting for a disk\n"),
            RunState::WaitForSipi => format!("{name:<12} nothing: not started\n"),
            RunState::HaltedForGood => format!("{name:<12} {rip:#x}, halted with interrupts off\n"),
            RunState::Running => format!("{name:<12} {rip:#x}\n"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_a_snapshot_cannot_control_the_terminal() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/snapshot/whole");
        let mut saved = SnapshotFile::open(&file).unwrap().saved().clone();
        saved.writer = "kvm\x1b[2J".to_owned();
        saved.guest.path = b"/a\x07b".to_vec();
        let text = description(&file, &saved, 4096);
        assert!(text.contains("written by   kvm\\u{1b}[2J\n"), "{text}");
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text}");
    }
}
