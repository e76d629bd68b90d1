//! Arbitrary bytes as a file with debug information: it is read or ignored, in bounded time and memory.
//!
//! `scripts/fuzz debug_info` starts from the inputs in `fuzz/seeds/debug_info`.
#![no_main]

use kvm::boot::fuzzing::look_up_lines;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| look_up_lines(input));
