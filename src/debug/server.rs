//! Waiting for debuggers, and for what they send.

use std::io::{self, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::packets::extend_packet;
use crate::machine::inputs::{Input, Inputs};
use crate::settings::GdbSpec;

/// Most that is read from a client at once, in bytes.
const PIECE: usize = 16 << 10;
/// How long the next packet is waited for before the machine's thread sleeps where everything else can
/// wake it: a client that asks much asks again within this time.
const SOON: Duration = Duration::from_millis(2);
/// How long a client that reads nothing is waited for before it counts as gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a new client waits for the one before it to be gone for good.
const HANDOVER: Duration = Duration::from_millis(500);
/// How long is paused before something is tried again.
const PAUSE: Duration = Duration::from_millis(10);
/// Stack of a thread, in bytes.
const STACK: usize = 128 << 10;

/// Why gdb cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Nobody can listen there.
    #[error(
        "cannot wait for gdb on {spec}: {reason}; choose another place with --gdb=ADDRESS:PORT, or \
         [gdb-server] in config.ini"
    )]
    Listen {
        /// The place asked for.
        spec: GdbSpec,
        /// The host's words.
        reason: io::Error,
    },
    /// No thread can be had.
    #[error("the host gives this process no thread to wait for gdb: {0}")]
    Thread(io::Error),
}

/// Where debuggers connect, one at a time.
#[derive(Debug)]
pub struct Server {
    clients: Receiver<Client>,
}

impl Server {
    /// Listens at the place `spec` names; whatever comes in calls for attention at `inputs`.
    ///
    /// # Errors
    ///
    /// [`ServerError`], for example when the port is taken.
    pub fn bind(spec: GdbSpec, inputs: Inputs) -> Result<Server, ServerError> {
        let listener = TcpListener::bind((spec.address, spec.port))
            .map_err(|reason| ServerError::Listen { spec, reason })?;
        let (sender, clients) = sync_channel(1);
        spawn("gdb-listen", move || accept(&listener, &sender, &inputs)).map_err(ServerError::Thread)?;
        Ok(Server { clients })
    }

    /// A client that has connected.
    pub(super) fn client(&self) -> Option<Client> {
        self.clients.try_recv().ok()
    }
}

/// A connected debugger. Dropping it hangs up.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    watch: Arc<Watch>,
    busy: Arc<AtomicBool>,
    read: Vec<u8>,
    /// Which part of that is to be taken yet.
    left: Range<usize>,
    spoken: bool,
}

/// What there is to read from a client.
pub(super) enum Incoming {
    /// What [`Client::received`] gives.
    Bytes,
    /// Nothing yet.
    Nothing,
    /// Nothing ever again.
    Gone,
}

impl Client {
    /// Looks for what it sent.
    pub(super) fn next(&mut self) -> Incoming {
        self.receive(RecvFlags::DONTWAIT)
    }

    /// Looks for what it sent or sends soon.
    pub(super) fn next_soon(&mut self) -> Incoming {
        self.receive(RecvFlags::empty())
    }

    /// Has the machine's attention called for, once, when there is something to read.
    pub(super) fn watch(&self) {
        self.watch.set(Watching::Wanted);
    }

    /// What it sent and nobody has taken yet.
    pub(super) fn received(&self) -> &[u8] {
        &self.read[self.left.clone()]
    }

    /// The first `count` bytes of [`Self::received`] have been taken.
    pub(super) fn taken(&mut self, count: usize) {
        self.left.start = self.left.end.min(self.left.start + count);
    }

    fn receive(&mut self, flags: RecvFlags) -> Incoming {
        if self.left.is_empty() {
            self.left = match recv(&self.stream, self.read.as_mut_slice(), flags) {
                Ok((1.., count)) => 0..count.min(PIECE),
                Err(Errno::AGAIN | Errno::INTR) => return Incoming::Nothing,
                Ok(_) | Err(_) => return Incoming::Gone,
            };
            self.spoken = true;
        }
        Incoming::Bytes
    }

    /// True if it has ever sent anything.
    pub(super) fn has_spoken(&self) -> bool {
        self.spoken
    }

    /// Where it is connected from.
    pub(super) fn name(&self) -> String {
        self.stream.peer_addr().map_or_else(|_| "nowhere".to_owned(), |address| address.to_string())
    }

    /// The direction towards it.
    pub(super) fn wire(&self) -> io::Result<Wire> {
        Ok(Wire { stream: self.stream.try_clone()?, waiting: Vec::new(), more: None })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Ends the thread that watches, wherever it waits.
        self.watch.set(Watching::Over);
        let _ = self.stream.shutdown(Shutdown::Both);
        self.busy.store(false, Ordering::Release);
    }
}

/// What is sent to a client: collected, and sent a packet at a time.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    waiting: Vec<u8>,
    /// What the next packet is to say, too.
    more: Option<&'static [u8]>,
}

impl Wire {
    /// Has the library's next packet end with `text`.
    pub(super) fn add_to_next(&mut self, text: &'static [u8]) {
        self.more = Some(text);
    }

    /// What waits to be sent, to add a packet to.
    pub(super) fn waiting(&mut self) -> &mut Vec<u8> {
        &mut self.waiting
    }
}

impl gdbstub::conn::Connection for Wire {
    type Error = io::Error;

    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.waiting.push(byte);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(more) = self.more.take() {
            extend_packet(&mut self.waiting, more);
        }
        let sent = Write::write_all(&mut self.stream, &self.waiting);
        self.waiting.clear();
        sent
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.into()).stack_size(STACK).spawn(body).map(drop)
}

fn accept(listener: &TcpListener, clients: &SyncSender<Client>, inputs: &Inputs) {
    let busy = Arc::new(AtomicBool::new(false));
    loop {
        let Ok((stream, _)) = listener.accept() else {
            // Out of file descriptors, or a client that has left already.
            thread::sleep(PAUSE);
            continue;
        };
        let start = Instant::now();
        while busy.load(Ordering::Acquire) && start.elapsed() < HANDOVER {
            thread::sleep(PAUSE);
        }
        // A second debugger is hung up on: it would have to wait for the first for who knows how long.
        if !busy.load(Ordering::Acquire)
            && let Ok(client) = greet(stream, &busy, inputs)
        {
            if clients.send(client).is_err() {
                return;
            }
            inputs.push(Input::Attention);
        }
    }
}

fn greet(stream: TcpStream, busy: &Arc<AtomicBool>, inputs: &Inputs) -> io::Result<Client> {
    // Every packet is small and waits for an answer.
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(WRITE_PATIENCE))?;
    stream.set_read_timeout(Some(SOON))?;
    let (watched, watch, inputs) = (stream.try_clone()?, Arc::new(Watch::default()), inputs.clone());
    let watcher = watch.clone();
    spawn("gdb-watch", move || {
        while watcher.is_wanted() {
            let _ = poll(&mut [PollFd::new(&watched, PollFlags::IN)], None);
            watcher.fired();
            inputs.push(Input::Attention);
        }
    })?;
    busy.store(true, Ordering::Release);
    Ok(Client { stream, watch, busy: busy.clone(), read: vec![0; PIECE], left: 0..0, spoken: false })
}

/// Whether somebody is to look out for what a client sends.
#[derive(Debug, Default)]
struct Watch {
    state: Mutex<Watching>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Watching {
    /// Not now: the machine's thread does it itself.
    #[default]
    No,
    /// Until something comes.
    Wanted,
    /// Never again.
    Over,
}

impl Watch {
    fn state(&self) -> MutexGuard<'_, Watching> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn set(&self, wanted: Watching) {
        let mut state = self.state();
        if *state != wanted {
            *state = wanted;
            self.changed.notify_one();
        }
    }

    /// Something has come, or the connection has ended.
    fn fired(&self) {
        let mut state = self.state();
        if *state == Watching::Wanted {
            *state = Watching::No;
        }
    }

    /// Waits until watching is wanted; false if it never will be.
    fn is_wanted(&self) -> bool {
        let mut state = self.state();
        while *state == Watching::No {
            state = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        *state == Watching::Wanted
    }
}
