//! A supervisor for bare-metal x86 guests on Linux KVM.
//!
//! A guest file goes in at the top; a running, debuggable machine comes out. ARCHITECTURE.md draws the rooms,
//! in the order in which they may depend on each other, and states the rules between them.

#![deny(missing_docs, unsafe_code)]

pub mod app;
pub mod arch;
pub mod bios;
pub mod boot;
pub mod control;
pub mod coverage;
pub mod debug_server;
pub mod devices;
pub mod emulate;
pub mod frontends;
#[cfg(any(test, fuzzing))]
mod fuzzing;
pub mod gdb;
pub mod inspect;
#[allow(unsafe_code)]
pub mod kvm;
pub mod machine;
#[allow(unsafe_code)]
pub mod memory;
pub mod migration;
#[allow(unsafe_code)]
pub mod os;
pub mod settings;
pub mod state;
pub mod supervisor;
pub mod test_runner;
