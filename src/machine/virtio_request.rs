//! A request to a disk with the virtio interface: read from the queue in guest memory, step by step carried out, put
//! back.
//!
//! Manual: Virtual I/O Device (VIRTIO) Version 1.2, 2.7 (split virtqueues) and 5.2.6 (block requests). The crate
//! virtio-queue walks the rings and descriptors. Everything in memory is the guest's: what no device can use is an
//! error with the reason, and the device then stands still until its driver resets it. No request needs more memory
//! than [`PIECE`] and one [`Segment`] for each descriptor.

use std::sync::atomic::{Ordering, fence};

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_ID_BYTES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_FLUSH,
    VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};
use virtio_bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::{Queue, QueueOwnedT, QueueState, QueueT};

use crate::devices::ide::{DiskGeometry, DiskRequest, DiskRequestKind, SECTOR};
use crate::devices::virtio_disk::{QUEUE_SIZE, VirtioQueue};
use crate::memory::GuestMemory;

/// Most bytes that are transferred at once: whole sectors.
pub(super) const PIECE: u32 = 1 << 20;

/// Length of the header of a request.
const HEADER: usize = 16;
/// What identifies the disk to the guest.
const IDENTITY: &[u8] = b"KVM VIRTIO DISK";

/// Why a request cannot be used.
pub(super) type Unusable = &'static str;

const NOT_RAM: Unusable = "is not in RAM";

/// Bytes in guest memory, all of them RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    address: u64,
    length: u32,
}

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    Flush,
    Identify,
    Other,
}

/// A request, as it is in guest memory.
#[derive(Clone, Debug)]
pub(super) struct VirtioRequest {
    head: u16,
    kind: Kind,
    sector: u64,
    /// The data that is read or written.
    data: Vec<Segment>,
    length: u32,
    /// Where the status goes.
    status: u64,
}

/// What the machine does next for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Pass this to the disk.
    Disk(DiskRequest),
    /// Put the request back with this status.
    Finish(u8),
}

/// The status of a request that was carried out.
pub(super) const OK: u8 = VIRTIO_BLK_S_OK as u8;
/// The status of one that was not.
pub(super) const FAILED: u8 = VIRTIO_BLK_S_IOERR as u8;
/// The status of one that the device does not know.
const UNSUPPORTED: u8 = VIRTIO_BLK_S_UNSUPP as u8;

impl VirtioRequest {
    /// The request that `queue` has next; `None` if it is empty.
    ///
    /// # Errors
    ///
    /// The reason why queue or request cannot be used.
    pub(super) fn next(memory: &GuestMemory, queue: &VirtioQueue) -> Result<Option<VirtioRequest>, Unusable> {
        let state = QueueState {
            max_size: QUEUE_SIZE,
            next_avail: queue.next_available,
            next_used: queue.next_used,
            event_idx_enabled: false,
            size: queue.size,
            ready: queue.enabled,
            desc_table: queue.descriptors,
            avail_ring: queue.available,
            used_ring: queue.used,
        };
        let mut walker = Queue::try_from(state).map_err(|_| "has a queue that is not aligned")?;
        if !walker.is_valid(memory.backend()) {
            return Err("has a queue that is not in RAM");
        }
        let mut chains = walker
            .iter(memory.backend())
            .map_err(|_| "has an available ring with more entries than the queue has descriptors")?;
        let Some(chain) = chains.next() else { return Ok(None) };
        let head = chain.head_index();
        let (mut readable, mut writable) = (Vec::new(), Vec::new());
        let mut is_complete = false;
        for descriptor in chain {
            let segment = Segment { address: descriptor.addr().0, length: descriptor.len() };
            if segment.length > 0 && !memory.is_ram(segment.address, segment.length.into()) {
                return Err("has a request with a buffer that is not in RAM");
            }
            let segments = if descriptor.is_write_only() { &mut writable } else { &mut readable };
            segments.push(segment);
            is_complete = !descriptor.has_next();
            if readable.len() + writable.len() > usize::from(QUEUE_SIZE) {
                return Err("has a request with more descriptors than the queue");
            }
        }
        if !is_complete {
            return Err("has a request whose descriptors do not end, or do not exist");
        }
        VirtioRequest::of(memory, head, readable, writable).map(Some)
    }

    /// The request of these buffers.
    fn of(
        memory: &GuestMemory,
        head: u16,
        mut readable: Vec<Segment>,
        mut writable: Vec<Segment>,
    ) -> Result<VirtioRequest, Unusable> {
        let mut header = [0; HEADER];
        if length(&readable) < HEADER as u32 {
            return Err("has a request with an incomplete header");
        }
        gather(memory, &readable, 0, &mut header)?;
        skip(&mut readable, HEADER as u32);
        // The status is the last byte, however the others are divided.
        let Some(last) = writable.iter_mut().rev().find(|segment| segment.length > 0) else {
            return Err("has a request without a place for the status");
        };
        last.length -= 1;
        let status = last.address + u64::from(last.length);
        let [a, b, c, d, _, _, _, _, sector @ ..] = header;
        let (kind, data) = match u32::from_le_bytes([a, b, c, d]) {
            VIRTIO_BLK_T_IN => (Kind::Read, writable),
            VIRTIO_BLK_T_OUT => (Kind::Write, readable),
            VIRTIO_BLK_T_FLUSH => (Kind::Flush, Vec::new()),
            VIRTIO_BLK_T_GET_ID => (Kind::Identify, writable),
            _ => (Kind::Other, Vec::new()),
        };
        let length = length(&data);
        Ok(VirtioRequest { head, kind, sector: u64::from_le_bytes(sector), data, length, status })
    }

    /// The descriptor that it begins at.
    pub(super) fn head(&self) -> u16 {
        self.head
    }

    /// What comes next after `done` bytes of data: of a disk with this geometry, whose writes are durable at once if
    /// `through`.
    ///
    /// # Errors
    ///
    /// The reason why the data cannot be used.
    pub(super) fn step(
        &self,
        memory: &GuestMemory,
        geometry: DiskGeometry,
        through: bool,
        done: u32,
    ) -> Result<Step, Unusable> {
        match self.kind {
            Kind::Other => return Ok(Step::Finish(UNSUPPORTED)),
            Kind::Flush => {
                return Ok(Step::Disk(DiskRequest { lba: 0, sectors: 0, kind: DiskRequestKind::Flush }));
            }
            Kind::Identify => {
                let mut identity = [0; VIRTIO_BLK_ID_BYTES as usize];
                identity[..IDENTITY.len()].copy_from_slice(IDENTITY);
                let room = identity.len().min(self.length as usize);
                scatter(memory, &self.data, 0, &identity[..room])?;
                return Ok(Step::Finish(OK));
            }
            Kind::Write if geometry.read_only => return Ok(Step::Finish(FAILED)),
            Kind::Read | Kind::Write => {}
        }
        let sectors = u64::from(self.length) / SECTOR as u64;
        let end = self.sector.checked_add(sectors);
        if !self.length.is_multiple_of(SECTOR as u32) || end.is_none_or(|end| end > geometry.sectors) {
            return Ok(Step::Finish(FAILED));
        }
        let left = self.length.saturating_sub(done).min(PIECE);
        if left == 0 {
            return Ok(Step::Finish(OK));
        }
        let kind = if self.kind == Kind::Read {
            DiskRequestKind::Read
        } else {
            let mut data = vec![0; left as usize];
            gather(memory, &self.data, done, &mut data)?;
            DiskRequestKind::Write { data, through }
        };
        let lba = self.sector + u64::from(done) / SECTOR as u64;
        Ok(Step::Disk(DiskRequest { lba, sectors: left / SECTOR as u32, kind }))
    }

    /// The disk has carried out the step after `done` bytes, and has read `data`: how many bytes more are done. `None`
    /// if the request is.
    ///
    /// # Errors
    ///
    /// The reason why the data cannot be used.
    pub(super) fn proceed(
        &self,
        memory: &GuestMemory,
        done: u32,
        data: &[u8],
    ) -> Result<Option<u32>, Unusable> {
        let piece = self.length.saturating_sub(done).min(PIECE);
        match self.kind {
            Kind::Read => {
                scatter(memory, &self.data, done, data.get(..piece as usize).unwrap_or(data))?;
                Ok(Some(piece))
            }
            Kind::Write => Ok(Some(piece)),
            _ => Ok(None),
        }
    }

    /// Writes the status and puts the request into the used ring. True if the driver wants an interrupt.
    ///
    /// # Errors
    ///
    /// The reason why the queue cannot be used.
    pub(super) fn finish(
        &self,
        memory: &GuestMemory,
        queue: &VirtioQueue,
        status: u8,
    ) -> Result<bool, Unusable> {
        let not_ram = |_| NOT_RAM;
        memory.write_for_guest(self.status, &[status]).map_err(not_ram)?;
        let written = match self.kind {
            Kind::Read if status == OK => self.length + 1,
            Kind::Identify => self.length.min(VIRTIO_BLK_ID_BYTES) + 1,
            _ => 1,
        };
        let mut element = [0; 8];
        element[..4].copy_from_slice(&u32::from(self.head).to_le_bytes());
        element[4..].copy_from_slice(&written.to_le_bytes());
        // The walker has found the rings in RAM, but the guest's values are checked again by the writes.
        let place = 4 + 8 * u64::from(queue.next_used % queue.size.max(1));
        memory.write_for_guest(queue.used.wrapping_add(place), &element).map_err(not_ram)?;
        // Other processors see the index after the element.
        fence(Ordering::Release);
        let index = queue.next_used.wrapping_add(1);
        memory.write_for_guest(queue.used.wrapping_add(2), &index.to_le_bytes()).map_err(not_ram)?;
        fence(Ordering::SeqCst);
        let mut flags = [0; 2];
        memory.read(queue.available, &mut flags).map_err(not_ram)?;
        Ok(u32::from(u16::from_le_bytes(flags)) & VRING_AVAIL_F_NO_INTERRUPT == 0)
    }
}

/// Bytes of all segments. The walker has found that there are less than 4 GiB.
fn length(segments: &[Segment]) -> u32 {
    segments.iter().fold(0, |sum: u32, segment| sum.saturating_add(segment.length))
}

/// Removes the first `bytes` bytes.
fn skip(segments: &mut Vec<Segment>, mut bytes: u32) {
    for segment in segments.iter_mut() {
        let part = bytes.min(segment.length);
        segment.address += u64::from(part);
        segment.length -= part;
        bytes -= part;
    }
    segments.retain(|segment| segment.length > 0);
}

/// The parts of the segments that hold `length` bytes from byte `from` on: address, and range of those bytes.
fn parts(
    segments: &[Segment],
    from: u32,
    length: usize,
) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let (mut before, mut done) = (from, 0);
    segments.iter().filter_map(move |segment| {
        let skipped = before.min(segment.length);
        before -= skipped;
        let part = ((segment.length - skipped) as usize).min(length - done);
        let range = done..done + part;
        done += part;
        (part > 0).then_some((segment.address + u64::from(skipped), range))
    })
}

/// Reads the bytes of the segments from byte `from` on, as the guest has written them.
fn gather(memory: &GuestMemory, segments: &[Segment], from: u32, bytes: &mut [u8]) -> Result<(), Unusable> {
    let length = bytes.len();
    parts(segments, from, length)
        .try_for_each(|(address, range)| memory.read_original(address, &mut bytes[range]))
        .map_err(|_| NOT_RAM)
}

/// Writes `bytes` to the segments from byte `from` on.
fn scatter(memory: &GuestMemory, segments: &[Segment], from: u32, bytes: &[u8]) -> Result<(), Unusable> {
    parts(segments, from, bytes.len())
        .try_for_each(|(address, range)| memory.write_for_guest(address, &bytes[range]))
        .map_err(|_| NOT_RAM)
}

#[cfg(test)]
#[path = "virtio_request_test.rs"]
mod tests;
