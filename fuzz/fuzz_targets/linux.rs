//! Arbitrary setup headers of a Linux kernel: the loader must refuse or load it.
//!
//! `scripts/fuzz linux` starts from the inputs in `fuzz/seeds/linux`.
#![no_main]

use kvm::boot::fuzzing::load_linux;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| load_linux(input));
