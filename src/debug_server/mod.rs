//! The memory debug server, which sends the guest's memory and registers to clients while the guest runs,
//! and its client, `kvm debug-client`.
//!
//! The protocol is that of kvm-endlessfault, whose clients work with this server.
//!
//! | file | contents |
//! |---|---|
//! | `protocol` | the byte format of messages |
//! | `register_bytes` | the byte format of registers |
//! | `session` | the requests and answers of one client |
//! | `server` | connections and threads |
//! | `client` | requests and their output |
//! | `fuzzing` | clients and servers that send arbitrary input |

pub mod client;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod protocol;
mod register_bytes;
mod server;
mod session;

pub use server::{DebugServer, DebugServerError, MAX_CLIENTS};
pub use session::DebugTarget;
