//! Why a machine could not be saved or restored.

use std::io;
use std::path::PathBuf;

use crate::boot::BootError;
use crate::kvm::HostError;
use crate::machine::MachineError;

/// Why a machine could not be saved or restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file cannot be opened, read or written.
    #[error("cannot {doing} the snapshot {}: {source}", path.display())]
    File {
        /// What was to be done with it.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The host's reason, or why it was not asked.
        source: io::Error,
    },
    /// It is no snapshot at all.
    #[error(
        "{name} is no snapshot of kvm{hint}; the command `snapshot FILE.kvmstate` of gdb's monitor or of the console makes one"
    )]
    NotASnapshot {
        /// The file.
        name: String,
        /// What it is instead, in words that follow a comma.
        hint: &'static str,
    },
    /// It was written by a later version of this program.
    #[error(
        "{name}: {part} has version {found}, and this kvm ({}) reads versions up to {known}; restore it with \
         the kvm that wrote it, or a later one",
        env!("CARGO_PKG_VERSION")
    )]
    NewerVersion {
        /// The file.
        name: String,
        /// The whole of it, or a section.
        part: String,
        /// Its version.
        found: u16,
        /// The latest version that is known.
        known: u16,
    },
    /// It has a section that this program does not know.
    #[error(
        "{name} has a section `{section}`, which this kvm ({}) does not know; restore it with the kvm that \
         wrote it, or a later one",
        env!("CARGO_PKG_VERSION")
    )]
    UnknownSection {
        /// The file.
        name: String,
        /// The section's name.
        section: String,
    },
    /// It is not as it was written.
    #[error("{name} is damaged: {what}; take another copy of it, or an older snapshot")]
    Damaged {
        /// The file.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// It is of a machine with another size of memory than the one that runs.
    #[error(
        "{name} is of a machine with {} MiB of memory, and this one has {} MiB; start another one with `kvm \
         --restore {name}`, or this one with --memory {}",
        there >> 20, here >> 20, there >> 20
    )]
    MemorySize {
        /// The file.
        name: String,
        /// Size of memory in it, in bytes.
        there: u64,
        /// Size of memory here.
        here: u64,
    },
    /// There is more of something than a snapshot can hold.
    #[error("the machine has {what}, which is more than a snapshot can hold")]
    TooLarge {
        /// Of what, and how much.
        what: String,
    },
    /// The machine cannot go on from it.
    #[error("{name}: {error}")]
    Machine {
        /// The file.
        name: String,
        /// Why not.
        error: Box<MachineError>,
    },
    /// The host did not tell the machine's state.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// The reason in an error about opening a file, without the file's name.
pub(super) fn in_words(error: &BootError) -> String {
    match error {
        BootError::Missing { .. } => "there is no such file".to_owned(),
        BootError::Open { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

impl SnapshotError {
    /// The machine cannot go on from the file `name`.
    pub(super) fn machine(name: &str, error: impl Into<MachineError>) -> SnapshotError {
        SnapshotError::Machine { name: name.to_owned(), error: Box::new(error.into()) }
    }

    /// The error for a file that the host did not let us treat as we wanted.
    pub(super) fn file(
        doing: &'static str,
        path: impl Into<PathBuf>,
        error: impl Into<io::Error>,
    ) -> SnapshotError {
        SnapshotError::File { doing, path: path.into(), source: error.into() }
    }

    /// True if a machine that was to be restored has become useless by the attempt.
    pub fn is_fatal(&self) -> bool {
        match self {
            SnapshotError::Machine { error, .. } => {
                !matches!(**error, MachineError::State(_) | MachineError::Features { .. })
            }
            _ => false,
        }
    }
}
