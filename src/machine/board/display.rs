//! The display adapter as the machine sees it.

use super::{Board, DeviceIndex, Effect, downcast, downcast_mut};
use crate::devices::pci::PciBus;
use crate::devices::table::Role;
use crate::devices::vbe::{BochsVbe, VGA_PORTS};

/// The port of the VGA that is first in the window of the adapter.
const FIRST_VGA_PORT: u16 = 0x3C0;

impl Board {
    /// Adds the adapter with a linear framebuffer, before the guest runs and before the PCI bus is set up.
    pub fn add_display(&mut self) {
        downcast_mut::<BochsVbe>(&mut self.slots[usize::from(self.vbe)]).set_present();
        downcast_mut::<PciBus>(&mut self.slots[usize::from(self.pci)]).add_display();
        self.connect(Role::Framebuffer);
    }

    /// The interface to modes with a linear framebuffer; the machine may not have it.
    pub fn vbe(&self) -> &BochsVbe {
        downcast(&self.slots[usize::from(self.vbe)])
    }

    /// The interface, to be changed by the machine.
    pub fn vbe_mut(&mut self) -> &mut BochsVbe {
        downcast_mut(&mut self.slots[usize::from(self.vbe)])
    }

    /// Where the guest has put video memory, if it is anywhere.
    pub fn video_base(&self) -> Option<u64> {
        self.video_base
    }

    /// The port that an access to `offset` in the window of `device` means.
    #[inline]
    pub(super) fn mirrored_port(&self, device: u8, offset: u64, size: u8) -> Option<u16> {
        if device != self.vbe || !VGA_PORTS.contains(&offset) || size > 2 {
            return None;
        }
        Some(FIRST_VGA_PORT + (offset - VGA_PORTS.start) as u16)
    }

    /// Writes to a port of the VGA through the window.
    #[cold]
    pub(super) fn write_mirrored(&mut self, port: u16, size: u8, value: u64) -> Effect {
        let ports = (port..).zip(value.to_le_bytes()).take(size.into());
        let effect = ports.fold(Effect::default(), |all, (port, byte)| {
            let device = self.decode(port);
            all.and(self.write_byte(device, port, byte))
        });
        Effect { memory: true, ..effect }
    }

    /// Reads from a port of the VGA through the window.
    #[cold]
    pub(super) fn read_mirrored(&mut self, port: u16, size: u8) -> (u64, Effect) {
        let mut bytes = [0; 8];
        let mut all = Effect::default();
        for (port, byte) in (port..).zip(&mut bytes[..usize::from(size.min(8))]) {
            let device = DeviceIndex(self.decoder.port(port));
            let (read, effect) = self.read_byte(device, port);
            *byte = read;
            all = all.and(effect);
        }
        (u64::from_le_bytes(bytes), all)
    }
}
