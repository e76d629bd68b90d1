//! The cost of the gdb server beside that of QEMU and beside no server.
//!
//! `cargo bench --bench debugger [-- OPTION...]`; docs/benchmarks.md explains the lines of the table.
//! The client is part of the benchmark, so that the stub is measured and not gdb.

mod client;
mod contender;
mod guest;
mod measure;
mod plan;
#[path = "../shared/mod.rs"]
mod shared;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    shared::options::run("debugger", |quick| plan::measure(if quick { &plan::QUICK } else { &plan::FULL }))
}
