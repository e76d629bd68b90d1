//! The log file and the format of its lines.

use std::path::PathBuf;

/// The log file and what goes into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSpec {
    /// The file; truncated at the start of the run.
    pub file: PathBuf,
    /// True if the user set the file: then failing to open it is an error, otherwise only a warning.
    pub file_chosen: bool,
    /// Minimum severity that is written.
    pub level: tracing::Level,
    /// Levels for single rooms, in the syntax of `tracing_subscriber::filter::Targets`, for
    /// example `kvm::devices=debug,kvm::boot=trace`; possibly empty.
    pub filter: String,
    /// The format of its lines.
    pub format: LogFormat,
}

/// The format of the lines in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For the user.
    Text,
    /// One JSON object per line, for programs.
    Json,
}
