//! What the gdb server costs, side by side with QEMU's and with no server at all.
//!
//! `cargo bench --bench debugger [-- OPTION...]`; docs/benchmarks.md says what the lines mean. The
//! client is one of our own, so that what is measured is the stub and not gdb.

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
