//! Arbitrary bytes from a client: the server must answer, refuse or disconnect, without a panic or a hang, and
//! leave a running guest.
//!
//! | file | what it does |
//! |---|---|
//! | `peer` | the client: sends bytes in pieces, and checks the answers |
//! | `effects` | the effects that a client can have on the guest |
//! | `guest` | the guest |
//! | `fake_migrator` | a migrator without a network |

mod effects;
mod fake_migrator;
mod guest;
mod peer;
#[cfg(test)]
#[path = "fuzzing_test.rs"]
mod tests;

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::GdbFrontEnd;
use super::packet::{PacketScanner, Scanned, checksum};
use super::server::Server;
use crate::control::ControlCommands;
use crate::machine::inputs::Inputs;
use crate::settings::GdbArch;
use crate::settings::TraceSpec;
use crate::supervisor::request_queue::RequestQueue;
use crate::supervisor::run::supervise;
use crate::supervisor::run_control::Supervisor;
use crate::supervisor::session::Services;
use effects::Effects;
use fake_migrator::FakeMigrator;
use peer::Peer;

/// Serves a client that sends `session` and disconnects, and then runs the guest to its end.
///
/// Checksums are corrected, so that mutated packets pass the check; one that is `00` or no number stays as it is. A
/// session with a command that accesses files is skipped.
///
/// # Panics
///
/// If the server sends malformed packets, or the guest ends differently than without a debugger and the session does
/// not explain that. A server that hangs aborts the process.
pub fn serve_anything(session: &[u8]) {
    ignore_broken_connections();
    let session = with_checksums(session);
    let effects = Effects::of(&session);
    // Mutated file names must not be written to.
    if effects.accesses_files {
        return;
    }
    let inputs = Inputs::new();
    let mut machine = guest::machine(inputs.clone()).expect("a small machine can be created");
    // Each piece sent on such a socket is received separately.
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .expect("sockets are available");
    let server = Server::with_client(UnixStream::from(ours), &inputs).expect("a thread can be started");
    let (over, ended) = channel();
    let (requests, _) = RequestQueue::new(inputs.clone());
    let peer = Peer { stream: UnixStream::from(theirs), inputs, changes: effects.changes };
    let peer = thread::spawn(move || peer.play(&session, &ended));
    let mut front_end = GdbFrontEnd::new(&server, &machine, GdbArch::X86_64);
    let services = Services {
        commands: Arc::new(ControlCommands),
        migrator: Some(Arc::new(FakeMigrator::default())),
        trace: TraceSpec::default(),
        stop_notice: None,
    };
    let mut supervisor = Supervisor::new(&mut machine, false, services);
    let (outcome, _) = supervise(&mut supervisor, Some(&mut front_end), &requests);
    // Its receiver is dropped if the client has panicked, which is reported next.
    let _ = over.send(());
    if let Err(panic) = peer.join() {
        std::panic::resume_unwind(panic);
    }
    assert!(effects.allows(&outcome), "the guest ended with {outcome:?}");
}

/// Ignores SIGPIPE, as the standard library does before `main`, which a fuzzer skips.
fn ignore_broken_connections() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        signal_hook::flag::register(signal_hook::consts::SIGPIPE, std::sync::Arc::default())
            .expect("the signal can be caught");
    });
}

/// `session` with the right checksum in each packet that has one other than `00`.
fn with_checksums(session: &[u8]) -> Vec<u8> {
    let mut scanner = PacketScanner::new(session.len());
    let (mut corrected, mut rest) = (Vec::with_capacity(session.len()), session);
    while !rest.is_empty() {
        let (piece, count) = scanner.take(rest);
        corrected.extend_from_slice(&rest[..count]);
        rest = &rest[count..];
        if piece == Scanned::Last
            && let [b'$', body @ .., b'#', high, low] = scanner.packet()
            && [*high, *low] != *b"00"
            && high.is_ascii_hexdigit()
            && low.is_ascii_hexdigit()
        {
            corrected.truncate(corrected.len() - 2);
            corrected.extend(format!("{:02x}", checksum(body)).bytes());
        }
    }
    corrected
}
