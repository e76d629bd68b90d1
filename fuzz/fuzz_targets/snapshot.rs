//! Any bytes at all are read as a snapshot, with their checksums as they are and made right: it must be
//! read or refused, without a panic, a hang or unbounded memory.
//!
//! `scripts/fuzz snapshot` starts from those in `fuzz/seeds/snapshot`.
#![no_main]

use kvm::state::fuzzing::read_snapshot;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| read_snapshot(input));
