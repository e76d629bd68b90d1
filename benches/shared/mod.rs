//! What all benchmarks share: the guests, taking turns, the table, and the command line.

pub mod guests;
pub mod host;
pub mod options;
pub mod ports;
pub mod programs;
pub mod rounds;
pub mod samples;
pub mod table;

use std::path::PathBuf;

/// Why nothing could be measured: a text for the user.
pub type Failure = Box<dyn std::error::Error>;

/// The `kvm` that is measured.
pub fn kvm_binary() -> PathBuf {
    std::env::var_os("KVM_BIN").map_or_else(|| env!("CARGO_BIN_EXE_kvm").into(), PathBuf::from)
}
