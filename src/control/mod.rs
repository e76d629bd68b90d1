//! Commands for a stopped guest: one table for gdb, the console and scripts.
//!
//! gdb's `monitor` and the console ([`Front`]) pass a line to [`answer`]. A command accesses the machine through a
//! [`StoppedMachine`](crate::supervisor::stopped_machine::StoppedMachine), and its answer is text.
//!
//! | file | contents |
//! |---|---|
//! | `front` | who gives a command |
//! | `error` | why a command failed |
//! | `command` | what a command is |
//! | `commands` | the functions that execute the commands |
//! | `table` | the table of all commands, and the look-up |
//!
//! Each file imports only those above it.

mod command;
mod commands;
mod error;
mod front;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod table;
#[cfg(test)]
#[path = "control_test.rs"]
mod tests;

pub use error::CommandError;
pub use front::Front;
pub use table::{answer, names, reference};
