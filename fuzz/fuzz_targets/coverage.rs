//! Arbitrary bytes as a guest file whose coverage is measured: it is refused, or has blocks and lines.
//!
//! `scripts/fuzz coverage` starts from the inputs in `fuzz/seeds/coverage`.
#![no_main]

use kvm::coverage::fuzzing::cover;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| cover(input));
