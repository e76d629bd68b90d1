//! The migration source: sends pages while the guest runs, then stops it and sends the rest.
//!
//! A [`SourceGuest`] provides the guest, so that error handling can be tested without a processor.

use std::sync::Arc;
use std::time::{Duration, Instant};

mod disks;

use super::frame::{FrameError, FrameKind, HEADER, Hello, MAX_PAYLOAD, Message, MigrationToken, Round};
use super::outgoing::CopiedDisk;
use super::pages::{PAGE, PageEncoder};
use super::progress::{MigrationPhase, MigrationProgress, MigrationStatistics};
use super::wire::{RUN_ENDS, Wire, WireError};
use crate::kvm::HostError;
use crate::memory::{GuestMemory, MemoryError, PageSet};
use crate::state::SnapshotError;
use crate::supervisor::request_queue::RunOver;

/// Maximum number of rounds while the guest runs. After that it is stopped even if it still writes too fast.
const MAX_ROUNDS: u32 = 64;

/// A round shrinks if it has at most this percentage of the pages of the previous one.
const SHRINKING: u64 = 80;

/// Downtime in seconds below which another round is not worthwhile.
const ENOUGH: f64 = 0.001;

/// Step by which the throttling of a guest that writes too fast increases, in percent.
const THROTTLE_STEP: u32 = 25;

/// Maximum throttling of a guest, in percent.
const MAX_THROTTLE: u32 = 99;

/// Period of throttling: a throttled guest runs for part of it and pauses for the rest.
const THROTTLE_PERIOD: Duration = Duration::from_millis(20);

/// A guest that is migrated.
pub trait SourceGuest {
    /// Its memory, which the running guest continues to modify.
    fn memory(&self) -> &Arc<GuestMemory>;

    /// Reports the site of the destination.
    fn set_destination_site(&mut self, _site: &[u8]) {}

    /// The disks whose contents are sent.
    fn copied_disks(&self) -> &[CopiedDisk] {
        &[]
    }

    /// Starts dirty tracking. Returns all pages that may be non-zero.
    ///
    /// # Errors
    ///
    /// [`SourceGuestError`].
    fn begin(&mut self) -> Result<PageSet, SourceGuestError>;

    /// Returns the pages written since the last call, or since [`Self::begin`].
    ///
    /// # Errors
    ///
    /// [`SourceGuestError`].
    fn written(&mut self) -> Result<PageSet, SourceGuestError>;

    /// Pauses the guest for the given time soon, unless a pause is already pending.
    fn throttle(&mut self, pause: Duration);

    /// Stops the guest. Returns the pages written since the last call, and the machine state without memory.
    ///
    /// # Errors
    ///
    /// [`SourceGuestError`]; the guest is not stopped then.
    fn stop(&mut self) -> Result<(PageSet, Vec<u8>), SourceGuestError>;
}

/// Why the guest cannot be migrated.
#[derive(Debug, thiserror::Error)]
pub enum SourceGuestError {
    /// KVM failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The guest's memory cannot be read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The machine state cannot be saved.
    #[error(transparent)]
    State(#[from] SnapshotError),
    /// The processor features cannot be encoded.
    #[error("the guest's processor features cannot be encoded: {0}")]
    Features(#[source] postcard::Error),
    /// The host provides no random numbers.
    #[error("the host provides no random numbers")]
    RandomNumbers,
    /// What the guest has written to a disk is in no file.
    #[error(
        "what the guest has written to disk {unit} is in the memory of this process (`,snapshot`); `migrate --with-disk` \
         sends it"
    )]
    DiskInMemory {
        /// The number of the disk.
        unit: u8,
    },
    /// An image cannot be read or made durable.
    #[error("disk {unit}: {error}")]
    Disk {
        /// The number of the disk.
        unit: u8,
        /// The host's reason.
        error: std::io::Error,
    },
    /// A disk has more pages than can be sent.
    #[error("disk {unit} has {size} bytes, which is too large to be sent; use storage that both hosts share")]
    DiskTooLarge {
        /// The number of the disk.
        unit: u8,
        /// Its size.
        size: u64,
    },
    /// The run of the guest is over.
    #[error(transparent)]
    RunOver(#[from] RunOver),
}

/// Parameters of a migration.
#[derive(Clone, Copy, Debug)]
pub struct MigrationPlan {
    /// Target for the maximum downtime.
    pub downtime: Duration,
    /// Compress pages.
    pub compress: bool,
}

/// Why a migration failed or may have failed.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The connection or the destination failed.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The guest failed.
    #[error(transparent)]
    Guest(#[from] SourceGuestError),
    /// Memory was lost while it was read, and the run ends.
    #[error(transparent)]
    MemoryLost(MemoryError),
    /// The user has cancelled the migration.
    #[error("cancelled")]
    Cancelled,
}

impl From<FrameError> for SourceError {
    fn from(error: FrameError) -> SourceError {
        SourceError::Wire(error.into())
    }
}

/// Outcome of a migration at the source.
#[derive(Debug)]
pub enum SourceOutcome {
    /// The guest runs on the destination.
    Migrated(MigrationStatistics),
    /// The guest resumes on this host; the destination never runs it.
    Failed(SourceError),
    /// The commit was sent without an answer. The destination must be queried; until then the guest must not
    /// run.
    InDoubt(SourceError),
}

/// Migrates a guest.
pub fn migrate(
    mut wire: Wire,
    hello: Hello,
    guest: &mut dyn SourceGuest,
    plan: MigrationPlan,
    progress: &MigrationProgress,
) -> SourceOutcome {
    let token = hello.token;
    let mut migration = OutgoingMigration::new(&mut wire, guest, plan, progress);
    let prepared = migration.prepare(hello);
    let (stopped, mut figures) = (migration.stopped, migration.figures);
    // The zeros that were read in place of lost memory may have been sent. A run that ends because of them is the
    // consequence, not the reason.
    let prepared =
        migration.memory.file_failure().map_or(prepared, |lost| Err(SourceError::MemoryLost(lost)));
    if let Err(error) = prepared {
        // No commit has been sent, and none will be, so the destination never runs the guest.
        match &error {
            SourceError::Wire(WireError::Peer(_) | WireError::Closed) => {}
            error @ SourceError::MemoryLost(_) => wire.abort(&format!("{error}{RUN_ENDS}")),
            error => wire.abort(&error.to_string()),
        }
        return SourceOutcome::Failed(error);
    }
    let confirmed = wire.send(&Message::Commit(token)).and_then(|()| {
        // The only valid answer is Confirm.
        match wire.receive()? {
            Message::Confirm => Ok(()),
            other => Err(unexpected(&other, "a Confirm frame").into()),
        }
    });
    if let Err(error) = confirmed {
        return match error {
            // The destination decides, and has refused.
            WireError::Peer(_) => SourceOutcome::Failed(error.into()),
            error => SourceOutcome::InDoubt(error.into()),
        };
    }
    if let Some(stopped) = stopped {
        figures.downtime = stopped.elapsed();
    }
    progress.note("-----> migration complete.");
    // After Bye the destination need not wait for queries.
    let _ = wire.send(&Message::Bye);
    wire.close();
    SourceOutcome::Migrated(figures)
}

fn unexpected(found: &Message<'_>, expected: &'static str) -> FrameError {
    FrameError::Unexpected { found: found.kind(), expected }
}

/// A guest while it is migrated.
struct OutgoingMigration<'a> {
    wire: &'a mut Wire,
    guest: &'a mut dyn SourceGuest,
    plan: MigrationPlan,
    progress: &'a MigrationProgress,
    encoder: PageEncoder,
    memory: Arc<GuestMemory>,
    figures: MigrationStatistics,
    /// Round-trip time to the destination.
    latency: Duration,
    /// Throttling of the guest, in percent.
    throttle_percent: u32,
    throttled_at: Instant,
    /// When the guest was stopped.
    stopped: Option<Instant>,
    /// Disks whose contents are sent, with the pages that are still to be sent.
    disks: Vec<(CopiedDisk, PageSet)>,
    /// Rounds of disk pages.
    disk_rounds: u32,
}

impl<'a> OutgoingMigration<'a> {
    fn new(
        wire: &'a mut Wire,
        guest: &'a mut dyn SourceGuest,
        plan: MigrationPlan,
        progress: &'a MigrationProgress,
    ) -> OutgoingMigration<'a> {
        OutgoingMigration {
            memory: guest.memory().clone(),
            encoder: PageEncoder::new(plan.compress),
            wire,
            guest,
            plan,
            progress,
            figures: MigrationStatistics::default(),
            latency: Duration::ZERO,
            throttle_percent: 0,
            throttled_at: Instant::now(),
            stopped: None,
            disks: Vec::new(),
            disk_rounds: 0,
        }
    }

    /// Sends everything that the destination needs before it can run the guest.
    fn prepare(&mut self, hello: Hello) -> Result<(), SourceError> {
        self.progress.note("-----> starting migration");
        let start = Instant::now();
        self.wire.send(&Message::Hello(hello))?;
        match self.wire.receive()? {
            Message::Welcome(site) => self.guest.set_destination_site(site),
            other => return Err(unexpected(&other, "a Welcome frame").into()),
        }
        self.latency = start.elapsed();
        let pages = self.guest.begin()?;
        self.copy_disks()?;
        let rest = self.rounds(pages)?;
        self.cancellable()?;
        self.progress.enter(MigrationPhase::Stopped);
        // The guest is stopped from here on.
        self.stopped = Some(Instant::now());
        let (mut last, state) = self.guest.stop()?;
        last.extend(&rest);
        self.take_written_disk_pages();
        self.send_disks()?;
        self.round(&last)?;
        self.progress.note("-----> diff dirty page transfer completed");
        self.state(&state)?;
        self.answered("a Ready frame", |message| *message == Message::Ready)?;
        self.progress.note("-----> CPU context transfer completed");
        self.progress.note("-----> IO context transfer completed");
        self.figures.total = start.elapsed();
        self.cancellable()
    }

    fn answered(
        &mut self,
        expected: &'static str,
        is_it: fn(&Message<'_>) -> bool,
    ) -> Result<(), SourceError> {
        match self.wire.receive()? {
            message if is_it(&message) => Ok(()),
            other => Err(unexpected(&other, expected).into()),
        }
    }

    fn cancellable(&self) -> Result<(), SourceError> {
        if self.progress.is_cancelled() { Err(SourceError::Cancelled) } else { Ok(()) }
    }

    /// Sends `pages`, then those written meanwhile, until the rest fits into the downtime. Returns that
    /// rest.
    fn rounds(&mut self, mut pages: PageSet) -> Result<PageSet, SourceError> {
        loop {
            let count = pages.len() + self.disk_pages_left();
            let took = self.send_disks()? + self.round(&pages)?;
            if self.figures.rounds == 1 {
                self.progress.note("-----> first memory transfer completed");
            }
            pages = self.guest.written()?;
            self.take_written_disk_pages();
            let left = pages.len() + self.disk_pages_left();
            // Resent pages are assumed to compress like those before. The latency does not depend on their
            // number.
            let needed = took.saturating_sub(self.latency).as_secs_f64() / count.max(1) as f64 * left as f64;
            let fits = needed < self.plan.downtime.as_secs_f64();
            let milliseconds = (needed * 1000.0).ceil() as u64;
            self.progress.note(&format!(
                "       round {}: {count} pages in {} ms, {left} written meanwhile",
                self.figures.rounds,
                took.as_millis()
            ));
            // While each round leaves far fewer pages than the one before, another round costs little and
            // shortens the downtime.
            if left == 0 || fits && (needed <= ENOUGH || left > count / 2) {
                return Ok(pages);
            }
            if self.figures.rounds >= MAX_ROUNDS
                || self.throttle_percent == MAX_THROTTLE && !shrinks(left, count)
            {
                self.progress.note(&format!(
                    "       the guest writes faster than can be sent, even throttled: it is paused \
                     for about {milliseconds} ms"
                ));
                return Ok(pages);
            }
            if !shrinks(left, count) {
                self.throttle_percent = (self.throttle_percent + THROTTLE_STEP).min(MAX_THROTTLE);
                self.progress.note(&format!(
                    "       the guest writes as fast as can be sent: throttled by {} percent",
                    self.throttle_percent
                ));
            }
        }
    }

    /// Sends each page of `pages` once. Returns the time until all were in the destination's memory.
    fn round(&mut self, pages: &PageSet) -> Result<Duration, SourceError> {
        self.figures.rounds += 1;
        let number = self.figures.rounds;
        let start = Instant::now();
        self.progress.round(number, pages.len());
        self.wire.send(&Message::RoundBegin(Round { number, pages: pages.len() }))?;
        for address in pages.iter() {
            let memory = &self.memory;
            self.encoder
                .add(address / PAGE as u64, |page| memory.read(address, page))
                .map_err(SourceGuestError::from)?;
            if self.encoder.is_full() {
                self.send_frame(FrameKind::Pages)?;
            }
        }
        self.send_frame(FrameKind::Pages)?;
        self.wire.send(&Message::RoundEnd(number))?;
        match self.wire.receive()? {
            Message::RoundDone(done) if done == number => {}
            other => return Err(unexpected(&other, "a RoundDone frame").into()),
        }
        self.figures.pages += pages.len();
        Ok(start.elapsed())
    }

    /// Sends the pages that wait in the encoder.
    fn send_frame(&mut self, kind: FrameKind) -> Result<(), SourceError> {
        self.cancellable()?;
        self.throttle();
        let Some(frame) = self.encoder.take_frame(kind) else { return Ok(()) };
        self.wire.send_frame(frame)?;
        self.figures.bytes += frame.len() as u64;
        self.progress.sent(frame.len() as u64);
        Ok(())
    }

    /// Pauses the guest if it runs and is throttled.
    fn throttle(&mut self) {
        if self.throttle_percent > 0
            && self.stopped.is_none()
            && self.throttled_at.elapsed() >= THROTTLE_PERIOD
        {
            self.throttled_at = Instant::now();
            self.guest.throttle(THROTTLE_PERIOD * self.throttle_percent / 100);
        }
    }

    fn state(&mut self, state: &[u8]) -> Result<(), SourceError> {
        self.wire.send(&Message::StateBegin(state.len() as u64))?;
        for piece in state.chunks(MAX_PAYLOAD) {
            self.wire.send(&Message::State(piece))?;
        }
        self.figures.bytes += (state.len() + HEADER) as u64;
        Ok(())
    }
}

fn shrinks(left: u64, before: u64) -> bool {
    left <= before * SHRINKING / 100
}

/// Answer of the destination to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryAnswer {
    /// The guest runs there.
    Running,
    /// The guest does not run there, and never will.
    NotRunning,
}

/// Queries the destination whether it runs the guest.
///
/// # Errors
///
/// [`WireError`]: the query has to be repeated.
pub fn query(mut wire: Wire, token: MigrationToken) -> Result<QueryAnswer, WireError> {
    wire.send(&Message::Query(token))?;
    let answer = match wire.receive()? {
        Message::Confirm => QueryAnswer::Running,
        Message::NotRunning => QueryAnswer::NotRunning,
        other => return Err(unexpected(&other, "an answer").into()),
    };
    if answer == QueryAnswer::Running {
        wire.send(&Message::Bye)?;
    }
    wire.close();
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_shrinks_if_it_has_at_most_four_fifths_of_the_pages() {
        assert!(shrinks(80, 100) && !shrinks(81, 100) && !shrinks(1, 1));
    }
}
