//! A supervisor for bare-metal x86 guests on Linux KVM.
//!
//! A guest file goes in at the top; a running, inspectable machine comes out. The rooms, from the
//! bottom up (each may use the ones above it in this list, never the ones below):
//!
//! | room | what lives there |
//! |---|---|
//! | [`settings`] | what the user asked for, from the command line and `config.ini` |
//! | [`memory`] | guest-physical memory: bounds-checked access, slots |
//! | [`host`] | the only place that talks to `/dev/kvm` |
//! | [`devices`] | one chip per file, pure register machines |
//! | [`boot`] | a guest file becomes memory contents and the state of the first vCPU |
//! | [`machine`] | the board: memory, vCPU and chips put together and run; the input door |
//! | [`state`] | the whole machine as versioned bytes: snapshot files |
//! | [`inspect`] | read-only views of a stopped machine |
//! | [`control`] | commands for a stopped guest, and the breakpoints they set |
//! | [`migration`] | moving a running guest to another host |
//! | [`debug`] | the gdb server |
//! | [`debug_server`] | memory and registers for programs that ask, and `kvm debug-client` |
//! | [`frontends`] | the people side: terminal, serial ends, log, `kvm check` |
//! | [`app`] | one run of the program, from arguments to exit status |

#![deny(missing_docs, unsafe_code)]

pub mod app;
pub mod arch;
pub mod boot;
pub mod control;
pub mod debug_server;
pub mod devices;
#[allow(unsafe_code)]
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
