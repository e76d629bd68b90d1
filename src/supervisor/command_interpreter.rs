//! How command lines reach the room that knows the commands.

use std::fmt::Debug;
use std::sync::mpsc::Receiver;

use super::notice::Notice;
use super::stopped_machine::StoppedMachine;

/// Who gives a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandSource {
    /// A debugger, by its `monitor`.
    Debugger,
    /// A user at a console.
    Console,
}

/// The answer to a command line.
#[derive(Debug)]
pub struct CommandReply {
    /// The answer, in whole lines; the error if it failed.
    pub text: String,
    /// The command was not carried out.
    pub failed: bool,
    /// Lines of progress that follow, until the channel closes.
    pub progress: Option<Receiver<Notice>>,
}

/// Carries out command lines on a stopped machine.
pub trait CommandInterpreter: Debug + Send + Sync {
    /// Carries out the command on `line`.
    fn run(&self, machine: &mut dyn StoppedMachine, source: CommandSource, line: &str) -> CommandReply;
}
