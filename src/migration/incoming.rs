//! The incoming migration: waits for a source and receives its guest.
//!
//! A separate thread, which cannot open files, reads from the network. It writes pages to memory and passes
//! everything else to the thread that will run the guest. That thread builds the machine and reports that it
//! can run ([`IncomingMigration::commit`]). Only then is the source asked to hand the guest over.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{debug, info, warn};

use super::commit::CommitDecision;
use super::destination::{
    DestinationError, DestinationGuest, PeerRequest, QueryOutcome, accept_peer, answer_query, commit,
    confirm, receive_guest,
};
use super::frame::{Hello, MigrationToken};
use super::security::Credentials;
use super::wire::{KEEP_ALIVE, Wire};
use crate::arch::PAGE_SIZE;
use crate::kvm::CpuFeatures;
use crate::memory::GuestMemory;
use crate::os::host_identity;
use crate::os::sandbox::confine_thread;

/// How long queries about a received guest are answered if the source has not received the confirmation:
/// longer than any source queries.
const QUERY_SERVICE_TIME: Duration = Duration::from_secs(600);

/// How long a process whose guest has already ended waits for a query: as long as a source queries.
const QUERY_WAIT: Duration = Duration::from_secs(75);

/// How long a destination that never took the guest over waits for a query: longer than a source needs to
/// detect a lost connection.
pub const IN_DOUBT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a source may repeat its query after a negative answer, in case the answer was lost.
const RETRY_WINDOW: Duration = Duration::from_millis(500);

/// Interval at which a waiting thread checks whether it should still accept connections.
const ROUND: Duration = Duration::from_millis(100);

/// Pause after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(10);

/// Stack size of the thread, in bytes.
const STACK: usize = 512 << 10;

/// Why no guest was received.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    /// The address cannot be listened on.
    #[error("cannot wait for a guest on {address}: {reason}; choose another place with -migrport")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the host.
        reason: io::Error,
    },
    /// The thread cannot be created.
    #[error("the host gives this process no thread to wait for a guest: {0}")]
    Thread(io::Error),
    /// The migration has failed; the source keeps the guest.
    #[error("migration failed, the guest keeps running on the source: {0}")]
    Failed(String),
}

/// Progress of an incoming migration.
#[derive(Debug)]
pub enum IncomingEvent {
    /// A guest has been announced.
    Started {
        /// Address of the source.
        from: SocketAddr,
        /// Name of the guest file on the source.
        guest: String,
        /// Size of its memory in bytes.
        memory: u64,
    },
    /// A round of pages has begun.
    Round {
        /// Its number, from 1.
        number: u32,
        /// Pages in it.
        pages: u64,
    },
    /// More pages have arrived.
    Pages(u64),
    /// The guest has been received completely.
    Complete(ReceivedGuest),
    /// The migration has failed, for this reason.
    Failed(String),
}

/// A received guest before its machine is built.
#[derive(Debug)]
pub struct ReceivedGuest {
    /// Its memory, with the received contents.
    pub memory: Arc<GuestMemory>,
    /// The machine state as [`crate::state::SavedMachine::to_bytes`] encodes it.
    pub state: Vec<u8>,
}

/// Result of building the machine.
enum BuildResult {
    /// The machine can run.
    Ready,
    /// The machine cannot run here, for this reason.
    Refused(String),
}

/// Waits for a guest. Dropping it refuses a guest that has not been committed.
pub struct IncomingMigration {
    news: Receiver<IncomingEvent>,
    word: Option<Sender<BuildResult>>,
    decided: Receiver<Result<(), String>>,
    done: Receiver<()>,
    address: SocketAddr,
}

/// Answers queries of a source that does not know which host runs the guest.
pub struct QueryResponder {
    /// Never carries a message; it disconnects when the answering thread ends.
    done: Receiver<()>,
}

impl QueryResponder {
    /// True if the source knows which host runs the guest.
    pub fn is_over(&self) -> bool {
        self.done.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Waits until the source knows which host runs the guest, or has stopped querying. Call this before the
    /// process exits: a source that gets no answer cannot resume the guest.
    pub fn finish(self) {
        let _ = self.done.recv_timeout(QUERY_WAIT);
    }
}

/// What this host supports.
#[derive(Debug)]
pub struct HostFeatures {
    /// Processor features available to the guest here.
    pub features: CpuFeatures,
}

impl HostFeatures {
    /// Refuses a guest that cannot run here, before its memory is sent.
    fn check(&self, hello: &Hello) -> Result<(), String> {
        let features: CpuFeatures = postcard::from_bytes(&hello.facts)
            .map_err(|e| format!("the source does not tell the guest's processor features: {e}"))?;
        let (there, here) = (features.vendor(), self.features.vendor());
        if there != here {
            return Err(format!("the guest runs on a processor by {there}, and this host's is by {here}"));
        }
        let missing = features.missing_in(&self.features);
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!("this host's processor does not have {}, which the guest was given", missing.join(", ")))
    }
}

impl IncomingMigration {
    /// Listens on `place` for a guest that `host` can run.
    ///
    /// # Errors
    ///
    /// [`IncomingError::Listen`], for example when the port is taken; [`IncomingError::Thread`].
    pub fn open(
        address: SocketAddr,
        credentials: Credentials,
        host: HostFeatures,
    ) -> Result<IncomingMigration, IncomingError> {
        let listen = |reason| IncomingError::Listen { address, reason };
        let listener = TcpListener::bind(address).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let ((news, events), (word, said), (decide, decided)) = (channel(), channel(), channel());
        let (_done, done) = channel();
        let acceptor = Acceptor { listener, credentials };
        let site = site_of(address.port()).unwrap_or_default();
        let receiver = ReceivingThread { acceptor, host, site, news, said, decide, _done };
        thread::Builder::new()
            .name("migration".into())
            .stack_size(STACK)
            .spawn(move || receiver.run())
            .map_err(IncomingError::Thread)?;
        Ok(IncomingMigration { news: events, word: Some(word), decided, done, address })
    }

    /// The address that is listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until a guest has been received; calls `tell` with each event.
    ///
    /// # Errors
    ///
    /// [`IncomingError::Failed`].
    pub fn wait(&self, tell: &mut dyn FnMut(&IncomingEvent)) -> Result<ReceivedGuest, IncomingError> {
        loop {
            match self.news.recv() {
                Ok(IncomingEvent::Complete(arrived)) => return Ok(arrived),
                Ok(IncomingEvent::Failed(why)) => return Err(IncomingError::Failed(why)),
                Ok(news) => tell(&news),
                Err(_) => {
                    return Err(IncomingError::Failed("the thread that waits for it has ended".into()));
                }
            }
        }
    }

    /// Reports that the machine is built and can run, and has the source hand the guest over. On success the
    /// guest belongs to this host and must run.
    ///
    /// # Errors
    ///
    /// [`IncomingError::Failed`]: the guest must not run here.
    pub fn commit(mut self) -> (Result<(), IncomingError>, QueryResponder) {
        if let Some(word) = self.word.take() {
            // If the receiver has disconnected, so has `decided`.
            let _ = word.send(BuildResult::Ready);
        }
        let gone = || Err("the thread that waits for it has ended".to_owned());
        let decided = self.decided.recv().unwrap_or_else(|_| gone()).map_err(IncomingError::Failed);
        (decided, QueryResponder { done: self.done })
    }

    /// Reports to the source why the guest cannot run here. The report has been sent when this returns.
    pub fn refuse(mut self, why: &str) {
        if let Some(word) = self.word.take() {
            let _ = word.send(BuildResult::Refused(why.to_owned()));
            // The connection ends with the process.
            let _ = self.decided.recv();
        }
    }
}

/// The site of a destination that listens on `port`. If a source that has connected to `port` has the same
/// site, no forwarder lies between them that could fail while the destination survives.
pub(super) fn site_of(port: u16) -> Option<String> {
    host_identity::current().map(|here| format!("{here} {port}"))
}

/// The thread that communicates with sources.
struct ReceivingThread {
    acceptor: Acceptor,
    host: HostFeatures,
    /// The site of this destination.
    site: String,
    news: Sender<IncomingEvent>,
    said: Receiver<BuildResult>,
    decide: Sender<Result<(), String>>,
    _done: Sender<()>,
}

impl ReceivingThread {
    fn run(self) {
        confine_thread();
        let (wire, hello, from) = self.acceptor.first_source();
        let begun = IncomingEvent::Started { from, guest: hello.guest.clone(), memory: hello.memory };
        // The receiver of events stays connected until it has received all of them.
        let _ = self.news.send(begun);
        let ReceivingThread { host, site, news, said, .. } = &self;
        let mut guest = IncomingGuest { host, site, news, said, memory: None };
        match receive_guest(wire, &hello, &mut guest) {
            Ok(wire) => self.hand_over(wire, hello.token, from),
            Err(error) => self.failed(&error),
        }
    }

    fn hand_over(&self, wire: Wire, token: MigrationToken, from: SocketAddr) {
        let (decision, over) = (CommitDecision::default(), ServiceDeadline::default());
        thread::scope(|scope| {
            // A source queries over a new connection.
            let answers = thread::Builder::new().name("migration-ask".into()).stack_size(STACK);
            let (acceptor, decision, over) = (&self.acceptor, &decision, &over);
            if let Err(error) = answers.spawn_scoped(scope, move || acceptor.answer(token, decision, over)) {
                let why = format!("the host gives no thread: {error}");
                wire.abort(&why);
                return self.failed(&DestinationError::Host(why));
            }
            match commit(wire, token, decision) {
                Ok(wire) => {
                    let _ = self.decide.send(Ok(()));
                    if confirm(wire) {
                        over.now();
                    } else {
                        warn!("{from} may not know that the guest is here; it is told if it asks");
                        over.at(Instant::now() + QUERY_SERVICE_TIME);
                    }
                }
                Err(error) => {
                    over.at(Instant::now()
                        + if error.leaves_source_in_doubt() { IN_DOUBT_TIMEOUT } else { Duration::ZERO });
                    self.failed(&error);
                }
            }
        });
    }

    /// Reports the failure on both channels, because only one of them has a receiver waiting.
    fn failed(&self, error: &DestinationError) {
        let _ = self.news.send(IncomingEvent::Failed(error.to_string()));
        let _ = self.decide.send(Err(error.to_string()));
    }
}

/// Accepts connections of sources.
struct Acceptor {
    listener: TcpListener,
    credentials: Credentials,
}

impl Acceptor {
    /// Waits for a source that starts a migration. Port probes and peers that fail authentication are
    /// disconnected.
    fn first_source(&self) -> (Wire, Hello, SocketAddr) {
        loop {
            match self.listener.accept() {
                Ok((socket, from)) => match self.meet(socket) {
                    Ok((wire, PeerRequest::Migrate(hello))) => return (wire, hello, from),
                    Ok((wire, PeerRequest::Query(_))) => wire.abort("no guest has come here"),
                    Err(why) => warn!("{from} wants to bring a guest, and is turned away: {why}"),
                },
                Err(error) => {
                    // Out of file descriptors, or the peer has already disconnected.
                    debug!("no connection: {error}");
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    fn meet(&self, socket: TcpStream) -> Result<(Wire, PeerRequest), String> {
        // Send small frames at once, because each waits for an answer.
        let _ = socket.set_nodelay(true);
        let transport = self.credentials.accepted(socket).map_err(|e| e.to_string())?;
        let wire = Wire::new(transport).map_err(|e| e.to_string())?;
        accept_peer(wire).map_err(|e| e.to_string())
    }

    /// Answers queries of a source that lost its connection, until the deadline in `over`.
    fn answer(&self, ours: MigrationToken, decision: &CommitDecision, over: &ServiceDeadline) {
        let round = Timespec::try_from(ROUND).ok();
        while !over.is_reached() {
            let ready = poll(&mut [PollFd::new(&self.listener, PollFlags::IN)], round.as_ref());
            if !matches!(ready, Ok(1..)) {
                continue;
            }
            let Ok((socket, from)) = self.listener.accept() else { continue };
            match self.meet(socket) {
                Ok((wire, PeerRequest::Query(asked))) => {
                    info!("{from} asks who has the guest");
                    match answer_query(wire, asked, ours, decision) {
                        QueryOutcome::Confirmed => over.now(),
                        QueryOutcome::Refused => over.at(Instant::now() + RETRY_WINDOW),
                        QueryOutcome::Unresolved => {}
                    }
                }
                Ok((wire, PeerRequest::Migrate(_))) => {
                    wire.abort("another guest has come here already; start another kvm -migr for this one");
                }
                Err(why) => debug!("{from} is turned away: {why}"),
            }
        }
    }
}

/// The time at which queries are no longer answered.
#[derive(Debug, Default)]
struct ServiceDeadline(Mutex<Option<Instant>>);

impl ServiceDeadline {
    /// Sets the deadline to `time`, unless it is already earlier.
    fn at(&self, time: Instant) {
        let mut end = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *end = Some(end.map_or(time, |end| end.min(time)));
    }

    fn now(&self) {
        self.at(Instant::now());
    }

    fn is_reached(&self) -> bool {
        let time = *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        time.is_some_and(|time| Instant::now() >= time)
    }
}

/// A guest while it is received.
struct IncomingGuest<'a> {
    host: &'a HostFeatures,
    site: &'a str,
    news: &'a Sender<IncomingEvent>,
    said: &'a Receiver<BuildResult>,
    memory: Option<Arc<GuestMemory>>,
}

impl DestinationGuest for IncomingGuest<'_> {
    fn announced(&mut self, hello: &Hello) -> Result<Arc<GuestMemory>, String> {
        self.host.check(hello)?;
        let memory = Arc::new(GuestMemory::new(hello.memory).map_err(|e| e.to_string())?);
        // Track writes, so that pages never written to need no check for zeros.
        memory.track_host_writes(true);
        self.memory = Some(memory.clone());
        Ok(memory)
    }

    fn site(&self) -> &[u8] {
        self.site.as_bytes()
    }

    fn round_begins(&mut self, number: u32, pages: u64) {
        if let Some(memory) = self.memory.as_ref().filter(|memory| pages > memory.size() / PAGE_SIZE / 2) {
            memory.advise_huge_pages();
        }
        let _ = self.news.send(IncomingEvent::Round { number, pages });
    }

    fn pages_arrived(&mut self, pages: u64) {
        let _ = self.news.send(IncomingEvent::Pages(pages));
    }

    fn build(&mut self, state: Vec<u8>, busy: &mut dyn FnMut()) -> Result<(), String> {
        let memory = self.memory.take().ok_or("no memory for it")?;
        memory.track_host_writes(false);
        let _ = self.news.send(IncomingEvent::Complete(ReceivedGuest { memory, state }));
        loop {
            match self.said.recv_timeout(KEEP_ALIVE) {
                Ok(BuildResult::Ready) => return Ok(()),
                Ok(BuildResult::Refused(why)) => return Err(why),
                Err(RecvTimeoutError::Timeout) => busy(),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err("the machine cannot be built there".to_owned());
                }
            }
        }
    }
}
