//! Connections with other programs, by TCP or by unix socket.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;

use super::socket::{SocketAccess, SocketError, SocketFile, connect, listen};
use crate::settings::ListenAddress;

/// Delay before a failed operation is retried.
const PAUSE: Duration = Duration::from_millis(10);

/// How long a unix socket that has as many waiting connections as it permits is tried.
const CONNECT: Duration = Duration::from_secs(5);

/// A listener for connections.
#[derive(Debug)]
pub enum Listener {
    /// On a TCP port.
    Tcp(TcpListener),
    /// On a unix socket.
    Unix(UnixListener),
}

impl Listener {
    /// Listens at `place`. A unix socket accepts only connections of this process's user; its file, which is
    /// removed when dropped, is returned as well.
    ///
    /// # Errors
    ///
    /// [`SocketError`], for example when the port or the socket is taken.
    pub fn bind(place: &ListenAddress) -> Result<(Listener, Option<SocketFile>), SocketError> {
        match place {
            ListenAddress::Tcp(address) => Ok((Listener::Tcp(TcpListener::bind(address)?), None)),
            ListenAddress::Unix(path) => {
                // A client that can connect controls the guest.
                let (listener, file) = listen(path, SocketAccess::Owner)?;
                Ok((Listener::Unix(listener), Some(file)))
            }
        }
    }

    /// Waits for the next connection.
    pub fn accept(&self) -> Stream {
        loop {
            if let Some(stream) = self.try_accept() {
                return stream;
            }
        }
    }

    /// Waits for the next connection, at most for `timeout`.
    pub fn accept_within(&self, timeout: Duration) -> Option<Stream> {
        let timeout = Timespec::try_from(timeout).ok();
        match poll(&mut [PollFd::new(self, PollFlags::IN)], timeout.as_ref()) {
            Ok(1..) => self.try_accept(),
            _ => None,
        }
    }

    fn try_accept(&self) -> Option<Stream> {
        let accepted = match self {
            Listener::Tcp(listener) => listener.accept().map(|(stream, _)| Stream::Tcp(stream)),
            Listener::Unix(listener) => listener.accept().map(|(stream, _)| Stream::Unix(stream)),
        };
        // Out of file descriptors, or the client has already disconnected.
        accepted.inspect_err(|_| thread::sleep(PAUSE)).ok()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// By TCP.
    Tcp(TcpStream),
    /// By unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// Connects to the listener at `place`.
    ///
    /// # Errors
    ///
    /// The host's error, for example when no process listens there.
    pub fn connect(place: &ListenAddress) -> io::Result<Stream> {
        match place {
            ListenAddress::Tcp(address) => TcpStream::connect(address).map(Stream::Tcp),
            ListenAddress::Unix(path) => connect(path, CONNECT).map(Stream::Unix),
        }
    }

    /// Answers the first request with `answer` and closes the connection; `timeout` limits each step.
    ///
    /// # Errors
    ///
    /// The host's error: the peer has disconnected before it received the answer.
    pub fn reject(mut self, answer: &[u8], timeout: Duration) -> io::Result<()> {
        self.set_timeouts(timeout, timeout)?;
        // Closing the connection with unread data would discard the answer.
        let mut question = [0; 1 << 10];
        self.read(&mut question).map(drop)?;
        self.write_all(answer)?;
        self.finish(timeout)
    }

    /// Closes the connection after the last answer. What the peer still sends is discarded for at most `timeout`:
    /// closing a connection with unread data would discard the answer.
    ///
    /// # Errors
    ///
    /// The host's error: the peer has disconnected, or reads or sends nothing.
    pub fn finish(mut self, timeout: Duration) -> io::Result<()> {
        self.shutdown(Shutdown::Write)?;
        self.set_timeouts(timeout, timeout)?;
        let start = Instant::now();
        let mut rest = [0; 4 << 10];
        while start.elapsed() < timeout && self.read(&mut rest)? > 0 {}
        Ok(())
    }

    /// Sends every packet immediately: each is small and waits for an answer.
    ///
    /// # Errors
    ///
    /// The host's error.
    pub fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_nodelay(true),
            Stream::Unix(_) => Ok(()),
        }
    }

    /// Sets the timeouts of reading and writing.
    ///
    /// # Errors
    ///
    /// The host's error.
    pub fn set_timeouts(&self, read: Duration, write: Duration) -> io::Result<()> {
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

    /// Sets the timeout of writing; reading does not time out.
    ///
    /// # Errors
    ///
    /// The host's error.
    pub fn set_write_timeout(&self, write: Duration) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_write_timeout(Some(write)),
            Stream::Unix(stream) => stream.set_write_timeout(Some(write)),
        }
    }

    /// Another handle to the same connection.
    ///
    /// # Errors
    ///
    /// The host's error.
    pub fn try_clone(&self) -> io::Result<Stream> {
        match self {
            Stream::Tcp(stream) => stream.try_clone().map(Stream::Tcp),
            Stream::Unix(stream) => stream.try_clone().map(Stream::Unix),
        }
    }

    /// Shuts down one direction, or both.
    ///
    /// # Errors
    ///
    /// The host's error.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(how),
            Stream::Unix(stream) => stream.shutdown(how),
        }
    }

    /// A description of the peer.
    pub fn peer(&self) -> String {
        let peer = match self {
            Stream::Tcp(stream) => stream.peer_addr().ok().map(|address| address.to_string()),
            Stream::Unix(stream) => {
                socket_peercred(stream).ok().map(|peer| format!("process {}", peer.pid.as_raw_nonzero()))
            }
        };
        peer.unwrap_or_else(|| "nowhere".to_owned())
    }
}

/// Rejects connections on threads of its own, so that a peer that is slow to read the reason does not delay others.
#[derive(Clone, Debug, Default)]
pub struct Rejector {
    running: Arc<AtomicUsize>,
}

impl Rejector {
    /// Maximum number of threads at the same time; further connections are closed without a reason.
    const MAX_THREADS: usize = 16;
    /// Stack of a thread, in bytes.
    const STACK: usize = 128 << 10;

    /// Answers the first request on `stream` with `answer` and closes it ([`Stream::reject`]).
    pub fn reject(&self, stream: Stream, answer: Vec<u8>, timeout: Duration) {
        if self.running.fetch_add(1, Ordering::Relaxed) >= Self::MAX_THREADS {
            self.running.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let running = self.running.clone();
        let thread = thread::Builder::new().name("reject".into()).stack_size(Self::STACK);
        let spawned = thread.spawn(move || {
            // An error means that the peer has already disconnected.
            let _ = stream.reject(&answer, timeout);
            running.fetch_sub(1, Ordering::Relaxed);
        });
        if spawned.is_err() {
            self.running.fetch_sub(1, Ordering::Relaxed);
        }
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
