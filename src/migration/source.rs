//! The side a guest leaves: its pages go over while it runs, then it is stopped and the rest follows.
//!
//! The guest as this needs it is a [`Traveller`], so that what happens when things go wrong can be tried
//! without a processor.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::frame::{FrameError, HEADER, Hello, MOST_PAYLOAD, Message, Round, Token};
use super::pages::{PAGE, Packer};
use super::progress::{Figures, Phase, Progress};
use super::wire::{Wire, WireError};
use crate::memory::{GuestMemory, PageSet};

/// Most rounds while the guest runs; a guest that still writes too fast is stopped then all the same.
const MOST_ROUNDS: u32 = 64;

/// A round that has more than this many percent of the pages of the one before does not shrink.
const SHRINKING: u64 = 80;

/// Seconds for which a guest may stand still without another round being worth it.
const ENOUGH: f64 = 0.001;

/// By how many percent a guest that writes too fast is slowed down more each time.
const BRAKE: u32 = 25;

/// How much a guest is slowed down at most, in percent.
const MOST_BRAKING: u32 = 99;

/// Time that a slowed guest has in one go is the rest of this.
const BRAKE_PERIOD: Duration = Duration::from_millis(20);

/// A guest that moves.
pub trait Traveller {
    /// Its memory, which it goes on writing to.
    fn memory(&self) -> &Arc<GuestMemory>;

    /// The other side says where it is.
    fn arrives_at(&mut self, _site: &[u8]) {}

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
    fn brake(&mut self, rest: Duration);

    /// Stops it: the pages that were written since they were last asked for, and everything but memory.
    ///
    /// # Errors
    ///
    /// Why it cannot move, in words; it has not stopped then.
    fn stop(&mut self) -> Result<(PageSet, Vec<u8>), String>;
}

/// How a guest is to move.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// It is stopped for about so long at most.
    pub downtime: Duration,
    /// What is sent is made smaller.
    pub compress: bool,
}

/// Why a guest has not moved, or may not have.
#[derive(Debug, thiserror::Error)]
pub enum LeaveError {
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

impl From<FrameError> for LeaveError {
    fn from(error: FrameError) -> LeaveError {
        LeaveError::Wire(error.into())
    }
}

/// What came of a guest's leaving.
#[derive(Debug)]
pub enum Left {
    /// It runs on the other side.
    There(Figures),
    /// It is to go on here; the other side never runs it.
    Here(LeaveError),
    /// It was let go, and no answer came: the other side has to be asked. Until then it must run nowhere.
    InDoubt(LeaveError),
}

/// Sends a guest over.
pub fn leave(
    mut wire: Wire,
    hello: Hello,
    guest: &mut dyn Traveller,
    plan: Plan,
    progress: &Progress,
) -> Left {
    let token = hello.token;
    let mut departure = Departure::new(&mut wire, guest, plan, progress);
    let prepared = departure.prepare(hello);
    let (stopped, mut figures) = (departure.stopped, departure.figures);
    if let Err(error) = prepared {
        // The other side has not been told to run it, and is not going to be.
        match &error {
            LeaveError::Wire(WireError::Peer(_) | WireError::Ended) => {}
            error => wire.give_up(&error.to_string()),
        }
        return Left::Here(error);
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
            WireError::Peer(_) => Left::Here(error.into()),
            error => Left::InDoubt(error.into()),
        };
    }
    if let Some(stopped) = stopped {
        figures.downtime = stopped.elapsed();
    }
    progress.note("-----> migration complete.");
    // The other side would only go on answering questions that nobody has.
    let _ = wire.send(&Message::Bye);
    wire.hang_up();
    Left::There(figures)
}

fn unexpected(found: &Message<'_>, expected: &'static str) -> FrameError {
    FrameError::Unexpected { found: found.kind(), expected }
}

/// A guest on its way.
struct Departure<'a> {
    wire: &'a mut Wire,
    guest: &'a mut dyn Traveller,
    plan: Plan,
    progress: &'a Progress,
    packer: Packer,
    memory: Arc<GuestMemory>,
    figures: Figures,
    /// How long it takes to ask the other side something.
    latency: Duration,
    /// How much it is slowed down, in percent.
    braking: u32,
    braked: Instant,
    /// When it was stopped.
    stopped: Option<Instant>,
}

impl<'a> Departure<'a> {
    fn new(
        wire: &'a mut Wire,
        guest: &'a mut dyn Traveller,
        plan: Plan,
        progress: &'a Progress,
    ) -> Departure<'a> {
        Departure {
            memory: guest.memory().clone(),
            packer: Packer::new(plan.compress),
            wire,
            guest,
            plan,
            progress,
            figures: Figures::default(),
            latency: Duration::ZERO,
            braking: 0,
            braked: Instant::now(),
            stopped: None,
        }
    }

    /// Everything up to the moment when the other side could run the guest.
    fn prepare(&mut self, hello: Hello) -> Result<(), LeaveError> {
        self.progress.note("-----> starting migration");
        let start = Instant::now();
        self.wire.send(&Message::Hello(hello))?;
        match self.wire.receive()? {
            Message::Welcome(site) => self.guest.arrives_at(site),
            other => return Err(unexpected(&other, "a Welcome frame").into()),
        }
        self.latency = start.elapsed();
        let pages = self.guest.begin().map_err(LeaveError::Guest)?;
        let rest = self.rounds(pages)?;
        self.cancellable()?;
        self.progress.enter(Phase::Stopped);
        // From here on the guest stands still.
        self.stopped = Some(Instant::now());
        let (mut last, state) = self.guest.stop().map_err(LeaveError::Guest)?;
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
    ) -> Result<(), LeaveError> {
        match self.wire.receive()? {
            message if is_it(&message) => Ok(()),
            other => Err(unexpected(&other, expected).into()),
        }
    }

    fn cancellable(&self) -> Result<(), LeaveError> {
        if self.progress.is_cancelled() { Err(LeaveError::Cancelled) } else { Ok(()) }
    }

    /// Sends `pages`, then those written meanwhile, until what is left can be sent while the guest stands
    /// still; that is what comes back.
    fn rounds(&mut self, mut pages: PageSet) -> Result<PageSet, LeaveError> {
        loop {
            let count = pages.len();
            let took = self.round(&pages)?;
            if self.figures.rounds == 1 {
                self.progress.note("-----> first memory transfer completed");
            }
            pages = self.guest.written().map_err(LeaveError::Guest)?;
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
            if self.figures.rounds >= MOST_ROUNDS || self.braking == MOST_BRAKING && !shrinks(left, count) {
                self.progress.note(&format!(
                    "       the guest writes faster than can be sent, even slowed down: it stands still \
                     for about {milliseconds} ms"
                ));
                return Ok(pages);
            }
            if !shrinks(left, count) {
                self.braking = (self.braking + BRAKE).min(MOST_BRAKING);
                self.progress.note(&format!(
                    "       the guest writes as fast as can be sent: slowed down by {} percent",
                    self.braking
                ));
            }
        }
    }

    /// Sends every page of `pages` once; how long it took until all were in the other side's memory.
    fn round(&mut self, pages: &PageSet) -> Result<Duration, LeaveError> {
        self.figures.rounds += 1;
        let number = self.figures.rounds;
        let start = Instant::now();
        self.progress.round(number, pages.len());
        self.wire.send(&Message::RoundBegin(Round { number, pages: pages.len() }))?;
        for address in pages.iter() {
            let memory = &self.memory;
            self.packer
                .add(address / PAGE as u64, |page| memory.read(address, page))
                .map_err(|e| LeaveError::Guest(e.to_string()))?;
            if self.packer.is_full() {
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

    fn send_pages(&mut self) -> Result<(), LeaveError> {
        self.cancellable()?;
        self.brake();
        let Some(frame) = self.packer.take() else { return Ok(()) };
        self.wire.send_frame(frame)?;
        self.figures.bytes += frame.len() as u64;
        self.progress.sent(frame.len() as u64);
        Ok(())
    }

    /// Slows the guest down, if it runs and is to be.
    fn brake(&mut self) {
        if self.braking > 0 && self.stopped.is_none() && self.braked.elapsed() >= BRAKE_PERIOD {
            self.braked = Instant::now();
            self.guest.brake(BRAKE_PERIOD * self.braking / 100);
        }
    }

    fn state(&mut self, state: &[u8]) -> Result<(), LeaveError> {
        self.wire.send(&Message::StateBegin(state.len() as u64))?;
        for piece in state.chunks(MOST_PAYLOAD) {
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
pub enum Answer {
    /// It runs there.
    There,
    /// It does not, and never will.
    NotThere,
}

/// Asks the other side who has the guest.
///
/// # Errors
///
/// [`WireError`]: it has to be asked again.
pub fn ask(mut wire: Wire, token: Token) -> Result<Answer, WireError> {
    wire.send(&Message::Ask(token))?;
    let answer = match wire.receive()? {
        Message::Confirm => Answer::There,
        Message::NotHere => Answer::NotThere,
        other => return Err(unexpected(&other, "an answer").into()),
    };
    if answer == Answer::There {
        wire.send(&Message::Bye)?;
    }
    wire.hang_up();
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
