//! Waiting for clients, each of which is answered by a thread of its own.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{debug, info};

use super::protocol::{SERVER_QUIT, add_frame, simple};
use super::session::{DebugTarget, SessionEnd, error, seconds, serve_client};
use crate::os::connection::{Listener, Stream};
use crate::os::socket::{SocketError, SocketFile};
use crate::settings::ListenAddress;

/// Most clients at a time.
pub const MAX_CLIENTS: usize = 16;
/// How long a client that is hung up on may take to hear why.
const TIMEOUT: Duration = Duration::from_millis(500);
/// How long the end of the run waits for answers that are on their way.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(200);
/// Stack of a thread, in bytes.
const STACK: usize = 128 << 10;

/// Why there is no debug server.
#[derive(Debug, thiserror::Error)]
pub enum DebugServerError {
    /// Nobody can listen there.
    #[error(
        "the debug server cannot listen on {place}: {reason}; choose another place with \
         --debug-server=ADDRESS:PORT or --debug-server=unix:PATH, or [debug-server] in config.ini"
    )]
    Listen {
        /// The place asked for.
        place: ListenAddress,
        /// Why not.
        reason: SocketError,
    },
    /// No thread can be had.
    #[error("the host gives this process no thread for the debug server: {0}")]
    Thread(io::Error),
}

/// Where clients connect. Dropping it tells them that the run is over.
pub struct DebugServer {
    shared: Arc<Shared>,
    /// Goes with the server.
    _file: Option<SocketFile>,
}

struct Shared {
    guest: DebugTarget,
    clients: Mutex<Clients>,
    /// A client has gone.
    left: Condvar,
}

#[derive(Default)]
struct Clients {
    /// Handles to hang up with.
    streams: BTreeMap<u64, Stream>,
    /// What the next one is called.
    next: u64,
    /// The run is over.
    over: bool,
}

impl DebugServer {
    /// Listens at `place` and tells whoever asks about `guest`.
    ///
    /// # Errors
    ///
    /// [`DebugServerError`], for example when the port or the socket is taken.
    pub fn start(place: &ListenAddress, guest: DebugTarget) -> Result<DebugServer, DebugServerError> {
        let (listener, file) = Listener::bind(place)
            .map_err(|reason| DebugServerError::Listen { place: place.clone(), reason })?;
        let shared =
            Arc::new(Shared { guest, clients: Mutex::new(Clients::default()), left: Condvar::new() });
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
            // Its thread sees an end, and that the run is over. One that has gone needs not be told.
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
            info!("the debug server has {MAX_CLIENTS} clients and turns away {}", stream.peer());
            // It has left before it heard why, if this fails.
            let _ = stream.reject(&error(0), TIMEOUT);
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

    /// Notes a client; none if there are too many already, or the run is over.
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
        debug!("a client of the debug server is hung up on: {end:?}");
        // What it has sent meanwhile is read, or the host would drop the answer it has not read yet.
        stream.shutdown(Shutdown::Write)?;
        stream.set_timeouts(TIMEOUT, TIMEOUT)?;
        let start = Instant::now();
        let mut rest = [0; 4 << 10];
        while start.elapsed() < TIMEOUT && stream.read(&mut rest)? > 0 {}
        Ok(())
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.into()).stack_size(STACK).spawn(body).map(drop)
}
