//! The far ends of the serial ports: files, sockets, pseudo-terminals, the log.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tracing::{info, warn};

use crate::machine::outlets::Outlet;
use crate::settings::SerialEnd;

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

/// The far end of one outlet.
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
    /// Makes the far end `wanted` of `outlet`.
    ///
    /// # Errors
    ///
    /// [`EndError`] names the port, the path and the host's reason.
    pub fn new(outlet: Outlet, wanted: &SerialEnd) -> Result<End, EndError> {
        let port = outlet.name();
        Ok(match wanted {
            SerialEnd::Stdio => End::Stdio,
            SerialEnd::Log => End::Log(LineLog { port, line: Vec::new() }),
            SerialEnd::Null => End::Null,
            SerialEnd::File(path) => End::File(File::create(path).map_err(|reason| EndError::File {
                port,
                path: path.clone(),
                reason,
            })?),
            SerialEnd::Unix(path) => End::Unix(UnixEnd::listen(port, path)?),
            SerialEnd::Pty => {
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
            End::Unix(unix) => keep(&mut unix.pending, bytes),
            End::Pty(pty) => keep(&mut pty.pending, bytes),
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

    /// What to wait for: a file to watch for input, and whether also for room for output.
    pub fn watched(&self) -> Option<(BorrowedFd<'_>, bool)> {
        match self {
            End::Unix(UnixEnd { client: Some(client), pending, .. }) => {
                Some((client.as_fd(), !pending.is_empty()))
            }
            End::Unix(unix) => Some((unix.listener.as_fd(), false)),
            End::Pty(pty) => Some((pty.master.as_fd(), false)),
            _ => None,
        }
    }

    /// The watched file is ready: takes what the peer sent, possibly nothing.
    pub fn receive(&mut self) -> Vec<u8> {
        match self {
            End::Unix(unix) => unix.receive(),
            End::Pty(pty) => {
                let mut bytes = vec![0; READ_SIZE];
                let count = rustix::io::read(&pty.master, &mut bytes).unwrap_or(0);
                bytes.truncate(count);
                bytes
            }
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
            let text: String = String::from_utf8_lossy(&self.line).chars().flat_map(printable).collect();
            info!(target: "kvm::serial", "{}: {text}", self.port);
            self.line.clear();
        }
    }
}

/// A control character as its escape, so that a guest cannot drive the terminal that shows the log.
fn printable(c: char) -> Vec<char> {
    if c.is_control() && c != '\t' { c.escape_default().collect() } else { vec![c] }
}

/// A unix socket with at most one client.
#[derive(Debug)]
pub struct UnixEnd {
    port: &'static str,
    path: PathBuf,
    listener: UnixListener,
    client: Option<UnixStream>,
    pending: VecDeque<u8>,
}

impl UnixEnd {
    fn listen(port: &'static str, path: &Path) -> Result<UnixEnd, EndError> {
        let failed = |reason| EndError::Socket { port, path: path.to_owned(), reason };
        match std::fs::symlink_metadata(path) {
            // A socket left behind by an earlier run.
            Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path).map_err(failed)?,
            Ok(_) => return Err(EndError::NotSocket { port, path: path.to_owned() }),
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        info!("{port} listens on {}", path.display());
        Ok(UnixEnd { port, path: path.to_owned(), listener, client: None, pending: VecDeque::new() })
    }

    fn flush(&mut self) {
        let Some(client) = &mut self.client else { return };
        while !self.pending.is_empty() {
            match client.write(self.pending.as_slices().0) {
                Ok(0) => return,
                Ok(count) => _ = self.pending.drain(..count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.leave(),
            }
        }
    }

    fn receive(&mut self) -> Vec<u8> {
        let Some(client) = &mut self.client else {
            if let Ok((client, _)) = self.listener.accept()
                && client.set_nonblocking(true).is_ok()
            {
                info!("{}: a client connected", self.port);
                self.client = Some(client);
                self.flush();
            }
            return Vec::new();
        };
        let mut bytes = vec![0; READ_SIZE];
        match client.read(&mut bytes) {
            Ok(0) => self.leave(),
            Ok(count) => {
                bytes.truncate(count);
                return bytes;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.leave(),
        }
        Vec::new()
    }

    fn leave(&mut self) {
        info!("{}: the client left", self.port);
        self.client = None;
    }
}

impl Drop for UnixEnd {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A pseudo-terminal in raw mode.
#[derive(Debug)]
pub struct PtyEnd {
    name: String,
    master: OwnedFd,
    /// Held open, so that the terminal outlives the programs that use it.
    _slave: OwnedFd,
    pending: VecDeque<u8>,
}

impl PtyEnd {
    fn open() -> io::Result<PtyEnd> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let slave = rustix::fs::open(
            name.as_c_str(),
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mut settings = tcgetattr(&slave)?;
        settings.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &settings)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        Ok(PtyEnd {
            name: name.to_string_lossy().into_owned(),
            master,
            _slave: slave,
            pending: VecDeque::new(),
        })
    }

    fn flush(&mut self) {
        while !self.pending.is_empty() {
            match rustix::io::write(&self.master, self.pending.as_slices().0) {
                Ok(count) if count > 0 => _ = self.pending.drain(..count),
                Err(rustix::io::Errno::INTR) => {}
                _ => return,
            }
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
    fn a_client_that_connects_late_gets_what_was_sent_before() {
        let path = std::env::temp_dir().join(format!("kvm-end-{}", std::process::id()));
        let mut end = End::new(Outlet::Serial(1), &SerialEnd::Unix(path.clone())).unwrap();
        end.send(b"boot text\n");
        end.flush();
        let mut client = UnixStream::connect(&path).unwrap();
        assert_eq!(end.receive(), b"");
        let mut bytes = [0; 10];
        client.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"boot text\n");
        client.write_all(b"ls\n").unwrap();
        assert_eq!(end.receive(), b"ls\n");
        drop(client);
        assert_eq!(end.receive(), b"");
        assert!(matches!(&end, End::Unix(unix) if unix.client.is_none()));
        drop(end);
        assert!(!path.exists(), "the socket goes with the machine");
    }

    #[test]
    fn a_file_that_is_no_socket_is_not_removed() {
        let path = std::env::temp_dir().join(format!("kvm-file-{}", std::process::id()));
        std::fs::write(&path, "mine").unwrap();
        let error = End::new(Outlet::Serial(0), &SerialEnd::Unix(path.clone())).unwrap_err();
        assert!(error.to_string().contains("is no socket"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_pseudo_terminal_carries_bytes_unchanged_both_ways() {
        let mut end = End::new(Outlet::Serial(2), &SerialEnd::Pty).unwrap();
        let mut slave = File::options().read(true).write(true).open(end.pty_name().unwrap()).unwrap();
        end.send(b"a\nb\r");
        end.flush();
        let mut bytes = [0; 4];
        slave.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"a\nb\r");
        slave.write_all(b"\x03\n").unwrap();
        assert_eq!(end.receive(), b"\x03\n");
    }

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
