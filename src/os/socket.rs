//! Unix sockets for other programs of this host, each a file while it is listened on.
//!
//! Manual: unix(7), "Pathname socket ownership and permissions".

use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
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
        Ok(found) if found.file_type().is_socket() => match UnixStream::connect(path) {
            Ok(_) => return Err(SocketError::InUse),
            // Left behind by an earlier run.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Err(error) => return Err(error.into()),
        },
        Ok(_) => return Err(SocketError::NotSocket),
        Err(_) => {}
    }
    let address = SocketAddrUnix::new(path).map_err(io::Error::from)?;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(io::Error::from)?;
    rustix::net::bind(&socket, &address).map_err(io::Error::from)?;
    let file = SocketFile(path.to_owned());
    if access == SocketAccess::Owner {
        // No client can connect before the socket is listened on.
        rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR).map_err(io::Error::from)?;
    }
    rustix::net::listen(&socket, BACKLOG).map_err(io::Error::from)?;
    Ok((socket.into(), file))
}
