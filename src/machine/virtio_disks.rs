//! The disks with the virtio interface at work: between the queue in guest memory, the registers of the device and the
//! thread of the image.
//!
//! A disk has one request under way, and of a long one a piece. The device keeps how far it is, so a restored machine
//! reads the request from memory again and goes on.

use tracing::warn;

use super::Machine;
use super::virtio_request::{FAILED, OK, Step, Unusable, VirtioRequest};
use crate::devices::Action;
use crate::devices::ide::DiskResult;
use crate::devices::virtio_disk::{MOST, QUEUE_SIZE, VirtioProgress};
use crate::settings::MOST_DISKS;

impl Machine {
    /// Takes requests from the queues of all disks that have none under way.
    pub(super) fn serve_virtio_disks(&mut self) {
        for number in 0..MOST {
            // Other processors may add requests meanwhile; those that are left are taken at the next access.
            for _ in 0..QUEUE_SIZE {
                if !self.serve_virtio_disk(number) {
                    break;
                }
            }
        }
    }

    /// Takes the next request of disk `number`, or continues one of a restored machine. True if it is finished.
    fn serve_virtio_disk(&mut self, number: usize) -> bool {
        let Some(queue) = self.board.virtio_queue(number) else { return false };
        let begun = self.board.virtio_disk(number).and_then(|disk| disk.request());
        if begun.is_some() && self.disks.virtio[number].is_some() {
            return false;
        }
        match VirtioRequest::next(&self.memory, &queue) {
            Ok(Some(request)) if begun.is_none_or(|begun| begun.head == request.head()) => {
                if begun.is_none() {
                    self.board.change_virtio_disk(number, |disk| {
                        disk.begin(request.head());
                        Action::NONE
                    });
                }
                self.disks.virtio[number] = Some(request);
                self.continue_virtio_request(number)
            }
            Ok(None) if begun.is_none() => false,
            Ok(_) => self.fail_virtio_disk(number, "has changed a request that was under way"),
            Err(reason) => self.fail_virtio_disk(number, reason),
        }
    }

    /// Carries out the next step of the request that is under way. True if it is finished.
    fn continue_virtio_request(&mut self, number: usize) -> bool {
        let disk = self.board.virtio_disk(number);
        let of = disk.and_then(|disk| Some((disk.request()?, disk.disk()?, !disk.may_cache_writes())));
        let (Some((VirtioProgress { done, .. }, geometry, through)), Some(request)) =
            (of, &self.disks.virtio[number])
        else {
            return false;
        };
        match request.step(&self.memory, geometry, through, done) {
            Ok(Step::Disk(request)) => {
                self.disks.submit_for_virtio(MOST_DISKS + number, request);
                false
            }
            Ok(Step::Finish(status)) => self.finish_virtio_request(number, status),
            Err(reason) => self.fail_virtio_disk(number, reason),
        }
    }

    /// The answer of the disk to the step that was under way.
    pub(super) fn complete_virtio_request(&mut self, number: usize, result: DiskResult) {
        let begun = self.board.virtio_disk(number).and_then(|disk| disk.request());
        // The driver may have reset the device meanwhile, or may have forbidden it to access memory.
        let usable = begun.filter(|_| self.board.virtio_queue(number).is_some());
        let (Some(begun), Some(request)) = (usable, &self.disks.virtio[number]) else {
            self.disks.virtio[number] = None;
            return;
        };
        let finished = match result.map(|data| request.proceed(&self.memory, begun.done, &data)) {
            Ok(Ok(Some(bytes))) => {
                self.board.change_virtio_disk(number, |disk| {
                    disk.proceed(bytes);
                    Action::NONE
                });
                self.continue_virtio_request(number)
            }
            Ok(Ok(None)) => self.finish_virtio_request(number, OK),
            Ok(Err(reason)) => self.fail_virtio_disk(number, reason),
            Err(_) => self.finish_virtio_request(number, FAILED),
        };
        if finished {
            self.serve_virtio_disks();
        }
    }

    /// Puts the request that was under way back. True if the disk can go on.
    fn finish_virtio_request(&mut self, number: usize, status: u8) -> bool {
        let (Some(queue), Some(request)) =
            (self.board.virtio_queue(number), self.disks.virtio[number].take())
        else {
            return false;
        };
        match request.finish(&self.memory, &queue, status) {
            Ok(interrupt) => {
                self.board.change_virtio_disk(number, |disk| disk.finish(interrupt));
                true
            }
            Err(reason) => self.fail_virtio_disk(number, reason),
        }
    }

    /// The disk stands still until its driver resets it. Returns false.
    #[cold]
    fn fail_virtio_disk(&mut self, number: usize, reason: Unusable) -> bool {
        let unit = MOST_DISKS + number;
        warn!("disk {unit}: the guest's driver {reason}; the disk stands still until the driver resets it");
        self.disks.virtio[number] = None;
        self.board.change_virtio_disk(number, |disk| disk.fail());
        false
    }
}

#[cfg(test)]
#[path = "virtio_disks_test.rs"]
mod tests;
