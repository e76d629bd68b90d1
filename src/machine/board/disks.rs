//! The drives of the board: disk `unit` is device `unit % 2` of IDE channel `unit / 2`.

use super::{Board, DeviceIndex, Effect, downcast, downcast_mut};
use crate::devices::ide::{DiskGeometry, DiskRequest, DiskResult, IdeChannel};

impl Board {
    /// Connects a drive as disk `unit` (0 to 3), before the guest runs.
    pub fn attach_disk(&mut self, unit: usize, geometry: DiskGeometry) {
        if let Some(index) = self.ide.get(unit / 2) {
            let channel = downcast_mut::<IdeChannel>(&mut self.slots[usize::from(*index)]);
            channel.attach((unit / 2) as u8, unit % 2, geometry);
        }
    }

    /// The disk of drive `unit`, if there is such a drive.
    pub fn disk(&self, unit: usize) -> Option<DiskGeometry> {
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
