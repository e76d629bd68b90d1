//! The registers of the queue: where it is, and how far both sides are.

use serde::{Deserialize, Serialize};

/// Most descriptors of the queue; a legacy driver has to use all of them.
pub const QUEUE_SIZE: u16 = 128;

/// Page size of the legacy interface, by which the queue's address counts (4.1.5.1.3.1).
const LEGACY_PAGE: u64 = 4096;
/// Size of a descriptor.
const DESCRIPTOR: u64 = 16;

/// The queue as the driver has set it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtioQueue {
    /// Number of descriptors: a power of two, at most [`QUEUE_SIZE`].
    pub size: u16,
    /// It is in use.
    pub enabled: bool,
    /// Guest-physical address of the descriptor table.
    pub descriptors: u64,
    /// Guest-physical address of the available ring, the driver area.
    pub available: u64,
    /// Guest-physical address of the used ring, the device area.
    pub used: u64,
    /// The entry of the available ring with the request that is under way, or with the next one.
    pub next_available: u16,
    /// The next entry of the used ring that the device writes.
    pub next_used: u16,
}

impl Default for VirtioQueue {
    fn default() -> VirtioQueue {
        VirtioQueue {
            size: QUEUE_SIZE,
            enabled: false,
            descriptors: 0,
            available: 0,
            used: 0,
            next_available: 0,
            next_used: 0,
        }
    }
}

impl VirtioQueue {
    /// The queue that a legacy driver puts at page `page`; page 0 ends its use.
    pub(super) fn legacy(page: u32) -> VirtioQueue {
        if page == 0 {
            return VirtioQueue::default();
        }
        let descriptors = u64::from(page) * LEGACY_PAGE;
        let available = descriptors + u64::from(QUEUE_SIZE) * DESCRIPTOR;
        // Flags, index, one entry for each descriptor, and the event index.
        let used = (available + 2 * (3 + u64::from(QUEUE_SIZE))).next_multiple_of(LEGACY_PAGE);
        VirtioQueue { enabled: true, descriptors, available, used, ..VirtioQueue::default() }
    }

    /// The page of a queue, as a legacy driver reads it back.
    pub(super) fn legacy_page(&self) -> u32 {
        if self.enabled { (self.descriptors / LEGACY_PAGE) as u32 } else { 0 }
    }

    /// What is wrong with a saved state.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let fits = self.size.is_power_of_two() && self.size <= QUEUE_SIZE;
        // A driver may write any size and address before it enables the queue.
        (self.enabled && !fits).then_some("the queue has an impossible size")
    }
}

/// `size` (1 to 8) bytes of a structure from `at` on, little-endian; zeros beyond its end.
pub(super) fn bytes(structure: &[u8], at: usize, size: u8) -> u64 {
    let read = structure.iter().skip(at).take(usize::from(size.min(8)));
    read.rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}
