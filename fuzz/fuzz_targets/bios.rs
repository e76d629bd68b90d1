//! Calls of the BIOS with arbitrary registers and memory: each must be answered, without a panic or a transfer without end.
//!
//! `scripts/fuzz bios` starts from the inputs in `fuzz/seeds/bios`.
#![no_main]

use kvm::bios::fuzzing::call_services;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| call_services(input));
