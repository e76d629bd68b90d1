//! The memory debug server: tells programs that ask what is in the guest's memory, while it runs, and in
//! its registers; and `kvm debug-client`, a program that asks.
//!
//! The protocol is that of kvm-endlessfault, whose clients work with this server.
//!
//! | file | what it knows |
//! |---|---|
//! | `protocol` | the messages, as bytes |
//! | `register_bytes` | registers as the messages carry them |
//! | `conversation` | one client's questions and their answers |
//! | `server` | clients and threads |
//! | `client` | asking, and telling the user |
//! | `fuzzing` | clients and servers that say anything at all |

pub mod client;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod protocol;
mod register_bytes;
mod server;
mod session;

pub use server::{DebugServer, DebugServerError, MAX_CLIENTS};
pub use session::DebugTarget;
