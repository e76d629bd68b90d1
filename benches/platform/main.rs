//! Interrupts, PCI, disks and processors of `kvm` beside those of QEMU.
//!
//! `cargo bench --bench platform [-- OPTION...]`; docs/benchmarks.md explains the lines of the table.

mod contender;
mod plan;
mod run;
#[allow(dead_code)]
#[path = "../shared/mod.rs"]
mod shared;

use std::process::ExitCode;

fn main() -> ExitCode {
    shared::options::run("platform", |quick| plan::measure(if quick { &plan::QUICK } else { &plan::FULL }))
}
