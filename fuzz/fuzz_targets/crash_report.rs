//! Arbitrary registers, memory and files with symbols: the report of the crash must be made of all of them. It needs
//! `/dev/kvm`.
//!
//! `scripts/fuzz crash_report` starts from the states in `fuzz/seeds/crash_report`.
#![no_main]

use kvm::inspect::crash::fuzzing::report_anything;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| report_anything(bytes));
