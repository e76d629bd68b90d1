//! A serial port on a unix socket.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::info;

use super::{EndError, MOST_KEPT, READ_SIZE, keep};
use crate::os::socket::{self, SocketAccess, SocketError, SocketFile};

/// A unix socket with at most one client; others wait until it has left.
#[derive(Debug)]
pub struct UnixEnd {
    port: &'static str,
    listener: UnixListener,
    /// Goes with the end.
    _file: SocketFile,
    client: Option<Client>,
    pending: VecDeque<u8>,
}

/// Either direction of the connection can end before the other: a program that has sent all it has
/// may still want the answer.
#[derive(Debug)]
struct Client {
    stream: UnixStream,
    /// More may come from it.
    sends: bool,
    /// It takes what is sent to it.
    listens: bool,
}

impl Client {
    /// Nothing can go either way any more.
    fn hung_up(&self) -> bool {
        let mut fds = [PollFd::new(&self.stream, PollFlags::empty())];
        let _ = poll(&mut fds, Some(&Timespec::default()));
        fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }
}

impl UnixEnd {
    pub(super) fn listen(port: &'static str, path: &Path) -> Result<UnixEnd, EndError> {
        let failed = |reason| EndError::Socket { port, path: path.to_owned(), reason };
        let (listener, file) = socket::listen(path, SocketAccess::Umask).map_err(|error| match error {
            SocketError::NotSocket => EndError::NotSocket { port, path: path.to_owned() },
            SocketError::InUse => EndError::InUse { port, path: path.to_owned() },
            SocketError::Host(reason) => failed(reason),
        })?;
        listener.set_nonblocking(true).map_err(failed)?;
        info!("{port} listens on {}", path.display());
        Ok(UnixEnd { port, listener, _file: file, client: None, pending: VecDeque::new() })
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        keep(&mut self.pending, bytes);
    }

    /// Bytes a client has still to take.
    pub(super) fn owed(&self) -> usize {
        if self.client.as_ref().is_some_and(|client| client.listens) { self.pending.len() } else { 0 }
    }

    /// A client is so far behind that what is sent now would push out what it has not got yet.
    pub(super) fn is_full(&self) -> bool {
        self.owed() >= MOST_KEPT / 2
    }

    pub(super) fn watched(&self, wanted: bool) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let Some(client) = &self.client else { return Some((self.listener.as_fd(), PollFlags::IN)) };
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, client.sends && wanted);
        events.set(PollFlags::OUT, self.owed() > 0);
        // A closed connection is always reported. Who has not taken everything from it yet would be
        // woken again and again.
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
                // What it has sent before it closed the connection still counts.
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
        info!("{}: the client left", self.port);
        self.client = None;
    }
}

#[cfg(test)]
#[path = "unix_test.rs"]
mod tests;
