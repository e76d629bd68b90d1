//! The PCI bus: its functions, their configuration spaces, and the routing of their interrupts.
//!
//! The guest reaches the configuration spaces by mechanism #1, the ports 0xCF8 to 0xCFF ([`configuration`]).
//! There is one bus, number 0; whatever no function answers reads as all ones, which says that there is no
//! device (PCI Local Bus Specification 3.0, 6.1). The functions are those of the Intel 440FX chipset with a
//! PIIX3: the host bridge ([`host_bridge`]), the ISA bridge ([`isa_bridge`]) and the IDE function ([`ide`]).
//! [`firmware`] does what a BIOS would: it routes interrupts and assigns addresses.

pub mod bar;
pub mod configuration;
pub mod display;
pub mod firmware;
pub mod function;
pub mod host_bridge;
pub mod ide;
pub mod isa_bridge;
pub mod saved;
pub mod space;
pub mod virtio_disk;

use std::fmt::{Display, Formatter};

use display::DisplayFunction;
pub use function::PciFunction;
use host_bridge::HostBridge;
use ide::IdeFunction;
use isa_bridge::{IsaBridge, Pirq};
use virtio_disk::VirtioDiskFunction;

use crate::memory::ShadowControl;

/// The subsystem of QEMU's machines, vendor in the low half: firmware then asks the firmware configuration device.
const MACHINE_SUBSYSTEM: u32 = 0x1100_1AF4;

/// Where a function is on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PciAddress {
    /// Number of the device, 0 to 31.
    pub device: u8,
    /// Number of the function within the device, 0 to 7.
    pub function: u8,
}

impl PciAddress {
    /// The host bridge.
    pub const HOST_BRIDGE: PciAddress = PciAddress { device: 0, function: 0 };
    /// The ISA bridge.
    pub const ISA_BRIDGE: PciAddress = PciAddress { device: 1, function: 0 };
    /// The IDE function.
    pub const IDE: PciAddress = PciAddress { device: 1, function: 1 };
    /// The display adapter, if there is one.
    pub const DISPLAY: PciAddress = PciAddress { device: 2, function: 0 };
}

impl Display for PciAddress {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "00:{:02x}.{}", self.device, self.function)
    }
}

/// The bus with its functions.
#[derive(Debug)]
pub struct PciBus {
    /// The address register of mechanism #1.
    address: u32,
    flat_ide_bars: bool,
    isa_bridge: IsaBridge,
    /// All others, by address.
    functions: Vec<(PciAddress, Box<dyn PciFunction>)>,
}

impl Default for PciBus {
    fn default() -> PciBus {
        PciBus::new(false)
    }
}

impl PciBus {
    /// The bus after power-on. With `flat_ide_bars` the IDE function reports the ports of its channels in its base
    /// address registers ([`IdeFunction::new`]).
    pub fn new(flat_ide_bars: bool) -> PciBus {
        PciBus {
            address: 0,
            flat_ide_bars,
            isa_bridge: IsaBridge::default(),
            functions: vec![
                (PciAddress::HOST_BRIDGE, Box::new(HostBridge::default())),
                (PciAddress::IDE, Box::new(IdeFunction::new(flat_ide_bars))),
            ],
        }
    }

    /// Switches `flat_ide_bars` ([`Self::new`]) on or off, before the guest starts.
    pub fn set_flat_ide_bars(&mut self, on: bool) {
        *self = PciBus::new(on);
    }

    /// Gives the host bridge the subsystem by which firmware recognises the machine, before the guest starts. Firmware then
    /// sets the bus up.
    pub fn identify(&mut self) {
        if let Some(bridge) = self.function_mut(PciAddress::HOST_BRIDGE) {
            *bridge.space_mut() = bridge.space().clone().dword(space::SUBSYSTEM, MACHINE_SUBSYSTEM, 0);
        }
    }

    fn is_identified(&self) -> bool {
        let bridge = self.function(PciAddress::HOST_BRIDGE);
        bridge.is_some_and(|bridge| bridge.space().read(space::SUBSYSTEM, 4) == MACHINE_SUBSYSTEM)
    }

    /// What the host bridge makes of the addresses from 0xC0000 to 1 MiB in a machine with firmware.
    pub fn shadow_control(&self) -> ShadowControl {
        let bridge = self.function(PciAddress::HOST_BRIDGE);
        bridge.map_or_else(ShadowControl::default, |bridge| host_bridge::shadow_control(bridge.space()))
    }

    /// The function at `at`, if there is one.
    pub fn function(&self, at: PciAddress) -> Option<&dyn PciFunction> {
        if at == PciAddress::ISA_BRIDGE {
            return Some(&self.isa_bridge);
        }
        self.functions.iter().find(|(address, _)| *address == at).map(|(_, function)| function.as_ref())
    }

    fn function_mut(&mut self, at: PciAddress) -> Option<&mut dyn PciFunction> {
        if at == PciAddress::ISA_BRIDGE {
            return Some(&mut self.isa_bridge);
        }
        let found = self.functions.iter_mut().find(|(address, _)| *address == at);
        found.map(|(_, function)| function.as_mut() as &mut dyn PciFunction)
    }

    /// True if the IDE function may access memory.
    pub fn ide_is_bus_master(&self) -> bool {
        let function = self.function(PciAddress::IDE);
        function.is_some_and(|function| function.space().command() & space::COMMAND_MASTER != 0)
    }

    /// The IDE function has accessed memory that does not exist.
    pub fn ide_has_aborted(&mut self) {
        if let Some(function) = self.function_mut(PciAddress::IDE) {
            function.space_mut().set_status(space::STATUS_MASTER_ABORT);
        }
    }

    /// All functions with their addresses, in the order of a scan.
    pub fn functions(&self) -> Vec<(PciAddress, &dyn PciFunction)> {
        let mut all: Vec<(PciAddress, &dyn PciFunction)> =
            self.functions.iter().map(|(at, function)| (*at, function.as_ref())).collect();
        all.push((PciAddress::ISA_BRIDGE, &self.isa_bridge));
        all.sort_by_key(|(at, _)| *at);
        all
    }

    /// Adds a function at `at`, where there is none.
    pub(crate) fn add(&mut self, at: PciAddress, function: Box<dyn PciFunction>) {
        self.functions.push((at, function));
    }

    /// Adds the function of disk `number` with the virtio interface, before the guest runs.
    pub fn add_virtio_disk(&mut self, number: usize) {
        let at = virtio_disk::address(number);
        if self.function(at).is_none() {
            self.add(at, Box::new(VirtioDiskFunction::default()));
        }
    }

    /// Adds the display adapter, before the guest runs.
    pub fn add_display(&mut self) {
        if self.function(PciAddress::DISPLAY).is_none() {
            self.add(PciAddress::DISPLAY, Box::new(DisplayFunction::default()));
        }
    }

    /// The numbers of the disks with the virtio interface.
    fn virtio_disks(&self) -> Vec<usize> {
        self.functions.iter().filter_map(|(at, _)| virtio_disk::number_at(*at)).collect()
    }

    /// The ISA interrupt line (0 to 15) that interrupt pin `pin` (1 is INTA#, 4 is INTD#) of the function at `at`
    /// is routed to, as the guest has programmed the ISA bridge; `None` if it is not routed, or for other pins.
    pub fn route(&self, at: PciAddress, pin: u8) -> Option<u8> {
        let pin = pin.checked_sub(1).filter(|pin| *pin < isa_bridge::PINS)?;
        self.isa_bridge.line(Pirq::of(at.device, pin))
    }
}

#[cfg(test)]
#[path = "pci/pci_test.rs"]
mod tests;
