//! Arbitrary bytes as a guest file: the loader must refuse or load it, without a panic, a hang or unbounded memory.
//!
//! `scripts/fuzz boot_elf` starts from the files in `fuzz/seeds/boot_elf`.
#![no_main]

use kvm::boot::fuzzing::load_anything;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| load_anything(file));
