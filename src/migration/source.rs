//! The side a guest leaves: its pages go over while it runs, then it is stopped and the rest follows.
//!
//! The guest as this needs it is a [`SourceGuest`], so that what happens when things go wrong can be tried
//! without a processor.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::frame::{FrameError, HEADER, Hello, MAX_PAYLOAD, Message, MigrationToken, Round};
use super::pages::{PAGE, PageEncoder};
use super::progress::{MigrationPhase, MigrationProgress, MigrationStatistics};
use super::wire::{Wire, WireError};
use crate::memory::{GuestMemory, PageSet};

/// Most rounds while the guest runs; a guest that still writes too fast is stopped then all the same.
const MAX_ROUNDS: u32 = 64;

/// A round that has more than this many percent of the pages of the one before does not shrink.
const SHRINKING: u64 = 80;

/// Seconds for which a guest may stand still without another round being worth it.
const ENOUGH: f64 = 0.001;

/// By how many percent a guest that writes too fast is slowed down more each time.
const THROTTLE_STEP: u32 = 25;

/// How much a guest is slowed down at most, in percent.
const MAX_THROTTLE: u32 = 99;

/// Time that a slowed guest has in one go is the rest of this.
const THROTTLE_PERIOD: Duration = Duration::from_millis(20);

/// A guest that moves.
pub trait SourceGuest {
    /// Its memory, which it goes on writing to.
    fn memory(&self) -> &Arc<GuestMemory>;

    /// The other side says where it is.
    fn set_destination_site(&mut self, _site: &[u8]) {}

    /// Begins to note what it writes; all pages that may hold something else than zeros.
    ///
    /// # Errors
    ///
    /// Why it cannot move, in words.
    fn begin(&mut self) -> Result<PageSet, String>;

    /// The pages that were written since the last call, or since [`Self::begin`].
    ///
    /// # Errors
    ///
    /// Why it cannot move, in words.
    fn written(&mut self) -> Result<PageSet, String>;

    /// Lets it stand still for so long, some time soon, if it does not do so already.
    fn throttle(&mut self, rest: Duration);

    /// Stops it: the pages that were written since they were last asked for, and everything but memory.
    ///
    /// # Errors
    ///
    /// Why it cannot move, in words; it has not stopped then.
    fn stop(&mut self) -> Result<(PageSet, Vec<u8>), String>;
}

/// How a guest is to move.
#[derive(Clone, Copy, Debug)]
pub struct MigrationPlan {
    /// It is stopped for about so long at most.
    pub downtime: Duration,
    /// What is sent is made smaller.
    pub compress: bool,
}

/// Why a guest has not moved, or may not have.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The connection, or the other side.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The guest.
    #[error("{0}")]
    Guest(String),
    /// The user has changed his mind.
    #[error("cancelled")]
    Cancelled,
}

impl From<FrameError> for SourceError {
    fn from(error: FrameError) -> SourceError {
        SourceError::Wire(error.into())
    }
}

/// What came of a guest's leaving.
#[derive(Debug)]
pub enum SourceOutcome {
    /// It runs on the other side.
    Migrated(MigrationStatistics),
    /// It is to go on here; the other side never runs it.
    Failed(SourceError),
    /// It was let go, and no answer came: the other side has to be asked. Until then it must run nowhere.
    InDoubt(SourceError),
}

/// Sends a guest over.
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
    if let Err(error) = prepared {
        // The other side has not been told to run it, and is not going to be.
        match &error {
            SourceError::Wire(WireError::Peer(_) | WireError::Closed) => {}
            error => wire.abort(&error.to_string()),
        }
        return SourceOutcome::Failed(error);
    }
    let confirmed = wire.send(&Message::Commit(token)).and_then(|()| {
        // Nothing else can be the answer but what ends the connection.
        match wire.receive()? {
            Message::Confirm => Ok(()),
            other => Err(unexpected(&other, "a Confirm frame").into()),
        }
    });
    if let Err(error) = confirmed {
        return match error {
            // It decides, and it has decided.
            WireError::Peer(_) => SourceOutcome::Failed(error.into()),
            error => SourceOutcome::InDoubt(error.into()),
        };
    }
    if let Some(stopped) = stopped {
        figures.downtime = stopped.elapsed();
    }
    progress.note("-----> migration complete.");
    // The other side would only go on answering questions that nobody has.
    let _ = wire.send(&Message::Bye);
    wire.close();
    SourceOutcome::Migrated(figures)
}

fn unexpected(found: &Message<'_>, expected: &'static str) -> FrameError {
    FrameError::Unexpected { found: found.kind(), expected }
}

/// A guest on its way.
struct OutgoingMigration<'a> {
    wire: &'a mut Wire,
    guest: &'a mut dyn SourceGuest,
    plan: MigrationPlan,
    progress: &'a MigrationProgress,
    encoder: PageEncoder,
    memory: Arc<GuestMemory>,
    figures: MigrationStatistics,
    /// How long it takes to ask the other side something.
    latency: Duration,
    /// How much it is slowed down, in percent.
    throttle_percent: u32,
    throttled_at: Instant,
    /// When it was stopped.
    stopped: Option<Instant>,
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
        }
    }

    /// Everything up to the moment when the other side could run the guest.
    fn prepare(&mut self, hello: Hello) -> Result<(), SourceError> {
        self.progress.note("-----> starting migration");
        let start = Instant::now();
        self.wire.send(&Message::Hello(hello))?;
        match self.wire.receive()? {
            Message::Welcome(site) => self.guest.set_destination_site(site),
            other => return Err(unexpected(&other, "a Welcome frame").into()),
        }
        self.latency = start.elapsed();
        let pages = self.guest.begin().map_err(SourceError::Guest)?;
        let rest = self.rounds(pages)?;
        self.cancellable()?;
        self.progress.enter(MigrationPhase::Stopped);
        // From here on the guest stands still.
        self.stopped = Some(Instant::now());
        let (mut last, state) = self.guest.stop().map_err(SourceError::Guest)?;
        last.extend(&rest);
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

    /// Sends `pages`, then those written meanwhile, until what is left can be sent while the guest stands
    /// still; that is what comes back.
    fn rounds(&mut self, mut pages: PageSet) -> Result<PageSet, SourceError> {
        loop {
            let count = pages.len();
            let took = self.round(&pages)?;
            if self.figures.rounds == 1 {
                self.progress.note("-----> first memory transfer completed");
            }
            pages = self.guest.written().map_err(SourceError::Guest)?;
            let left = pages.len();
            // Pages that are sent again are as likely to be zeros, or to shrink, as those before. How long the
            // way is does not depend on how many there are.
            let needed = took.saturating_sub(self.latency).as_secs_f64() / count.max(1) as f64 * left as f64;
            let fits = needed < self.plan.downtime.as_secs_f64();
            let milliseconds = (needed * 1000.0).ceil() as u64;
            self.progress.note(&format!(
                "       round {}: {count} pages in {} ms, {left} written meanwhile",
                self.figures.rounds,
                took.as_millis()
            ));
            // As long as each round leaves much less than the one before, one more costs little, and saves
            // the guest that much time to stand still.
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

    /// Sends every page of `pages` once; how long it took until all were in the other side's memory.
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
                .map_err(|e| SourceError::Guest(e.to_string()))?;
            if self.encoder.is_full() {
                self.send_pages()?;
            }
        }
        self.send_pages()?;
        self.wire.send(&Message::RoundEnd(number))?;
        match self.wire.receive()? {
            Message::RoundDone(done) if done == number => {}
            other => return Err(unexpected(&other, "a RoundDone frame").into()),
        }
        self.figures.pages += pages.len();
        Ok(start.elapsed())
    }

    fn send_pages(&mut self) -> Result<(), SourceError> {
        self.cancellable()?;
        self.throttle();
        let Some(frame) = self.encoder.take() else { return Ok(()) };
        self.wire.send_frame(frame)?;
        self.figures.bytes += frame.len() as u64;
        self.progress.sent(frame.len() as u64);
        Ok(())
    }

    /// Slows the guest down, if it runs and is to be.
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

/// What the other side says about a guest that was let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryAnswer {
    /// It runs there.
    Running,
    /// It does not, and never will.
    NotRunning,
}

/// Asks the other side who has the guest.
///
/// # Errors
///
/// [`WireError`]: it has to be asked again.
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
    fn rounds_shrink_or_do_not() {
        assert!(shrinks(80, 100) && !shrinks(81, 100) && !shrinks(1, 1));
    }
}
