//! The gdb server: a guest is stopped, looked at and stepped with an ordinary gdb.
//!
//! All of it happens on the vCPU's thread, between two entries into the guest. Other threads only
//! wait at sockets: a [`Server`]'s threads hand over what they read and call for attention at the
//! machine's one door.
//!
//! | file | what it knows |
//! |---|---|
//! | `server` | clients and threads |
//! | `session` | one client, from its connection to its leaving |
//! | `target` | the protocol library's questions, answered |
//! | `debuggee` | how a guest is run, stepped and found to have stopped |
//! | `watchpoints` | data whose accesses stop the guest: by debug registers or by protected pages |
//! | `technique` | what breakpoints are made of on this host |
//! | `breakpoints` | where they are, and which of them get a debug register |
//! | `planting` | the bytes that others put into guest memory while the guest runs |
//! | `steps` | one instruction, whatever it is, on every host |
//! | `ahead` | what kind of instruction comes next |
//! | `handlers` | where the guest's exception handlers begin |
//! | `packets`, `answers` | questions that are answered without the library |
//! | `arch`, `description` | which registers gdb is told of, and how |
//! | `view`, `registers`, `segments`, `memory` | the guest's state as gdb wants it |
//! | `files` | the guest file, for a gdb that was not given it |
//! | `hits` | what happens where a breakpoint of the user's commands is reached |
//! | `monitor` | commands of the user's, handed on |
//! | `facilities` | what `info debug` tells of this host |
//!
//! Manual: "Appendix E: gdb Remote Serial Protocol" of *Debugging with gdb*.

mod ahead;
mod answers;
mod arch;
mod breakpoints;
mod debuggee;
mod description;
mod facilities;
mod files;
mod handlers;
mod hits;
mod memory;
mod monitor;
mod packets;
mod planting;
mod registers;
mod segments;
mod server;
mod session;
mod steps;
mod target;
mod technique;
mod view;
mod watchpoints;

use tracing::info;

use crate::machine::{Machine, Outcome};
use crate::settings::{GdbArch, GdbSpec};
use debuggee::Debuggee;
use session::Left;

pub use server::{Server, ServerError};

/// Runs a guest under the debuggers that connect to `server`, until the run ends.
///
/// The guest's first instruction waits for the first debugger if `spec` says so. Whenever none is
/// connected after that, the guest runs freely. gdb takes the guest's processor for `arch`.
pub fn run(machine: &mut Machine, server: &Server, spec: &GdbSpec, arch: GdbArch) -> Outcome {
    let mut debuggee = Debuggee::new(machine, arch);
    let outcome = serve_clients(&mut debuggee, server, spec.wait);
    machine.log_totals();
    outcome
}

fn serve_clients(debuggee: &mut Debuggee<'_>, server: &Server, mut waiting: bool) -> Outcome {
    loop {
        let mut client = loop {
            if let Some(client) = server.client() {
                break client;
            }
            let ended = if waiting { debuggee.wait() } else { debuggee.run_freely() };
            if let Some(outcome) = ended {
                return outcome;
            }
        };
        info!("gdb is connected from {}", client.name());
        match session::serve(debuggee, &mut client) {
            Left::Over(outcome) => return outcome,
            // Whoever only tries whether somebody listens here is no debugger.
            Left::Detached => waiting = waiting && !client.has_spoken(),
        }
        info!("gdb is gone; the guest {}", if waiting { "waits for another" } else { "runs on" });
    }
}
