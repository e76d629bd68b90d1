//! Accepts the connections of migration sources at the destination.
//!
//! Each connection has a thread until its first frame has arrived, so that a silent peer delays no source. The
//! thread that receives the guest takes the requests from a channel. Dropping the [`Acceptor`] closes the listener.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{debug, info, warn};

use super::destination::{DestinationError, PeerRequest, accept_peer};
use super::frame::{Hello, MigrationToken};
use super::security::Credentials;
use super::transport::begins_tls;
use super::wire::Wire;

/// Interval at which the accepting thread checks whether it should still accept connections.
const ROUND: Duration = Duration::from_millis(100);
/// Pause after a connection could not be accepted, and while too many peers are silent.
const PAUSE: Duration = Duration::from_millis(10);
/// Maximum number of connections whose request has not arrived yet; further ones wait to be accepted.
const MAX_HANDSHAKES: usize = 16;
/// Stack size of a thread, in bytes.
const STACK: usize = 512 << 10;

/// The request of a connected peer, or why the peer is rejected.
type Peer = (SocketAddr, Result<(Wire, PeerRequest), DestinationError>);

/// Accepts connections until it is dropped.
pub(super) struct Acceptor {
    peers: Receiver<Peer>,
    over: Arc<AtomicBool>,
}

impl Acceptor {
    /// Starts to accept connections. The threads inherit the confinement of the calling one.
    ///
    /// # Errors
    ///
    /// The error of the host: it provides no thread.
    pub(super) fn start(listener: TcpListener, credentials: Credentials) -> io::Result<Acceptor> {
        let (sender, peers) = channel();
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        spawn("migration-listen", move || accept(&listener, &credentials, &sender, &ended))?;
        Ok(Acceptor { peers, over })
    }

    /// Waits for a source that starts a migration. Port probes and peers that fail authentication are
    /// disconnected. `None` if the accepting thread has exited.
    pub(super) fn first_source(&self) -> Option<(Wire, Hello, SocketAddr)> {
        loop {
            match self.peers.recv().ok()? {
                (from, Ok((wire, PeerRequest::Migrate(hello)))) => return Some((wire, hello, from)),
                (_, Ok((wire, PeerRequest::Query(_)))) => wire.abort("this host has received no guest"),
                (from, Err(error)) => warn!("a connection from {from} is rejected: {error}"),
            }
        }
    }

    /// Waits at most 100 ms for a source that queries the outcome of a migration. Other peers are disconnected.
    pub(super) fn next_query(&self) -> Option<(Wire, MigrationToken)> {
        match self.peers.recv_timeout(ROUND).ok()? {
            (from, Ok((wire, PeerRequest::Query(token)))) => {
                info!("{from} queries whether the guest runs here");
                return Some((wire, token));
            }
            (_, Ok((wire, PeerRequest::Migrate(_)))) => {
                wire.abort("this host has already received a guest; start another kvm -migr for this one");
            }
            (from, Err(error)) => debug!("a connection from {from} is rejected: {error}"),
        }
        None
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.into()).stack_size(STACK).spawn(body).map(drop)
}

fn accept(listener: &TcpListener, credentials: &Credentials, peers: &Sender<Peer>, over: &AtomicBool) {
    let round = Timespec::try_from(ROUND).ok();
    let handshakes = Arc::new(AtomicUsize::new(0));
    while !over.load(Ordering::Relaxed) {
        if handshakes.load(Ordering::Relaxed) >= MAX_HANDSHAKES {
            thread::sleep(PAUSE);
            continue;
        }
        if !matches!(poll(&mut [PollFd::new(listener, PollFlags::IN)], round.as_ref()), Ok(1..)) {
            continue;
        }
        let (socket, from) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the peer has already disconnected.
                debug!("no connection: {error}");
                thread::sleep(PAUSE);
                continue;
            }
        };
        handshakes.fetch_add(1, Ordering::Relaxed);
        let (credentials, peers, running) = (credentials.clone(), peers.clone(), handshakes.clone());
        let spawned = spawn("migration-peer", move || {
            // Without a receiver, the migration is over, and the peer is disconnected.
            let _ = peers.send((from, handshake(&credentials, socket)));
            running.fetch_sub(1, Ordering::Relaxed);
        });
        if let Err(error) = spawned {
            warn!("a connection from {from} is rejected: {}", DestinationError::Thread(error));
            handshakes.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Sets up the connection and reads the first frame.
fn handshake(credentials: &Credentials, socket: TcpStream) -> Result<(Wire, PeerRequest), DestinationError> {
    // Send small frames at once, because each waits for an answer.
    let _ = socket.set_nodelay(true);
    if credentials.encrypts() && !begins_tls(&socket)? {
        let error = DestinationError::Unencrypted;
        // A source without encryption reads this; another peer ignores it.
        Wire::new(Box::new(socket))?.abort(&error.to_string());
        return Err(error);
    }
    accept_peer(Wire::new(credentials.accepted(socket)?)?)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Instant;

    use super::super::frame::Message;
    use super::*;
    use crate::settings::MigrationSecurity;

    #[test]
    fn silent_peers_do_not_delay_a_source() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let credentials = Credentials::load(&MigrationSecurity::Plain).unwrap();
        let acceptor = Acceptor::start(listener, credentials).unwrap();
        let connect = || TcpStream::connect(address).unwrap();
        let silent: Vec<_> = (0..MAX_HANDSHAKES - 1).map(|_| connect()).collect();
        let start = Instant::now();
        let mut source = Wire::new(Box::new(connect())).unwrap();
        source.send(&Message::Query([7; 16])).unwrap();
        let token = loop {
            if let Some((_, token)) = acceptor.next_query() {
                break token;
            }
            assert!(start.elapsed() < Duration::from_secs(5));
        };
        assert_eq!(token, [7; 16]);
        // The port is free again soon after the end.
        drop((acceptor, silent));
        while TcpListener::bind(address).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20));
            thread::sleep(PAUSE);
        }
    }
}
