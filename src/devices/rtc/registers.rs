//! Indices and bits of the clock's registers and of the bytes in its RAM that PC firmware defines.

pub(super) const SECONDS: u8 = 0x00;
pub(super) const SECONDS_ALARM: u8 = 0x01;
pub(super) const MINUTES: u8 = 0x02;
pub(super) const MINUTES_ALARM: u8 = 0x03;
pub(super) const HOURS: u8 = 0x04;
pub(super) const HOURS_ALARM: u8 = 0x05;
pub(super) const WEEKDAY: u8 = 0x06;
pub(super) const DAY: u8 = 0x07;
pub(super) const MONTH: u8 = 0x08;
pub(super) const YEAR: u8 = 0x09;
pub(super) const A: u8 = 0x0A;
pub(super) const B: u8 = 0x0B;
pub(super) const C: u8 = 0x0C;
pub(super) const D: u8 = 0x0D;

/// Hours in the 12-hour format: afternoon.
pub(super) const HOURS_PM: u8 = 0x80;
/// Alarm bytes: both bits set match any value.
pub(super) const ALARM_ANY: u8 = 0xC0;

/// An update is about to come.
pub(super) const A_UPDATE_IN_PROGRESS: u8 = 0x80;
/// Divider control.
pub(super) const A_DIVIDER: u8 = 0x70;
/// The highest divider control with which the clock runs.
pub(super) const A_DIVIDER_RUNS: u8 = 0x20;
/// Rate of the periodic interrupt.
pub(super) const A_RATE: u8 = 0x0F;

/// No updates, so that the time can be set.
pub(super) const B_SET: u8 = 0x80;
pub(super) const B_UPDATE_INTERRUPT: u8 = 0x10;
pub(super) const B_SQUARE_WAVE: u8 = 0x08;
pub(super) const B_BINARY: u8 = 0x04;
pub(super) const B_24_HOURS: u8 = 0x02;

/// An enabled interrupt is pending.
pub(super) const C_INTERRUPT: u8 = 0x80;
/// The bits of the three interrupts are the same in registers B and C.
pub(super) const C_PERIODIC: u8 = 0x40;
pub(super) const C_ALARM: u8 = 0x20;
pub(super) const C_UPDATE: u8 = 0x10;
pub(super) const C_FLAGS: u8 = C_PERIODIC | C_ALARM | C_UPDATE;

/// The battery has not failed.
pub(super) const D_VALID: u8 = 0x80;

pub(super) const FLOPPIES: usize = 0x10;
pub(super) const HARD_DISKS: usize = 0x12;
pub(super) const EQUIPMENT: usize = 0x14;
pub(super) const BASE_MEMORY: usize = 0x15;
pub(super) const EXTENDED_MEMORY: usize = 0x17;
pub(super) const FIRST_HARD_DISK_TYPE: usize = 0x19;
pub(super) const SECOND_HARD_DISK_TYPE: usize = 0x1A;
/// High byte of the sum of the bytes from [`FLOPPIES`] on; the low byte follows.
pub(super) const CHECKSUM: usize = 0x2E;
pub(super) const EXTENDED_MEMORY_COPY: usize = 0x30;
/// Index of the byte with the century.
pub const CENTURY: u8 = 0x32;
pub(super) const MEMORY_ABOVE_16_MIB: usize = 0x34;
pub(super) const BOOT_ORDER_THIRD: usize = 0x38;
pub(super) const BOOT_ORDER: usize = 0x3D;
pub(super) const MEMORY_ABOVE_4_GIB: usize = 0x5B;
pub(super) const OTHER_CPUS: usize = 0x5F;
