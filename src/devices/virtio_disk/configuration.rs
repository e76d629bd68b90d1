//! The configuration of the disk (5.2.4), which the driver only reads.

use super::{QUEUE_SIZE, VirtioDisk};
use crate::devices::ide::SECTOR;

/// Length of the structure in bytes, up to the fields for secure erase.
pub(super) const LENGTH: usize = 60;

const CAPACITY: usize = 0;
const SEGMENTS: usize = 12;
const BLOCK_SIZE: usize = 20;

/// Descriptors of a request that are not data: header and status.
const OTHER_DESCRIPTORS: u32 = 2;

impl VirtioDisk {
    pub(super) fn configuration(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let sectors = self.geometry.map_or(0, |disk| disk.sectors);
        bytes[CAPACITY..][..8].copy_from_slice(&sectors.to_le_bytes());
        let segments = u32::from(QUEUE_SIZE) - OTHER_DESCRIPTORS;
        bytes[SEGMENTS..][..4].copy_from_slice(&segments.to_le_bytes());
        bytes[BLOCK_SIZE..][..4].copy_from_slice(&(SECTOR as u32).to_le_bytes());
        bytes
    }
}
