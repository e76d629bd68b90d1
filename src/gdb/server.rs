//! `target remote :1234`: the socket that debuggers connect to, one at a time.
//!
//! A thread accepts connections and rejects those that come while another debugger is connected. It hands each
//! [`Client`] to the machine's thread and calls for its attention.

use std::collections::VecDeque;
use std::io;
#[cfg(any(test, fuzzing))]
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::client::Client;
use super::packet::write_packet;
use crate::machine::inputs::{Input, Inputs};
use crate::os::connection::{Listener, Rejector, Stream};
use crate::os::socket::{SocketError, SocketFile};
use crate::settings::ListenAddress;

/// How long a new client waits for the previous one to disconnect.
const HANDOVER: Duration = Duration::from_millis(500);
/// The answer to a second debugger.
const REJECTION: &[u8] = b"E.another debugger is connected to this guest; end or detach it first";
/// Maximum number of clients that wait at the same time; with more, the oldest is rejected.
const MOST_WAITING: usize = 16;
/// How often it is checked whether the server is free while clients wait.
const HANDOVER_POLL: Duration = Duration::from_millis(10);
/// Stack of a thread, in bytes.
const STACK: usize = 128 << 10;

/// Why gdb cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The socket cannot be bound.
    #[error(
        "cannot wait for gdb on {place}: {reason}; choose another place with --gdb=ADDRESS:PORT or \
         --gdb=unix:PATH, or [gdb-server] in config.ini"
    )]
    Listen {
        /// The address that was asked for.
        place: ListenAddress,
        /// The reason.
        reason: SocketError,
    },
    /// The thread that accepts connections cannot be started.
    #[error("the host gives this process no thread to wait for gdb: {0}")]
    Thread(io::Error),
}

/// The socket that debuggers connect to.
#[derive(Debug)]
pub struct Server {
    clients: Receiver<Client>,
    /// Removed when the server is dropped.
    _file: Option<SocketFile>,
}

impl Server {
    /// Listens at `place`. New clients and their input call for attention at `inputs`.
    ///
    /// # Errors
    ///
    /// [`ServerError`], for example when the port or the socket is taken.
    pub fn bind(place: &ListenAddress, inputs: Inputs) -> Result<Server, ServerError> {
        let (listener, file) =
            Listener::bind(place).map_err(|reason| ServerError::Listen { place: place.clone(), reason })?;
        let (sender, clients) = sync_channel(1);
        spawn("gdb-listen", move || accept(&listener, &sender, &inputs)).map_err(ServerError::Thread)?;
        Ok(Server { clients, _file: file })
    }

    /// A server without a socket, whose only client is at `stream`.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn with_client(stream: UnixStream, inputs: &Inputs) -> io::Result<Server> {
        let (sender, clients) = sync_channel(1);
        let client = Client::new(Stream::Unix(stream), &Arc::default(), inputs)?;
        sender.try_send(client).expect("there is room for one");
        Ok(Server { clients, _file: None })
    }

    /// The client that has connected, if one has.
    pub(crate) fn client(&self) -> Option<Client> {
        self.clients.try_recv().ok()
    }
}

/// Starts a thread with a small stack.
pub(super) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.into()).stack_size(STACK).spawn(body).map(drop)
}

fn accept(listener: &Listener, clients: &SyncSender<Client>, inputs: &Inputs) {
    let (busy, rejector) = (Arc::new(AtomicBool::new(false)), Rejector::default());
    // The oldest first, each with the time at which it connected.
    let mut waiting = VecDeque::new();
    loop {
        let stream = match waiting.is_empty() {
            true => Some(listener.accept()),
            false => listener.accept_within(HANDOVER_POLL),
        };
        waiting.extend(stream.map(|stream| (stream, Instant::now())));
        while !busy.load(Ordering::Acquire)
            && let Some((stream, _)) = waiting.pop_front()
        {
            if let Ok(client) = Client::new(stream, &busy, inputs) {
                if clients.send(client).is_err() {
                    return;
                }
                inputs.push(Input::Attention);
            }
        }
        while waiting.len() > MOST_WAITING
            || waiting.front().is_some_and(|(_, since): &(Stream, Instant)| since.elapsed() >= HANDOVER)
        {
            waiting.pop_front().into_iter().for_each(|(stream, _)| reject(&rejector, stream));
        }
    }
}

/// Sends a second debugger the reason and closes its connection: the first may stay connected for hours.
fn reject(rejector: &Rejector, stream: Stream) {
    let mut answer = vec![b'+'];
    write_packet(&mut answer, |out| out.extend(REJECTION));
    rejector.reject(stream, answer, HANDOVER);
}
