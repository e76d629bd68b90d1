//! Why a machine could not be created, reset or restored.

use std::io;

use crate::boot::BootError;
use crate::devices::StateError;
use crate::devices::ide::DiskGeometry;
use crate::kvm::HostError;
use crate::memory::MemoryError;
use crate::settings::MOST_DISKS;

/// Why a machine could not be created, reset or restored.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The guest file cannot be run.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// A kernel that is not started because it would not get to its first message.
    #[error(
        "{file}: this host has no VT-x or AMD-V for guests: KVM interprets the kernel's instructions one by one, and a \
         Linux kernel prints nothing for hours; run it on a host with VT-x or AMD-V, or with `scripts/lab run` \
         (`--boot linux` starts it here nevertheless)"
    )]
    Interpreted {
        /// The kernel.
        file: String,
    },
    /// Guest memory cannot be allocated.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The host cannot run a machine.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The guest was started with processor features that this host does not have.
    #[error(
        "the guest was given a processor of {there} with features that this one of {here} does not have: {}; \
         continue it on a host that has them",
        if missing.is_empty() { "those specific to its vendor".to_owned() } else { missing.join(", ") }
    )]
    Features {
        /// The features.
        missing: Vec<String>,
        /// The vendor of the guest's processor.
        there: String,
        /// The vendor of this host's processor.
        here: String,
    },
    /// The guest was saved with another disk, or with none.
    #[error(
        "the guest had {} as disk {unit}, and has {} here; {}",
        describe(*there), describe(*here), disk_remedy(*unit, *there)
    )]
    Disk {
        /// Number of the disk, from 0 on.
        unit: usize,
        /// What it was.
        there: Option<DiskGeometry>,
        /// What it is.
        here: Option<DiskGeometry>,
    },
    /// The host cannot start the thread of a disk.
    #[error("the thread of a disk cannot be started: {0}")]
    DiskThread(io::Error),
    /// The saved state does not fit this kind of machine.
    #[error(transparent)]
    State(#[from] StateError),
}

fn describe(disk: Option<DiskGeometry>) -> String {
    match disk {
        None => "none".to_owned(),
        Some(DiskGeometry { sectors, read_only, cdrom }) => {
            let kind = match (cdrom, read_only) {
                (true, _) => "a CD",
                (false, true) => "a read-only one",
                (false, false) => "one",
            };
            format!("{kind} of {sectors} sectors")
        }
    }
}

/// The option that gives the guest the disk that it had.
fn disk_remedy(unit: usize, there: Option<DiskGeometry>) -> String {
    let option = match there {
        Some(DiskGeometry { cdrom: true, .. }) => "--cdrom FILE".to_owned(),
        Some(DiskGeometry { read_only, .. }) => format!(
            "--disk FILE{}{}",
            if read_only { ",ro" } else { "" },
            if unit < MOST_DISKS { "" } else { ",virtio" }
        ),
        None => {
            return "leave out the option that names it, or put it behind the disks that the guest had"
                .to_owned();
        }
    };
    format!("give it the disk that it had with `{option}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_for_a_missing_disk_is_named() {
        let remedy = |unit, read_only, cdrom| {
            let there = Some(DiskGeometry { sectors: 2, read_only, cdrom });
            MachineError::Disk { unit, there, here: None }.to_string()
        };
        assert!(remedy(0, false, false).ends_with("with `--disk FILE`"), "{}", remedy(0, false, false));
        assert!(
            remedy(4, true, false).ends_with("with `--disk FILE,ro,virtio`"),
            "{}",
            remedy(4, true, false)
        );
        assert!(remedy(2, true, true).ends_with("with `--cdrom FILE`"), "{}", remedy(2, true, true));
    }
}
