//! Arbitrary bytes from a client to the debug server, and from a server to `kvm debug-client`: each must answer, print
//! or disconnect, without a panic, a hang or unbounded memory.
//!
//! `scripts/fuzz debug_server` starts from the recorded sessions in `fuzz/seeds/debug_server`.
#![no_main]

use kvm::debug_server::fuzzing::run_session;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run_session(input));
