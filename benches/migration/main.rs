//! The cost of migrating a running guest to another process, of saving it in a file and of restoring it, beside
//! QEMU.
//!
//! `cargo bench --bench migration [-- OPTION...]`; docs/benchmarks.md explains the lines of the table.

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
