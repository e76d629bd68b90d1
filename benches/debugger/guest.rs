//! What there is in the guest that is debugged: benches/guests/debuggee.S.

use std::ops::Range;

/// Its name.
pub const NAME: &str = "debuggee";

/// Its first instruction, and the end of the piece in which it begins.
pub const LONG_WAY: Range<u64> = 0x20_0000..0x20_0020;

/// How many instructions it carries out there before it leaves for ever.
pub const LONG_WAY_INSTRUCTIONS: u32 = 10_000;

/// The first instruction of the loop that it stays in: it counts in EBX ...
pub const LOOP: u64 = 0x20_0040;

/// ... and writes the count here, 4 bytes, each time.
pub const COUNT: u64 = 0x30_0000;

/// RAM that holds nothing and has no use: a mebibyte of it.
pub const FREE: u64 = 0x100_0000;
