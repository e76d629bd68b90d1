//! Accepts clients and answers each of them on a thread of its own.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::protocol::{SERVER_QUIT, add_frame, simple};
use super::session::{DebugTarget, SessionEnd, error, seconds, serve_client};
use crate::os::connection::{Listener, Rejector, Stream};
use crate::os::socket::{SocketError, SocketFile};
use crate::settings::ListenAddress;

/// Maximum number of concurrent clients.
pub const MAX_CLIENTS: usize = 16;
/// How long a rejected client may take to receive the reason.
const TIMEOUT: Duration = Duration::from_millis(500);
/// How long the end of the run waits for answers in flight.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(200);
/// Stack size of a thread, in bytes.
const STACK: usize = 128 << 10;

/// Why the debug server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum DebugServerError {
    /// The address cannot be listened on.
    #[error(
        "the debug server cannot listen on {place}: {reason}; choose another place with \
         --debug-server=ADDRESS:PORT or --debug-server=unix:PATH, or [debug-server] in config.ini"
    )]
    Listen {
        /// The requested address.
        place: ListenAddress,
        /// The reason.
        reason: SocketError,
    },
    /// The thread cannot be created.
    #[error("the host gives this process no thread for the debug server: {0}")]
    Thread(io::Error),
}

/// Accepts clients. Dropping it notifies them that the run is over.
pub struct DebugServer {
    shared: Arc<Shared>,
    /// The socket file, removed when the server is dropped.
    _file: Option<SocketFile>,
}

struct Shared {
    guest: DebugTarget,
    clients: Mutex<Clients>,
    rejector: Rejector,
    /// Signalled when a client has disconnected.
    left: Condvar,
}

#[derive(Default)]
struct Clients {
    /// Handles for disconnecting clients.
    streams: BTreeMap<u64, Stream>,
    /// Number of the next client.
    next: u64,
    /// The run is over.
    over: bool,
}

impl DebugServer {
    /// Listens at `place` and serves memory and registers of `guest`.
    ///
    /// # Errors
    ///
    /// [`DebugServerError`], for example when the port or the socket is taken.
    pub fn start(place: &ListenAddress, guest: DebugTarget) -> Result<DebugServer, DebugServerError> {
        let (listener, file) = Listener::bind(place)
            .map_err(|reason| DebugServerError::Listen { place: place.clone(), reason })?;
        let shared = Arc::new(Shared {
            guest,
            clients: Mutex::default(),
            rejector: Rejector::default(),
            left: Condvar::new(),
        });
        let server = DebugServer { shared: shared.clone(), _file: file };
        spawn("debug-listen", move || {
            loop {
                shared.accept(listener.accept());
            }
        })
        .map_err(DebugServerError::Thread)?;
        Ok(server)
    }
}

impl Drop for DebugServer {
    fn drop(&mut self) {
        let mut clients = self.shared.clients();
        clients.over = true;
        for stream in clients.streams.values() {
            // Its thread reads end-of-file and then sees `over`. An error means that it has already
            // disconnected.
            let _ = stream.shutdown(Shutdown::Read);
        }
        let deadline = Instant::now() + SHUTDOWN_TIMEOUT;
        while !clients.streams.is_empty() {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return };
            clients = self.shared.left.wait_timeout(clients, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Shared>, stream: Stream) {
        let Some(number) = self.enter(&stream) else {
            info!("the debug server has {MAX_CLIENTS} clients and rejects {}", stream.peer());
            self.rejector.reject(stream, error(0), TIMEOUT);
            return;
        };
        let shared = self.clone();
        let served = spawn("debug-client", move || {
            let peer = stream.peer();
            info!("the debug server has a client: {peer}");
            match shared.serve(stream) {
                Ok(()) => info!("the debug server's client {peer} is gone"),
                Err(error) => info!("the debug server's client {peer} is gone: {error}"),
            }
            shared.leave(number);
        });
        if let Err(error) = served {
            info!("no thread for a client of the debug server: {error}");
            self.leave(number);
        }
    }

    /// Registers a client; `None` if there are too many, or if the run is over.
    fn enter(&self, stream: &Stream) -> Option<u64> {
        let handle = stream.try_clone().ok()?;
        let mut clients = self.clients();
        if clients.streams.len() >= MAX_CLIENTS || clients.over {
            return None;
        }
        let number = clients.next;
        clients.next += 1;
        clients.streams.insert(number, handle);
        Some(number)
    }

    fn leave(&self, number: u64) {
        self.clients().streams.remove(&number);
        self.left.notify_all();
    }

    fn serve(&self, mut stream: Stream) -> io::Result<()> {
        stream.set_nodelay()?;
        let end = serve_client(&mut stream, &self.guest)?;
        if self.clients().over {
            let mut farewell = Vec::new();
            add_frame(&mut farewell, &simple(SERVER_QUIT, seconds()));
            return stream.write_all(&farewell);
        }
        if end == SessionEnd::Disconnected {
            return Ok(());
        }
        match end {
            SessionEnd::Foreign(protocol) => {
                warn!(
                    "{} is no client of the debug server: it sends {protocol}; it is disconnected",
                    stream.peer()
                );
            }
            SessionEnd::NoPassword => {
                warn!("{} has not sent the password; it is disconnected", stream.peer())
            }
            _ => debug!("the debug server disconnects a client: {end:?}"),
        }
        stream.finish(TIMEOUT)
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.into()).stack_size(STACK).spawn(body).map(drop)
}
