//! The log file, the format of its lines, and what is traced in it.

use std::fmt;
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
    /// What the guest does that is written to it.
    pub trace: TraceSpec,
}

/// What the guest does that is written to the log as it happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceSpec {
    /// Exceptions, when their handler is entered.
    pub exceptions: bool,
    /// Interrupts, when they are injected.
    pub interrupts: bool,
    /// Accesses to devices.
    pub io: bool,
    /// Resets, and changes of a processor's mode that are seen where the guest stops.
    pub mode: bool,
}

impl TraceSpec {
    /// The names of all kinds, in the order of the fields.
    const NAMES: [&'static str; 4] = ["exceptions", "interrupts", "io", "mode"];

    /// Everything.
    pub const ALL: TraceSpec = TraceSpec { exceptions: true, interrupts: true, io: true, mode: true };

    /// The kinds that `text` names, between commas; `Err` with a name that is unknown.
    pub(super) fn parse(text: &str) -> Result<TraceSpec, &str> {
        let mut trace = TraceSpec::default();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "exceptions" => trace.exceptions = true,
                "interrupts" => trace.interrupts = true,
                "io" => trace.io = true,
                "mode" => trace.mode = true,
                "all" => trace = TraceSpec::ALL,
                "none" => {}
                unknown => return Err(unknown),
            }
        }
        Ok(trace)
    }

    /// True if the guest has to be stopped for it.
    pub fn needs_stops(self) -> bool {
        self.exceptions || self.mode
    }
}

impl fmt::Display for TraceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = [self.exceptions, self.interrupts, self.io, self.mode];
        let names: Vec<&str> =
            TraceSpec::NAMES.into_iter().zip(on).filter(|(_, on)| *on).map(|(name, _)| name).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(","))
    }
}

/// The format of the lines in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For the user.
    Text,
    /// One JSON object per line, for programs.
    Json,
}
