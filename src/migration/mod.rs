//! Moving a running guest to another host.
//!
//! | file | what it knows |
//! |---|---|
//! | `frame`, `pages` | what is sent, as bytes |
//! | `wire` | a connection that carries frames, and how it fails |
//! | `transport` | TCP, bare or inside TLS |
//! | `security` | who may connect |
//! | `decision` | who has the guest |
//! | `fuzzing` | sources that say anything at all |
//!
//! docs/migration.md tells of the protocol, and why the guest always runs on exactly one side.

pub mod commit;
pub mod destination;
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
