//! The migration destination: writes received pages to memory, has the machine built, and takes the guest
//! over on the source's commit.
//!
//! A [`DestinationGuest`] handles the received data, so that tests need no processor.

use std::sync::Arc;

use super::commit::CommitDecision;
use super::disk_target::DiskTarget;
use super::frame::{DiskRound, FrameError, Hello, Message, MigrationToken};
use super::pages::{PagesError, write_pages};
use super::wire::{Wire, WireError};
use crate::memory::{GuestMemory, MemoryError};

/// Maximum size of the machine state without memory, in bytes: twice the largest guest file it can include.
pub const MAX_STATE: u64 = 128 << 20;

/// Handles the data of an incoming guest.
pub trait DestinationGuest {
    /// Called when a guest is announced. Returns zeroed memory for it.
    ///
    /// # Errors
    ///
    /// [`DestinationGuestError`]: the guest cannot run on this host, or its memory is not available.
    fn announced(&mut self, hello: &Hello) -> Result<Arc<GuestMemory>, DestinationGuestError>;

    /// The site of this destination, by which a source detects that both are on the same host.
    fn site(&self) -> &[u8] {
        &[]
    }

    /// A round of `pages` pages begins.
    fn round_begins(&mut self, number: u32, pages: u64);

    /// A round of pages of a disk begins.
    fn disk_round_begins(&mut self, _round: DiskRound) {}

    /// The image of a disk whose contents are sent; `None` if there is no such disk.
    fn disk(&self, _unit: u8) -> Option<&DiskTarget> {
        None
    }

    /// Reports that `pages` more pages have been received.
    fn pages_arrived(&mut self, pages: u64);

    /// Builds the machine once everything is received. The machine must not run yet. The implementation
    /// calls `busy` about once per second.
    ///
    /// # Errors
    ///
    /// [`DestinationGuestError`]: the guest cannot run on this host.
    fn build(&mut self, state: Vec<u8>, busy: &mut dyn FnMut()) -> Result<(), DestinationGuestError>;
}

/// Why a guest cannot run on the destination.
#[derive(Debug, thiserror::Error)]
pub enum DestinationGuestError {
    /// Its memory cannot be allocated.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The source's description of the processor is invalid.
    #[error("the source sent no valid description of the guest's processor: {0}")]
    Features(#[from] postcard::Error),
    /// The processors of the hosts have different vendors.
    #[error("the guest runs on a processor by {there}, and this host's is by {here}")]
    Vendor {
        /// Vendor of the source's processor.
        there: String,
        /// Vendor of the destination's processor.
        here: String,
    },
    /// The destination's processor does not have all features that the guest may use.
    #[error("this host's processor does not have {}, which the guest may use", .0.join(", "))]
    MissingFeatures(Vec<String>),
    /// The machine cannot be built, for this reason.
    #[error("{0}")]
    Refused(String),
    /// The thread that builds the machine has exited.
    #[error("the machine cannot be built there")]
    NotBuilt,
}

/// Why an incoming migration failed.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// The connection or the peer failed.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The page data is invalid.
    #[error(transparent)]
    Pages(#[from] PagesError),
    /// The machine state is larger than [`MAX_STATE`].
    #[error("{length} bytes of machine state; at most {MAX_STATE} are accepted")]
    State {
        /// Bytes announced or received.
        length: u64,
    },
    /// Contents of a disk that is not to be received.
    #[error("contents of disk {unit}, which were not announced")]
    NoDisk {
        /// Its number.
        unit: u8,
    },
    /// A frame of machine state is empty.
    #[error("a frame of machine state without any")]
    EmptyState,
    /// The guest cannot run here.
    #[error(transparent)]
    Guest(#[from] DestinationGuestError),
    /// The connection to a source cannot be set up.
    #[error(transparent)]
    Setup(#[from] std::io::Error),
    /// The source does not encrypt the connection, which the credentials of this host require.
    #[error(
        "this host accepts only encrypted migrations: give the source the same --migr-key, or --tls-cert, --tls-key \
         and --tls-ca"
    )]
    Unencrypted,
    /// The host provides no thread.
    #[error("the host provides no thread: {0}")]
    Thread(#[source] std::io::Error),
    /// The source queried over another connection before its commit arrived on this one.
    #[error("the source has queried the outcome before its commit: the guest does not run here")]
    Queried,
}

impl DestinationError {
    /// True if the source may not know that it keeps the guest, because its Commit may be in flight.
    pub fn leaves_source_in_doubt(&self) -> bool {
        matches!(self, DestinationError::Wire(WireError::Closed | WireError::TimedOut(_) | WireError::Io(_)))
    }
}

impl From<FrameError> for DestinationError {
    fn from(error: FrameError) -> DestinationError {
        DestinationError::Wire(error.into())
    }
}

/// What a connected source requests.
#[derive(Debug, PartialEq, Eq)]
pub enum PeerRequest {
    /// Start a migration.
    Migrate(Hello),
    /// Query whether the guest of this migration runs here.
    Query(MigrationToken),
}

/// Reads the first frame of a new connection and returns the request in it.
///
/// # Errors
///
/// [`DestinationError`]. The peer is notified before this returns.
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

/// Receives the guest that `hello` announces, up to the point where it could run here.
///
/// # Errors
///
/// [`DestinationError`]. The source is notified before this returns, and keeps the guest.
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

/// Notifies the peer of `error`, unless it already knows.
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
    let memory = arrival.announced(hello)?;
    wire.send(&Message::Welcome(arrival.site()))?;
    let mut disk = None;
    let length = loop {
        match wire.receive()? {
            Message::DiskBegin(round) => {
                disk = Some(round.unit);
                arrival.disk_round_begins(round);
            }
            Message::DiskPages(payload) => {
                let unit = disk.unwrap_or(u8::MAX);
                let target = arrival.disk(unit).ok_or(DestinationError::NoDisk { unit })?;
                let pages = write_pages(target, payload)?;
                arrival.pages_arrived(pages);
            }
            Message::RoundBegin(round) => arrival.round_begins(round.number, round.pages),
            Message::Pages(payload) => arrival.pages_arrived(write_pages(&*memory, payload)?),
            Message::RoundEnd(number) => wire.send(&Message::RoundDone(number))?,
            Message::StateBegin(length) => break length,
            other => {
                return Err(FrameError::Unexpected { found: other.kind(), expected: "memory" }.into());
            }
        }
    };
    let state = receive_state(wire, length)?;
    let busy = &mut || {
        // If this fails, so does the next send.
        let _ = wire.send(&Message::KeepAlive);
    };
    Ok(arrival.build(state, busy)?)
}

fn receive_state(wire: &mut Wire, length: u64) -> Result<Vec<u8>, DestinationError> {
    if length > MAX_STATE {
        return Err(DestinationError::State { length });
    }
    // Allocate only for bytes that have been received.
    let mut state = Vec::new();
    while (state.len() as u64) < length {
        match wire.receive()? {
            Message::State([]) => {
                return Err(DestinationError::EmptyState);
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

/// Reports that the guest can run here, and waits for the source's commit. Returns true if the guest was
/// handed over: it then runs here, whatever happens to the connection.
///
/// # Errors
///
/// [`DestinationError`]: the guest never runs here.
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

/// Confirms to the source that the guest runs here. Returns true if the source has received it.
pub fn confirm(mut wire: Wire) -> bool {
    let acknowledged = wire.send(&Message::Confirm).and_then(|()| Ok(wire.receive()? == Message::Bye));
    matches!(acknowledged, Ok(true))
}

/// What the source knows after a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryOutcome {
    /// The guest runs here.
    Confirmed,
    /// The guest never runs here. The source knows this unless the answer was lost.
    Refused,
    /// Nothing is known.
    Unresolved,
}

/// Answers a query of a source about the migration `ours`.
pub fn answer_query(
    mut wire: Wire,
    queried: MigrationToken,
    ours: MigrationToken,
    decision: &CommitDecision,
) -> QueryOutcome {
    if queried != ours {
        wire.abort("this host has received another migration than the one in the query");
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
