//! Addresses in the debugged guest, benches/guests/debuggee.S.

use std::ops::Range;

/// Its name.
pub const NAME: &str = "debuggee";

/// The code that it executes first.
pub const FIRST_CODE: Range<u64> = 0x20_0000..0x20_0020;

/// The number of instructions that it executes there before it leaves.
pub const FIRST_CODE_INSTRUCTIONS: u32 = 10_000;

/// The first instruction of its endless loop, which counts in EBX ...
pub const LOOP: u64 = 0x20_0040;

/// ... and writes the count here, 4 bytes, each time.
pub const COUNT: u64 = 0x30_0000;

/// Unused RAM, one mebibyte of it.
pub const FREE: u64 = 0x100_0000;
