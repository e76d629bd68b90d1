//! A disk on the PCI bus with the virtio interface, legacy and modern: the registers of a transitional virtio-blk device.
//!
//! Manual: Virtual I/O Device (VIRTIO) Version 1.2, 4.1 (PCI) and 5.2 (block device).
//! [`super::pci::virtio_disk`] is its configuration space. The legacy registers are the ports of base address register
//! 0 (`legacy`); the modern ones are in the memory of base address register 1 ([`VirtioRegion`]).
//!
//! The device has one queue of [`QUEUE_SIZE`] descriptors, which is a split virtqueue with indirect descriptors. It
//! never touches memory: [`Action::disk`] says that there may be something in the queue, and the machine walks it
//! (`src/machine/virtio_disks.rs`). What it takes from the queue and puts back is reported to [`VirtioDisk::begin`],
//! [`VirtioDisk::proceed`] and [`VirtioDisk::finish`], so that a device is saved and restored in the middle of a request.
//!
//! Not implemented: MSI-X, packed queues, used buffer notification suppression by event index, queue reset, multiple
//! queues, discard and write zeroes, and access to the registers through the configuration space.

mod common;
mod configuration;
mod explain;
mod legacy;
mod queue;
#[cfg(test)]
#[path = "virtio_disk/virtio_disk_test.rs"]
mod tests;

use serde::{Deserialize, Serialize};
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX,
};
use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_F_ANY_LAYOUT,
    VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_ring::VIRTIO_RING_F_INDIRECT_DESC;

use super::ide::DiskGeometry;
use super::{Action, Device, OPEN_BUS, Snapshot, StateError};
pub use queue::{QUEUE_SIZE, VirtioQueue};

/// Most disks of this kind in a machine.
pub const MOST: usize = 4;

/// Bits of the device status register.
const DRIVER_OK: u8 = VIRTIO_CONFIG_S_DRIVER_OK as u8;
const FEATURES_OK: u8 = VIRTIO_CONFIG_S_FEATURES_OK as u8;
const NEEDS_RESET: u8 = VIRTIO_CONFIG_S_NEEDS_RESET as u8;

/// Interrupt status: a buffer was used.
const ISR_QUEUE: u8 = 1 << 0;
/// Interrupt status: the configuration, or the device status, has changed.
const ISR_CONFIGURATION: u8 = 1 << 1;

/// The structures in the memory of base address register 1, each in a page of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VirtioRegion {
    /// Common configuration.
    Common,
    /// Interrupt status.
    InterruptStatus,
    /// Configuration of the disk.
    Disk,
    /// Notifications.
    Notification,
}

impl VirtioRegion {
    /// All of them, in the order of their pages.
    pub const ALL: [VirtioRegion; 4] =
        [VirtioRegion::Common, VirtioRegion::InterruptStatus, VirtioRegion::Disk, VirtioRegion::Notification];
    /// Distance between them.
    pub const SIZE: u32 = 0x1000;

    /// Offset from the base address.
    pub const fn offset(self) -> u32 {
        self as u32 * VirtioRegion::SIZE
    }

    /// Length of the structure in bytes.
    pub const fn length(self) -> u32 {
        match self {
            VirtioRegion::Common => common::LENGTH as u32,
            VirtioRegion::InterruptStatus => 1,
            VirtioRegion::Disk => configuration::LENGTH as u32,
            VirtioRegion::Notification => 2,
        }
    }
}

/// How far the machine is with a request that it has taken from the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtioProgress {
    /// The descriptor at which the request begins.
    pub head: u16,
    /// Bytes of its data that are transferred.
    pub done: u32,
}

/// The registers of one disk. By default there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtioDisk {
    geometry: Option<DiskGeometry>,
    status: u8,
    interrupt_status: u8,
    /// Which half of the device's features the driver reads.
    device_feature_select: u32,
    /// Which half of its own features it writes.
    driver_feature_select: u32,
    /// Features that the driver has accepted.
    features: u64,
    queue_select: u16,
    queue: VirtioQueue,
    request: Option<VirtioProgress>,
}

impl VirtioDisk {
    /// Connects a disk, before the guest runs.
    pub fn attach(&mut self, geometry: DiskGeometry) {
        *self = VirtioDisk { geometry: Some(geometry), ..VirtioDisk::default() };
    }

    /// The disk, if there is one.
    pub fn disk(&self) -> Option<DiskGeometry> {
        self.geometry
    }

    /// The queue, if the machine may take requests from it, or continue one.
    pub fn active_queue(&self) -> Option<&VirtioQueue> {
        // Legacy drivers need not have finished (3.1.2).
        let started = self.status & DRIVER_OK != 0 || !self.has_feature(VIRTIO_F_VERSION_1);
        let runs = self.geometry.is_some() && self.status & NEEDS_RESET == 0;
        (started && runs && self.queue.enabled).then_some(&self.queue)
    }

    /// The request that was begun and not finished.
    pub fn request(&self) -> Option<VirtioProgress> {
        self.request
    }

    /// True if writes may stay in a cache until the driver flushes it: it knows how to.
    pub fn may_cache_writes(&self) -> bool {
        self.has_feature(VIRTIO_BLK_F_FLUSH)
    }

    /// The machine has begun the next request of the queue, which starts at descriptor `head`.
    pub fn begin(&mut self, head: u16) {
        self.request = Some(VirtioProgress { head, done: 0 });
    }

    /// `bytes` more of the request's data are transferred.
    pub fn proceed(&mut self, bytes: u32) {
        if let Some(request) = &mut self.request {
            request.done = request.done.saturating_add(bytes);
        }
    }

    /// The machine has put the request into the used ring. The driver wants to know it if `interrupt`.
    pub fn finish(&mut self, interrupt: bool) -> Action {
        self.request = None;
        self.queue.next_available = self.queue.next_available.wrapping_add(1);
        self.queue.next_used = self.queue.next_used.wrapping_add(1);
        if interrupt {
            self.interrupt_status |= ISR_QUEUE;
        }
        Action::line(self.line())
    }

    /// The driver has made something that no device can use: the device stands still until the driver resets it.
    pub fn fail(&mut self) -> Action {
        self.request = None;
        self.status |= NEEDS_RESET;
        if self.status & DRIVER_OK != 0 {
            self.interrupt_status |= ISR_CONFIGURATION;
        }
        Action::line(self.line())
    }

    /// Features of the device.
    fn offered(&self) -> u64 {
        let read_only = self.geometry.is_some_and(|disk| disk.read_only);
        [
            VIRTIO_BLK_F_SEG_MAX,
            VIRTIO_BLK_F_BLK_SIZE,
            VIRTIO_BLK_F_FLUSH,
            VIRTIO_F_ANY_LAYOUT,
            VIRTIO_RING_F_INDIRECT_DESC,
            VIRTIO_F_VERSION_1,
        ]
        .into_iter()
        .chain(read_only.then_some(VIRTIO_BLK_F_RO))
        .fold(0, |features, bit| features | 1 << bit)
    }

    fn has_feature(&self, bit: u32) -> bool {
        self.features >> bit & 1 == 1
    }

    /// The driver writes the device status register.
    fn write_status(&mut self, value: u8) -> Action {
        if value == 0 {
            let geometry = self.geometry;
            *self = VirtioDisk { geometry, ..VirtioDisk::default() };
            return Action::line(false);
        }
        // Only a reset clears bits.
        let mut value = value & !NEEDS_RESET | self.status;
        let acceptable = self.features & !self.offered() == 0 && self.has_feature(VIRTIO_F_VERSION_1);
        if self.status & FEATURES_OK == 0 && !acceptable {
            value &= !FEATURES_OK;
        }
        self.status = value;
        // A driver may have filled the queue before.
        self.notified()
    }

    /// The driver has put something into the queue.
    fn notified(&self) -> Action {
        Action { disk: self.active_queue().is_some(), ..Action::NONE }
    }

    /// Reading the interrupt status clears it.
    fn read_interrupt_status(&mut self) -> (u8, Action) {
        (std::mem::take(&mut self.interrupt_status), Action::line(false))
    }
}

impl Device for VirtioDisk {
    fn explain(&self) -> Vec<String> {
        explain::lines(self)
    }

    fn read(&mut self, offset: u16) -> (u8, Action) {
        if self.geometry.is_none() { (OPEN_BUS, Action::NONE) } else { self.legacy_read(offset) }
    }

    fn write(&mut self, offset: u16, value: u8) -> Action {
        self.write_wide(offset, 1, value.into()).unwrap_or_default()
    }

    fn write_wide(&mut self, offset: u16, size: u8, value: u32) -> Option<Action> {
        self.geometry?;
        Some(self.legacy_write(offset, size, value))
    }

    fn mmio_read(&mut self, offset: u64, size: u8) -> Option<(u64, Action)> {
        self.geometry?;
        let (region, at) = region(offset)?;
        Some(match region {
            VirtioRegion::Common => (queue::bytes(&self.common(), at, size), Action::NONE),
            VirtioRegion::Disk => (queue::bytes(&self.configuration(), at, size), Action::NONE),
            VirtioRegion::InterruptStatus if at == 0 => {
                let (value, action) = self.read_interrupt_status();
                (value.into(), action)
            }
            VirtioRegion::InterruptStatus | VirtioRegion::Notification => (0, Action::NONE),
        })
    }

    fn mmio_write(&mut self, offset: u64, size: u8, value: u64) -> Option<Action> {
        self.geometry?;
        let (region, at) = region(offset)?;
        Some(match region {
            VirtioRegion::Common => self.write_common(at, size, value),
            // The queue has number 0.
            VirtioRegion::Notification if at == 0 && value as u16 == 0 => self.notified(),
            _ => Action::NONE,
        })
    }

    fn line(&self) -> bool {
        self.interrupt_status != 0
    }

    /// While a request is under way: its end interrupts.
    fn may_interrupt(&self) -> bool {
        self.request.is_some() || self.line()
    }

    /// The disk stays.
    fn after_reset(&self) -> VirtioDisk {
        VirtioDisk { geometry: self.geometry, ..VirtioDisk::default() }
    }
}

/// The structure at an offset from base address 1, and the offset in it.
fn region(offset: u64) -> Option<(VirtioRegion, usize)> {
    let region = VirtioRegion::ALL.get(usize::try_from(offset / u64::from(VirtioRegion::SIZE)).ok()?)?;
    Some((*region, (offset % u64::from(VirtioRegion::SIZE)) as usize))
}

impl Snapshot for VirtioDisk {
    const KIND: &'static str = "virtio-disk";
    const VERSION: u16 = 1;
    type State = VirtioDisk;

    fn state(&self) -> VirtioDisk {
        self.clone()
    }

    fn set_state(&mut self, state: VirtioDisk) -> Result<(), StateError> {
        if let Some(reason) = state.fault() {
            return Err(StateError::Damaged { kind: Self::KIND, reason: reason.to_owned() });
        }
        *self = state;
        Ok(())
    }
}

impl VirtioDisk {
    /// What is wrong with a saved state, if it is one that cannot be reached.
    fn fault(&self) -> Option<&'static str> {
        let Some(geometry) = self.geometry else {
            let is_absent = *self == VirtioDisk::default();
            return (!is_absent).then_some("a disk that does not exist has registers");
        };
        if !(1..=DiskGeometry::MOST_SECTORS).contains(&geometry.sectors) {
            return Some("the disk has an impossible size");
        }
        if self.status & FEATURES_OK != 0 && !self.has_feature(VIRTIO_F_VERSION_1) {
            return Some("features were accepted that are none of a modern device");
        }
        if self.interrupt_status & !(ISR_QUEUE | ISR_CONFIGURATION) != 0 {
            return Some("the interrupt status is impossible");
        }
        if self.request.is_some_and(|request| request.head >= QUEUE_SIZE) {
            return Some("a request begins at a descriptor that does not exist");
        }
        if self.request.is_some() && self.active_queue().is_none() {
            return Some("a request is under way though the queue is not in use");
        }
        self.queue.fault()
    }
}
