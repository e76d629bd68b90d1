//! The outgoing migration: moves the guest of this process to another host.
//!
//! A separate thread communicates with the destination. It accesses the guest through the request queue. The
//! guest is stopped only during each request, and from the last round of pages until the outcome is known.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use tracing::{info, warn};

use super::frame::{DiskOffer, Hello, MigrationToken};
use super::incoming::site_of;
use super::progress::{MigrationPhase, MigrationProgress, end_of_run, failure};
use super::security::{Credentials, CredentialsError};
use super::source::{
    MigrationPlan, QueryAnswer, SourceError, SourceGuest, SourceGuestError, SourceOutcome, migrate, query,
};
use super::wire::{TRUST, Wire, WireError};
use crate::machine::dirty::DirtyTracker;
use crate::machine::{CpuId, Outcome};
use crate::memory::{GuestMemory, PageSet};
use crate::os::shared_image::SharedImage;
use crate::state::SavedMachine;
use crate::supervisor::migrator::{Migrator, MigratorError};
use crate::supervisor::notice::Notice;
use crate::supervisor::request_queue::{GuestRequest, RequestSender, RunOver};
use crate::supervisor::stopped_machine::{PausedMachine, RunStatus};

/// Timeout for connecting to a destination.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a destination that does not answer is queried about the guest.
const QUERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Interval between two queries.
const QUERY_INTERVAL: Duration = Duration::from_millis(250);

/// Stack size of the thread, in bytes.
const STACK: usize = 512 << 10;

/// Migrates the guest of this process.
#[derive(Debug)]
pub struct MigrationService {
    caller: RequestSender,
    credentials: Credentials,
    downtime: Duration,
    /// Progress of the last migration.
    progress: Mutex<Option<Arc<MigrationProgress>>>,
}

impl MigrationService {
    /// Creates the service for the guest behind `caller`, with a target downtime of `downtime`.
    pub fn new(caller: RequestSender, credentials: Credentials, downtime: Duration) -> MigrationService {
        MigrationService { caller, credentials, downtime, progress: Mutex::default() }
    }

    fn progress(&self) -> MutexGuard<'_, Option<Arc<MigrationProgress>>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Migrator for MigrationService {
    fn start(&self, host: &str, port: u16, with_disk: bool) -> Result<Receiver<Notice>, MigratorError> {
        let mut last = self.progress();
        if let Some(progress) = last.as_ref().filter(|progress| !progress.is_over()) {
            return Err(MigratorError::AlreadyInProgress { progress: progress.text() });
        }
        let (sender, lines) = channel();
        let to = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let progress = Arc::new(MigrationProgress::new(to, Some(sender)));
        let task = MigrationTask {
            caller: self.caller.clone(),
            destination: Destination { host: host.to_owned(), port, credentials: self.credentials.clone() },
            downtime: self.downtime,
            with_disk,
            progress: progress.clone(),
        };
        thread::Builder::new()
            .name("migration".into())
            .stack_size(STACK)
            .spawn(move || task.run())
            .map_err(MigratorError::Thread)?;
        *last = Some(progress);
        Ok(lines)
    }

    fn cancel(&self) -> Result<(), MigratorError> {
        match self.progress().as_ref() {
            Some(progress) if progress.cancel() => Ok(()),
            Some(progress) if !progress.is_over() => Err(MigratorError::HandingOver),
            _ => Err(MigratorError::NotInProgress),
        }
    }

    fn status(&self) -> String {
        let none = || "no migration has been started; `migrate HOST PORT` starts one".to_owned();
        self.progress().as_ref().map_or_else(none, |progress| progress.text())
    }
}

/// A destination as the user names it.
struct Destination {
    host: String,
    port: u16,
    credentials: Credentials,
}

/// Why a destination cannot be connected to.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    /// The host name cannot be resolved.
    #[error("the host name `{host}` cannot be resolved: {error}; check its spelling, or give an IP address")]
    Unresolved {
        host: String,
        #[source]
        error: io::Error,
    },
    /// The host name has no address.
    #[error("{host}: a host without an address")]
    NoAddress { host: String },
    /// The address needs credentials.
    #[error(transparent)]
    NotAllowed(#[from] CredentialsError),
    /// The TCP connection failed.
    #[error("{address}: {error}; start `kvm -migr -migrport {}` there", address.port())]
    Connect {
        address: SocketAddr,
        #[source]
        error: io::Error,
    },
    /// The peer could not be authenticated.
    #[error("{address}: {error}; {TRUST}")]
    Untrusted {
        address: SocketAddr,
        #[source]
        error: io::Error,
    },
    /// The connection failed afterwards.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl ConnectError {
    /// True if the destination's host refused the connection: no process listens on the port.
    fn is_refused(&self) -> bool {
        matches!(self, ConnectError::Connect { error, .. } if error.kind() == io::ErrorKind::ConnectionRefused)
    }
}

impl Destination {
    fn connect(&self) -> Result<(Wire, SocketAddr), ConnectError> {
        let host = || self.host.clone();
        let addresses = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|error| ConnectError::Unresolved { host: host(), error })?;
        let mut failed = ConnectError::NoAddress { host: host() };
        for address in addresses {
            self.credentials.allow(address.ip())?;
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(socket) => {
                    // Send small frames at once, because each waits for an answer.
                    let _ = socket.set_nodelay(true);
                    let transport = self
                        .credentials
                        .connected(socket, &self.host)
                        .map_err(|error| ConnectError::Untrusted { address, error })?;
                    return Ok((Wire::new(transport)?, address));
                }
                Err(error) => failed = ConnectError::Connect { address, error },
            }
        }
        Err(failed)
    }
}

/// One outgoing migration.
struct MigrationTask {
    caller: RequestSender,
    destination: Destination,
    downtime: Duration,
    /// The contents of the disks are sent.
    with_disk: bool,
    progress: Arc<MigrationProgress>,
}

/// A disk whose contents are sent.
#[derive(Clone, Debug)]
pub struct CopiedDisk {
    /// Its number.
    pub unit: u8,
    /// Its image.
    pub image: Arc<SharedImage>,
}

impl MigrationTask {
    fn run(self) {
        let end = self.go();
        self.progress.note(&end);
        self.progress.enter(MigrationPhase::Over(end));
    }

    /// Runs the migration. Returns the result in one line.
    fn go(&self) -> String {
        let to = &self.progress.to;
        let (wire, address) = match self.destination.connect() {
            Ok(reached) => reached,
            Err(error) => return failure(&error),
        };
        let (hello, memory, images) = match self.hello() {
            Ok(hello) => hello,
            Err(error) => return failure(&error),
        };
        let token = hello.token;
        let on_this_host = address.ip().to_canonical().is_loopback();
        let site = site_of(address.port()).filter(|_| on_this_host);
        let disks = if self.with_disk { images.clone() } else { Vec::new() };
        let mut guest = QueuedGuest {
            images,
            disks,
            ..QueuedGuest::new(self.caller.clone(), memory, self.progress.to.clone(), site)
        };
        let plan = MigrationPlan { downtime: self.downtime, compress: !on_this_host };
        match migrate(wire, hello, &mut guest, plan, &self.progress) {
            SourceOutcome::Migrated(figures) => {
                guest.conclude(AfterStop::Migrated);
                format!("the guest has moved to {to}: {figures}")
            }
            SourceOutcome::Failed(error) => {
                // A run whose memory is lost ends when it resumes.
                guest.conclude(AfterStop::Resume);
                match error {
                    SourceError::MemoryLost(lost) => end_of_run(&lost),
                    error => failure(&error),
                }
            }
            SourceOutcome::InDoubt(error) => {
                warn!("{error}, after the commit; {to} is queried whether it runs the guest");
                self.progress.enter(MigrationPhase::InDoubt);
                self.progress.note(&format!(
                    "{error}; the guest is paused, and {to} is queried whether it runs the guest"
                ));
                let is_local = guest.is_local;
                guest.conclude(AfterStop::StayPaused);
                match self.resolve(token, is_local) {
                    Some(QueryAnswer::Running) => {
                        self.finish_in_doubt(Some(Outcome::Moved { to: to.clone() }));
                        format!("the guest has moved to {to}")
                    }
                    Some(QueryAnswer::NotRunning) => {
                        self.finish_in_doubt(None);
                        failure(&error)
                    }
                    None => self.progress.text(),
                }
            }
        }
    }

    /// Ends or resumes the paused guest, unless the user has already resumed or ended it.
    fn finish_in_doubt(&self, outcome: Option<Outcome>) {
        // An error means that the run is over.
        let _ = self.caller.with_paused_machine(|guest| {
            if guest.status() != RunStatus::Paused {
                return Ok(());
            }
            match outcome {
                Some(outcome) => guest.end(outcome),
                None => guest.set_paused(false),
            }
            stop_tracking(guest)
        });
    }

    fn hello(&self) -> Result<(Hello, Arc<GuestMemory>, Vec<CopiedDisk>), SourceGuestError> {
        let mut token: MigrationToken = [0; 16];
        SystemRandom::new().fill(&mut token).map_err(|_| SourceGuestError::RandomNumbers)?;
        let copied = self.with_disk;
        let described = self.caller.with_paused_machine(move |guest| -> Result<_, SourceGuestError> {
            let machine = guest.machine();
            let facts = postcard::to_stdvec(&machine.cpu(CpuId::BOOT).vcpu().features())
                .map_err(SourceGuestError::Features)?;
            let (mut offers, mut images) = (Vec::new(), Vec::new());
            for (unit, image) in machine.disk_images() {
                if !copied && image.with(|image| image.keeps_writes_in_memory()) {
                    return Err(SourceGuestError::DiskInMemory { unit });
                }
                images.push(CopiedDisk { unit, image: image.clone() });
            }
            for (unit, geometry) in machine.disks() {
                offers.push(DiskOffer { unit, geometry, copied });
            }
            Ok((machine.shared_memory(), machine.image().name().to_owned(), facts, offers, images))
        });
        let (memory, guest, facts, disks, images) = described??;
        Ok((Hello { token, memory: memory.size(), guest, facts, disks }, memory, images))
    }

    /// Queries the destination until it answers; `None` after [`QUERY_TIMEOUT`]. If the destination is
    /// local, a refused connection also means that the guest does not run there.
    fn resolve(&self, token: MigrationToken, is_local: bool) -> Option<QueryAnswer> {
        let start = Instant::now();
        while start.elapsed() < QUERY_TIMEOUT {
            if self.caller.status() != Ok(RunStatus::Paused) {
                // The user has already decided.
                return None;
            }
            let why = match self.destination.connect() {
                Ok((wire, _)) => match query(wire, token) {
                    Ok(answer) => return Some(answer),
                    Err(error) => error.to_string(),
                },
                Err(error) if is_local && error.is_refused() => return Some(QueryAnswer::NotRunning),
                Err(error) => error.to_string(),
            };
            info!("{} has not answered the query: {why}", self.progress.to);
            thread::sleep(QUERY_INTERVAL);
        }
        None
    }
}

/// What happens to the guest after it was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterStop {
    /// It resumes on this host.
    Resume,
    /// It has moved to the destination.
    Migrated,
    /// The outcome is unknown: it stays paused until a query answers or the user decides.
    StayPaused,
}

/// The guest behind the request queue of its run.
struct QueuedGuest {
    caller: RequestSender,
    memory: Arc<GuestMemory>,
    to: String,
    /// The site of a destination on this host with no forwarder in between; `None` if the connection is not
    /// local.
    site: Option<String>,
    /// True if the destination has reported that site.
    is_local: bool,
    /// A throttling pause is queued or in progress.
    is_throttled: Arc<AtomicBool>,
    /// Ends the stop of the guest; `None` unless it is stopped.
    stopped: Option<Sender<AfterStop>>,
    /// All disks.
    images: Vec<CopiedDisk>,
    /// Those whose contents are sent: all or none.
    disks: Vec<CopiedDisk>,
}

impl QueuedGuest {
    fn new(caller: RequestSender, memory: Arc<GuestMemory>, to: String, site: Option<String>) -> QueuedGuest {
        QueuedGuest {
            caller,
            memory,
            to,
            site,
            is_local: false,
            is_throttled: Arc::default(),
            stopped: None,
            images: Vec::new(),
            disks: Vec::new(),
        }
    }

    fn request<T: Send + 'static>(
        &self,
        request: impl FnOnce(&mut dyn PausedMachine) -> Result<T, SourceGuestError> + Send + 'static,
    ) -> Result<T, SourceGuestError> {
        self.caller.with_paused_machine(request)?
    }

    /// Ends the migration with `verdict`.
    fn conclude(mut self, verdict: AfterStop) {
        self.disks.iter().for_each(|disk| disk.image.track(false));
        match self.stopped.take() {
            // The stopped guest waits on this channel.
            Some(stopped) => _ = stopped.send(verdict),
            // An error means that the run is over.
            None => _ = self.request(|guest| stop_tracking(guest)),
        }
    }
}

/// Stops the dirty tracking of the migration.
fn stop_tracking(guest: &mut dyn PausedMachine) -> Result<(), SourceGuestError> {
    Ok(guest.machine().stop_dirty_tracking(DirtyTracker::Migration)?)
}

/// Hands the disks over, and captures the pages written since the last call and the machine state without memory. The
/// images are released if the destination uses the same ones.
fn capture(guest: &mut dyn PausedMachine, release: bool) -> Result<(PageSet, Vec<u8>), SourceGuestError> {
    let handed_over = guest.machine().hand_over_disks(release);
    handed_over.map_err(|(unit, error)| SourceGuestError::Disk { unit, error })?;
    // Capturing the state may write to memory, so it precedes the list of written pages.
    let pending = guest.pending_action();
    let saved = SavedMachine::capture(guest.machine(), pending)?;
    let state = saved.to_bytes(guest.machine().image())?;
    let pages = guest.machine().take_dirty(DirtyTracker::Migration)?;
    Ok((pages, state))
}

impl SourceGuest for QueuedGuest {
    fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }

    fn set_destination_site(&mut self, site: &[u8]) {
        self.is_local = self.site.as_ref().is_some_and(|here| here.as_bytes() == site);
    }

    fn copied_disks(&self) -> &[CopiedDisk] {
        &self.disks
    }

    fn begin(&mut self) -> Result<PageSet, SourceGuestError> {
        self.request(|guest| Ok(guest.machine().start_dirty_tracking(DirtyTracker::Migration)?))?;
        // Pages written for the first time from now on are tracked as dirty.
        Ok(self.memory.committed())
    }

    fn written(&mut self) -> Result<PageSet, SourceGuestError> {
        self.request(|guest| Ok(guest.machine().take_dirty(DirtyTracker::Migration)?))
    }

    fn throttle(&mut self, pause: Duration) {
        if self.is_throttled.swap(true, Ordering::SeqCst) {
            return;
        }
        let is_throttled = self.is_throttled.clone();
        // An error means that the run is over, which the next request reports.
        let _ = self.caller.send(GuestRequest::Migration(Box::new(move |_| {
            thread::sleep(pause);
            is_throttled.store(false, Ordering::SeqCst);
        })));
    }

    fn stop(&mut self) -> Result<(PageSet, Vec<u8>), SourceGuestError> {
        let (sender, captured) = channel();
        let (verdict, decision) = channel();
        let to = self.to.clone();
        let release = self.disks.is_empty();
        if release {
            // Little is left to be made durable while the guest is stopped. A failure shows again then.
            let _ = self.images.iter().try_for_each(|disk| disk.image.flush());
        }
        self.caller.send(GuestRequest::Migration(Box::new(move |guest| {
            let result = capture(guest, release);
            let captured = result.is_ok();
            if sender.send(result).is_err() || !captured {
                guest.machine().take_back_disks();
                return;
            }
            // If the migration thread ended without a result, the outcome is unknown, as without an
            // answer.
            match decision.recv().unwrap_or(AfterStop::StayPaused) {
                AfterStop::Resume => {
                    guest.machine().take_back_disks();
                    if let Err(error) = stop_tracking(guest) {
                        warn!("dirty tracking cannot be stopped: {error}");
                    }
                }
                AfterStop::Migrated => guest.end(Outcome::Moved { to }),
                AfterStop::StayPaused => guest.set_paused(true),
            }
        })))?;
        let captured = captured.recv().map_err(|_| RunOver)??;
        self.stopped = Some(verdict);
        Ok(captured)
    }
}
