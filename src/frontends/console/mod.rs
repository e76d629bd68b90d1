//! The console: executes commands of TCP and unix-socket clients while the guest runs.
//!
//! A thread waits for clients, and each client has a thread that reads its lines and waits for the answers
//! ([`RequestSender::with_stopped_machine`]). A client that does not read blocks only its own thread, until a
//! timeout.

mod conversation;
pub mod lines;

use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::info;

use crate::os::connection::{Listener, Stream};
use crate::os::socket::{SocketError, SocketFile};
use crate::settings::{ConsoleSpec, ListenAddress};
use crate::supervisor::notice::Notice;
use crate::supervisor::request_queue::RequestSender;
use conversation::{Ended, Turn};

/// The prompt before every line of a client.
pub const PROMPT: &str = "vmm console> ";

/// Maximum number of clients at the same time.
const MOST_CLIENTS: usize = 8;
/// The message for a client beyond the maximum.
const REJECTION: &[u8] = b"8 consoles are already connected to this guest, which is the maximum\n";
/// Maximum number of clients that wait for another one to disconnect; further ones are rejected at once.
const MOST_WAITING: usize = 8;
/// Number of ports that are tried after the default one.
const OTHER_PORTS: u16 = 15;
/// Timeout of a client beyond the maximum for another one to disconnect.
const HANDOVER: Duration = Duration::from_millis(500);
/// Delay before a failed operation is retried.
const PAUSE: Duration = Duration::from_millis(10);
/// Timeout of a client that does not read; after it the connection is closed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// The same once the run is over.
const END_TIMEOUT: Duration = Duration::from_millis(200);
/// Stack of a thread, in bytes.
const STACK: usize = 256 << 10;

/// Why the console could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The address cannot be listened on.
    #[error(
        "cannot take commands on {place}: {reason}; choose another place with --console=PORT or \
         --console=unix:PATH, or [console] in config.ini"
    )]
    Listen {
        /// The requested address.
        place: ListenAddress,
        /// Why not.
        reason: SocketError,
    },
    /// The host provides no thread.
    #[error("the host gives this process no thread to wait for consoles: {0}")]
    Thread(io::Error),
}

/// The console of a machine.
#[derive(Debug)]
pub struct Console {
    place: ListenAddress,
    clients: Arc<Clients>,
    /// Removed with the console.
    _file: Option<SocketFile>,
}

/// The clients that are connected.
#[derive(Debug, Default)]
struct Clients {
    connected: Mutex<Connected>,
    over: Condvar,
}

#[derive(Debug, Default)]
struct Connected {
    clients: Vec<Client>,
    /// The message for all clients once the run is over.
    final_message: Option<String>,
}

#[derive(Debug)]
struct Client {
    /// Another handle to the connection.
    stream: Stream,
    /// Held by the thread that writes to it.
    turn: Turn,
    thread: JoinHandle<()>,
}

impl Clients {
    fn lock(&self) -> MutexGuard<'_, Connected> {
        self.connected.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// True if the maximum number of clients is connected.
    fn are_at_maximum(&self) -> bool {
        let connected = self.lock();
        let present = connected.clients.iter().filter(|client| !client.thread.is_finished());
        connected.final_message.is_none() && present.count() >= MOST_CLIENTS
    }

    /// True once the run is over.
    fn is_over(&self) -> bool {
        self.lock().final_message.is_some()
    }

    /// The message at the end of the run; waits until it is known.
    fn final_message(&self) -> String {
        let unknown = |connected: &mut Connected| connected.final_message.is_none();
        let waited = self.over.wait_timeout_while(self.lock(), WRITE_TIMEOUT, unknown);
        let (connected, _) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
        connected.final_message.clone().unwrap_or_else(|| "the run is over".to_owned())
    }
}

impl Console {
    /// Listens where `spec` says and starts to answer clients. If the user did not choose the address and its
    /// port is in use, one of the next ports is used, so that the console of another machine does not fail
    /// the run.
    ///
    /// # Errors
    ///
    /// [`ConsoleError`].
    pub fn start(spec: &ConsoleSpec, caller: RequestSender) -> Result<Console, ConsoleError> {
        let (place, listener, file) = listen(spec)?;
        let clients = Arc::new(Clients::default());
        let connected = clients.clone();
        let (notices, receivers) = (caller.notices(), clients.clone());
        spawn("console-notices", move || pass_on(&notices, &receivers)).map_err(ConsoleError::Thread)?;
        spawn("console", move || accept(&listener, &connected, &caller)).map_err(ConsoleError::Thread)?;
        Ok(Console { place, clients, _file: file })
    }

    /// Where clients connect.
    pub fn place(&self) -> &ListenAddress {
        &self.place
    }

    /// Ends the console after the run: sends `final_message` to all clients, and closes their connections.
    pub fn finish(self, final_message: &str) {
        let clients = {
            let mut connected = self.clients.lock();
            connected.final_message = Some(final_message.to_owned());
            self.clients.over.notify_all();
            std::mem::take(&mut connected.clients)
        };
        for client in &clients {
            // Short timeout for clients that do not read. A connection that fails is closed already.
            let _ = client.stream.set_write_timeout(END_TIMEOUT);
            let _ = client.stream.shutdown(Shutdown::Read);
        }
        let end = Instant::now() + END_TIMEOUT;
        while clients.iter().any(|client| !client.thread.is_finished()) && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn listen(spec: &ConsoleSpec) -> Result<(ListenAddress, Listener, Option<SocketFile>), ConsoleError> {
    let mut place = spec.address.clone();
    let mut left = if spec.chosen { 0 } else { OTHER_PORTS };
    loop {
        match (Listener::bind(&place), &mut place) {
            (Ok((listener, file)), _) => return Ok((place, listener, file)),
            (Err(SocketError::Host(error)), ListenAddress::Tcp(address))
                if error.kind() == ErrorKind::AddrInUse && left > 0 && address.port() < u16::MAX =>
            {
                left -= 1;
                *address = SocketAddr::new(address.ip(), address.port() + 1);
            }
            (Err(reason), _) => return Err(ConsoleError::Listen { place: spec.address.clone(), reason }),
        }
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.into()).stack_size(STACK).spawn(body)
}

fn accept(listener: &Listener, clients: &Arc<Clients>, caller: &RequestSender) {
    let waiting = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = listener.accept();
        if clients.is_over() {
            return;
        }
        if !clients.are_at_maximum() || waiting.load(Ordering::Relaxed) >= MOST_WAITING {
            admit(stream, clients, caller);
            continue;
        }
        // The disconnection of another client may not have been noticed yet. Others are accepted meanwhile.
        waiting.fetch_add(1, Ordering::Relaxed);
        let (clients, caller, done) = (clients.clone(), caller.clone(), waiting.clone());
        let spawned = spawn("console-wait", move || {
            let start = Instant::now();
            while clients.are_at_maximum() && start.elapsed() < HANDOVER {
                thread::sleep(PAUSE);
            }
            admit(stream, &clients, &caller);
            done.fetch_sub(1, Ordering::Relaxed);
        });
        if spawned.is_err() {
            waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Sends to all clients what a guest without a debugger reports by itself.
fn pass_on(notices: &Receiver<Notice>, clients: &Clients) {
    for notice in notices {
        // A client that does not read blocks this thread for a while, and nothing else.
        let streams: Vec<_> = clients
            .lock()
            .clients
            .iter()
            .filter(|client| !client.thread.is_finished())
            .filter_map(|client| Some((client.stream.try_clone().ok()?, client.turn.clone())))
            .collect();
        for (mut stream, turn) in streams {
            let mut turn = turn.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if !turn.is_due_as_notice(notice.stop) {
                continue;
            }
            let start = if std::mem::take(&mut turn.at_prompt) { "\n" } else { "" };
            // The client may have disconnected.
            let _ = stream.write_all(format!("{start}{}", notice.text).as_bytes());
        }
    }
}

/// Starts to answer a client, or rejects it if the maximum is connected.
fn admit(stream: Stream, clients: &Arc<Clients>, caller: &RequestSender) {
    let mut connected = clients.lock();
    if connected.final_message.is_some() {
        return;
    }
    connected.clients.retain(|client| !client.thread.is_finished());
    // A connection that fails is closed already.
    let _ = match connected.clients.len() {
        MOST_CLIENTS.. => reject(stream),
        _ => start_client(stream, clients, caller).map(|client| connected.clients.push(client)),
    };
}

/// Sends a client beyond the maximum the reason for its rejection. Its input is not read.
fn reject(mut stream: Stream) -> io::Result<()> {
    stream.set_timeouts(END_TIMEOUT, END_TIMEOUT)?;
    stream.write_all(REJECTION)?;
    stream.shutdown(Shutdown::Write)
}

fn start_client(stream: Stream, clients: &Arc<Clients>, caller: &RequestSender) -> io::Result<Client> {
    stream.set_nodelay()?;
    stream.set_write_timeout(WRITE_TIMEOUT)?;
    let (other, clients, caller) = (stream.try_clone()?, clients.clone(), caller.clone());
    let name = stream.peer();
    let turn = Turn::default();
    let others = turn.clone();
    let thread = spawn("console-client", move || {
        info!("console: {name} is connected");
        let mut stream = stream;
        let ended = conversation::serve(&mut stream, &caller, &turn);
        // At the end of the run, the connection is shut down as if the client had disconnected.
        let over = ended == Ended::RunOver || clients.is_over();
        if over {
            let start = if ended == Ended::RunOver { "" } else { "\n" };
            // The client may have disconnected.
            let _ = writeln!(stream, "{start}{}", clients.final_message());
        }
        let _ = match ended {
            Ended::Rejected => stream.finish(END_TIMEOUT),
            Ended::Disconnected | Ended::RunOver => stream.shutdown(Shutdown::Both),
        };
        info!("console: {name} has disconnected");
    })?;
    Ok(Client { stream: other, turn: others, thread })
}
