//! The incoming migration: waits for a source and receives its guest.
//!
//! A separate thread, which cannot open files, reads from the network. It writes pages to memory and passes
//! everything else to the thread that will run the guest. That thread builds the machine and reports that it
//! can run ([`IncomingMigration::commit`]). Only then is the source asked to hand the guest over.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tracing::warn;

use super::acceptor::Acceptor;
use super::commit::CommitDecision;
use super::destination::{
    DestinationError, DestinationGuest, DestinationGuestError, QueryOutcome, answer_query, commit, confirm,
    receive_guest,
};
use super::disk_target::DiskTarget;
use super::frame::{DiskOffer, DiskRound, Hello, MigrationToken};
use super::security::Credentials;
use super::wire::{KEEP_ALIVE, RUN_ENDS, Wire, WireError};
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

/// Interval at which a process that waits for a query checks whether its user has ended the wait.
const ROUND: Duration = Duration::from_millis(100);

/// Stack size of the thread, in bytes.
const STACK: usize = 512 << 10;

/// Why no guest was received.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for a guest: {reason}; choose another port with -migrport")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the host.
        #[source]
        reason: io::Error,
    },
    /// The thread cannot be created.
    #[error("the host provides no thread to wait for a guest: {0}")]
    Thread(#[source] io::Error),
    /// No guest has been received in time; a source keeps its guest.
    #[error(
        "no guest has been received within the time of --timeout; a guest that was on its way keeps running on its source"
    )]
    TimedOut,
    /// The migration has failed; the guest does not run here.
    #[error("migration failed, {fate}: {0}", fate = fate(.0))]
    Failed(#[source] Arc<DestinationError>),
    /// The receiving thread has exited without a result; the source keeps the guest.
    #[error("migration failed, the guest keeps running on the source: the receiving thread has exited")]
    ThreadExited,
}

/// What becomes of a guest whose migration has failed.
fn fate(error: &DestinationError) -> &'static str {
    match error {
        DestinationError::Wire(WireError::Peer(reason)) if reason.ends_with(RUN_ENDS) => {
            "and the guest does not run on the source either"
        }
        _ => "the guest keeps running on the source",
    }
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
    /// The guest has these disks. The answer holds the images whose contents are sent, or why the guest is refused.
    Disks {
        /// The disks.
        offers: Vec<DiskOffer>,
        /// Where the answer is expected.
        answer: Sender<Result<Vec<DiskTarget>, String>>,
    },
    /// A round of pages of a disk has begun.
    DiskRound(DiskRound),
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
    Failed(Arc<DestinationError>),
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
    events: Receiver<IncomingEvent>,
    /// Reports the result of building the machine; `None` once it is reported.
    build_result: Option<Sender<BuildResult>>,
    /// The commit decision.
    decision: Receiver<Result<(), Arc<DestinationError>>>,
    /// Disconnects when the thread exits.
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
    ///
    /// The wait ends early when `interrupted` returns true, which is called every 100 ms; this returns false then.
    pub fn finish(self, interrupted: &mut dyn FnMut() -> bool) -> bool {
        let end = Instant::now() + QUERY_WAIT;
        while self.done.recv_timeout(ROUND) == Err(RecvTimeoutError::Timeout) && Instant::now() < end {
            if interrupted() {
                return false;
            }
        }
        true
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
    fn check(&self, hello: &Hello) -> Result<(), DestinationGuestError> {
        let features: CpuFeatures = postcard::from_bytes(&hello.facts)?;
        let (there, here) = (features.vendor(), self.features.vendor());
        if there != here {
            return Err(DestinationGuestError::Vendor { there, here });
        }
        match features.missing_in(&self.features) {
            missing if missing.is_empty() => Ok(()),
            missing => Err(DestinationGuestError::MissingFeatures(missing)),
        }
    }
}

impl IncomingMigration {
    /// Listens on `address` for a guest that `host` can run.
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
        let (event_sender, events) = channel();
        let (build_sender, build_result) = channel();
        let (decision_sender, decision) = channel();
        let (_done, done) = channel();
        let site = site_of(address.port()).unwrap_or_default();
        let receiver = ReceivingThread {
            host,
            site,
            events: event_sender,
            build_result,
            decision: decision_sender,
            _done,
        };
        thread::Builder::new()
            .name("migration".into())
            .stack_size(STACK)
            .spawn(move || receiver.run(listener, credentials))
            .map_err(IncomingError::Thread)?;
        Ok(IncomingMigration { events, build_result: Some(build_sender), decision, done, address })
    }

    /// The address that is listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until a guest has been received, at most until `deadline`; calls `on_event` with each event.
    ///
    /// # Errors
    ///
    /// [`IncomingError::TimedOut`], [`IncomingError::Failed`], [`IncomingError::ThreadExited`].
    pub fn wait(
        &self,
        deadline: Option<Instant>,
        on_event: &mut dyn FnMut(&IncomingEvent),
    ) -> Result<ReceivedGuest, IncomingError> {
        loop {
            let event = match deadline {
                Some(deadline) => {
                    self.events.recv_timeout(deadline.saturating_duration_since(Instant::now()))
                }
                None => self.events.recv().map_err(RecvTimeoutError::from),
            };
            match event {
                Ok(IncomingEvent::Complete(arrived)) => return Ok(arrived),
                Ok(IncomingEvent::Failed(error)) => return Err(IncomingError::Failed(error)),
                Ok(event) => on_event(&event),
                Err(RecvTimeoutError::Timeout) => return Err(IncomingError::TimedOut),
                Err(RecvTimeoutError::Disconnected) => return Err(IncomingError::ThreadExited),
            }
        }
    }

    /// Reports that the machine is built and can run, and has the source hand the guest over. On success the
    /// guest belongs to this host and must run.
    ///
    /// # Errors
    ///
    /// [`IncomingError::Failed`], [`IncomingError::ThreadExited`]: the guest must not run here.
    pub fn commit(mut self) -> (Result<(), IncomingError>, QueryResponder) {
        if let Some(build_result) = self.build_result.take() {
            // If the receiver has disconnected, so has `decision`.
            let _ = build_result.send(BuildResult::Ready);
        }
        let decision = match self.decision.recv() {
            Ok(decision) => decision.map_err(IncomingError::Failed),
            Err(_) => Err(IncomingError::ThreadExited),
        };
        (decision, QueryResponder { done: self.done })
    }

    /// Reports to the source why the guest cannot run here. The report has been sent when this returns.
    pub fn refuse(mut self, why: &str) {
        if let Some(build_result) = self.build_result.take() {
            let _ = build_result.send(BuildResult::Refused(why.to_owned()));
            // The connection ends with the process.
            let _ = self.decision.recv();
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
    host: HostFeatures,
    /// The site of this destination.
    site: String,
    events: Sender<IncomingEvent>,
    build_result: Receiver<BuildResult>,
    decision: Sender<Result<(), Arc<DestinationError>>>,
    _done: Sender<()>,
}

impl ReceivingThread {
    fn run(self, listener: TcpListener, credentials: Credentials) {
        confine_thread();
        let acceptor = match Acceptor::start(listener, credentials) {
            Ok(acceptor) => acceptor,
            Err(error) => return self.failed(DestinationError::Thread(error)),
        };
        // Without one, the waiting process is notified by the end of this thread.
        let Some((wire, hello, from)) = acceptor.first_source() else { return };
        let begun = IncomingEvent::Started { from, guest: hello.guest.clone(), memory: hello.memory };
        // The receiver of events stays connected until it has received all of them.
        let _ = self.events.send(begun);
        let ReceivingThread { host, site, events, build_result, .. } = &self;
        let mut guest = IncomingGuest { host, site, events, build_result, memory: None, disks: Vec::new() };
        match receive_guest(wire, &hello, &mut guest) {
            Ok(wire) => self.hand_over(wire, hello.token, from, acceptor),
            Err(error) => self.failed(error),
        }
    }

    fn hand_over(&self, wire: Wire, token: MigrationToken, from: SocketAddr, acceptor: Acceptor) {
        let (decision, over) = (CommitDecision::default(), ServiceDeadline::default());
        thread::scope(|scope| {
            // A source queries over a new connection.
            let answers = thread::Builder::new().name("migration-ask".into()).stack_size(STACK);
            let (decision, over) = (&decision, &over);
            let answering = move || answer(&acceptor, token, decision, over);
            if let Err(error) = answers.spawn_scoped(scope, answering) {
                let error = DestinationError::Thread(error);
                wire.abort(&error.to_string());
                return self.failed(error);
            }
            match commit(wire, token, decision) {
                Ok(wire) => {
                    let _ = self.decision.send(Ok(()));
                    if confirm(wire) {
                        over.now();
                    } else {
                        warn!("{from} may not know that the guest runs here; its queries are answered");
                        over.at(Instant::now() + QUERY_SERVICE_TIME);
                    }
                }
                Err(error) => {
                    over.at(Instant::now()
                        + if error.leaves_source_in_doubt() { IN_DOUBT_TIMEOUT } else { Duration::ZERO });
                    self.failed(error);
                }
            }
        });
    }

    /// Reports the failure on both channels, because only one of them has a receiver waiting.
    fn failed(&self, error: DestinationError) {
        let error = Arc::new(error);
        let _ = self.events.send(IncomingEvent::Failed(error.clone()));
        let _ = self.decision.send(Err(error));
    }
}

/// Answers queries of a source that lost its connection, until the deadline in `over`.
fn answer(acceptor: &Acceptor, ours: MigrationToken, decision: &CommitDecision, over: &ServiceDeadline) {
    while !over.is_reached() {
        let Some((wire, token)) = acceptor.next_query() else { continue };
        match answer_query(wire, token, ours, decision) {
            QueryOutcome::Confirmed => over.now(),
            QueryOutcome::Refused => over.at(Instant::now() + RETRY_WINDOW),
            QueryOutcome::Unresolved => {}
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
    events: &'a Sender<IncomingEvent>,
    build_result: &'a Receiver<BuildResult>,
    memory: Option<Arc<GuestMemory>>,
    disks: Vec<DiskTarget>,
}

impl DestinationGuest for IncomingGuest<'_> {
    fn announced(&mut self, hello: &Hello) -> Result<Arc<GuestMemory>, DestinationGuestError> {
        self.host.check(hello)?;
        let (answer, disks) = channel();
        let _ = self.events.send(IncomingEvent::Disks { offers: hello.disks.clone(), answer });
        let disks = disks.recv().map_err(|_| DestinationGuestError::NotBuilt)?;
        self.disks = disks.map_err(DestinationGuestError::Refused)?;
        let memory = Arc::new(GuestMemory::new(hello.memory)?);
        // Whether the machine has it becomes known with its state.
        memory.add_video_memory()?;
        // Track writes, so that pages never written to need no check for zeros.
        memory.track_host_writes(true);
        self.memory = Some(memory.clone());
        Ok(memory)
    }

    fn site(&self) -> &[u8] {
        self.site.as_bytes()
    }

    fn disk_round_begins(&mut self, round: DiskRound) {
        let _ = self.events.send(IncomingEvent::DiskRound(round));
    }

    fn disk(&self, unit: u8) -> Option<&DiskTarget> {
        self.disks.iter().find(|disk| disk.unit == unit)
    }

    fn round_begins(&mut self, number: u32, pages: u64) {
        if let Some(memory) = self.memory.as_ref().filter(|memory| pages > memory.size() / PAGE_SIZE / 2) {
            memory.advise_huge_pages();
        }
        let _ = self.events.send(IncomingEvent::Round { number, pages });
    }

    fn pages_arrived(&mut self, pages: u64) {
        let _ = self.events.send(IncomingEvent::Pages(pages));
    }

    fn build(&mut self, state: Vec<u8>, busy: &mut dyn FnMut()) -> Result<(), DestinationGuestError> {
        let memory = self.memory.take().ok_or(DestinationGuestError::NotBuilt)?;
        memory.track_host_writes(false);
        let _ = self.events.send(IncomingEvent::Complete(ReceivedGuest { memory, state }));
        loop {
            match self.build_result.recv_timeout(KEEP_ALIVE) {
                Ok(BuildResult::Ready) => return Ok(()),
                Ok(BuildResult::Refused(why)) => return Err(DestinationGuestError::Refused(why)),
                Err(RecvTimeoutError::Timeout) => busy(),
                Err(RecvTimeoutError::Disconnected) => return Err(DestinationGuestError::NotBuilt),
            }
        }
    }
}
