//! Any bytes at all are what a client of the gdb server sends: it must answer, refuse or hang up,
//! without a panic, a hang or unbounded memory, and leave a guest that still runs. Needs `/dev/kvm`.
//!
//! `scripts/fuzz gdb` starts from the sessions of gdb and LLDB in `fuzz/seeds/gdb`.
#![no_main]

use kvm::gdb::serve_anything;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|session: &[u8]| serve_anything(session));
