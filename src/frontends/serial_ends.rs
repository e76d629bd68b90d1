//! The far ends of the serial ports: files, sockets, pseudo-terminals, the log.

mod pty;
mod unix;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use rustix::event::PollFlags;
use tracing::{info, warn};

use super::words::escaped;
use crate::machine::output::OutputQueue;
use crate::settings::SerialBackend;
pub use pty::PtyEnd;
pub use unix::UnixEnd;

/// Bytes kept for a peer that is not there or does not read; older ones are dropped.
const MOST_KEPT: usize = 64 << 10;
/// Longest line in the log; a longer one is broken.
const LONGEST_LINE: usize = 1024;
/// Most bytes read from a peer at a time.
const READ_SIZE: usize = 4096;

/// Why the far end of a serial port could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// The file cannot be created.
    #[error("{port}: cannot create {} ({reason}); choose another place with --serial", path.display())]
    File {
        /// Which port.
        port: &'static str,
        /// The file.
        path: PathBuf,
        /// The host's words.
        reason: io::Error,
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
        /// The host's words.
        reason: io::Error,
    },
    /// No pseudo-terminal can be had.
    #[error("{port}: cannot get a pseudo-terminal ({reason}); use unix:PATH instead")]
    Pty {
        /// Which port.
        port: &'static str,
        /// The host's words.
        reason: io::Error,
    },
}

/// The far end of one queue.
#[derive(Debug)]
pub enum End {
    /// Standard output; what is written there is not this room's business.
    Stdio,
    /// Lines in the log.
    Log(LineLog),
    /// A file.
    File(File),
    /// A unix socket.
    Unix(UnixEnd),
    /// A pseudo-terminal.
    Pty(PtyEnd),
    /// Nobody.
    Null,
}

impl End {
    /// Makes the far end `wanted` of `queue`.
    ///
    /// # Errors
    ///
    /// [`EndError`] names the port, the path and the host's reason.
    pub fn new(queue: OutputQueue, wanted: &SerialBackend) -> Result<End, EndError> {
        let port = queue.name();
        Ok(match wanted {
            SerialBackend::Stdio => End::Stdio,
            SerialBackend::Log => End::Log(LineLog { port, line: Vec::new() }),
            SerialBackend::Null => End::Null,
            SerialBackend::File(path) => End::File(File::create(path).map_err(|reason| EndError::File {
                port,
                path: path.clone(),
                reason,
            })?),
            SerialBackend::Unix(path) => End::Unix(UnixEnd::listen(port, path)?),
            SerialBackend::Pty => {
                let pty = PtyEnd::open().map_err(|reason| EndError::Pty { port, reason })?;
                info!("{port} is {}", pty.name);
                End::Pty(pty)
            }
        })
    }

    /// Name of the pseudo-terminal, if this is one.
    pub fn pty_name(&self) -> Option<&str> {
        match self {
            End::Pty(pty) => Some(&pty.name),
            _ => None,
        }
    }

    /// The guest sent `bytes`. They are kept until [`Self::flush`] where the peer may have to be
    /// waited for.
    pub fn send(&mut self, bytes: &[u8]) {
        match self {
            End::Stdio | End::Null => {}
            End::Log(log) => log.send(bytes),
            End::File(file) => {
                if let Err(error) = file.write_all(bytes) {
                    warn!("a serial port's file takes no more ({error}); its output is dropped from now on");
                    *self = End::Null;
                }
            }
            End::Unix(unix) => unix.send(bytes),
            End::Pty(pty) => pty.send(bytes),
        }
    }

    /// Writes what is kept, as far as the peer takes it now.
    pub fn flush(&mut self) {
        match self {
            End::Unix(unix) => unix.flush(),
            End::Pty(pty) => pty.flush(),
            _ => {}
        }
    }

    /// Ends an unfinished line in the log.
    pub fn finish(&mut self) {
        self.flush();
        if let End::Log(log) = self {
            log.end_line();
        }
    }

    /// Bytes that a peer who seems to be there has not taken yet.
    pub fn owed(&self) -> usize {
        match self {
            End::Unix(unix) => unix.owed(),
            End::Pty(pty) => pty.owed(),
            _ => 0,
        }
    }

    /// True if the guest has to wait until the peer has taken what was sent to it.
    pub fn is_full(&self) -> bool {
        matches!(self, End::Unix(unix) if unix.is_full())
    }

    /// What to wait for: a file and its events. `wanted`: the guest has room for what the peer sends.
    pub fn watched(&self, wanted: bool) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match self {
            End::Unix(unix) => unix.watched(wanted),
            End::Pty(pty) => pty.watched(wanted),
            _ => None,
        }
    }

    /// The watched file is ready: takes what the peer sent, possibly nothing.
    pub fn receive(&mut self) -> Vec<u8> {
        match self {
            End::Unix(unix) => unix.receive(),
            End::Pty(pty) => pty.receive(),
            _ => Vec::new(),
        }
    }
}

/// Serial output as lines in the log.
#[derive(Debug)]
pub struct LineLog {
    port: &'static str,
    line: Vec<u8>,
}

impl LineLog {
    fn send(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\n' => self.end_line(),
                b'\r' => {}
                _ => {
                    self.line.push(byte);
                    if self.line.len() >= LONGEST_LINE {
                        self.end_line();
                    }
                }
            }
        }
    }

    fn end_line(&mut self) {
        if !self.line.is_empty() {
            let text = escaped(&String::from_utf8_lossy(&self.line), &['\t']);
            info!(target: "kvm::serial", "{}: {text}", self.port);
            self.line.clear();
        }
    }
}

/// Keeps `bytes`, dropping the oldest beyond [`MOST_KEPT`].
fn keep(pending: &mut VecDeque<u8>, bytes: &[u8]) {
    pending.extend(bytes);
    let excess = pending.len().saturating_sub(MOST_KEPT);
    pending.drain(..excess);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_never_comes_costs_a_bounded_amount_of_memory() {
        let mut pending = VecDeque::new();
        for _ in 0..3 {
            keep(&mut pending, &[1; MOST_KEPT]);
        }
        keep(&mut pending, b"end");
        assert_eq!(pending.len(), MOST_KEPT);
        assert_eq!(pending.iter().rev().take(3).rev().copied().collect::<Vec<_>>(), b"end");
    }
}
