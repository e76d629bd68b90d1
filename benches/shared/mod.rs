//! Shared by all benchmarks: the guests, the rounds, the table, and the command line.

pub mod guests;
pub mod host;
pub mod options;
pub mod ports;
pub mod programs;
pub mod rounds;
pub mod samples;
pub mod table;

use std::path::PathBuf;

/// Why a measurement failed: a message for the user.
pub type Failure = Box<dyn std::error::Error>;

/// The measured `kvm`.
pub fn kvm_binary() -> PathBuf {
    std::env::var_os("KVM_BIN").map_or_else(|| env!("CARGO_BIN_EXE_kvm").into(), PathBuf::from)
}
