//! Live migration of a running guest to another host.
//!
//! | file | contents |
//! |---|---|
//! | `frame`, `pages` | the byte format of frames and of page data |
//! | `wire` | a connection that carries frames, and its errors |
//! | `transport` | TCP, plain or inside TLS |
//! | `security` | authentication and encryption of the peers |
//! | `source`, `outgoing` | the migration source |
//! | `destination`, `incoming`, `acceptor` | the migration destination |
//! | `disk_target` | the file of a received disk image |
//! | `commit` | the decision which host runs the guest |
//! | `progress` | progress and statistics |
//! | `fuzzing` | sources that send arbitrary input |
//!
//! docs/migration.md describes the protocol, and why the guest always runs on exactly one host.

mod acceptor;
pub mod commit;
pub mod destination;
pub mod disk_target;
pub mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod incoming;
pub mod outgoing;
pub mod pages;
pub mod progress;
pub mod security;
pub mod source;
pub mod transport;
pub mod wire;

#[cfg(test)]
mod interrupted_test;
