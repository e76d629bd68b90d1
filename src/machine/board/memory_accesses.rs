//! Accesses of the guest to addresses that are not RAM: windows of devices in memory.

use super::{Board, DeviceIndex, Effect};

impl Board {
    /// The guest writes `size` (1 to 8) bytes to an address that is not RAM.
    pub fn memory_write(&mut self, address: u64, size: u8, value: u64) -> Effect {
        self.accesses += 1;
        let found = self.decoder.address(address);
        if let Some(port) = found.and_then(|(device, offset)| self.mirrored_port(device, offset, size)) {
            return self.write_mirrored(port, size, value);
        }
        let decoded = found.and_then(|(device, offset)| {
            Some((device, self.slots[usize::from(device)].device.mmio_write(offset, size, value)?))
        });
        let (device, action) = decoded.unwrap_or_else(|| {
            let unassigned = &mut self.slots[usize::from(self.unassigned)].device;
            (self.unassigned, unassigned.mmio_write(address, size, value).unwrap_or_default())
        });
        self.effect(DeviceIndex(device), action)
    }

    /// The guest reads `size` (1 to 8) bytes from an address that is not RAM.
    pub fn memory_read(&mut self, address: u64, size: u8) -> (u64, Effect) {
        self.accesses += 1;
        let found = self.decoder.address(address);
        if let Some(port) = found.and_then(|(device, offset)| self.mirrored_port(device, offset, size)) {
            return self.read_mirrored(port, size);
        }
        let decoded = found.and_then(|(device, offset)| {
            Some((device, self.slots[usize::from(device)].device.mmio_read(offset, size)?))
        });
        let (device, (value, action)) = decoded.unwrap_or_else(|| {
            let unassigned = &mut self.slots[usize::from(self.unassigned)].device;
            (self.unassigned, unassigned.mmio_read(address, size).unwrap_or_default())
        });
        (value, self.effect(DeviceIndex(device), action))
    }
}
