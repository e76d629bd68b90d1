//! Configuration mechanism #1: the ports 0xCF8 to 0xCFF.
//!
//! The address register at 0xCF8 is one of 32 bits and answers accesses of 32 bits alone; all others pass through to
//! the ports below it, of which 0xCF9 is the reset control register. An access to the data ports 0xCFC to 0xCFF of
//! any width becomes a configuration cycle with the bytes that it covers, if bit 31 of the address register is set;
//! otherwise it is an access to ports where nothing is.
//!
//! Manual: PCI Local Bus Specification 3.0, 3.2.2.3.2; Intel 82441FX, 3.1.

use super::super::{Action, Device, OPEN_BUS};
use super::{PciAddress, PciBus};

/// The port of the address register.
pub const ADDRESS_PORT: u16 = 0xCF8;

/// Offset of the data ports from the address register.
const DATA: u16 = 4;
/// Address register: configuration cycles are enabled.
const ENABLE: u32 = 0x8000_0000;
/// Address register: the bits that are not reserved.
pub(super) const ADDRESS_MASK: u32 = 0x80FF_FFFC;

impl PciBus {
    /// The function and the register in it that byte `byte` (0 to 3) of the data ports stands for; `None` for the
    /// function if none answers, and altogether if configuration cycles are disabled.
    fn selected(&self, byte: u8) -> Option<(PciAddress, u8)> {
        let [register, function, bus, _] = self.address.to_le_bytes();
        let enabled = self.address & ENABLE != 0 && bus == 0;
        let at = PciAddress { device: function >> 3, function: function & 7 };
        enabled.then_some((at, register | byte))
    }

    fn read_data(&mut self, byte: u8, size: u8) -> u32 {
        let selected = self.selected(byte);
        let value = selected.and_then(|(at, register)| Some(self.function_mut(at)?.read(register, size)));
        value.unwrap_or(u32::MAX)
    }

    fn write_data(&mut self, byte: u8, size: u8, value: u32) -> Action {
        let selected = self.selected(byte);
        let action =
            selected.and_then(|(at, register)| Some(self.function_mut(at)?.write(register, size, value)));
        action.map_or(Action::NONE, |action| Action {
            configuration: true,
            // A disk may have become a bus master.
            disk: true,
            ..action
        })
    }
}

/// The first byte of the data ports that an access covers; `None` if it covers others, too.
fn data_byte(offset: u16, size: u8) -> Option<u8> {
    let byte = offset.checked_sub(DATA)?;
    (byte + u16::from(size) <= 4).then_some(byte as u8)
}

impl Device for PciBus {
    fn read(&mut self, offset: u16) -> (u8, Action) {
        let value = data_byte(offset, 1).map_or(OPEN_BUS, |byte| self.read_data(byte, 1) as u8);
        (value, Action::NONE)
    }

    fn write(&mut self, offset: u16, value: u8) -> Action {
        data_byte(offset, 1).map_or(Action::NONE, |byte| self.write_data(byte, 1, value.into()))
    }

    fn read_wide(&mut self, offset: u16, size: u8) -> Option<(u32, Action)> {
        if (offset, size) == (0, 4) {
            return Some((self.address, Action::NONE));
        }
        Some((self.read_data(data_byte(offset, size)?, size), Action::NONE))
    }

    fn write_wide(&mut self, offset: u16, size: u8, value: u32) -> Option<Action> {
        match (offset, size) {
            (0, 4) => {
                self.address = value & ADDRESS_MASK;
                Some(Action::NONE)
            }
            // Half an address must not reach the reset control register, which shares its second byte's port.
            (0, _) => Some(Action::NONE),
            _ => Some(self.write_data(data_byte(offset, size)?, size, value)),
        }
    }

    fn after_reset(&self) -> PciBus {
        let mut bus = PciBus::new(self.flat_ide_bars);
        self.virtio_disks().into_iter().for_each(|number| bus.add_virtio_disk(number));
        if self.is_identified() {
            bus.identify();
        }
        bus
    }
}

#[cfg(test)]
#[path = "configuration_test.rs"]
mod tests;
