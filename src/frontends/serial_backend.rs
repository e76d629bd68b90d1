//! Serial backends: files, sockets, pseudo-terminals and the log, to which serial ports are connected.
//!
//! [`super::output_router`] owns them; several ports may share the log, standard output or a file.

mod pty;
mod unix;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use rustix::event::PollFlags;
use tracing::{info, warn};

use super::file_id::{FileId, duplicate};
use super::messages::escaped;
use crate::machine::output::OutputSource;
use crate::settings::SerialBackend;
pub use pty::PtyBackend;
pub use unix::UnixBackend;

/// Bytes buffered for a peer that is not connected or does not read; older ones are dropped.
const BUFFER_LIMIT: usize = 64 << 10;
/// Longest line in the log, in bytes; a longer one is split.
const LONGEST_LINE: usize = 1024;
/// Most bytes read from a peer at a time.
const READ_SIZE: usize = 4096;

/// Why a serial backend could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The file cannot be created.
    #[error("{port}: cannot create {} ({reason}); choose another place with --serial", path.display())]
    File {
        /// Which port.
        port: &'static str,
        /// The file.
        path: PathBuf,
        /// The host's error.
        reason: io::Error,
    },
    /// The file is the log file.
    #[error(
        "{port}: {} is the log file, and the port would write over it; use `log`, or another file (--logfile \
         names the log)",
        path.display()
    )]
    IsLog {
        /// Which port.
        port: &'static str,
        /// The file as the user named it.
        path: PathBuf,
    },
    /// Something that is no socket is in the way.
    #[error("{port}: {} exists and is no socket; remove it or choose another path", path.display())]
    NotSocket {
        /// Which port.
        port: &'static str,
        /// What is in the way.
        path: PathBuf,
    },
    /// Another program listens on the socket.
    #[error("{port}: {} is in use by another program; choose another path with --serial", path.display())]
    InUse {
        /// Which port.
        port: &'static str,
        /// The socket.
        path: PathBuf,
    },
    /// The socket cannot be listened on.
    #[error("{port}: cannot listen on {} ({reason}); choose another path with --serial", path.display())]
    Socket {
        /// Which port.
        port: &'static str,
        /// The socket.
        path: PathBuf,
        /// The host's error.
        reason: io::Error,
    },
    /// The host provides no pseudo-terminal.
    #[error("{port}: cannot get a pseudo-terminal ({reason}); use unix:PATH instead")]
    Pty {
        /// Which port.
        port: &'static str,
        /// The host's error.
        reason: io::Error,
    },
}

/// The backend of one or more serial ports or the debug console.
#[derive(Debug)]
pub enum Backend {
    /// Standard output, which the display writes.
    Stdio,
    /// Lines in the log.
    Log(LineLog),
    /// A file.
    File(File),
    /// A unix socket.
    Unix(UnixBackend),
    /// A pseudo-terminal.
    Pty(PtyBackend),
    /// Discards everything.
    Null,
}

impl Backend {
    /// Opens the backend `wanted` for `source`.
    ///
    /// # Errors
    ///
    /// [`BackendError`] names the port, the path and the host's reason.
    pub fn new(source: OutputSource, wanted: &SerialBackend) -> Result<Backend, BackendError> {
        let port = source.name();
        Ok(match wanted {
            SerialBackend::Stdio => Backend::Stdio,
            SerialBackend::Log => Backend::Log(LineLog::default()),
            SerialBackend::Null => Backend::Null,
            SerialBackend::File(path) => {
                // Messages for the user go to the same place: neither may write over the other.
                let is_stderr = FileId::at(path).is_some_and(|id| Some(id) == FileId::of(io::stderr()));
                let opened = if is_stderr { duplicate(io::stderr()) } else { File::create(path) };
                Backend::File(opened.map_err(|reason| BackendError::File {
                    port,
                    path: path.clone(),
                    reason,
                })?)
            }
            SerialBackend::Unix(path) => Backend::Unix(UnixBackend::listen(port, path)?),
            SerialBackend::Pty => {
                let pty = PtyBackend::open().map_err(|reason| BackendError::Pty { port, reason })?;
                info!("{port} is {}", pty.name);
                Backend::Pty(pty)
            }
        })
    }

    /// Name of the pseudo-terminal, if this is one.
    pub fn pty_name(&self) -> Option<&str> {
        match self {
            Backend::Pty(pty) => Some(&pty.name),
            _ => None,
        }
    }

    /// Sends `bytes` of the guest. They are buffered until [`Self::flush`] where the peer may be slow.
    pub fn send(&mut self, bytes: &[u8]) {
        match self {
            // The display writes standard output; the log takes bytes one by one.
            Backend::Stdio | Backend::Log(_) | Backend::Null => {}
            Backend::File(file) => {
                if let Err(error) = file.write_all(bytes) {
                    warn!("a serial port's file takes no more ({error}); its output is dropped from now on");
                    *self = Backend::Null;
                }
            }
            Backend::Unix(unix) => unix.send(bytes),
            Backend::Pty(pty) => pty.send(bytes),
        }
    }

    /// Writes as much of the buffer as the peer takes without blocking.
    pub fn flush(&mut self) {
        match self {
            Backend::Unix(unix) => unix.flush(),
            Backend::Pty(pty) => pty.flush(),
            _ => {}
        }
    }

    /// Ends unfinished lines in the log.
    pub fn finish(&mut self) {
        self.flush();
        if let Backend::Log(log) = self {
            OutputSource::ALL.into_iter().for_each(|source| log.end_line(source));
        }
    }

    /// Buffered bytes that a connected peer has not read yet.
    pub fn unread(&self) -> usize {
        match self {
            Backend::Unix(unix) => unix.unread(),
            Backend::Pty(pty) => pty.unread(),
            _ => 0,
        }
    }

    /// True if the guest has to wait until the peer reads.
    pub fn is_full(&self) -> bool {
        matches!(self, Backend::Unix(unix) if unix.is_full())
    }

    /// The descriptor and events to poll for. `wanted`: the guest has room for input.
    pub fn poll_target(&self, wanted: bool) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match self {
            Backend::Unix(unix) => unix.poll_target(wanted),
            Backend::Pty(pty) => pty.poll_target(wanted),
            _ => None,
        }
    }

    /// Reads what the peer sent, possibly nothing, once the polled descriptor is ready.
    pub fn receive(&mut self) -> Vec<u8> {
        match self {
            Backend::Unix(unix) => unix.receive(),
            Backend::Pty(pty) => pty.receive(),
            _ => Vec::new(),
        }
    }
}

/// Serial output as lines in the log. A line is logged when it is complete.
#[derive(Debug, Default)]
pub struct LineLog {
    /// The unfinished line of each device, by [`OutputSource::index`].
    lines: [Vec<u8>; OutputSource::ALL.len()],
}

impl LineLog {
    /// A device has sent a byte.
    pub fn push(&mut self, source: OutputSource, byte: u8) {
        match byte {
            b'\n' => self.end_line(source),
            b'\r' => {}
            _ => {
                let line = &mut self.lines[source.index()];
                line.push(byte);
                if line.len() >= LONGEST_LINE {
                    self.end_line(source);
                }
            }
        }
    }

    fn end_line(&mut self, source: OutputSource) {
        let line = &mut self.lines[source.index()];
        if !line.is_empty() {
            let text = escaped(&String::from_utf8_lossy(line), &['\t']);
            info!(target: "kvm::serial", "{}: {text}", source.name());
            line.clear();
        }
    }
}

/// Buffers `bytes`, dropping the oldest beyond [`BUFFER_LIMIT`].
fn buffer(pending: &mut VecDeque<u8>, bytes: &[u8]) {
    pending.extend(bytes);
    let excess = pending.len().saturating_sub(BUFFER_LIMIT);
    pending.drain(..excess);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_peer_costs_a_bounded_amount_of_memory() {
        let mut pending = VecDeque::new();
        for _ in 0..3 {
            buffer(&mut pending, &[1; BUFFER_LIMIT]);
        }
        buffer(&mut pending, b"end");
        assert_eq!(pending.len(), BUFFER_LIMIT);
        assert_eq!(pending.iter().rev().take(3).rev().copied().collect::<Vec<_>>(), b"end");
    }
}
