//! The log: what the rooms report through `tracing`, written to a file by a thread of its own.
//!
//! A line is a time in seconds since the start, a level, the room it comes from, and a message:
//!
//! ```text
//!    0.001234  INFO kvm::boot: hello.elf: entry 0x100000
//! ```
//!
//! The log may be a FIFO, for a terminal that shows it in another window. Opening one does not wait
//! for a reader, and a reader that comes a little later, or lags behind, misses nothing: up to 64 KiB
//! wait in the FIFO. When it is full and stays full, lines are dropped and counted instead of the
//! guest being stopped; a note tells how many when the reader goes on.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Seek, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::Subscriber;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

use super::messages::tell;
use crate::settings::LogSpec;

/// Lines that can wait for the writing thread; whoever logs another one waits for room.
const LINES_LIMIT: usize = 256;

/// How long a full FIFO is waited for before lines are dropped. Shorter than the tenth of a second
/// that the end of the run waits for the writing thread to take its last message.
const FIFO_PATIENCE: Duration = Duration::from_millis(50);

/// How long the end of the run waits for a reader to take what is in the FIFO, which vanishes with
/// its last user.
const FIFO_LINGER: Duration = Duration::from_secs(1);

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file the user named cannot be written.
    #[error("cannot write the log file `{}`: {reason}; name another one with --logfile", file.display())]
    Open {
        /// The file.
        file: PathBuf,
        /// The host's words.
        reason: String,
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

/// Keeps the log going. When it is dropped, everything logged before is in the file; nothing logged
/// afterwards is.
#[must_use = "the log ends when this is dropped"]
#[derive(Debug)]
pub struct LogGuard {
    worker: Option<WorkerGuard>,
    fifo: Option<File>,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        drop(self.worker.take());
        if let Some(fifo) = &self.fifo {
            let start = Instant::now();
            while start.elapsed() < FIFO_LINGER && rustix::io::ioctl_fionread(fifo).is_ok_and(|left| left > 0)
            {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

/// Starts the log for the whole process. The file is emptied.
///
/// If the file cannot be opened and the user did not choose it, a warning goes to standard error and
/// there is no log.
///
/// # Errors
///
/// [`LogError::Open`] for a file that the user chose, [`LogError::Filter`], and
/// [`LogError::AlreadyStarted`] on the second call in a process.
pub fn start(spec: &LogSpec) -> Result<LogGuard, LogError> {
    let targets = targets(spec)?;
    let (writer, guard) = match open(&spec.file) {
        Ok(opened) => opened,
        Err(e) if spec.file_chosen => {
            return Err(LogError::Open { file: spec.file.clone(), reason: e.to_string() });
        }
        Err(e) => {
            tell(&format!(
                "cannot write the log file `{}` ({e}); running without a log, --logfile names another",
                spec.file.display()
            ));
            return Ok(LogGuard { worker: None, fifo: None });
        }
    };
    tracing::subscriber::set_global_default(subscriber(targets, writer))
        .map_err(|_| LogError::AlreadyStarted)?;
    Ok(guard)
}

fn targets(spec: &LogSpec) -> Result<Targets, LogError> {
    let targets: Targets = spec
        .filter
        .parse()
        .map_err(|e| LogError::Filter { filter: spec.filter.clone(), reason: format!("{e}") })?;
    Ok(targets.with_default(spec.level))
}

fn subscriber(targets: Targets, writer: NonBlocking) -> impl Subscriber + Send + Sync {
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_timer(SinceStart(Instant::now()))
        // What is logged after the guard is gone is lost, and not worth a word on standard error.
        .log_internal_errors(false)
        .with_writer(writer);
    Registry::default().with(lines).with(targets)
}

/// Opens the log file and starts the thread that writes it.
fn open(path: &Path) -> io::Result<(NonBlocking, LogGuard)> {
    let builder =
        NonBlockingBuilder::default().lossy(false).buffered_lines_limit(LINES_LIMIT).thread_name("log");
    if path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        // Opened for reading as well, a FIFO opens at once and never breaks when its reader leaves.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
            .open(path)?;
        let kept = file.try_clone()?;
        let (writer, worker) = builder.finish(FifoWriter { file, dropped: 0 });
        Ok((writer, LogGuard { worker: Some(worker), fifo: Some(kept) }))
    } else {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        // The writing thread flushes whenever it has caught up.
        let (writer, worker) = builder.finish(BufWriter::new(FileWriter { file, shortened: false }));
        Ok((writer, LogGuard { worker: Some(worker), fifo: None }))
    }
}

/// Writes lines over what an earlier run left in the file.
///
/// The rest of that is cut off after the first line, in the writing thread: emptying a file can take
/// longer than everything else that happens before the guest's first instruction.
struct FileWriter {
    file: File,
    /// What an earlier run left is gone.
    shortened: bool,
}

impl FileWriter {
    fn shorten(&mut self) -> io::Result<()> {
        self.shortened = true;
        // A device has no length that could be changed.
        if self.file.metadata()?.is_file() {
            let end = self.file.stream_position()?;
            self.file.set_len(end)?;
        }
        Ok(())
    }
}

impl Write for FileWriter {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let written = self.file.write(lines)?;
        if !self.shortened {
            self.shorten()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if !self.shortened {
            // Nothing was logged; nobody is left to be told that the old text stays.
            let _ = self.shorten();
        }
    }
}

/// Writes lines into a FIFO for as long as somebody reads them.
struct FifoWriter {
    file: File,
    /// Lines dropped since the FIFO was found full.
    dropped: u64,
}

impl FifoWriter {
    /// Writes `bytes`; false if the FIFO is full and stays full.
    fn put(&mut self, mut bytes: &[u8], mut patience: Duration) -> io::Result<bool> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if patience.is_zero() {
                        return Ok(false);
                    }
                    self.wait_for_room(patience);
                    patience = Duration::ZERO;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    fn wait_for_room(&self, patience: Duration) {
        let timeout = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
        // However this ends, the next attempt to write shows whether there is room.
        let _ = poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], Some(&timeout));
    }
}

impl Write for FifoWriter {
    /// Takes one line. All of it is taken, or it is dropped and counted.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.dropped > 0 {
            let note = format!("... {} lines dropped: nobody read the log\n", self.dropped);
            if !self.put(note.as_bytes(), Duration::ZERO)? {
                self.dropped += 1;
                return Ok(line.len());
            }
            self.dropped = 0;
        }
        if !self.put(line, FIFO_PATIENCE)? {
            self.dropped += 1;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Seconds since the start, with microseconds.
struct SinceStart(Instant);

impl FormatTime for SinceStart {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let time = self.0.elapsed();
        write!(writer, "{:>4}.{:06}", time.as_secs(), time.subsec_micros())
    }
}

#[cfg(test)]
#[path = "log_test.rs"]
mod tests;
