// SPDX-License-Identifier: MIT OR GPL-2.0
//! The pure functions of the yakvm kernel module: AMD APM volume 2 (24593), chapters 4, 5 and 15, and
//! volume 3 (24594) for the instructions.
//!
//! `driver/core.h` declares what the C files call; the layouts there and here are the same. Nothing in
//! here locks, allocates, formats or panics: arguments in, results out. There is no `unsafe` block: the
//! attribute `unsafe(no_mangle)` only promises that the names are unique. C passes valid pointers,
//! which `extern "C"` functions take as references.
//!
//! `driver/build` compiles this file alone to assembly for the kernel, `cargo test` runs it on the host.
#![no_std]

pub mod control;
pub mod cpuid;
pub mod decode;
pub mod msr;
pub mod paging;
pub mod processor;
pub mod segment;

/// `EINVAL`, as the C functions return it.
pub const EINVAL: i32 = -22;
/// `EFAULT`: a page fault, or an address that is not canonical.
pub const EFAULT: i32 = -14;
/// `ENOENT`: there is no such register.
pub const ENOENT: i32 = -2;
