//! Any bytes at all are given to the debug server as what a client says, and to `kvm debug-client` as what
//! a server says: each must answer, print or give up, without a panic, a hang or unbounded memory.
//!
//! `scripts/fuzz debug_server` starts from the conversations in `fuzz/seeds/debug_server`.
#![no_main]

use kvm::debug_server::fuzzing::run_session;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run_session(input));
