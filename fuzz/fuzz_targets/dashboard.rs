//! Arbitrary bytes as serial text, code, stack, page tables and keys of the dashboard: each must be shown without a panic,
//! and without a character that controls the terminal.
//!
//! `scripts/fuzz dashboard` starts from the inputs in `fuzz/seeds/dashboard`.
#![no_main]

use kvm::frontends::dashboard::fuzzing::show_anything;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| show_anything(bytes));
