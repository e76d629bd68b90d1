//! PCI configuration mechanism #1 (ports 0xCF8 to 0xCFF) of a machine without PCI devices.
//!
//! No device answers a configuration cycle, so all reads give all ones (PCI Local Bus Specification 3.0,
//! 3.2.2.3.2).

use super::snapshot::Stateless;
use super::{Action, Device};

/// The configuration ports.
#[derive(Clone, Copy, Debug, Default)]
pub struct PciConfiguration;

impl Device for PciConfiguration {
    /// The address register is one 32-bit register: a write of it must not reach the reset control register,
    /// which shares its second byte's port.
    fn write_wide(&mut self, _offset: u16, _size: u8, _value: u32) -> Option<Action> {
        Some(Action::NONE)
    }
}

impl Stateless for PciConfiguration {
    const NAME: &'static str = "pci-configuration";
}
