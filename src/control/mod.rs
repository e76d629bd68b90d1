//! Commands for a stopped guest: one table for gdb, the console and scripts.
//!
//! The supervisor passes the lines of gdb's `monitor` and of the console to [`ControlCommands`]. A command accesses
//! the machine through a [`StoppedMachine`], and its answer is text.
//!
//! | file | contents |
//! |---|---|
//! | `error` | why a command failed |
//! | `command` | what a command is |
//! | `overwrite` | which files commands may overwrite |
//! | `commands` | the functions that execute the commands |
//! | `table` | the table of all commands, and the look-up |
//!
//! Each file imports only those above it.

mod command;
mod commands;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod overwrite;
mod table;
#[cfg(test)]
#[path = "control_test.rs"]
mod tests;

use crate::supervisor::command_interpreter::{CommandInterpreter, CommandReply, CommandSource};
use crate::supervisor::stopped_machine::StoppedMachine;

pub use error::CommandError;
pub use overwrite::may_be_overwritten;
pub use table::{answer, known_commands, names, reference};

/// The commands of this room.
#[derive(Clone, Copy, Debug)]
pub struct ControlCommands;

impl CommandInterpreter for ControlCommands {
    fn run(&self, machine: &mut dyn StoppedMachine, source: CommandSource, line: &str) -> CommandReply {
        let (text, failed) = match answer(machine, source, line) {
            Ok(text) => (text, false),
            Err(error @ CommandError::Unknown { .. }) if source == CommandSource::Console => {
                (format!("unrecognized command: {error}\n"), true)
            }
            Err(error) => (format!("{error}\n"), true),
        };
        CommandReply { text, failed, progress: machine.session().progress.take() }
    }
}
