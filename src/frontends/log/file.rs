//! Where log lines go: a file that an earlier run may have filled, or a FIFO with or without a reader.

use std::fs::File;
use std::io::{self, ErrorKind, Seek, Write};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::Level;

use super::lines::LogEntry;
use crate::settings::LogFormat;

/// How long a full FIFO is waited for before lines are dropped.
const FIFO_TIMEOUT: Duration = Duration::from_millis(50);

/// Writes lines over what an earlier run left in the file.
///
/// The rest of that is cut off after the first batch: emptying a file can take longer than everything
/// else that happens before the guest's first instruction.
pub(super) struct FileWriter {
    file: File,
    /// What an earlier run left is gone.
    shortened: bool,
}

impl FileWriter {
    /// Writes to `file` from its start.
    pub(super) fn new(file: File) -> FileWriter {
        FileWriter { file, shortened: false }
    }

    fn shorten(&mut self) -> io::Result<()> {
        self.shortened = true;
        // A device has no length that could be changed.
        let metadata = self.file.metadata()?;
        if metadata.is_file() {
            let end = self.file.stream_position()?;
            if metadata.len() > end {
                self.file.set_len(end)?;
            }
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

    /// Cuts off what an earlier run left, also if nothing has been logged.
    fn flush(&mut self) -> io::Result<()> {
        if self.shortened { Ok(()) } else { self.shorten() }
    }
}

/// Writes lines into a FIFO as long as it has room.
pub(super) struct FifoWriter {
    file: File,
    format: LogFormat,
    /// Lines dropped since the FIFO was found full.
    dropped: u64,
}

impl FifoWriter {
    /// Writes to `file`, which must be in non-blocking mode.
    pub(super) fn new(file: File, format: LogFormat) -> FifoWriter {
        FifoWriter { file, format, dropped: 0 }
    }

    /// Writes one line, or drops and counts it.
    fn put_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.dropped > 0 {
            let note = match self.format {
                LogFormat::Text => format!("... {} lines dropped: the log was not read\n", self.dropped),
                LogFormat::Json => LogEntry {
                    message: "lines dropped: the log was not read",
                    fields: vec![("count", self.dropped.to_string())],
                }
                .line(self.format, Level::WARN),
            };
            if !self.put(note.as_bytes(), Duration::ZERO)? {
                self.dropped += 1;
                return Ok(());
            }
            self.dropped = 0;
        }
        if !self.put(line, FIFO_TIMEOUT)? {
            self.dropped += 1;
        }
        Ok(())
    }

    /// Writes `bytes`; false if the FIFO is full and stays full.
    fn put(&mut self, mut bytes: &[u8], mut timeout: Duration) -> io::Result<bool> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if timeout.is_zero() {
                        return Ok(false);
                    }
                    self.wait_for_room(timeout);
                    timeout = Duration::ZERO;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    fn wait_for_room(&self, limit: Duration) {
        let timeout = Timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() };
        // However this ends, the next attempt to write shows whether there is room.
        let _ = poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], Some(&timeout));
    }
}

impl Write for FifoWriter {
    /// Takes whole lines. Each is written, or dropped and counted.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            self.put_line(line)?;
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
