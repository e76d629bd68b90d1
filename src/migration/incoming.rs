//! Waiting for a guest, and taking it in.
//!
//! A thread of its own, which can open nothing, reads what comes from the network. It puts pages into
//! memory, and hands everything else to the thread that is going to run the guest. That thread builds the
//! machine and says that it could run ([`IncomingMigration::commit`]); only then is the source asked to let go.

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
use crate::kvm::CpuFeatures;
use crate::memory::{GuestMemory, PAGE};
use crate::os::host_identity;
use crate::os::sandbox::confine_thread;

/// How long questions about a guest that has arrived are answered, if its source has not heard that it
/// has: longer than any source asks.
const QUERY_SERVICE_TIME: Duration = Duration::from_secs(600);

/// How long a process whose guest has already ended waits for a source to ask: as long as one does.
const QUERY_WAIT: Duration = Duration::from_secs(75);

/// How long a destination that never had the guest waits for its source to ask: longer than one that loses the
/// connection needs to notice.
pub const IN_DOUBT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a source that was told that its guest is not here has to ask again, if the answer was lost.
const RETRY_WINDOW: Duration = Duration::from_millis(500);

/// How often a thread that waits for connections looks whether it still should.
const ROUND: Duration = Duration::from_millis(100);

/// How long is paused when no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(10);

/// Stack of the thread, in bytes.
const STACK: usize = 512 << 10;

/// Why no guest has come.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    /// Nobody can listen there.
    #[error("cannot wait for a guest on {address}: {reason}; choose another place with -migrport")]
    Listen {
        /// The place.
        address: SocketAddr,
        /// The host's words.
        reason: io::Error,
    },
    /// No thread can be had.
    #[error("the host gives this process no thread to wait for a guest: {0}")]
    Thread(io::Error),
    /// The migration has failed; the source keeps the guest.
    #[error("migration failed, the guest keeps running on the source: {0}")]
    Failed(String),
}

/// How a guest comes.
#[derive(Debug)]
pub enum IncomingEvent {
    /// It has been announced.
    Started {
        /// From where.
        from: SocketAddr,
        /// What it is called there.
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
    /// All of it is here.
    Complete(ReceivedGuest),
    /// It will not come.
    Failed(String),
}

/// A guest that has arrived and is no machine yet.
#[derive(Debug)]
pub struct ReceivedGuest {
    /// Its memory, with what is in it.
    pub memory: Arc<GuestMemory>,
    /// Everything else, as [`crate::state::SavedMachine::to_bytes`] made it.
    pub state: Vec<u8>,
}

/// What is to become of a guest that has arrived.
enum BuildResult {
    /// It could run.
    Ready,
    /// It cannot run here, for this reason.
    Refused(String),
}

/// Waits for a guest. Dropping it refuses a guest that has not been taken over.
pub struct IncomingMigration {
    news: Receiver<IncomingEvent>,
    word: Option<Sender<BuildResult>>,
    decided: Receiver<Result<(), String>>,
    done: Receiver<()>,
    address: SocketAddr,
}

/// Answers a source that does not know who has the guest.
pub struct QueryResponder {
    /// Nothing is ever sent: it ends with the thread that answers.
    done: Receiver<()>,
}

impl QueryResponder {
    /// True if the source knows.
    pub fn is_over(&self) -> bool {
        self.done.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Waits until the source knows, or has stopped asking: one that finds nobody to ask cannot go on with the
    /// guest. To be called before this process ends.
    pub fn finish(self) {
        let _ = self.done.recv_timeout(QUERY_WAIT);
    }
}

/// What this host can run.
#[derive(Debug)]
pub struct HostFeatures {
    /// The processor features that a guest finds here.
    pub features: CpuFeatures,
}

impl HostFeatures {
    /// Refuses a guest that could not run here, before any of it is sent.
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
    /// Listens on `place`, for a guest that `host` can run.
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

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until a guest has arrived; `tell` hears how it comes.
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

    /// The machine is built and everything it needs is there: has the source let go. When this returns
    /// well the guest is this side's, and must run.
    ///
    /// # Errors
    ///
    /// [`IncomingError::Failed`]: the guest must not run here.
    pub fn commit(mut self) -> (Result<(), IncomingError>, QueryResponder) {
        if let Some(word) = self.word.take() {
            // If it has ended, so has the other channel.
            let _ = word.send(BuildResult::Ready);
        }
        let gone = || Err("the thread that waits for it has ended".to_owned());
        let decided = self.decided.recv().unwrap_or_else(|_| gone()).map_err(IncomingError::Failed);
        (decided, QueryResponder { done: self.done })
    }

    /// The guest cannot run here: its source is told why, and has been when this returns.
    pub fn refuse(mut self, why: &str) {
        if let Some(word) = self.word.take() {
            let _ = word.send(BuildResult::Refused(why.to_owned()));
            // The connection ends with the process.
            let _ = self.decided.recv();
        }
    }
}

/// What a destination that listens on `port` tells of where it is. A source that has connected to this port, and
/// is at this site, has nothing between them that could end and leave the destination there.
pub(super) fn site_of(port: u16) -> Option<String> {
    host_identity::current().map(|here| format!("{here} {port}"))
}

/// The thread that speaks with sources.
struct ReceivingThread {
    acceptor: Acceptor,
    host: HostFeatures,
    /// Where this is.
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
        // Whoever waits for news waits for all of them.
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
            // A source asks over a new connection.
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

    /// Tells both channels: one of them is listened to.
    fn failed(&self, error: &DestinationError) {
        let _ = self.news.send(IncomingEvent::Failed(error.to_string()));
        let _ = self.decide.send(Err(error.to_string()));
    }
}

/// Where sources connect.
struct Acceptor {
    listener: TcpListener,
    credentials: Credentials,
}

impl Acceptor {
    /// Waits for somebody who brings a guest. Whoever only tries whether somebody listens, or does not
    /// prove who he is, is hung up on.
    fn first_source(&self) -> (Wire, Hello, SocketAddr) {
        loop {
            match self.listener.accept() {
                Ok((socket, from)) => match self.meet(socket) {
                    Ok((wire, PeerRequest::Migrate(hello))) => return (wire, hello, from),
                    Ok((wire, PeerRequest::Query(_))) => wire.abort("no guest has come here"),
                    Err(why) => warn!("{from} wants to bring a guest, and is turned away: {why}"),
                },
                Err(error) => {
                    // Out of file descriptors, or somebody who has left already.
                    debug!("no connection: {error}");
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    fn meet(&self, socket: TcpStream) -> Result<(Wire, PeerRequest), String> {
        // Small frames that wait for an answer are not to wait for more.
        let _ = socket.set_nodelay(true);
        let transport = self.credentials.accepted(socket).map_err(|e| e.to_string())?;
        let wire = Wire::new(transport).map_err(|e| e.to_string())?;
        accept_peer(wire).map_err(|e| e.to_string())
    }

    /// Answers a source that has lost its connection, until nobody needs that any more.
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

/// When answering ends.
#[derive(Debug, Default)]
struct ServiceDeadline(Mutex<Option<Instant>>);

impl ServiceDeadline {
    /// At `time`, unless it is sooner already.
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

/// A guest that comes.
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
        // Pages of zeros that nothing was written to need not be looked at.
        memory.track_host_writes(true);
        self.memory = Some(memory.clone());
        Ok(memory)
    }

    fn site(&self) -> &[u8] {
        self.site.as_bytes()
    }

    fn round_begins(&mut self, number: u32, pages: u64) {
        if let Some(memory) = self.memory.as_ref().filter(|memory| pages > memory.size() / PAGE / 2) {
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
