//! Arbitrary page tables, descriptor tables, code and registers: every view of the machine must show them, without a
//! panic, a hang or unbounded memory.
//!
//! `scripts/fuzz views` starts from the tables in `fuzz/seeds/views`.
#![no_main]

use kvm::inspect::fuzzing::view_anything;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| view_anything(bytes));
