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
        /// The failed operation.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the host, or the reason why the operation was not attempted.
        source: io::Error,
    },
    /// The file is not a snapshot.
    #[error(
        "{name} is no snapshot of kvm{hint}; the command `snapshot FILE.kvmstate` of gdb's monitor or of the console makes one"
    )]
    NotASnapshot {
        /// The file.
        name: String,
        /// What the file is instead, in words that follow a comma.
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
        /// What has this version: the whole file, or a section.
        part: String,
        /// Its version.
        found: u16,
        /// The latest supported version.
        known: u16,
    },
    /// It has an unknown section.
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
    /// The file is damaged.
    #[error("{name} is damaged: {what}; take another copy of it, or an older snapshot")]
    Damaged {
        /// The file.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// The snapshot's memory size differs from that of the running machine.
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
        /// Size of the running machine's memory, in bytes.
        here: u64,
    },
    /// A part of the machine exceeds the limits of the format.
    #[error("the machine has {what}, which is more than a snapshot can hold")]
    TooLarge {
        /// Which part, and its size.
        what: String,
    },
    /// The machine cannot be restored from this file.
    #[error("{name}: {error}")]
    Machine {
        /// The file.
        name: String,
        /// The reason.
        #[source]
        error: Box<MachineError>,
    },
    /// The host did not return the machine's state.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// The reason why a file could not be opened, without its name.
pub(super) fn in_words(error: &BootError) -> String {
    match error {
        BootError::Missing { .. } => "there is no such file".to_owned(),
        BootError::Open { source, .. } => source.to_string(),
        BootError::NotReadable { .. } => "this user may not read it; `chmod a+r` allows it".to_owned(),
        BootError::NotAFile { problem, .. } => (*problem).to_owned(),
        other => other.to_string(),
    }
}

impl SnapshotError {
    /// The machine cannot be restored from the file `name`.
    pub(super) fn machine(name: &str, error: impl Into<MachineError>) -> SnapshotError {
        SnapshotError::Machine { name: name.to_owned(), error: Box::new(error.into()) }
    }

    /// The error for a failed operation on a file.
    pub(super) fn file(
        doing: &'static str,
        path: impl Into<PathBuf>,
        error: impl Into<io::Error>,
    ) -> SnapshotError {
        SnapshotError::File { doing, path: path.into(), source: error.into() }
    }

    /// True if the failed restore has left the machine unusable.
    pub fn is_fatal(&self) -> bool {
        match self {
            SnapshotError::Machine { error, .. } => {
                !matches!(**error, MachineError::State(_) | MachineError::Features { .. })
            }
            _ => false,
        }
    }
}
