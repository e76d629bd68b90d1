//! Any bytes as what a client sends: the server must answer, refuse or hang up, without a panic or a
//! hang, and leave a guest that still runs.
//!
//! | file | what it does |
//! |---|---|
//! | `peer` | the client: sends bytes in pieces, and looks at what comes back |
//! | `reach` | what a client may have done to the guest |
//! | `guest` | the guest |
//! | `nowhere` | what moves the guest to other hosts: it only says so |

mod guest;
mod nowhere;
mod peer;
mod reach;
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
use crate::machine::inputs::Inputs;
use crate::settings::GdbArch;
use crate::supervisor::request_queue::RequestQueue;
use crate::supervisor::run::supervise;
use crate::supervisor::run_control::Supervisor;
use nowhere::Nowhere;
use peer::Peer;
use reach::Reach;

/// Serves a client that sends `session` and hangs up, and then runs the guest to its end.
///
/// Checksums are set right, so that what is made up gets further than to the checksum; one that is `00` or
/// no number stays as it is. A session with a command that reads or writes files is left out.
///
/// # Panics
///
/// If the server sends what is no packet, or the guest does not end as it does without a debugger, unless
/// the client has seen to that. A server that hangs ends the process.
pub fn serve_anything(session: &[u8]) {
    ignore_broken_connections();
    let session = with_checksums(session);
    let reach = Reach::of(&session);
    // Made-up names are no places to write to.
    if reach.outside {
        return;
    }
    let inputs = Inputs::new();
    let mut machine = guest::machine(inputs.clone()).expect("a small machine can be had");
    // Each piece that is sent on such a socket is received by itself.
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .expect("sockets can be had");
    let server = Server::with_client(UnixStream::from(ours), &inputs).expect("a thread can be had");
    let (over, ended) = channel();
    let (requests, _) = RequestQueue::new(inputs.clone());
    let peer = Peer { stream: UnixStream::from(theirs), inputs, changes: reach.changes };
    let peer = thread::spawn(move || peer.play(&session, &ended));
    let mut front_end = GdbFrontEnd::new(&server, &machine, GdbArch::X86_64);
    let mut supervisor = Supervisor::new(&mut machine);
    supervisor.session.migrator = Some(Arc::new(Nowhere::default()));
    let outcome = supervise(&mut supervisor, Some(&mut front_end), &requests);
    // Its receiver is dropped if the client has panicked, which is reported next.
    let _ = over.send(());
    if let Err(panic) = peer.join() {
        std::panic::resume_unwind(panic);
    }
    assert!(reach.allows(&outcome), "the guest ended with {outcome:?}");
}

/// Does what the standard library does before `main`, which a fuzzer skips.
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
    let (mut mended, mut rest) = (Vec::with_capacity(session.len()), session);
    while !rest.is_empty() {
        let (piece, count) = scanner.take(rest);
        mended.extend_from_slice(&rest[..count]);
        rest = &rest[count..];
        if piece == Scanned::Last
            && let [b'$', body @ .., b'#', high, low] = scanner.packet()
            && [*high, *low] != *b"00"
            && high.is_ascii_hexdigit()
            && low.is_ascii_hexdigit()
        {
            mended.truncate(mended.len() - 2);
            mended.extend(format!("{:02x}", checksum(body)).bytes());
        }
    }
    mended
}
