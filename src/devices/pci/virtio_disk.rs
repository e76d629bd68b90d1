//! A disk with the virtio interface, 1AF4:1001: its configuration space.
//!
//! Manual: Virtual I/O Device (VIRTIO) Version 1.2, 4.1.2 and 4.1.4. The function is transitional: ports for legacy
//! drivers, and capabilities that say where modern ones find the structures of [`VirtioRegion`].

use super::bar::BarKind;
use super::function::PciFunction;
use super::space::{
    COMMAND, COMMAND_IO, COMMAND_MASTER, COMMAND_MEMORY, COMMAND_NO_INTERRUPT, ConfigurationSpace,
    PciIdentity,
};
use super::{PciAddress, virtio_disk};
use crate::devices::virtio_disk::{MOST, VirtioRegion};

/// Mass storage, as QEMU has it.
const IDENTITY: PciIdentity =
    PciIdentity { vendor: 0x1AF4, device: 0x1001, revision: 0x00, class: 0x01_00_00 };

/// The device of disk 0; the others follow.
const FIRST_DEVICE: u8 = 3;

/// Status register: there are capabilities.
const STATUS_CAPABILITIES: u16 = 0x0010;
const SUBSYSTEM_VENDOR: u8 = 0x2C;
/// What kind of virtio device it is.
const SUBSYSTEM: u8 = 0x2E;
const BLOCK_DEVICE: u16 = 2;
const CAPABILITIES: u8 = 0x34;

/// Ports of base address register 0.
const PORTS: u32 = 128;
/// The base address register of the modern structures.
const MODERN_BAR: u8 = 1;

/// A capability of the vendor's.
const VENDOR_SPECIFIC: u8 = 0x09;
/// Length of a capability, and of the one for notifications, which has a multiplier.
const LENGTH: u8 = 16;
const LENGTH_WITH_MULTIPLIER: u8 = 20;

/// The type of the capability for a structure.
const fn kind(region: VirtioRegion) -> u8 {
    match region {
        VirtioRegion::Common => 1,
        VirtioRegion::Notification => 2,
        VirtioRegion::InterruptStatus => 3,
        VirtioRegion::Disk => 4,
    }
}

/// Where disk `number` is on the bus.
pub const fn address(number: usize) -> PciAddress {
    PciAddress { device: FIRST_DEVICE + number as u8, function: 0 }
}

/// The number of the disk that is at `at`, if one can be there.
pub fn number_at(at: PciAddress) -> Option<usize> {
    (0..MOST).find(|number| virtio_disk::address(*number) == at)
}

/// The function.
#[derive(Clone, Debug)]
pub struct VirtioDiskFunction(ConfigurationSpace);

impl Default for VirtioDiskFunction {
    fn default() -> VirtioDiskFunction {
        let command = COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_NO_INTERRUPT;
        let space = ConfigurationSpace::new(IDENTITY)
            .word(COMMAND, 0, command)
            .status(STATUS_CAPABILITIES, 0)
            .word(SUBSYSTEM_VENDOR, IDENTITY.vendor, 0)
            .word(SUBSYSTEM, BLOCK_DEVICE, 0)
            .bar(0, BarKind::Io { size: PORTS })
            .bar(MODERN_BAR, BarKind::Memory { size: 4 * VirtioRegion::SIZE, prefetchable: false })
            .interrupt_pin(1)
            .byte(CAPABILITIES, 0x40, 0);
        // The one for notifications, which is longer, is the last.
        let capabilities = (0x40..).step_by(usize::from(LENGTH)).zip(VirtioRegion::ALL);
        VirtioDiskFunction(capabilities.fold(space, |space, (at, region)| capability(space, at, region)))
    }
}

/// Adds the capability for a structure at `at`.
fn capability(space: ConfigurationSpace, at: u8, region: VirtioRegion) -> ConfigurationSpace {
    let is_last = region == VirtioRegion::Notification;
    let (next, length) = if is_last { (0, LENGTH_WITH_MULTIPLIER) } else { (at + LENGTH, LENGTH) };
    // The multiplier is zero: there is one queue.
    space
        .byte(at, VENDOR_SPECIFIC, 0)
        .byte(at + 1, next, 0)
        .byte(at + 2, length, 0)
        .byte(at + 3, kind(region), 0)
        .byte(at + 4, MODERN_BAR, 0)
        .dword(at + 8, region.offset(), 0)
        .dword(at + 12, region.length(), 0)
}

impl PciFunction for VirtioDiskFunction {
    fn space(&self) -> &ConfigurationSpace {
        &self.0
    }

    fn space_mut(&mut self) -> &mut ConfigurationSpace {
        &mut self.0
    }
}
