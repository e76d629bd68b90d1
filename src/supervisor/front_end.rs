//! What the supervisor needs of a debugger front end: a protocol by which a client takes over the guest.

use super::request_queue::RequestQueue;
use super::run_control::Supervisor;
use crate::machine::Outcome;

/// How a debugger's session with the guest ended.
#[derive(Debug)]
pub(crate) enum SessionEnd {
    /// The client is gone, and the guest can run on without breakpoints.
    Detached {
        /// The client has sent something. One that has only connected does not count as the debugger that
        /// a guest waits for.
        active: bool,
    },
    /// The run is over.
    Over(Outcome),
}

/// A protocol by which debuggers take over the guest, one client at a time.
///
/// The supervisor's loop calls it on the thread that runs the machine. The implementation's own threads only
/// wait for clients and for what they send, and push an `Attention` input when there is something.
pub(crate) trait DebuggerFrontEnd {
    /// Serves a client if one has connected, until it is gone or the run is over; `None`, at once, if there
    /// is none.
    ///
    /// An implementation calls [`Supervisor::attach`] first and [`Supervisor::detach`] when the client is
    /// gone, and carries out what is in `requests` whenever it gets control.
    fn serve(&mut self, supervisor: &mut Supervisor<'_>, requests: &RequestQueue) -> Option<SessionEnd>;
}
