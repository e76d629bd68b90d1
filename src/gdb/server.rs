//! Waiting for debuggers, and for what they send.

use std::io::{self, Write};
use std::net::Shutdown;
use std::ops::Range;
#[cfg(any(test, fuzzing))]
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::packet::write_packet;
use crate::machine::inputs::{Input, Inputs};
use crate::os::connection::{Listener, Stream};
use crate::os::socket::{SocketError, SocketFile};
use crate::settings::ListenAddress;

/// Most that is read from a client at once, in bytes.
const PIECE: usize = 16 << 10;
/// How long the next packet is waited for before the machine's thread sleeps where everything else can
/// wake it: a client that asks much asks again within this time.
const SOON: Duration = Duration::from_millis(2);
/// How long the machine's thread looks for the next packet again and again before it sleeps: to wake it
/// on another processor costs several times what a step does.
const AT_ONCE: Duration = Duration::from_micros(100);
/// How long a client that reads nothing is waited for before it counts as gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a new client waits for the one before it to be gone for good.
const HANDOVER: Duration = Duration::from_millis(500);
/// What a debugger is answered that comes second.
const TURNED_AWAY: &[u8] = b"E.another debugger is connected to this guest; end or detach it first";
/// How long is paused before something is tried again.
const PAUSE: Duration = Duration::from_millis(10);
/// How long the guest runs before somebody looks out for what the client sends: most steps are over
/// by then.
const LATER: Duration = Duration::from_millis(1);
/// How long the thread that watches takes no notice of anything but the client.
const ROUND: Duration = Duration::from_millis(100);
/// How often in a row there may be nothing to watch before the thread that watches has to be woken.
const PATIENCE: u32 = 8;
/// Stack of a thread, in bytes.
const STACK: usize = 128 << 10;

/// Why gdb cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Nobody can listen there.
    #[error(
        "cannot wait for gdb on {place}: {reason}; choose another place with --gdb=ADDRESS:PORT or \
         --gdb=unix:PATH, or [gdb-server] in config.ini"
    )]
    Listen {
        /// The place asked for.
        place: ListenAddress,
        /// Why not.
        reason: SocketError,
    },
    /// No thread can be had.
    #[error("the host gives this process no thread to wait for gdb: {0}")]
    Thread(io::Error),
}

/// Where debuggers connect, one at a time.
#[derive(Debug)]
pub struct Server {
    clients: Receiver<Client>,
    /// Goes with the server.
    _file: Option<SocketFile>,
}

impl Server {
    /// Listens at `place`; whatever comes in calls for attention at `inputs`.
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

    /// A server that nobody can connect to, and the one client it has, at `stream`.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn with_client(stream: UnixStream, inputs: &Inputs) -> io::Result<Server> {
        let (sender, clients) = sync_channel(1);
        let client = greet(Stream::Unix(stream), &Arc::default(), inputs)?;
        sender.try_send(client).expect("there is room for one");
        Ok(Server { clients, _file: None })
    }

    /// A client that has connected.
    pub(crate) fn client(&self) -> Option<Client> {
        self.clients.try_recv().ok()
    }
}

/// A connected debugger. Dropping it hangs up.
#[derive(Debug)]
pub(crate) struct Client {
    stream: Stream,
    watch: Arc<Watch>,
    busy: Arc<AtomicBool>,
    read: Vec<u8>,
    /// Which part of that is to be taken yet.
    left: Range<usize>,
    spoken: bool,
}

/// What there is to read from a client.
pub(crate) enum Incoming {
    /// What [`Client::received`] gives.
    Bytes,
    /// Nothing yet.
    Nothing,
    /// Nothing ever again.
    Gone,
}

impl Client {
    /// Looks for what it sent.
    pub(crate) fn next(&mut self) -> Incoming {
        self.receive(RecvFlags::DONTWAIT)
    }

    /// Looks for what it sent or sends soon.
    pub(crate) fn next_soon(&mut self) -> Incoming {
        let start = Instant::now();
        while start.elapsed() < AT_ONCE {
            match self.next() {
                Incoming::Nothing => thread::yield_now(),
                found => return found,
            }
        }
        self.receive(RecvFlags::empty())
    }

    /// Has the machine's attention called for, once, when there is something to read, and after
    /// `at_most` if that is earlier. With `later` somebody looks out for it only after a moment: what is
    /// over before that has cost no other thread's time.
    pub(crate) fn watch(&self, later: bool, at_most: Option<Duration>) {
        self.watch.begin(later, at_most);
    }

    /// The machine's thread looks out for it itself again.
    pub(crate) fn unwatch(&self) {
        self.watch.end(Watching::No);
    }

    /// What it sent and nobody has taken yet.
    pub(crate) fn received(&self) -> &[u8] {
        &self.read[self.left.clone()]
    }

    /// The first `count` bytes of [`Self::received`] have been taken.
    pub(crate) fn taken(&mut self, count: usize) {
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
    pub(crate) fn has_spoken(&self) -> bool {
        self.spoken
    }

    /// Where it is connected from.
    pub(crate) fn name(&self) -> String {
        self.stream.peer()
    }

    /// The direction towards it.
    pub(crate) fn output(&self) -> io::Result<ClientOutput> {
        Ok(ClientOutput { stream: self.stream.try_clone()?, waiting: Vec::new(), held: false })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Ends the thread that watches, wherever it waits.
        self.watch.end(Watching::Over);
        let _ = self.stream.shutdown(Shutdown::Both);
        self.busy.store(false, Ordering::Release);
    }
}

/// What is sent to a client: collected, and sent a packet at a time.
#[derive(Debug)]
pub(crate) struct ClientOutput {
    stream: Stream,
    waiting: Vec<u8>,
    /// Nothing is sent yet: the last packet is to be changed.
    held: bool,
}

impl ClientOutput {
    /// Sends nothing until [`Self::release`], so that what the library writes can be changed.
    pub(crate) fn hold(&mut self) {
        self.held = true;
    }

    /// Sends what was held.
    pub(crate) fn release(&mut self) -> io::Result<()> {
        self.held = false;
        gdbstub::conn::Connection::flush(self)
    }

    /// What waits to be sent, to add a packet to.
    pub(crate) fn waiting(&mut self) -> &mut Vec<u8> {
        &mut self.waiting
    }
}

impl gdbstub::conn::Connection for ClientOutput {
    type Error = io::Error;

    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.waiting.push(byte);
        Ok(())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.held {
            return Ok(());
        }
        let sent = Write::write_all(&mut self.stream, &self.waiting);
        self.waiting.clear();
        sent
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.into()).stack_size(STACK).spawn(body).map(drop)
}

fn accept(listener: &Listener, clients: &SyncSender<Client>, inputs: &Inputs) {
    let busy = Arc::new(AtomicBool::new(false));
    loop {
        let stream = listener.accept();
        let start = Instant::now();
        while busy.load(Ordering::Acquire) && start.elapsed() < HANDOVER {
            thread::sleep(PAUSE);
        }
        if busy.load(Ordering::Acquire) {
            // It has left before it heard why, if this fails.
            let _ = turn_away(stream);
        } else if let Ok(client) = greet(stream, &busy, inputs) {
            if clients.send(client).is_err() {
                return;
            }
            inputs.push(Input::Attention);
        }
    }
}

/// Tells a second debugger why it is hung up on: it would have to wait for the first for who knows how
/// long.
fn turn_away(stream: Stream) -> io::Result<()> {
    let mut answer = vec![b'+'];
    write_packet(&mut answer, |out| out.extend(TURNED_AWAY));
    stream.reject(&answer, HANDOVER)
}

fn greet(stream: Stream, busy: &Arc<AtomicBool>, inputs: &Inputs) -> io::Result<Client> {
    stream.set_nodelay()?;
    stream.set_timeouts(SOON, WRITE_PATIENCE)?;
    let (watched, watch, inputs) = (stream.try_clone()?, Arc::new(Watch::default()), inputs.clone());
    let watcher = watch.clone();
    spawn("gdb-watch", move || {
        while let Some(at_most) = watcher.wanted() {
            // What is asked for meanwhile is seen in the next round.
            let round = Timespec::try_from(at_most.unwrap_or(ROUND)).ok();
            let found = poll(&mut [PollFd::new(&watched, PollFlags::IN)], round.as_ref());
            if (found != Ok(0) || at_most.is_some()) && watcher.fired() {
                inputs.push(Input::Attention);
            }
        }
    })?;
    busy.store(true, Ordering::Release);
    Ok(Client { stream, watch, busy: busy.clone(), read: vec![0; PIECE], left: 0..0, spoken: false })
}

/// Whether somebody is to look out for what a client sends.
#[derive(Debug, Default)]
struct Watch {
    state: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    watching: Watching,
    /// Do not begin at once.
    later: bool,
    at_most: Option<Duration>,
    /// The thread that watches sleeps until it is told of a change.
    asleep: bool,
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
    fn state(&self) -> MutexGuard<'_, Wanted> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn begin(&self, later: bool, at_most: Option<Duration>) {
        let mut state = self.state();
        // What was wanted before may still be: a stale call for attention has not ended that.
        if state.watching != Watching::Over {
            (state.watching, state.later, state.at_most) = (Watching::Wanted, later, at_most);
            self.wake(&state, !later);
        }
    }

    fn end(&self, watching: Watching) {
        let mut state = self.state();
        state.watching = watching;
        self.wake(&state, watching == Watching::Over);
    }

    /// Wakes the thread that watches if it would not see a change by itself, or must see it `now`.
    fn wake(&self, state: &Wanted, now: bool) {
        if now || state.asleep && state.watching == Watching::Wanted {
            self.changed.notify_one();
        }
    }

    /// Something has come, or it is time, or the connection has ended; true if anybody still wants to
    /// know.
    fn fired(&self) -> bool {
        let mut state = self.state();
        let wanted = state.watching == Watching::Wanted;
        if wanted {
            state.watching = Watching::No;
        }
        wanted
    }

    /// Waits until watching is wanted; for how long at most, or `None` if it never will be.
    fn wanted(&self) -> Option<Option<Duration>> {
        let mut state = self.state();
        let mut idle = 0;
        loop {
            state = match (state.watching, state.later) {
                (Watching::Over, _) => return None,
                (Watching::Wanted, false) => return Some(state.at_most),
                (Watching::Wanted, true) => {
                    // It is over soon, or it is not.
                    state.later = false;
                    self.changed.wait_timeout(state, LATER).unwrap_or_else(|poisoned| poisoned.into_inner()).0
                }
                // A client that steps comes back in a moment, and then need not wake anybody.
                (Watching::No, _) if idle < PATIENCE => {
                    idle += 1;
                    self.changed.wait_timeout(state, LATER).unwrap_or_else(|poisoned| poisoned.into_inner()).0
                }
                (Watching::No, _) => {
                    idle = 0;
                    state.asleep = true;
                    let mut woken = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
                    woken.asleep = false;
                    woken
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_soon_is_not_watched() {
        let watch = Arc::new(Watch::default());
        let watcher = watch.clone();
        let thread = std::thread::spawn(move || watcher.wanted());
        for _ in 0..1000 {
            watch.begin(true, None);
            watch.end(Watching::No);
        }
        watch.begin(true, Some(PAUSE));
        assert_eq!(thread.join().unwrap(), Some(Some(PAUSE)));
        assert!(watch.fired());
        assert!(!watch.fired(), "attention is called for once");
        watch.end(Watching::Over);
        assert_eq!(watch.wanted(), None);
    }

    #[test]
    fn what_is_wanted_later_takes_the_place_of_what_was_wanted_before() {
        let watch = Watch::default();
        watch.begin(false, None);
        watch.begin(true, Some(PAUSE));
        assert_eq!(watch.wanted(), Some(Some(PAUSE)));
        watch.end(Watching::Over);
        watch.begin(false, None);
        assert_eq!(watch.wanted(), None, "the end is the end");
    }
}
