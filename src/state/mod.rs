//! The whole machine as versioned bytes: snapshot files, and the machine state that a migration sends
//! besides memory.
//!
//! | file | contents |
//! |---|---|
//! | `container` | sections, each with a name, a version and a checksum, behind one header |
//! | `saved_machine` | a machine without its memory, as sections |
//! | `saved_boot` | the kind of guest, and how it was loaded |
//! | `memory_contents` | the contents of memory, as two sections |
//! | `guest_file` | the guest's file, stored for resets and symbols |
//! | `guest_file_info` | where that file was, and the options it was loaded with |
//! | `snapshot_file` | snapshot files: written completely or not at all, opened without reading memory |
//! | `file_name` | which snapshot names refer to files |
//!
//! docs/snapshots.md has the format in tables, and its rationale.

mod container;
mod error;
mod file_name;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod guest_file;
mod guest_file_info;
mod memory_contents;
mod saved_boot;
pub mod saved_disks;
mod saved_machine;
mod snapshot_file;
#[cfg(test)]
#[path = "state_test.rs"]
mod tests;

#[cfg(test)]
mod several_cpus_test;

pub use container::{VERSION, is_snapshot_start};
pub use error::SnapshotError;
pub use file_name::snapshot_path;
pub use guest_file_info::GuestFileInfo;
pub use saved_machine::{ReceivedMachine, SavedMachine, UserInterface};
pub use snapshot_file::{SaveReport, SnapshotFile, check_bytes, check_writable, restore, save};
