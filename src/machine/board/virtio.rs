//! The disks with the virtio interface, as the machine sees them.

use super::{Board, DeviceIndex, Effect, downcast, downcast_mut};
use crate::devices::Action;
use crate::devices::ide::DiskGeometry;
use crate::devices::pci::space::COMMAND_MASTER;
use crate::devices::pci::{PciBus, virtio_disk};
use crate::devices::virtio_disk::{VirtioDisk, VirtioQueue};

impl Board {
    /// Connects disk `number`, before the guest runs.
    pub(super) fn attach_virtio_disk(&mut self, number: usize, geometry: DiskGeometry) {
        if let Some(index) = self.virtio.get(number) {
            downcast_mut::<VirtioDisk>(&mut self.slots[usize::from(*index)]).attach(geometry);
            downcast_mut::<PciBus>(&mut self.slots[usize::from(self.pci)]).add_virtio_disk(number);
        }
    }

    /// The registers of disk `number`; the disk itself may not exist.
    pub fn virtio_disk(&self, number: usize) -> Option<&VirtioDisk> {
        Some(downcast(&self.slots[usize::from(*self.virtio.get(number)?)]))
    }

    /// The queue of disk `number`, if the machine may access it now: the driver has set it up, and the function may
    /// be a bus master.
    pub fn virtio_queue(&self, number: usize) -> Option<VirtioQueue> {
        let queue = self.virtio_disk(number)?.active_queue()?;
        let function = self.pci().function(virtio_disk::address(number))?;
        (function.space().command() & COMMAND_MASTER != 0).then_some(*queue)
    }

    /// The machine changes the state of disk `number`, which may interrupt.
    pub fn change_virtio_disk(&mut self, number: usize, change: impl FnOnce(&mut VirtioDisk) -> Action) {
        let Some(index) = self.virtio.get(number).copied() else { return };
        let action = change(downcast_mut::<VirtioDisk>(&mut self.slots[usize::from(index)]));
        // It does nothing but change the line.
        let Effect { .. } = self.effect(DeviceIndex(index), action);
    }
}
