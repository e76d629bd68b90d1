//! Any bytes at all come from a client of the console: they must become lines of a bounded length, without
//! a panic, and whatever a client has negotiated, the next plain line is understood.
//!
//! `scripts/fuzz console` starts from the conversations in `fuzz/seeds/console`.
#![no_main]

use kvm::frontends::console::lines::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| check(bytes));
