//! Arbitrary text as an expression, as the arguments of a breakpoint and as those of a log point: each must be refused
//! or evaluated, without a panic, a hang or unbounded memory.
//!
//! `scripts/fuzz expression` starts from the expressions in `fuzz/seeds/expression`.
#![no_main]

use kvm::control::fuzzing::evaluate_anything;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| evaluate_anything(bytes));
