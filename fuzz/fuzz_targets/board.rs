//! Arbitrary bytes as accesses to ports, windows in memory and MSRs, inputs, and time: no device may panic or work
//! without bound, and one that is restored from a saved state must answer as the original.
//!
//! `scripts/fuzz board` starts from the recorded sequences in `fuzz/seeds/board`.
#![no_main]

use kvm::machine::fuzzing::access_board;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| access_board(input));
