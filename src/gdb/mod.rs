//! The gdb server: stops, inspects and steps a guest for an ordinary gdb. The supervisor's loop calls it as a
//! `DebuggerFrontEnd`.
//!
//! It runs on the vCPU's thread, between two entries into the guest. Other threads only wait at sockets: those of
//! [`Server`] accept clients, and push an attention input into the machine's input queue when one has connected or
//! sent bytes.
//!
//! | file | contents |
//! |---|---|
//! | `server` | the socket that debuggers connect to |
//! | `client`, `input_watch` | the socket of one debugger, and its input while the guest runs |
//! | `session` | serves one client from connection to disconnect |
//! | `packet` | packets in a stream of bytes |
//! | `extensions` | what the protocol library cannot do, with the reason for each packet |
//! | `target` | registers, memory and threads for the protocol library |
//! | `breakpoints`, `files`, `monitor` | further traits of the protocol library |
//! | `layout`, `description` | register numbers, and the target description |
//! | `register_set`, `registers`, `segments`, `xsave` | register values, as a set and one by one |
//! | `threads`, `states` | vCPUs as threads, and their states |
//! | `view` | the settings of one client |
//! | `fuzzing` | arbitrary bytes from a client, for tests and the fuzzer |
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

use tracing::info;

use crate::machine::Machine;
use crate::settings::GdbArch;
use crate::supervisor::front_end::DebuggerFrontEnd;
use crate::supervisor::request_queue::RequestQueue;
use crate::supervisor::run_control::Supervisor;
use target::GdbTarget;
use threads::Threads;
use view::View;

#[cfg(fuzzing)]
pub use fuzzing::serve_anything;
pub use server::{Server, ServerError};

/// The gdb protocol as a front end of the supervisor.
pub(crate) struct GdbFrontEnd<'s> {
    server: &'s Server,
    threads: Threads,
    view: View,
}

impl<'s> GdbFrontEnd<'s> {
    /// Serves the clients of `server`, which see a processor of kind `arch`.
    pub(crate) fn new(server: &'s Server, machine: &Machine, arch: GdbArch) -> GdbFrontEnd<'s> {
        GdbFrontEnd {
            server,
            threads: Threads::new(machine.cpu_ids().count()),
            view: View::new(machine, arch),
        }
    }
}

impl DebuggerFrontEnd for GdbFrontEnd<'_> {
    fn serve(&mut self, supervisor: &mut Supervisor<'_>, requests: &RequestQueue) -> bool {
        let Some(mut client) = self.server.client() else { return false };
        info!("gdb is connected from {}", client.name());
        let mut target = GdbTarget { supervisor, threads: &mut self.threads, view: &mut self.view };
        session::serve(&mut target, &mut client, requests);
        true
    }
}
