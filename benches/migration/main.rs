//! What it costs to move a running guest to another process, to save it in a file, and to have it go on
//! from there, side by side with QEMU.
//!
//! `cargo bench --bench migration [-- OPTION...]`; docs/benchmarks.md says what the lines mean.

mod contender;
mod monitor;
mod plan;
mod program;
#[allow(dead_code)]
#[path = "../shared/mod.rs"]
mod shared;

use std::process::ExitCode;

fn main() -> ExitCode {
    shared::options::run("migration", |quick| plan::measure(if quick { &plan::QUICK } else { &plan::FULL }))
}
