//! Arbitrary bytes as code, registers and descriptor tables of a processor that refuses the instruction: it must be
//! emulated, raise its exception or stay refused, without a panic or a hang. Instructions that only compute run on
//! the host's processor.
//!
//! `scripts/fuzz emulate` starts from the states in `fuzz/seeds/emulate`.
#![no_main]

use kvm::emulate::emulate_anything;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| emulate_anything(input));
