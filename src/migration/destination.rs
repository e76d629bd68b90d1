//! The side a guest arrives at: pages are put into memory, the machine is built, and when the source has
//! let go it runs.
//!
//! What is done with what arrives is an [`DestinationGuest`]'s business, so that this can be tried without a
//! processor.

use std::sync::Arc;

use super::commit::CommitDecision;
use super::frame::{FrameError, Hello, Message, MigrationToken};
use super::pages::{PagesError, write_pages};
use super::wire::{Wire, WireError};
use crate::memory::GuestMemory;

/// Longest state of a machine without its memory, in bytes: twice the longest guest's file that is in it.
pub const MAX_STATE: u64 = 128 << 20;

/// What is done with a guest that arrives.
pub trait DestinationGuest {
    /// A guest has been announced: memory for it, all zeros.
    ///
    /// # Errors
    ///
    /// Why it cannot be had here, in words.
    fn announced(&mut self, hello: &Hello) -> Result<Arc<GuestMemory>, String>;

    /// Where this is, by which a source knows whether it is on the same host.
    fn site(&self) -> &[u8] {
        &[]
    }

    /// A round of so many pages begins.
    fn round_begins(&mut self, number: u32, pages: u64);

    /// So many pages more have arrived.
    fn pages_arrived(&mut self, pages: u64);

    /// Everything has arrived: builds the machine, which must not run yet. `busy` is to be called about
    /// every second.
    ///
    /// # Errors
    ///
    /// Why it cannot run here, in words.
    fn build(&mut self, state: Vec<u8>, busy: &mut dyn FnMut()) -> Result<(), String>;
}

/// Why a guest has not arrived.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// The connection, or the other side.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Pages that cannot be.
    #[error(transparent)]
    Pages(#[from] PagesError),
    /// More state than any machine has.
    #[error("{length} bytes of machine state; at most {MAX_STATE} are taken")]
    State {
        /// How many are announced, or have come.
        length: u64,
    },
    /// This host, or the machine.
    #[error("{0}")]
    Host(String),
    /// The other side has asked over another connection, before it let go on this one.
    #[error("the source has asked who has the guest, and was told that it is not here")]
    Queried,
}

impl DestinationError {
    /// True if the other side may not know that the guest stays with it: its Commit may be under way.
    pub fn leaves_source_in_doubt(&self) -> bool {
        matches!(self, DestinationError::Wire(WireError::Closed | WireError::TimedOut(_) | WireError::Io(_)))
    }
}

impl From<FrameError> for DestinationError {
    fn from(error: FrameError) -> DestinationError {
        DestinationError::Wire(error.into())
    }
}

/// What a source wants that has connected.
#[derive(Debug, PartialEq, Eq)]
pub enum PeerRequest {
    /// To bring a guest.
    Migrate(Hello),
    /// To know whether the guest of this migration is here.
    Query(MigrationToken),
}

/// Who has connected, by its first frame.
///
/// # Errors
///
/// [`DestinationError`]; the other side has been told then.
pub fn accept_peer(mut wire: Wire) -> Result<(Wire, PeerRequest), DestinationError> {
    let caller = match wire.receive() {
        Ok(Message::Hello(hello)) => Ok(PeerRequest::Migrate(hello)),
        Ok(Message::Query(token)) => Ok(PeerRequest::Query(token)),
        Ok(other) => Err(FrameError::Unexpected { found: other.kind(), expected: "a Hello frame" }.into()),
        Err(error) => Err(error.into()),
    };
    match caller {
        Ok(caller) => Ok((wire, caller)),
        Err(error) => Err(refuse(wire, error)),
    }
}

/// Takes in a guest that `hello` has announced, up to the point where it could run here.
///
/// # Errors
///
/// [`DestinationError`]; the other side has been told then, and keeps the guest.
pub fn receive_guest(
    mut wire: Wire,
    hello: &Hello,
    arrival: &mut dyn DestinationGuest,
) -> Result<Wire, DestinationError> {
    match receive(&mut wire, hello, arrival) {
        Ok(()) => Ok(wire),
        Err(error) => Err(refuse(wire, error)),
    }
}

/// Tells the other side, unless it knows.
fn refuse(wire: Wire, error: DestinationError) -> DestinationError {
    match error {
        DestinationError::Wire(WireError::Peer(_) | WireError::Closed) => {}
        _ => wire.abort(&error.to_string()),
    }
    error
}

fn receive(
    wire: &mut Wire,
    hello: &Hello,
    arrival: &mut dyn DestinationGuest,
) -> Result<(), DestinationError> {
    let memory = arrival.announced(hello).map_err(DestinationError::Host)?;
    wire.send(&Message::Welcome(arrival.site()))?;
    let length = loop {
        match wire.receive()? {
            Message::RoundBegin(round) => arrival.round_begins(round.number, round.pages),
            Message::Pages(payload) => arrival.pages_arrived(write_pages(&memory, payload)?),
            Message::RoundEnd(number) => wire.send(&Message::RoundDone(number))?,
            Message::StateBegin(length) => break length,
            other => {
                return Err(FrameError::Unexpected { found: other.kind(), expected: "memory" }.into());
            }
        }
    };
    let state = receive_state(wire, length)?;
    let busy = &mut || {
        // If this fails, so does what is sent next.
        let _ = wire.send(&Message::KeepAlive);
    };
    arrival.build(state, busy).map_err(DestinationError::Host)
}

fn receive_state(wire: &mut Wire, length: u64) -> Result<Vec<u8>, DestinationError> {
    if length > MAX_STATE {
        return Err(DestinationError::State { length });
    }
    // Only what has arrived takes room.
    let mut state = Vec::new();
    while (state.len() as u64) < length {
        match wire.receive()? {
            Message::State([]) => {
                return Err(DestinationError::Host("a frame of machine state without any".to_owned()));
            }
            Message::State(piece) => state.extend_from_slice(piece),
            other => {
                return Err(FrameError::Unexpected { found: other.kind(), expected: "a State frame" }.into());
            }
        }
    }
    if state.len() as u64 > length {
        return Err(DestinationError::State { length: state.len() as u64 });
    }
    Ok(state)
}

/// Says that the guest could run here, and waits for the source to let go of it. True if the guest is
/// this side's now: whatever happens to the connection, it runs here.
///
/// # Errors
///
/// [`DestinationError`]: it never will run here.
pub fn commit(
    mut wire: Wire,
    token: MigrationToken,
    decision: &CommitDecision,
) -> Result<Wire, DestinationError> {
    let committed = wire.send(&Message::Ready).and_then(|()| match wire.receive()? {
        Message::Commit(found) if found == token => Ok(()),
        other => {
            Err(FrameError::Unexpected { found: other.kind(), expected: "this migration's Commit frame" }
                .into())
        }
    });
    match committed {
        Ok(()) if decision.commit() => Ok(wire),
        Ok(()) => Err(refuse(wire, DestinationError::Queried)),
        Err(error) => {
            decision.abort();
            Err(refuse(wire, error.into()))
        }
    }
}

/// Tells the source that the guest runs here; true if it knows.
pub fn confirm(mut wire: Wire) -> bool {
    let told = wire.send(&Message::Confirm).and_then(|()| Ok(wire.receive()? == Message::Bye));
    matches!(told, Ok(true))
}

/// What a source that has asked knows now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryOutcome {
    /// The guest runs here.
    Confirmed,
    /// It does not and never will, unless the answer was lost.
    Refused,
    /// Nothing.
    Unresolved,
}

/// Answers a source that asks who has the guest of the migration `ours`.
pub fn answer_query(
    mut wire: Wire,
    asked: MigrationToken,
    ours: MigrationToken,
    decision: &CommitDecision,
) -> QueryOutcome {
    if asked != ours {
        wire.abort("another migration than the one you ask about has come here");
        return QueryOutcome::Unresolved;
    }
    if decision.abort() {
        if wire.send(&Message::NotRunning).is_err() {
            return QueryOutcome::Unresolved;
        }
        wire.close();
        return QueryOutcome::Refused;
    }
    if confirm(wire) { QueryOutcome::Confirmed } else { QueryOutcome::Unresolved }
}
