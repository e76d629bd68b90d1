//! Arbitrary bytes from a client of the console: they must become lines of bounded length, without a panic, and after
//! any negotiation the next plain line must be understood.
//!
//! `scripts/fuzz console` starts from the recorded sessions in `fuzz/seeds/console`.
#![no_main]

use kvm::frontends::console::lines::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| check(bytes));
