//! Arbitrary use of the configuration device of firmware, DMA included.
//!
//! `scripts/fuzz fw_cfg` starts from the inputs in `fuzz/seeds/fw_cfg`.
#![no_main]

use kvm::machine::fw_cfg_fuzzing::use_configuration;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| use_configuration(input));
