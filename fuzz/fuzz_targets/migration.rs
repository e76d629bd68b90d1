//! Arbitrary bytes from a migration source: the destination must not panic, hang, use unbounded memory, or run a guest
//! that was not committed to it.
//!
//! `scripts/fuzz migration` starts from the streams in `fuzz/seeds/migration`.
#![no_main]

use kvm::migration::fuzzing::receive_from_source;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    receive_from_source(input);
});
