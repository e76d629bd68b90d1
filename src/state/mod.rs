//! The whole machine as versioned bytes: snapshot files, and what a migration sends besides memory.
//!
//! | file | what it knows |
//! |---|---|
//! | `container` | sections, each with a name, a version and a checksum, behind one header |
//! | `parts` | a machine without its memory, as sections |
//! | `pages` | the contents of memory, as two sections |
//! | `guest_file` | the guest's file, kept for resets and symbols |
//! | `file` | snapshot files: written whole or not at all, opened without reading memory |
//! | `names` | which names are those of files |
//!
//! docs/snapshots.md has the format in tables, and the reasons for it.

mod container;
mod error;
mod file_name;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod guest_file;
mod memory_contents;
mod saved_machine;
mod snapshot_file;
#[cfg(test)]
#[path = "state_test.rs"]
mod tests;

pub use container::VERSION;
pub use error::SnapshotError;
pub use file_name::snapshot_path;
pub use saved_machine::{ReceivedMachine, SavedMachine, UserInterface};
pub use snapshot_file::{SaveReport, SnapshotFile, check_bytes, check_writable, restore, save};
