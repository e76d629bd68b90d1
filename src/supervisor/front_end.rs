//! What the supervisor needs of a debugger front end: a protocol by which a client takes over the guest.

use super::request_queue::RequestQueue;
use super::run_control::Supervisor;

/// A protocol by which debuggers take over the guest, one client at a time.
///
/// The supervisor's loop calls it on the thread that runs the machine. The implementation's own threads only
/// wait for clients and for what they send, and push an `Attention` input when there is something.
pub(crate) trait DebuggerFrontEnd {
    /// Serves a client if one has connected, until it has disconnected or the run is over; false, at once, if
    /// there is none.
    ///
    /// An implementation calls [`Supervisor::attach`] first and [`Supervisor::detach`] when the client has
    /// disconnected, and serves what is in `requests` whenever it gets control.
    fn serve(&mut self, supervisor: &mut Supervisor<'_>, requests: &RequestQueue) -> bool;
}
