//! A configuration space: 256 bytes, of which some bits are writable.
//!
//! Header type 0 without expansion ROM. Reserved registers read as zero and ignore writes, as
//! the specification demands. The constructor methods build the space of one kind of function; the guest then
//! changes only what they have made writable.
//!
//! Manual: PCI Local Bus Specification 3.0, chapter 6.

use std::ops::Range;

use super::super::StateError;
use super::bar::{BARS, BarKind, BarMapping};

/// Size in bytes.
pub const SIZE: usize = 256;

/// Command register, 16 bits.
pub const COMMAND: u8 = 0x04;
/// Status register, 16 bits.
pub const STATUS: u8 = 0x06;
const REVISION: u8 = 0x08;
/// Programming interface, subclass and class, a byte each.
const CLASS: u8 = 0x09;
/// Latency timer.
pub const LATENCY_TIMER: u8 = 0x0D;
/// Header type; bit 7 is set in a device with several functions.
pub const HEADER_TYPE: u8 = 0x0E;
/// Subsystem vendor and subsystem, 16 bits each.
pub const SUBSYSTEM: u8 = 0x2C;
const FIRST_BAR: u8 = 0x10;
/// Interrupt line register.
pub const INTERRUPT_LINE: u8 = 0x3C;
const INTERRUPT_PIN: u8 = 0x3D;

/// Command register: answer accesses to ports.
pub const COMMAND_IO: u16 = 0x0001;
/// Command register: answer accesses to memory.
pub const COMMAND_MEMORY: u16 = 0x0002;
/// Command register: act as a bus master.
pub const COMMAND_MASTER: u16 = 0x0004;
/// Command register: do not use the interrupt pin.
pub const COMMAND_NO_INTERRUPT: u16 = 0x0400;

/// Status register: nothing has answered the function as a bus master.
pub const STATUS_MASTER_ABORT: u16 = 0x2000;

/// What a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciIdentity {
    /// Vendor.
    pub vendor: u16,
    /// Device, as the vendor numbers them.
    pub device: u16,
    /// Revision of the device.
    pub revision: u8,
    /// Class, subclass and programming interface, from the highest byte to the lowest of 24 bits.
    pub class: u32,
}

/// The configuration space of a function.
#[derive(Clone, Debug)]
pub struct ConfigurationSpace {
    bytes: [u8; SIZE],
    /// The values after power-on.
    initial: [u8; SIZE],
    /// Bits that take the written value.
    writable: [u8; SIZE],
    /// Bits that a written one clears.
    clearable: [u8; SIZE],
    bars: [Option<BarKind>; BARS],
}

impl ConfigurationSpace {
    /// The space of a function that implements nothing but its identity.
    pub fn new(identity: PciIdentity) -> ConfigurationSpace {
        let none = [0; SIZE];
        let [interface, subclass, class, _] = identity.class.to_le_bytes();
        ConfigurationSpace { bytes: none, initial: none, writable: none, clearable: none, bars: [None; BARS] }
            .word(0x00, identity.vendor, 0)
            .word(0x02, identity.device, 0)
            .byte(REVISION, identity.revision, 0)
            .byte(CLASS, interface, 0)
            .byte(CLASS + 1, subclass, 0)
            .byte(CLASS + 2, class, 0)
    }

    /// Adds a byte with its value after power-on and the mask of its writable bits.
    #[must_use]
    pub fn byte(mut self, register: u8, initial: u8, writable: u8) -> ConfigurationSpace {
        let at = usize::from(register);
        (self.bytes[at], self.initial[at], self.writable[at]) = (initial, initial, writable);
        self
    }

    /// Adds a register of 16 bits.
    #[must_use]
    pub fn word(self, register: u8, initial: u16, writable: u16) -> ConfigurationSpace {
        let ([low, high], [low_mask, high_mask]) = (initial.to_le_bytes(), writable.to_le_bytes());
        self.byte(register, low, low_mask).byte(register + 1, high, high_mask)
    }

    /// Adds bytes of one kind.
    #[must_use]
    pub fn bytes(self, registers: Range<u8>, initial: u8, writable: u8) -> ConfigurationSpace {
        registers.fold(self, |space, register| space.byte(register, initial, writable))
    }

    /// Adds the status register. Its bits in `clearable` are set by the function alone, and cleared by writing
    /// ones to them.
    #[must_use]
    pub fn status(self, initial: u16, clearable: u16) -> ConfigurationSpace {
        let mut space = self.word(STATUS, initial, 0);
        space.clearable[usize::from(STATUS)..][..2].copy_from_slice(&clearable.to_le_bytes());
        space
    }

    /// Adds base address register `index` (0 to 5).
    #[must_use]
    pub fn bar(mut self, index: u8, kind: BarKind) -> ConfigurationSpace {
        self.bars[usize::from(index)] = Some(kind);
        self.dword(bar_register(index), kind.empty(), kind.writable())
    }

    /// Adds a dword.
    #[must_use]
    pub fn dword(self, register: u8, initial: u32, writable: u32) -> ConfigurationSpace {
        self.word(register, initial as u16, writable as u16).word(
            register + 2,
            (initial >> 16) as u16,
            (writable >> 16) as u16,
        )
    }

    /// The function has the interrupt pin `pin` (1 is INTA#), and with it a writable interrupt line register.
    #[must_use]
    pub fn interrupt_pin(self, pin: u8) -> ConfigurationSpace {
        self.byte(INTERRUPT_PIN, pin, 0).byte(INTERRUPT_LINE, 0, 0xFF)
    }

    /// Reads `size` (1, 2 or 4) bytes, all within the space; zero-extended.
    pub fn read(&self, register: u8, size: u8) -> u32 {
        let bytes = self.bytes.iter().skip(usize::from(register)).take(usize::from(size.min(4)));
        bytes.rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
    }

    /// The guest writes `size` (1, 2 or 4) bytes.
    pub fn write(&mut self, register: u8, size: u8, value: u32) {
        let values = value.to_le_bytes();
        for (at, written) in (usize::from(register)..SIZE).zip(&values[..usize::from(size.min(4))]) {
            let (mask, old) = (self.writable[at], self.bytes[at]);
            self.bytes[at] = (old & !mask | written & mask) & !(written & self.clearable[at]);
        }
    }

    /// Vendor and device.
    pub fn vendor_and_device(&self) -> (u16, u16) {
        (self.read(0x00, 2) as u16, self.read(0x02, 2) as u16)
    }

    /// Class, subclass and programming interface, 24 bits.
    pub fn class(&self) -> u32 {
        self.read(REVISION, 4) >> 8
    }

    /// The command register.
    pub fn command(&self) -> u16 {
        self.read(COMMAND, 2) as u16
    }

    /// Interrupt pin (1 is INTA#) and interrupt line, if the function has an interrupt pin.
    pub fn interrupt(&self) -> Option<(u8, u8)> {
        let (pin, line) = (self.read(INTERRUPT_PIN, 1) as u8, self.read(INTERRUPT_LINE, 1) as u8);
        (pin != 0).then_some((pin, line))
    }

    /// Sets bits of the status register, which the guest clears.
    pub fn set_status(&mut self, bits: u16) {
        for (at, bits) in (usize::from(STATUS)..).zip(bits.to_le_bytes()) {
            self.bytes[at] |= bits & self.clearable[at];
        }
    }

    /// The implemented base address registers.
    pub fn mappings(&self) -> impl Iterator<Item = BarMapping> + '_ {
        (0..).zip(&self.bars).filter_map(|(index, kind)| {
            let kind = (*kind)?;
            let base = self.read(bar_register(index), 4) & kind.writable();
            let enable = if matches!(kind, BarKind::Io { .. }) { COMMAND_IO } else { COMMAND_MEMORY };
            let assigned = base != 0 && base != kind.writable();
            let enabled = self.command() & enable != 0;
            Some(BarMapping { index, kind, base: assigned.then_some(base), enabled })
        })
    }

    /// All bytes, to be saved.
    pub fn contents(&self) -> &[u8] {
        &self.bytes
    }

    /// A copy with saved `contents`.
    ///
    /// # Errors
    ///
    /// [`StateError::Damaged`] for another number of bytes, or for a register that the guest cannot have changed so.
    pub fn with_contents(&self, contents: &[u8]) -> Result<ConfigurationSpace, StateError> {
        let damaged = |reason| StateError::Damaged { kind: super::saved::KIND, reason };
        let bytes = contents.try_into().map_err(|_| {
            damaged(format!("a configuration space of {} bytes; it has {SIZE}", contents.len()))
        })?;
        for (register, saved) in contents.iter().enumerate() {
            let changeable = self.writable[register] | self.clearable[register];
            if (saved ^ self.initial[register]) & !changeable != 0 {
                let [vendor, device] = <[u16; 2]>::from(self.vendor_and_device());
                return Err(damaged(format!(
                    "register {register:#04x} of {vendor:04x}:{device:04x} is {saved:#04x}"
                )));
            }
        }
        Ok(ConfigurationSpace { bytes, ..self.clone() })
    }
}

/// The place of base address register `index`.
pub(super) fn bar_register(index: u8) -> u8 {
    FIRST_BAR + 4 * index
}

#[cfg(test)]
#[path = "space_test.rs"]
mod tests;
