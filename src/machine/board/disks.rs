//! The disks of the board: disk `unit` is device `unit % 2` of IDE channel `unit / 2`, and those beyond have the virtio
//! interface.

use super::{Board, DeviceIndex, Effect, downcast, downcast_mut};
use crate::devices::ide::{DiskGeometry, DiskRequest, DiskResult, IdeChannel};
use crate::settings::MOST_DISKS;

impl Board {
    /// Connects a disk as disk `unit`, before the guest runs. [`Self::set_up_pci`] gives those on the PCI bus addresses.
    pub fn attach_disk(&mut self, unit: usize, geometry: DiskGeometry) {
        if let Some(number) = unit.checked_sub(MOST_DISKS) {
            self.attach_virtio_disk(number, geometry);
        }
        if let Some(index) = self.ide.get(unit / 2) {
            let channel = downcast_mut::<IdeChannel>(&mut self.slots[usize::from(*index)]);
            channel.attach((unit / 2) as u8, unit % 2, geometry);
        }
    }

    /// The disk of drive `unit`, if there is such a drive.
    pub fn disk(&self, unit: usize) -> Option<DiskGeometry> {
        if let Some(number) = unit.checked_sub(MOST_DISKS) {
            return self.virtio_disk(number)?.disk();
        }
        let index = self.ide.get(unit / 2)?;
        downcast::<IdeChannel>(&self.slots[usize::from(*index)]).disk(unit % 2)
    }

    /// Takes the next request of a drive, with its unit. [`Effect::disk`] says that there is one.
    pub fn take_disk_request(&mut self) -> Option<(usize, DiskRequest)> {
        let slots = &mut self.slots;
        let mut channels = self.ide.iter().enumerate();
        channels.find_map(|(channel, index)| {
            let ide = downcast_mut::<IdeChannel>(&mut slots[usize::from(*index)]);
            let (device, request) = ide.take_request()?;
            Some((2 * channel + device, request))
        })
    }

    /// The answer to the request of drive `unit`.
    pub fn complete_disk_request(&mut self, unit: usize, result: DiskResult) -> Effect {
        let Some(index) = self.ide.get(unit / 2).copied() else { return Effect::default() };
        let channel = downcast_mut::<IdeChannel>(&mut self.slots[usize::from(index)]);
        let action = channel.complete(unit % 2, result);
        self.effect(DeviceIndex(index), action)
    }
}

#[cfg(test)]
#[path = "ide_transcript_test.rs"]
mod tests;
