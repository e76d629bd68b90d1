//! A serial port on a unix socket.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::info;

use super::{BUFFER_LIMIT, BackendError, READ_SIZE, buffer};
use crate::os::socket::{self, SocketAccess, SocketError, SocketFile};

/// A unix socket with at most one client; further clients wait until it has disconnected.
#[derive(Debug)]
pub struct UnixBackend {
    port: &'static str,
    listener: UnixListener,
    /// Goes with the backend.
    _file: SocketFile,
    client: Option<Client>,
    pending: VecDeque<u8>,
}

/// Either direction of the connection can end before the other: a program that has sent all it has
/// may still want the answer.
#[derive(Debug)]
struct Client {
    stream: UnixStream,
    /// The client may still send.
    sends: bool,
    /// The client may still read.
    listens: bool,
}

impl Client {
    /// Both directions are closed.
    fn hung_up(&self) -> bool {
        let mut fds = [PollFd::new(&self.stream, PollFlags::empty())];
        let _ = poll(&mut fds, Some(&Timespec::default()));
        fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }
}

impl UnixBackend {
    pub(super) fn listen(port: &'static str, path: &Path) -> Result<UnixBackend, BackendError> {
        let failed = |reason| BackendError::Socket { port, path: path.to_owned(), reason };
        let (listener, file) = socket::listen(path, SocketAccess::Umask).map_err(|error| match error {
            SocketError::NotSocket => BackendError::NotSocket { port, path: path.to_owned() },
            SocketError::InUse => BackendError::InUse { port, path: path.to_owned() },
            SocketError::Host(reason) => failed(reason),
        })?;
        listener.set_nonblocking(true).map_err(failed)?;
        info!("{port} listens on {}", path.display());
        Ok(UnixBackend { port, listener, _file: file, client: None, pending: VecDeque::new() })
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        buffer(&mut self.pending, bytes);
    }

    /// Buffered bytes that a client has not read yet.
    pub(super) fn unread(&self) -> usize {
        if self.client.as_ref().is_some_and(|client| client.listens) { self.pending.len() } else { 0 }
    }

    /// A client is so slow that sending more would drop what it has not read yet.
    pub(super) fn is_full(&self) -> bool {
        self.unread() >= BUFFER_LIMIT / 2
    }

    pub(super) fn poll_target(&self, wanted: bool) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let Some(client) = &self.client else { return Some((self.listener.as_fd(), PollFlags::IN)) };
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, client.sends && wanted);
        events.set(PollFlags::OUT, self.unread() > 0);
        // poll always reports a closed connection, which would wake this thread again and again until
        // everything has been read from it.
        let held_back = client.sends && !wanted && events.is_empty();
        (!held_back).then(|| (client.stream.as_fd(), events))
    }

    pub(super) fn flush(&mut self) {
        let Some(client) = self.client.as_mut().filter(|client| client.listens) else { return };
        while !self.pending.is_empty() {
            match client.stream.write(self.pending.as_slices().0) {
                Ok(0) => return,
                Ok(count) => _ = self.pending.drain(..count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Input sent before the client closed the connection still counts.
                Err(_) => {
                    client.listens = false;
                    if !client.sends {
                        self.leave();
                    }
                    return;
                }
            }
        }
    }

    pub(super) fn receive(&mut self) -> Vec<u8> {
        let Some(client) = &mut self.client else {
            self.accept();
            return Vec::new();
        };
        if !client.sends {
            if client.hung_up() {
                self.leave();
            }
            return Vec::new();
        }
        let mut bytes = vec![0; READ_SIZE];
        match client.stream.read(&mut bytes) {
            Ok(count) if count > 0 => {
                bytes.truncate(count);
                return bytes;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Ok(_) if client.listens && !client.hung_up() => client.sends = false,
            _ => self.leave(),
        }
        Vec::new()
    }

    fn accept(&mut self) {
        if let Ok((stream, _)) = self.listener.accept()
            && stream.set_nonblocking(true).is_ok()
        {
            info!("{}: a client connected", self.port);
            self.client = Some(Client { stream, sends: true, listens: true });
            self.flush();
        }
    }

    fn leave(&mut self) {
        info!("{}: the client has disconnected", self.port);
        self.client = None;
    }
}

#[cfg(test)]
#[path = "unix_test.rs"]
mod tests;
