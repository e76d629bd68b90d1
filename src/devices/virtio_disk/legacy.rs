//! The registers of the legacy interface (4.1.4.8): ports of base address register 0.

use super::queue::VirtioQueue;
use super::{QUEUE_SIZE, VirtioDisk};
use crate::devices::Action;

const DEVICE_FEATURES: u16 = 0x00;
const DRIVER_FEATURES: u16 = 0x04;
const QUEUE_PAGE: u16 = 0x08;
const SIZE: u16 = 0x0C;
const QUEUE_SELECT: u16 = 0x0E;
const NOTIFY: u16 = 0x10;
const STATUS: u16 = 0x12;
const INTERRUPT_STATUS: u16 = 0x13;
/// The configuration of the disk.
const DISK: u16 = 0x14;

impl VirtioDisk {
    /// The registers below the configuration of the disk, as the driver reads them.
    fn registers(&self) -> [u8; DISK as usize] {
        let mut bytes = [0; DISK as usize];
        let mut put = |at: u16, field: &[u8]| bytes[usize::from(at)..][..field.len()].copy_from_slice(field);
        put(DEVICE_FEATURES, &(self.offered() as u32).to_le_bytes());
        put(DRIVER_FEATURES, &(self.features as u32).to_le_bytes());
        put(QUEUE_SELECT, &self.queue_select.to_le_bytes());
        put(STATUS, &[self.status]);
        if self.queue_select == 0 {
            put(QUEUE_PAGE, &self.queue.legacy_page().to_le_bytes());
            put(SIZE, &QUEUE_SIZE.to_le_bytes());
        }
        bytes
    }

    /// The driver reads a byte. Wider reads are several of these.
    pub(super) fn legacy_read(&mut self, offset: u16) -> (u8, Action) {
        match offset {
            INTERRUPT_STATUS => self.read_interrupt_status(),
            0..DISK => (self.registers()[usize::from(offset)], Action::NONE),
            _ => {
                let value = self.configuration().get(usize::from(offset - DISK)).copied();
                (value.unwrap_or(0), Action::NONE)
            }
        }
    }

    /// The driver writes `size` (1, 2 or 4) bytes. Registers other than the status are written as a whole.
    pub(super) fn legacy_write(&mut self, offset: u16, size: u8, value: u32) -> Action {
        match (offset, size) {
            (DRIVER_FEATURES, 4) => self.write_features(0, value),
            (QUEUE_PAGE, 4) if self.queue_select == 0 => {
                // What was taken from the queue is dropped with it.
                (self.queue, self.request) = (VirtioQueue::legacy(value), None);
            }
            (QUEUE_SELECT, 2) => self.queue_select = value as u16,
            (NOTIFY, 2) if value as u16 == 0 => return self.notified(),
            (STATUS, _) => return self.write_status(value as u8),
            _ => {}
        }
        Action::NONE
    }
}
