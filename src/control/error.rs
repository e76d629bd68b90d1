//! Why a command failed.

use crate::boot::BootError;
use crate::inspect::expression::{EvaluationError, ExpressionError};
use crate::inspect::format::FormatError;
use crate::kvm::HostError;
use crate::machine::snapshots::InMemorySnapshotError;
use crate::state::SnapshotError;
use crate::supervisor::command_interpreter::CommandSource;
use crate::supervisor::migrator::MigratorError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no such command.
    #[error("`{line}` is no command{}; `help` lists all", suggestion(.meant))]
    Unknown {
        /// The start of the line.
        line: String,
        /// Similar commands.
        meant: Vec<&'static str>,
    },
    /// The arguments are invalid.
    #[error("{problem}; use: {usage}")]
    Arguments {
        /// What is wrong.
        problem: String,
        /// The usage of the command; empty until the table adds it.
        usage: String,
    },
    /// The syntax of an expression is invalid.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// An expression cannot be evaluated.
    #[error("`{text}` has no value now: {error}")]
    Evaluation {
        /// The text of the expression.
        text: String,
        /// Why.
        error: EvaluationError,
    },
    /// The format string of a log point is invalid.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The host failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A file cannot be opened.
    #[error(transparent)]
    SymbolFile(#[from] BootError),
    /// A snapshot in memory cannot be taken, restored or deleted.
    #[error(transparent)]
    Keep(#[from] InMemorySnapshotError),
    /// The machine cannot be saved or restored.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Guest-physical addresses where there is no RAM.
    #[error("{address:#x} is not RAM; `info mtree` shows the memory map")]
    NotRam {
        /// The first requested address.
        address: u64,
    },
    /// Virtual addresses where nothing is mapped.
    #[error("nothing is mapped at {address:#x}; `walk {address:#x}` shows where the translation fails")]
    NotMapped {
        /// The first requested address.
        address: u64,
    },
    /// No breakpoint or log point has this number.
    #[error("there is no breakpoint {number}; `breaks` lists them")]
    NoPoint {
        /// The number.
        number: u64,
    },
    /// The processor has no such address.
    #[error("{address:#x} is no address: its upper bits are not all the same")]
    NoAddress {
        /// The number.
        address: u64,
    },
    /// The command is available in another front end only.
    #[error("`{name}` is not available in {}: {why}", who(.front))]
    NotAvailable {
        /// The command.
        name: &'static str,
        /// Who gave it.
        front: CommandSource,
        /// What to do instead.
        why: &'static str,
    },
    /// A debugger is connected, which alone decides when the guest goes on.
    #[error("gdb is connected and decides when the guest goes on; {0} in gdb, or disconnect it")]
    HasDebugger(&'static str),
    /// The machine lacks the hardware that a command of QEMU's monitor is about.
    #[error("`{name}` is not available: {why}")]
    NoHardware {
        /// The command.
        name: &'static str,
        /// What the machine has instead.
        why: &'static str,
    },
    /// The guest cannot be paused.
    #[error("the guest is already stopped: {0}")]
    AlreadyStopped(&'static str),
    /// The guest cannot be resumed.
    #[error("the guest is stopped in gdb; `continue` in gdb resumes it")]
    StoppedByDebugger,
    /// The guest does not read its input.
    #[error(
        "the guest has not read {waiting} characters typed before, so no more are added; `status` shows whether it runs"
    )]
    TooMuchTyped {
        /// Number of pending characters.
        waiting: usize,
    },
    /// A file cannot be written.
    #[error(
        "cannot write `{file}`: {reason}; choose another path; a relative one starts at kvm's working directory"
    )]
    File {
        /// The file.
        file: String,
        /// Why.
        reason: std::io::Error,
    },
    /// A command would overwrite a file that kvm has not written.
    #[error(
        "`{file}` exists, and kvm has not written it; choose another name, or overwrite it with `{command} -f {file}`"
    )]
    Exists {
        /// The command.
        command: &'static str,
        /// The file.
        file: String,
    },
    /// The maximum number of breakpoints and log points is set.
    #[error("the maximum number of breakpoints is set; `delete N` deletes one")]
    TooManyPoints,
    /// A migration cannot be started or cancelled.
    #[error(transparent)]
    Migration(#[from] MigratorError),
}

impl CommandError {
    /// Adds the usage of the command to an error about its arguments.
    pub(super) fn with_usage(self, usage: String) -> CommandError {
        match self {
            CommandError::Arguments { problem, .. } => CommandError::Arguments { problem, usage },
            other => other,
        }
    }
}

fn who(front: &CommandSource) -> &'static str {
    match front {
        CommandSource::Debugger => "gdb",
        CommandSource::Console => "the console",
    }
}

fn suggestion(names: &[&'static str]) -> String {
    match names {
        [] => String::new(),
        names => format!(" (there is `{}`)", names.join("` and `")),
    }
}
