//! Connections of debuggers, by TCP or on this host.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;

use crate::host::socket::{Access, SocketError, SocketFile, listen};
use crate::settings::GdbPlace;

/// Where connections come in.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Listens at `place`; with a unix socket comes the file that is to be removed at the end.
    pub(super) fn bind(place: &GdbPlace) -> Result<(Listener, Option<SocketFile>), SocketError> {
        match place {
            GdbPlace::Tcp(address) => Ok((Listener::Tcp(TcpListener::bind(address)?), None)),
            GdbPlace::Unix(path) => {
                // Whoever can connect controls the guest.
                let (listener, file) = listen(path, Access::Owner)?;
                Ok((Listener::Unix(listener), Some(file)))
            }
        }
    }

    /// Waits for a connection.
    pub(super) fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => Ok(Stream::Tcp(listener.accept()?.0)),
            Listener::Unix(listener) => Ok(Stream::Unix(listener.accept()?.0)),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Sends every packet at once: each is small and waits for an answer.
    pub(super) fn send_at_once(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_nodelay(true),
            Stream::Unix(_) => Ok(()),
        }
    }

    /// Has reading and writing end after these times.
    pub(super) fn set_patience(&self, read: Duration, write: Duration) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => {
                stream.set_read_timeout(Some(read))?;
                stream.set_write_timeout(Some(write))
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(read))?;
                stream.set_write_timeout(Some(write))
            }
        }
    }

    /// Another handle to the same connection.
    pub(super) fn try_clone(&self) -> io::Result<Stream> {
        match self {
            Stream::Tcp(stream) => stream.try_clone().map(Stream::Tcp),
            Stream::Unix(stream) => stream.try_clone().map(Stream::Unix),
        }
    }

    /// Ends one direction, or both.
    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(how),
            Stream::Unix(stream) => stream.shutdown(how),
        }
    }

    /// Who is at the other end.
    pub(super) fn peer(&self) -> String {
        let peer = match self {
            Stream::Tcp(stream) => stream.peer_addr().ok().map(|address| address.to_string()),
            Stream::Unix(stream) => {
                socket_peercred(stream).ok().map(|peer| format!("process {}", peer.pid.as_raw_nonzero()))
            }
        };
        peer.unwrap_or_else(|| "nowhere".to_owned())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.flush(),
            Stream::Unix(stream) => stream.flush(),
        }
    }
}
