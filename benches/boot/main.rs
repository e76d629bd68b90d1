//! The start of guests that a BIOS or a boot loader starts, beside QEMU.
//!
//! `cargo bench --bench boot [-- OPTION...]`; docs/benchmarks.md explains the lines of the table.

mod contender;
mod plan;
mod run;
#[allow(dead_code)]
#[path = "../shared/mod.rs"]
mod shared;

use std::process::ExitCode;

fn main() -> ExitCode {
    shared::options::run("boot", |quick| plan::measure(if quick { &plan::QUICK } else { &plan::FULL }))
}
