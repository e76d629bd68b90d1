//! What `kvm` costs, side by side with the smallest KVM program there is and with QEMU.
//!
//! `cargo bench --bench compare [-- OPTION...]`; docs/benchmarks.md says what the lines mean.

mod contender;
mod memory;
mod plan;
mod run;
#[allow(dead_code)]
#[path = "../shared/mod.rs"]
mod shared;

use std::process::ExitCode;

fn main() -> ExitCode {
    shared::options::run("compare", |quick| plan::measure(if quick { &plan::QUICK } else { &plan::FULL }))
}
