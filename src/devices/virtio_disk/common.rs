//! The common configuration structure (4.1.4.3), by which modern drivers set the device up.
//!
//! Accesses may have any width: a write changes the bytes that it covers of each field.

use super::queue::{self, VirtioQueue};
use super::{QUEUE_SIZE, VirtioDisk};
use crate::devices::Action;

/// Length of the structure in bytes, up to the fields of features that the device does not have.
pub(super) const LENGTH: usize = 56;

const DEVICE_FEATURE_SELECT: usize = 0x00;
const DEVICE_FEATURE: usize = 0x04;
const DRIVER_FEATURE_SELECT: usize = 0x08;
const DRIVER_FEATURE: usize = 0x0C;
const CONFIGURATION_VECTOR: usize = 0x10;
const QUEUES: usize = 0x12;
const STATUS: usize = 0x14;
const QUEUE_SELECT: usize = 0x16;
const SIZE: usize = 0x18;
const VECTOR: usize = 0x1A;
const ENABLE: usize = 0x1C;
const DESCRIPTORS: usize = 0x20;
const AVAILABLE: usize = 0x28;
const USED: usize = 0x30;

/// The fields that the driver writes: offset and length.
const WRITABLE: [(usize, usize); 10] = [
    (DEVICE_FEATURE_SELECT, 4),
    (DRIVER_FEATURE_SELECT, 4),
    (DRIVER_FEATURE, 4),
    (STATUS, 1),
    (QUEUE_SELECT, 2),
    (SIZE, 2),
    (ENABLE, 2),
    (DESCRIPTORS, 8),
    (AVAILABLE, 8),
    (USED, 8),
];

/// No MSI-X vector.
const NO_VECTOR: u16 = 0xFFFF;

/// Half `select` of the feature bits; others are zero.
fn half(features: u64, select: u32) -> u32 {
    match select {
        0 => features as u32,
        1 => (features >> 32) as u32,
        _ => 0,
    }
}

impl VirtioDisk {
    /// The structure as the driver reads it.
    pub(super) fn common(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(DEVICE_FEATURE_SELECT, &self.device_feature_select.to_le_bytes());
        put(DEVICE_FEATURE, &half(self.offered(), self.device_feature_select).to_le_bytes());
        put(DRIVER_FEATURE_SELECT, &self.driver_feature_select.to_le_bytes());
        put(DRIVER_FEATURE, &half(self.features, self.driver_feature_select).to_le_bytes());
        put(CONFIGURATION_VECTOR, &NO_VECTOR.to_le_bytes());
        put(QUEUES, &1u16.to_le_bytes());
        put(STATUS, &[self.status]);
        put(QUEUE_SELECT, &self.queue_select.to_le_bytes());
        put(VECTOR, &NO_VECTOR.to_le_bytes());
        // A queue that does not exist has size 0.
        if self.queue_select == 0 {
            put(SIZE, &self.queue.size.to_le_bytes());
            put(ENABLE, &u16::from(self.queue.enabled).to_le_bytes());
            put(DESCRIPTORS, &self.queue.descriptors.to_le_bytes());
            put(AVAILABLE, &self.queue.available.to_le_bytes());
            put(USED, &self.queue.used.to_le_bytes());
        }
        bytes
    }

    /// The driver writes `size` (1 to 8) bytes from `at` on.
    pub(super) fn write_common(&mut self, at: usize, size: u8, value: u64) -> Action {
        let mut bytes = self.common();
        let written = value.to_le_bytes();
        let end = (at + usize::from(size.min(8))).min(LENGTH);
        let Some(covered) = bytes.get_mut(at..end) else { return Action::NONE };
        covered.copy_from_slice(&written[..covered.len()]);
        let mut action = Action::NONE;
        for (field, length) in WRITABLE {
            if field < end && at < field + length {
                let changed = self.write_field(field, queue::bytes(&bytes, field, length as u8));
                if changed != Action::NONE {
                    action = changed;
                }
            }
        }
        action
    }

    fn write_field(&mut self, field: usize, value: u64) -> Action {
        match field {
            DEVICE_FEATURE_SELECT => self.device_feature_select = value as u32,
            DRIVER_FEATURE_SELECT => self.driver_feature_select = value as u32,
            DRIVER_FEATURE => self.write_features(self.driver_feature_select, value as u32),
            STATUS => return self.write_status(value as u8),
            QUEUE_SELECT => self.queue_select = value as u16,
            _ if self.queue_select == 0 => self.write_queue(field, value),
            _ => {}
        }
        Action::NONE
    }

    /// The driver writes half `select` of the features that it accepts. They stay once the device has agreed, or the
    /// queue is in use.
    pub(super) fn write_features(&mut self, select: u32, value: u32) {
        if self.status & super::FEATURES_OK != 0 || self.queue.enabled {
            return;
        }
        let features = &mut self.features;
        match select {
            0 => *features = *features >> 32 << 32 | u64::from(value),
            1 => *features = *features & 0xFFFF_FFFF | u64::from(value) << 32,
            _ => {}
        }
    }

    /// A queue that is in use cannot be changed.
    fn write_queue(&mut self, field: usize, value: u64) {
        let queue = &mut self.queue;
        if queue.enabled {
            return;
        }
        match field {
            SIZE => {
                let size = value as u16;
                if size.is_power_of_two() && size <= QUEUE_SIZE {
                    queue.size = size;
                }
            }
            ENABLE if value == 1 => *queue = VirtioQueue { enabled: true, ..*queue },
            DESCRIPTORS => queue.descriptors = value,
            AVAILABLE => queue.available = value,
            USED => queue.used = value,
            _ => {}
        }
    }
}
