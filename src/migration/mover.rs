//! Moving the guest of this process to another one.
//!
//! A thread of its own speaks with the other side. What it wants of the guest it asks at the door; the
//! guest stands still only while it is asked, and from the last round of pages until it is known who has
//! it.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use tracing::{info, warn};

use super::frame::{Hello, Token};
use super::progress::{Phase, Progress};
use super::reception::site_of;
use super::security::Credentials;
use super::source::{Answer, Left, Plan, Traveller, ask, leave};
use super::wire::{TRUST, Wire, WireError};
use crate::control::Doing;
use crate::control::moving::Mover;
use crate::machine::dirty::Follower;
use crate::machine::{CpuId, Outcome};
use crate::memory::{GuestMemory, PageSet};
use crate::state::SavedMachine;
use crate::supervisor::requests::{Caller, HeldGuest};

/// How long a destination may take to accept a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// How long a destination that does not answer is asked who has the guest.
const ASK_PATIENCE: Duration = Duration::from_secs(60);

/// Between two such questions.
const ASK_PAUSE: Duration = Duration::from_millis(250);

/// Stack of the thread, in bytes.
const STACK: usize = 512 << 10;

/// What moves the guest of this process.
#[derive(Debug)]
pub struct Moves {
    caller: Caller,
    credentials: Credentials,
    downtime: Duration,
    /// The last one.
    progress: Mutex<Option<Arc<Progress>>>,
}

impl Moves {
    /// Moves the guest behind `caller`, which is to stand still for about `downtime`.
    pub fn new(caller: Caller, credentials: Credentials, downtime: Duration) -> Moves {
        Moves { caller, credentials, downtime, progress: Mutex::default() }
    }

    fn progress(&self) -> MutexGuard<'_, Option<Arc<Progress>>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mover for Moves {
    fn start(&self, host: &str, port: u16) -> Result<Receiver<String>, String> {
        let mut last = self.progress();
        if let Some(progress) = last.as_ref().filter(|progress| !progress.is_over()) {
            return Err(format!(
                "the guest is on its way already, {}; `migrate cancel` calls that off",
                progress.text()
            ));
        }
        let (sender, story) = channel();
        let to = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let progress = Arc::new(Progress::new(to, Some(sender)));
        let travel = Travel {
            caller: self.caller.clone(),
            place: Place { host: host.to_owned(), port, credentials: self.credentials.clone() },
            downtime: self.downtime,
            progress: progress.clone(),
        };
        thread::Builder::new()
            .name("migration".into())
            .stack_size(STACK)
            .spawn(move || travel.run())
            .map_err(|e| format!("the host gives this process no thread to move the guest: {e}"))?;
        *last = Some(progress);
        Ok(story)
    }

    fn cancel(&self) -> Result<(), String> {
        match self.progress().as_ref() {
            Some(progress) if progress.cancel() => Ok(()),
            Some(progress) if !progress.is_over() => {
                Err("it is too late: the guest stands still already, and is handed over".to_owned())
            }
            _ => Err("the guest is not on its way to another host".to_owned()),
        }
    }

    fn status(&self) -> String {
        let none = || "the guest has not been moved; `migrate HOST PORT` does that".to_owned();
        self.progress().as_ref().map_or_else(none, |progress| progress.text())
    }
}

/// A destination, as the user names it.
struct Place {
    host: String,
    port: u16,
    credentials: Credentials,
}

/// Why nobody is reached.
#[derive(Debug, thiserror::Error)]
enum ReachError {
    /// It is not allowed, or there is no such host.
    #[error("{0}")]
    Place(String),
    /// Nobody listens.
    #[error("{address}: {error}; `kvm -migr -migrport {}` has a kvm wait there", address.port())]
    Connect { address: SocketAddr, error: io::Error },
    /// Somebody listens, and does not prove to be who he should be.
    #[error("{address}: {error}; {TRUST}")]
    Stranger { address: SocketAddr, error: io::Error },
    /// The connection.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl ReachError {
    /// The host that is asked says that nobody listens.
    fn is_nobody(&self) -> bool {
        matches!(self, ReachError::Connect { error, .. } if error.kind() == io::ErrorKind::ConnectionRefused)
    }
}

impl Place {
    fn reach(&self) -> Result<(Wire, SocketAddr), ReachError> {
        let unknown = |error: io::Error| {
            ReachError::Place(format!("Invalid ip address or port: {}: {error}", self.host))
        };
        let addresses = (self.host.as_str(), self.port).to_socket_addrs().map_err(unknown)?;
        let mut failed = ReachError::Place(format!("{}: a host without an address", self.host));
        for address in addresses {
            self.credentials.allow(address.ip()).map_err(|e| ReachError::Place(e.to_string()))?;
            match TcpStream::connect_timeout(&address, CONNECT_PATIENCE) {
                Ok(socket) => {
                    // Small frames that wait for an answer are not to wait for more.
                    let _ = socket.set_nodelay(true);
                    let transport = self
                        .credentials
                        .connected(socket, &self.host)
                        .map_err(|error| ReachError::Stranger { address, error })?;
                    return Ok((Wire::new(transport)?, address));
                }
                Err(error) => failed = ReachError::Connect { address, error },
            }
        }
        Err(failed)
    }
}

/// One guest on its way.
struct Travel {
    caller: Caller,
    place: Place,
    downtime: Duration,
    progress: Arc<Progress>,
}

impl Travel {
    fn run(self) {
        let end = self.go();
        self.progress.note(&end);
        self.progress.enter(Phase::Over(end));
    }

    /// How it ended, in a line.
    fn go(&self) -> String {
        let to = &self.progress.to;
        let stays = |why: &dyn std::fmt::Display| format!("migration failed, the guest runs on here: {why}");
        let (wire, address) = match self.place.reach() {
            Ok(reached) => reached,
            Err(error) => return stays(&error),
        };
        let (hello, memory) = match self.hello() {
            Ok(hello) => hello,
            Err(why) => return stays(&why),
        };
        let token = hello.token;
        let on_this_host = address.ip().to_canonical().is_loopback();
        let site = site_of(address.port()).filter(|_| on_this_host);
        let mut guest = Held::new(self.caller.clone(), memory, self.progress.to.clone(), site);
        let plan = Plan { downtime: self.downtime, compress: !on_this_host };
        match leave(wire, hello, &mut guest, plan, &self.progress) {
            Left::There(figures) => {
                guest.conclude(Verdict::Gone);
                format!("the guest has moved to {to}: {figures}")
            }
            Left::Here(error) => {
                guest.conclude(Verdict::GoOn);
                stays(&error)
            }
            Left::InDoubt(error) => {
                warn!("{error}, after the guest was let go; {to} is asked who has it");
                self.progress.enter(Phase::InDoubt);
                self.progress.note(&format!("{error}; the guest stands still, and {to} is asked who has it"));
                let is_near = guest.is_near;
                guest.conclude(Verdict::Wait);
                match self.resolve(token, is_near) {
                    Some(Answer::There) => {
                        self.settle(Some(Outcome::Moved { to: to.clone() }));
                        format!("the guest has moved to {to}")
                    }
                    Some(Answer::NotThere) => {
                        self.settle(None);
                        stays(&error)
                    }
                    None => self.progress.text(),
                }
            }
        }
    }

    /// The guest, which waits, has gone or goes on, unless its user has already decided.
    fn settle(&self, outcome: Option<Outcome>) {
        // If this fails its run is over.
        let _ = self.caller.ask(|guest| {
            if guest.doing() != Doing::Paused {
                return Ok(());
            }
            match outcome {
                Some(outcome) => guest.end(outcome),
                None => guest.set_paused(false),
            }
            go_on(guest)
        });
    }

    fn hello(&self) -> Result<(Hello, Arc<GuestMemory>), String> {
        let mut token: Token = [0; 16];
        SystemRandom::new().fill(&mut token).map_err(|_| "the host gives no random numbers".to_owned())?;
        let asked = self.caller.ask(|guest| -> Result<_, String> {
            let machine = guest.machine();
            let facts = postcard::to_stdvec(&machine.cpu(CpuId::BOOT).vcpu().features())
                .map_err(|e| e.to_string())?;
            Ok((machine.shared_memory(), machine.image().name().to_owned(), facts))
        });
        let (memory, guest, facts) = asked.map_err(|over| over.to_string())??;
        Ok((Hello { token, memory: memory.size(), guest, facts }, memory))
    }

    /// Asks until there is an answer; `None` if there is none for too long. If the other side is near, that
    /// nobody listens there is one, too.
    fn resolve(&self, token: Token, is_near: bool) -> Option<Answer> {
        let start = Instant::now();
        while start.elapsed() < ASK_PATIENCE {
            if self.caller.ask(|guest| guest.doing()) != Ok(Doing::Paused) {
                // The user knows more.
                return None;
            }
            let why = match self.place.reach() {
                Ok((wire, _)) => match ask(wire, token) {
                    Ok(answer) => return Some(answer),
                    Err(error) => error.to_string(),
                },
                Err(error) if is_near && error.is_nobody() => return Some(Answer::NotThere),
                Err(error) => error.to_string(),
            };
            info!("{} does not tell who has the guest: {why}", self.progress.to);
            thread::sleep(ASK_PAUSE);
        }
        None
    }
}

/// What becomes of a guest that was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It goes on here.
    GoOn,
    /// It is gone.
    Gone,
    /// Nobody knows: it stands still until that is found out, or its user decides.
    Wait,
}

/// The guest behind the door.
struct Held {
    caller: Caller,
    memory: Arc<GuestMemory>,
    to: String,
    /// Where the other side is if it is on this host, with nothing between.
    site: Option<String>,
    /// It is there.
    is_near: bool,
    /// It has been told to rest, and has not done so yet.
    resting: Arc<AtomicBool>,
    /// It stands still until it is told here.
    stopped: Option<Sender<Verdict>>,
}

impl Held {
    fn new(caller: Caller, memory: Arc<GuestMemory>, to: String, site: Option<String>) -> Held {
        Held { caller, memory, to, site, is_near: false, resting: Arc::default(), stopped: None }
    }

    fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(&mut dyn HeldGuest) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        self.caller.ask(request).map_err(|over| over.to_string())?
    }

    /// The migration is over.
    fn conclude(mut self, verdict: Verdict) {
        match self.stopped.take() {
            // It hears of it as soon as it looks.
            Some(stopped) => _ = stopped.send(verdict),
            // If this fails its run is over.
            None => _ = self.ask(|guest| go_on(guest)),
        }
    }
}

fn go_on(guest: &mut dyn HeldGuest) -> Result<(), String> {
    guest.machine().unfollow_writes(Follower::Migration).map_err(|e| e.to_string())
}

/// What has changed, and everything but memory.
fn take(guest: &mut dyn HeldGuest) -> Result<(PageSet, Vec<u8>), String> {
    // Taking the state may write to memory, so this comes first.
    let due = guest.due();
    let saved = SavedMachine::capture(guest.machine(), due).map_err(|e| e.to_string())?;
    let state = saved.to_bytes(guest.machine().image()).map_err(|e| e.to_string())?;
    let pages = guest.machine().take_dirty(Follower::Migration).map_err(|e| e.to_string())?;
    Ok((pages, state))
}

impl Traveller for Held {
    fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }

    fn arrives_at(&mut self, site: &[u8]) {
        self.is_near = self.site.as_ref().is_some_and(|here| here.as_bytes() == site);
    }

    fn begin(&mut self) -> Result<PageSet, String> {
        self.ask(|guest| guest.machine().follow_writes(Follower::Migration).map_err(|e| e.to_string()))?;
        // What is written to for the first time from now on is noted.
        Ok(self.memory.committed())
    }

    fn written(&mut self) -> Result<PageSet, String> {
        self.ask(|guest| guest.machine().take_dirty(Follower::Migration).map_err(|e| e.to_string()))
    }

    fn brake(&mut self, rest: Duration) {
        if self.resting.swap(true, Ordering::SeqCst) {
            return;
        }
        let resting = self.resting.clone();
        // If this fails its run is over, which is found out soon.
        let _ = self.caller.send(Box::new(move |_| {
            thread::sleep(rest);
            resting.store(false, Ordering::SeqCst);
        }));
    }

    fn stop(&mut self) -> Result<(PageSet, Vec<u8>), String> {
        let (sender, taken) = channel();
        let (verdict, decided) = channel();
        let to = self.to.clone();
        self.caller
            .send(Box::new(move |guest| {
                let result = take(guest);
                let stands = result.is_ok();
                if sender.send(result).is_err() || !stands {
                    return;
                }
                // A thread that has ended without a word knows as little as one that got no answer.
                match decided.recv().unwrap_or(Verdict::Wait) {
                    Verdict::GoOn => {
                        if let Err(error) = go_on(guest) {
                            warn!("what the guest writes is still noted: {error}");
                        }
                    }
                    Verdict::Gone => guest.end(Outcome::Moved { to }),
                    Verdict::Wait => guest.set_paused(true),
                }
            }))
            .map_err(|over| over.to_string())?;
        let taken = taken.recv().map_err(|_| "the run is over".to_owned())??;
        self.stopped = Some(verdict);
        Ok(taken)
    }
}
