//! Arbitrary bytes from a client of the gdb server: it must answer, refuse or disconnect, without a panic, a hang or
//! unbounded memory, and leave a running guest. Needs `/dev/kvm`.
//!
//! `scripts/fuzz gdb` starts from the sessions of gdb and LLDB in `fuzz/seeds/gdb`.
#![no_main]

use kvm::gdb::serve_anything;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|session: &[u8]| serve_anything(session));
