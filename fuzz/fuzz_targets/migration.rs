//! A source sends any bytes at all: nothing of it may panic, hang, take memory without bound, or make a
//! destination run a guest that was not handed over.
//!
//! `scripts/fuzz migration` starts from those in `fuzz/seeds/migration`.
#![no_main]

use kvm::migration::fuzzing::receive_from_source;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    receive_from_source(input);
});
