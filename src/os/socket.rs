//! Unix sockets for other programs of this host, each a file while it is listened on.
//!
//! Manual: unix(7), "Pathname socket ownership and permissions".

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 16;

/// Which users may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketAccess {
    /// Those that the process's umask permits.
    Umask,
    /// Only this process's user (mode 0600).
    Owner,
}

/// Why a socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A file that is not a socket is in the way.
    #[error("it exists and is no socket")]
    NotSocket,
    /// Another program listens there.
    #[error("it is in use by another program")]
    InUse,
    /// The host's error.
    #[error(transparent)]
    Host(#[from] io::Error),
}

/// The file of a socket. Dropping it removes the file.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // The file may have been removed already.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Listens on a stream socket at `path`. A socket without a listener is replaced.
///
/// # Errors
///
/// [`SocketError`], for example when `path` is a file or another program's socket; both are left alone.
pub fn listen(path: &Path, access: SocketAccess) -> Result<(UnixListener, SocketFile), SocketError> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => match is_listened_on(path)? {
            true => return Err(SocketError::InUse),
            // Left behind by an earlier run.
            false => std::fs::remove_file(path)?,
        },
        Ok(_) => return Err(SocketError::NotSocket),
        Err(_) => {}
    }
    let address = SocketAddrUnix::new(path).map_err(io::Error::from)?;
    let socket = stream_socket(SocketFlags::CLOEXEC)?;
    rustix::net::bind(&socket, &address).map_err(io::Error::from)?;
    let file = SocketFile(path.to_owned());
    if access == SocketAccess::Owner {
        // No client can connect before the socket is listened on.
        rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR).map_err(io::Error::from)?;
    }
    rustix::net::listen(&socket, BACKLOG).map_err(io::Error::from)?;
    Ok((socket.into(), file))
}

/// Connects to the socket at `path`. While as many connections as its listener permits wait to be accepted, it is
/// tried again, for at most `timeout`: connect(2) itself would wait without end.
pub(super) fn connect(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let (address, start) = (SocketAddrUnix::new(path)?, Instant::now());
    let socket = stream_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    loop {
        match rustix::net::connect(&socket, &address) {
            Ok(()) => break,
            Err(Errno::AGAIN) if start.elapsed() < timeout => std::thread::sleep(Duration::from_millis(20)),
            Err(Errno::AGAIN) => {
                let why = "the program that listens there accepts no connections";
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// True if a program listens on the socket at `path`. Does not wait for it to accept a connection.
fn is_listened_on(path: &Path) -> io::Result<bool> {
    let address = SocketAddrUnix::new(path)?;
    let probe = stream_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    match rustix::net::connect(&probe, &address) {
        // EAGAIN: as many connections as the listener permits wait to be accepted (connect(2)).
        Ok(()) | Err(Errno::AGAIN) => Ok(true),
        Err(Errno::CONNREFUSED) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn stream_socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// A listener may be stopped, or busy: nobody accepts the connections that wait.
    #[test]
    fn a_socket_whose_listener_accepts_no_connection_is_in_use_at_once() {
        let path = std::env::temp_dir().join(format!("kvm-full-backlog-{}", std::process::id()));
        let (listener, file) = listen(&path, SocketAccess::Owner).unwrap();
        let waiting: Vec<OwnedFd> = std::iter::repeat_with(|| {
            let client = stream_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).unwrap();
            let connected = rustix::net::connect(&client, &SocketAddrUnix::new(&path).unwrap());
            connected.map(|()| client)
        })
        .map_while(Result::ok)
        .collect();
        assert!(waiting.len() >= BACKLOG as usize, "{}", waiting.len());
        let (sender, answer) = channel();
        let probed = path.clone();
        std::thread::spawn(move || sender.send(listen(&probed, SocketAccess::Owner).map(drop)));
        let answer = answer.recv_timeout(Duration::from_secs(10)).expect("an answer without a wait");
        assert!(matches!(answer, Err(SocketError::InUse)), "{answer:?}");
        assert!(path.exists(), "the socket of the other program stays");
        // A client waits, but not without end, and gets through when there is room.
        let error = connect(&path, Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(listener.accept().unwrap());
        connect(&path, Duration::from_secs(10)).unwrap();
        drop(file);
    }

    #[test]
    fn a_socket_without_a_listener_is_replaced() {
        let path = std::env::temp_dir().join(format!("kvm-left-behind-{}", std::process::id()));
        drop(UnixListener::bind(&path).unwrap());
        let (_listener, _file) = listen(&path, SocketAccess::Owner).unwrap();
        UnixStream::connect(&path).unwrap();
    }
}
