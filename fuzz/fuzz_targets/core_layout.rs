//! Arbitrary page tables and registers: the core file must be one that a reader takes, with the guest's memory in it.
//!
//! `scripts/fuzz core_layout` starts from the tables in `fuzz/seeds/core_layout`.
#![no_main]

use kvm::inspect::core_file::fuzzing::write_core_of_anything;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| write_core_of_anything(bytes));
