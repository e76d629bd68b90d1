//! Any bytes at all are code, registers and descriptor tables of a processor that refuses the
//! instruction: it must be carried out, raise its exception or stay refused, without a panic or a hang.
//! Instructions that only compute run on the host's processor.
//!
//! From the top directory:
//!
//! ```sh
//! cargo +nightly fuzz run emulate --target x86_64-unknown-linux-gnu
//! ```
#![no_main]

use kvm::emulate::emulate_anything;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| emulate_anything(input));
