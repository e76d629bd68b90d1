//! Commands for a stopped guest: one table for gdb, the console and scripts.
//!
//! gdb's `monitor` hands a line to [`answer`], and so does a console ([`Front`]). What a command looks at
//! and changes it reaches through a [`StoppedMachine`](crate::supervisor::stopped_machine::StoppedMachine), and its answer is text.
//!
//! | file | what it knows |
//! |---|---|
//! | `table` | all commands, and how one is found |
//! | `commands` | what they do |

mod commands;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod table;
#[cfg(test)]
#[path = "control_test.rs"]
mod tests;

pub use error::CommandError;
pub use table::{answer, names, reference};

/// Who gives a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// A debugger, by its `monitor`.
    Debugger,
    /// A user at a console.
    Console,
}
