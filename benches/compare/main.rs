//! The cost of `kvm` beside the smallest possible KVM program and QEMU.
//!
//! `cargo bench --bench compare [-- OPTION...]`; docs/benchmarks.md explains the lines of the table.

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
