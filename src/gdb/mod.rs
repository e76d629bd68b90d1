//! The gdb server: a guest is stopped, looked at and stepped with an ordinary gdb. Whoever else asks about
//! a guest while it runs is answered here, too, as gdb may be asking at the same time.
//!
//! All of it happens on the vCPU's thread, between two entries into the guest. Other threads only
//! wait at sockets: a [`Server`]'s threads hand over what they read and call for attention at the
//! machine's one door.
//!
//! | file | what it has |
//! |---|---|
//! | `server` | the socket that debuggers connect to |
//! | `client`, `input_watch` | the socket of one debugger, and what it sends while the guest runs |
//! | `session` | one client, from its connection to its end |
//! | `packet` | packets in a stream of bytes |
//! | `extensions` | what the protocol library cannot do, with the reason for each packet |
//! | `target` | registers, memory and threads for the protocol library |
//! | `breakpoints`, `files`, `monitor` | for the protocol library, too: what the user types |
//! | `layout`, `description` | the numbers of registers, and how gdb shows them |
//! | `register_set`, `registers`, `segments`, `xsave` | values of registers, all together and each by itself |
//! | `threads`, `states` | vCPUs as threads, and what each is doing |
//! | `view` | what one client has set |
//! | `fuzzing` | any bytes as a client's, for tests and the fuzzer |
//!
//! Manual: "Appendix E: gdb Remote Serial Protocol" of *Debugging with gdb*.

mod breakpoints;
pub(crate) mod client;
pub(crate) mod description;
pub(crate) mod extensions;
pub(crate) mod files;
#[cfg(any(test, fuzzing))]
mod fuzzing;
mod input_watch;
pub(crate) mod layout;
pub(crate) mod monitor;
pub(crate) mod packet;
pub(crate) mod register_set;
pub(crate) mod registers;
pub(crate) mod segments;
pub(crate) mod server;
pub(crate) mod session;
pub(crate) mod states;
pub(crate) mod target;
pub(crate) mod threads;
pub(crate) mod view;
mod xsave;

use std::sync::Arc;

use tracing::info;

use crate::control::Doing;
use crate::control::moving::Mover;
use crate::machine::{Machine, Outcome};
use crate::settings::GdbArch;
use crate::supervisor::debuggee::Debuggee;
use crate::supervisor::requests::Door;
use client::Client;
use session::Left;

#[cfg(fuzzing)]
pub use fuzzing::serve_anything;
pub use server::{Server, ServerError};

/// Runs a guest under the debuggers that connect to `server`, until the run ends, and carries out what is
/// asked for at `door`.
///
/// With `wait` the guest's first instruction waits for the first debugger. Whenever none is
/// connected after that, the guest runs freely. gdb takes the guest's processor for `arch`. What moves the
/// guest to another host is `mover`, if anything does.
pub fn run(
    machine: &mut Machine,
    server: Option<&Server>,
    wait: bool,
    arch: GdbArch,
    door: &Door,
    mover: Option<Arc<dyn Mover>>,
) -> Outcome {
    let mut debuggee = Debuggee::new(machine, arch);
    debuggee.session.mover = mover;
    debuggee.doing = if wait { Doing::Waits } else { Doing::Runs };
    let outcome = serve_clients(&mut debuggee, server, door);
    // A debugger that ends the run does not carry out what it has put off.
    if let Some(due) = debuggee.due() {
        machine.set_pending_action(due);
    }
    machine.log_totals();
    outcome
}

fn serve_clients(debuggee: &mut Debuggee<'_>, server: Option<&Server>, door: &Door) -> Outcome {
    loop {
        let mut client = match next_client(debuggee, server, door) {
            Ok(client) => client,
            Err(outcome) => return outcome,
        };
        info!("gdb is connected from {}", client.name());
        let waited = debuggee.doing == Doing::Waits;
        debuggee.debugged = true;
        match session::serve(debuggee, &mut client, door) {
            Left::Over(outcome) => return outcome,
            // Whoever only tries whether somebody listens here is no debugger.
            Left::Detached if waited && !client.has_spoken() => debuggee.doing = Doing::Waits,
            Left::Detached => debuggee.doing = Doing::Runs,
        }
        debuggee.debugged = false;
        let waits = debuggee.doing == Doing::Waits;
        info!("gdb is gone; the guest {}", if waits { "waits for another" } else { "runs on" });
    }
}

/// Runs the guest, unless it is to stand still, until a debugger connects or the run is over.
fn next_client(debuggee: &mut Debuggee<'_>, server: Option<&Server>, door: &Door) -> Result<Client, Outcome> {
    loop {
        debuggee.answer_requests(door);
        if let Some(outcome) = debuggee.over.take().or_else(|| debuggee.ended.take()) {
            return Err(outcome);
        }
        if let Some(client) = server.and_then(Server::client) {
            return Ok(client);
        }
        let ended = if debuggee.doing == Doing::Runs { debuggee.run_freely() } else { debuggee.wait() };
        if let Some(outcome) = ended {
            return Err(outcome);
        }
    }
}
