//! Register numbers of a local APIC, and the bits of each that exist.
//!
//! Manual: Intel SDM volume 3A, table "Local APIC Register Address Map". A register's number is its offset in
//! the register page divided by 16, and its MSR in x2APIC mode less 800h.

pub(super) const ID: u16 = 0x02;
pub(super) const VERSION: u16 = 0x03;
pub(super) const TASK_PRIORITY: u16 = 0x08;
pub(super) const ARBITRATION_PRIORITY: u16 = 0x09;
pub(super) const PROCESSOR_PRIORITY: u16 = 0x0A;
pub(super) const END_OF_INTERRUPT: u16 = 0x0B;
pub(super) const REMOTE_READ: u16 = 0x0C;
pub(super) const LOGICAL_DESTINATION: u16 = 0x0D;
pub(super) const DESTINATION_FORMAT: u16 = 0x0E;
pub(super) const SPURIOUS: u16 = 0x0F;
pub(super) const IN_SERVICE: u16 = 0x10;
pub(super) const TRIGGER_MODE: u16 = 0x18;
pub(super) const REQUESTS: u16 = 0x20;
pub(super) const ERROR_STATUS: u16 = 0x28;
pub(super) const COMMAND_LOW: u16 = 0x30;
pub(super) const COMMAND_HIGH: u16 = 0x31;
pub(super) const FIRST_LOCAL_VECTOR: u16 = 0x32;
pub(super) const LAST_LOCAL_VECTOR: u16 = 0x37;
pub(super) const INITIAL_COUNT: u16 = 0x38;
pub(super) const CURRENT_COUNT: u16 = 0x39;
pub(super) const DIVIDE: u16 = 0x3E;
/// Only in x2APIC mode.
pub(super) const SELF_IPI: u16 = 0x3F;

/// Positions in the local vector table.
pub(super) mod lvt {
    pub const TIMER: usize = 0;
    pub const LINT0: usize = 3;
    pub const ERROR: usize = 5;
    pub const COUNT: usize = 6;

    pub const MODE_SHIFT: u32 = 8;
    pub const MASKED: u32 = 1 << 16;
    pub const MODE: u32 = 7 << MODE_SHIFT;
    /// Delivery mode ExtINT: the 8259A is connected straight to the processor ("virtual wire").
    pub const EXT_INT: u32 = 0x700;
    /// LINT0 and LINT1 as a BIOS leaves them: virtual wire and NMI.
    pub const BIOS_LINT: [u32; 2] = [0x8700, 0x8400];

    /// Bits of each entry that can be written: timer, thermal sensor, performance counters, LINT0, LINT1, error.
    pub const WRITABLE: [u32; COUNT] =
        [0x0007_00FF, 0x0001_07FF, 0x0001_07FF, 0x0001_A7FF, 0x0001_A7FF, 0x0001_00FF];
}

/// Version 14h with six local vector table entries, as P4 and later have, and as QEMU reports. It does not
/// announce that end-of-interrupt broadcasts can be suppressed, which bit 12 of the spurious vector register does.
pub(super) const VERSION_VALUE: u32 = 0x0005_0000 | super::CHIP_VERSION as u32;

pub(super) mod spurious {
    pub const VECTOR: u32 = 0xFF;
    pub const SOFTWARE_ENABLED: u32 = 1 << 8;
    pub const SUPPRESS_BROADCAST: u32 = 1 << 12;
    pub const WRITABLE: u32 = 0x13FF;
}

/// Bits of error status register.
pub(super) mod error {
    pub const SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
    pub const RECEIVED_ILLEGAL_VECTOR: u32 = 1 << 6;
    pub const ILLEGAL_REGISTER: u32 = 1 << 7;
    pub const ALL: u32 = 0xE0;
}

/// Destination format register: bits that read as 1.
pub(super) const DESTINATION_FORMAT_ONES: u32 = 0x0FFF_FFFF;
/// Interrupt command register, low half: the delivery status (bit 12) always reads idle.
pub(super) const COMMAND_WRITABLE: u32 = 0x000C_CFFF;
