//! The log: events reported through `tracing`, as lines in a file.
//!
//! A line is a time in seconds since the start, a level, the module it comes from, and a message:
//!
//! ```text
//!    0.001234  INFO kvm::boot: hello.elf: entry 0x100000
//! ```
//!
//! With `--log-format json` it is an object with the keys `time`, `level`, `target` and `message`, and one for each
//! further value (`docs/log.md`). The first lines, the header, are made by whoever writes the first batch, so that
//! the start of the guest does not wait for them.
//!
//! Lines are collected in memory in batches. A thread of its own writes them to the file within
//! 10 ms; the thread that drops the [`LogGuard`] writes those that remain, so neither logging nor
//! the end of a run waits for the log thread.
//!
//! The log may be a FIFO, for a terminal that shows it in another window. Opening one does not wait
//! for a reader, and a reader that comes a little later, or lags behind, misses nothing: up to 64 KiB
//! wait in the FIFO. When it is full and stays full, lines are dropped and counted instead of the
//! guest being stopped; a note reports their number when the reader goes on.

mod batch;
mod file;
mod lines;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tracing::{Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

use self::batch::{Batch, BatchWriter, Header};
use self::file::{FifoWriter, FileWriter};
use self::lines::EventFormat;
pub use self::lines::LogEntry;
use super::file_id::{FileId, duplicate};
use super::messages::tell;
use crate::settings::{DisplayMode, LogFormat, LogSpec};

/// How long the end of the run waits for a reader to take what is in the FIFO, which vanishes with
/// its last user.
const FIFO_LINGER: Duration = Duration::from_secs(1);

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file the user named cannot be written.
    #[error("cannot write the log file `{}`: {source}; name another one with --logfile", file.display())]
    Open {
        /// The file.
        file: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// The file is standard output, which the guest's output and the screen use.
    #[error(
        "the log file `{}` is also standard output, where the guest's output goes: each would tear the lines of the \
         other; name another file with --logfile, or have the guest's output in the log with --display none",
        file.display()
    )]
    IsStandardOutput {
        /// The file.
        file: PathBuf,
    },
    /// The filter is none.
    #[error("`{filter}` is no log filter ({reason}); use a list such as kvm::devices=debug,kvm::boot=trace")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The process already has a log.
    #[error("the log has already been started")]
    AlreadyStarted,
}

/// Keeps the log open. When it is dropped, everything logged before is in the file; nothing logged
/// afterwards is.
#[must_use = "the log ends when this is dropped"]
#[derive(Debug)]
pub struct LogGuard {
    batch: Option<Batch>,
    fifo: Option<File>,
}

impl LogGuard {
    /// True if the log is written: the default file may not be writable.
    pub fn is_open(&self) -> bool {
        self.batch.is_some()
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        if let Some(batch) = &self.batch {
            batch.close();
        }
        if let Some(fifo) = &self.fifo {
            let start = Instant::now();
            while start.elapsed() < FIFO_LINGER && rustix::io::ioctl_fionread(fifo).is_ok_and(|left| left > 0)
            {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

/// Starts the log for the whole process. The file is emptied. The log begins with the lines that `header` returns;
/// it is called on another thread, or when the log is closed.
///
/// If the file cannot be opened, or is the standard output that `display` uses, and the user did not choose it, a
/// warning goes to standard error and there is no log.
///
/// # Errors
///
/// [`LogError::Open`] and [`LogError::IsStandardOutput`] for a file that the user chose, [`LogError::Filter`], and
/// [`LogError::AlreadyStarted`] on the second call in a process.
pub fn start(
    spec: &LogSpec,
    display: DisplayMode,
    header: impl FnOnce() -> Vec<LogEntry> + Send + 'static,
) -> Result<LogGuard, LogError> {
    let targets = targets(spec)?;
    let (writer, guard) = match open(spec, display, header_text(spec, &targets, header)) {
        Ok(opened) => opened,
        Err(error) if spec.file_chosen => return Err(error),
        Err(error) => {
            tell(&match error {
                LogError::Open { file, source } => format!(
                    "cannot write the log file `{}` ({source}); running without a log, --logfile names another",
                    file.display()
                ),
                error => format!("running without a log: {error}"),
            });
            return Ok(LogGuard { batch: None, fifo: None });
        }
    };
    tracing::subscriber::set_global_default(subscriber(spec.format, targets, writer))
        .map_err(|_| LogError::AlreadyStarted)?;
    Ok(guard)
}

/// Formats the header, if lines of its target and level are logged.
fn header_text(
    spec: &LogSpec,
    targets: &Targets,
    header: impl FnOnce() -> Vec<LogEntry> + Send + 'static,
) -> Header {
    let format = spec.format;
    match targets.would_enable(lines::TARGET, &Level::INFO) {
        true => Box::new(move || header().iter().map(|entry| entry.line(format, Level::INFO)).collect()),
        false => Box::new(String::new),
    }
}

fn targets(spec: &LogSpec) -> Result<Targets, LogError> {
    let targets: Targets = spec
        .filter
        .parse()
        .map_err(|e| LogError::Filter { filter: spec.filter.clone(), reason: format!("{e}") })?;
    Ok(targets.with_default(spec.level))
}

fn subscriber(format: LogFormat, targets: Targets, writer: BatchWriter) -> impl Subscriber + Send + Sync {
    let lines = tracing_subscriber::fmt::layer()
        .event_format(EventFormat::new(format))
        .with_ansi(false)
        // Lines logged after the guard was dropped are lost without an error.
        .log_internal_errors(false)
        .with_writer(move || writer.clone());
    Registry::default().with(lines).with(targets)
}

/// Opens the log file and starts the thread that writes it. A standard stream that is no FIFO is not opened again:
/// the position in the file is shared with its other writers, and what is in the file stays.
fn open(spec: &LogSpec, display: DisplayMode, header: Header) -> Result<(BatchWriter, LogGuard), LogError> {
    let path = &spec.file;
    let failed = |source| LogError::Open { file: path.clone(), source };
    let id = FileId::at(path);
    let is_stdout = id.is_some() && id == FileId::of(io::stdout());
    if is_stdout && display != DisplayMode::None {
        return Err(LogError::IsStandardOutput { file: path.clone() });
    }
    if id.is_some_and(FileId::is_fifo) {
        // Opened for reading as well, a FIFO opens at once and never breaks when its reader leaves.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
            .open(path)
            .map_err(failed)?;
        let fifo = file.try_clone().map_err(failed)?;
        let batch = Batch::start(FifoWriter::new(file, spec.format), header);
        Ok((batch.writer(), LogGuard { batch: Some(batch), fifo: Some(fifo) }))
    } else {
        let batch = if is_stdout {
            Batch::start(duplicate(io::stdout()).map_err(failed)?, header)
        } else if id.is_some() && id == FileId::of(io::stderr()) {
            // Its lock keeps the lines of a batch and messages for the user apart.
            Batch::start(io::stderr(), header)
        } else {
            let file =
                OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(failed)?;
            Batch::start(FileWriter::new(file), header)
        };
        Ok((batch.writer(), LogGuard { batch: Some(batch), fifo: None }))
    }
}

#[cfg(test)]
#[path = "log_test.rs"]
mod tests;
