//! Why a command was not carried out.

use super::Front;
use crate::inspect::expression::{EvaluationError, ExpressionError};
use crate::inspect::format::FormatError;
use crate::kvm::HostError;
use crate::machine::snapshots::InMemorySnapshotError;
use crate::state::SnapshotError;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no such command.
    #[error("`{line}` is no command{}; `help` lists all", suggestion(.meant))]
    Unknown {
        /// What was typed.
        line: String,
        /// What was probably meant.
        meant: Vec<&'static str>,
    },
    /// What stands behind the command is not what it takes.
    #[error("{problem}; use: {usage}")]
    Arguments {
        /// What is wrong.
        problem: String,
        /// How the command is used.
        usage: String,
    },
    /// An expression that cannot be read.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// An expression that has no value now.
    #[error("`{text}` has no value now: {error}")]
    Evaluation {
        /// The expression and what follows it.
        text: String,
        /// Why.
        error: EvaluationError,
    },
    /// A log point's text that cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The host failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A snapshot in memory cannot be taken, gone back to or forgotten.
    #[error(transparent)]
    Keep(#[from] InMemorySnapshotError),
    /// The machine cannot be saved or restored.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Guest-physical addresses where there is no RAM.
    #[error("{address:#x} is not RAM; `info mem` tells what is where")]
    NotRam {
        /// The first address asked for.
        address: u64,
    },
    /// Virtual addresses where nothing is mapped.
    #[error("nothing is mapped at {address:#x}; `walk {address:#x}` tells where its translation ends")]
    NotMapped {
        /// The first address asked for.
        address: u64,
    },
    /// No point has this number.
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
    /// A command of another front.
    #[error("`{name}` is not for {}: {why}", who(.front))]
    Elsewhere {
        /// The command.
        name: &'static str,
        /// Who gave it.
        front: Front,
        /// What to do instead.
        why: &'static str,
    },
    /// Nothing can be stopped for a debugger that is not there.
    #[error(
        "`{name}` is for a debugger, and none is connected; with --gdb-nowait gdb can connect at any time"
    )]
    NoDebugger {
        /// The command.
        name: &'static str,
    },
    /// The guest cannot be paused.
    #[error("the guest stands still already: {0}")]
    StandsStill(&'static str),
    /// The guest cannot be let go on.
    #[error("gdb has stopped the guest; `continue` there lets it go on")]
    StoppedByDebugger,
    /// The guest takes nothing.
    #[error(
        "the guest has {waiting} characters to take before it can be given these; `status` tells if it runs"
    )]
    TooMuchTyped {
        /// Characters that wait.
        waiting: usize,
    },
    /// A file cannot be written.
    #[error("cannot write `{file}`: {reason}; choose another place, as seen from where kvm was started")]
    File {
        /// The file.
        file: String,
        /// Why.
        reason: std::io::Error,
    },
    /// There are too many points.
    #[error("there are as many breakpoints as there can be; `delete N` takes one away")]
    TooManyPoints,
    /// The guest does not move to another host, or goes on doing so.
    #[error("{0}")]
    Move(String),
}

fn who(front: &Front) -> &'static str {
    match front {
        Front::Debugger => "gdb",
        Front::Console => "the console",
    }
}

fn suggestion(names: &[&'static str]) -> String {
    match names {
        [] => String::new(),
        names => format!(" (there is `{}`)", names.join("` and `")),
    }
}
