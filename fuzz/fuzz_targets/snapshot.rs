//! Arbitrary bytes as a snapshot file, with unchanged and with corrected checksums: it must be read or refused, without
//! a panic, a hang or unbounded memory.
//!
//! `scripts/fuzz snapshot` starts from the files in `fuzz/seeds/snapshot`.
#![no_main]

use kvm::state::fuzzing::read_snapshot;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| read_snapshot(input));
