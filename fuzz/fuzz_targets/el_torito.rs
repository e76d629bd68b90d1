//! Arbitrary bytes as the boot record and the boot catalog of a CD: a boot image is inside the CD and fits into memory, or
//! the CD is refused.
//!
//! `scripts/fuzz el_torito` starts from the files in `fuzz/seeds/el_torito`.
#![no_main]

use kvm::boot::cdrom::fuzzing::read_any_catalog;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| read_any_catalog(file));
