//! The disks of a machine: a thread for each image carries out what the drives request.
//!
//! The run loop passes requests on (`Machine::submit_disk_requests`) and goes on; the answers enter through the input
//! queue ([`Input::Disk`]). So the vCPU thread never waits for a file, and a recording holds what was read. A drive
//! has at most one request under way. What the host has in memory is read at once, without the thread: that never waits
//! for the disk of the host. A drive gets such an answer when the guest next looks at it, and otherwise through the
//! thread, because a guest may count on some time between its command and the interrupt. The first disks are IDE drives, the others have the virtio interface
//! (`virtio_disks`).
//!
//! A migration hands the images over to another process: requests wait from then on, and are made again there.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tracing::{info, warn};

use super::board::Board;
use super::inputs::{Input, Inputs};
use super::journal::JournalEvent;
use super::virtio_request::VirtioRequest;
use super::{Event, Machine, MachineError};
use crate::devices::ide::{DiskError, DiskGeometry, DiskRequest, DiskRequestKind, DiskResult, SECTOR};
use crate::kvm::HostError;
use crate::os::disk_image::DiskImage;
use crate::os::shared_image::SharedImage;
use crate::os::written_clusters::SavedWrites;
use crate::settings::{MOST_DISKS, MOST_VIRTIO_DISKS};

/// Most disks of a machine: those on IDE, then those with the virtio interface.
pub const UNITS: usize = MOST_DISKS + MOST_VIRTIO_DISKS;

/// Most sectors that are read without the thread.
const MOST_AT_ONCE: u32 = 1024;

/// What the thread of a disk is asked to do.
#[derive(Debug)]
enum Work {
    /// Carry out the request with this number.
    Request(u64, DiskRequest),
    /// Deliver the early answer, if the drive did not get it yet.
    Announce,
}

/// The answer to the request with this number that was found at once and that the drive did not get yet.
type EarlyAnswer = Arc<Mutex<Option<(u64, Vec<u8>)>>>;

fn take_early(answer: &EarlyAnswer) -> Option<(u64, Vec<u8>)> {
    answer.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// A disk with its thread.
#[derive(Debug)]
struct Unit {
    geometry: DiskGeometry,
    image: Arc<SharedImage>,
    /// Work for the thread; `None` once the disk is closed.
    work: Option<Sender<Work>>,
    early: EarlyAnswer,
    /// The request that is under way.
    waiting: Option<u64>,
    /// Number of requests that were passed on.
    submitted: u64,
    thread: Option<JoinHandle<()>>,
}

/// The disk that `image` is, as the guest knows it.
pub fn geometry(image: &DiskImage) -> DiskGeometry {
    DiskGeometry { sectors: image.sectors(), read_only: image.is_read_only(), cdrom: image.is_cdrom() }
}

/// Where the machine that disks are connected to comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskOrigin {
    /// It is new: it has no drives yet.
    New,
    /// It was saved with drives.
    Restored,
    /// It was received with drives, and another process may still use the images.
    Received,
}

impl Unit {
    fn give(&self, work: Work) {
        if let Some(queue) = &self.work {
            // The thread lives as long as the queue.
            let _ = queue.send(work);
        }
    }
}

/// All disks of a machine.
#[derive(Debug, Default)]
pub(super) struct Disks {
    units: [Option<Unit>; UNITS],
    /// Number of the last request.
    number: u64,
    /// The request that a call of the BIOS waits for, beside those of the drives.
    for_bios: Option<u64>,
    /// There may be early answers.
    early: bool,
    /// What the disks with the virtio interface are doing.
    pub(super) virtio: [Option<VirtioRequest>; MOST_VIRTIO_DISKS],
}

impl Disks {
    /// Opens a thread for each image.
    fn open(images: [Option<DiskImage>; UNITS], inputs: &Inputs, origin: DiskOrigin) -> io::Result<Disks> {
        let mut disks = Disks::default();
        for (unit, image) in (0..).zip(images) {
            let Some(image) = image else { continue };
            let geometry = geometry(&image);
            let (work, receiver) = channel();
            let early = EarlyAnswer::default();
            let early_of_thread = early.clone();
            let inputs = inputs.clone();
            let image = Arc::new(SharedImage::new(image, origin == DiskOrigin::Received));
            let shared = image.clone();
            let thread = thread::Builder::new()
                .name(format!("disk {unit}"))
                .spawn(move || serve(unit, &shared, &early_of_thread, &receiver, &inputs))?;
            disks.units[usize::from(unit)] = Some(Unit {
                geometry,
                image,
                work: Some(work),
                early,
                waiting: None,
                submitted: 0,
                thread: Some(thread),
            });
        }
        Ok(disks)
    }

    /// Passes on what an IDE drive requests.
    fn submit(&mut self, unit: usize, request: DiskRequest) {
        let number = match self.read_at_once(unit, &request) {
            Some(data) => self.keep_early_answer(unit, data),
            None => self.send(unit, request),
        };
        self.wait_for(unit, number);
    }

    /// Passes on what a disk with the virtio interface requests.
    pub(super) fn submit_for_virtio(&mut self, unit: usize, request: DiskRequest) {
        let number = self.send(unit, request);
        self.wait_for(unit, number);
    }

    /// Passes on what a call of the BIOS waits for.
    pub(super) fn submit_for_bios(&mut self, unit: u8, request: DiskRequest, inputs: &Inputs) {
        let at_once = self.read_at_once(usize::from(unit), &request);
        self.for_bios = Some(match at_once {
            Some(data) => {
                self.number += 1;
                inputs.push_own(Input::Disk { unit, number: self.number, result: Ok(data) });
                self.number
            }
            None => self.send(usize::from(unit), request),
        });
    }

    fn wait_for(&mut self, unit: usize, number: u64) {
        if let Some(Some(disk)) = self.units.get_mut(unit) {
            disk.waiting = Some(number);
        }
    }

    /// Passes a request on to the thread of its disk, and returns its number.
    fn send(&mut self, unit: usize, request: DiskRequest) -> u64 {
        self.number += 1;
        let Some(Some(disk)) = self.units.get_mut(unit) else { return self.number };
        disk.submitted += 1;
        disk.give(Work::Request(self.number, request));
        self.number
    }

    /// The sectors that `request` reads, if the host has them in memory and the thread has nothing to do.
    fn read_at_once(&mut self, unit: usize, request: &DiskRequest) -> Option<Vec<u8>> {
        let disk = self.units.get_mut(unit)?.as_mut()?;
        if !matches!(request.kind, DiskRequestKind::Read) || request.sectors > MOST_AT_ONCE {
            return None;
        }
        let image = disk.image.for_use_at_once(disk.submitted)?;
        disk.submitted += 1;
        let mut data = vec![0; request.sectors as usize * SECTOR];
        image.read_cached(request.lba, &mut data).then_some(data)
    }

    /// Keeps an answer until the guest looks at the drive or the thread delivers it; returns its number.
    fn keep_early_answer(&mut self, unit: usize, data: Vec<u8>) -> u64 {
        self.number += 1;
        if let Some(Some(disk)) = self.units.get_mut(unit) {
            *disk.early.lock().unwrap_or_else(PoisonError::into_inner) = Some((self.number, data));
            disk.give(Work::Announce);
            self.early = true;
        }
        self.number
    }

    /// True if [`Machine::take_early_answers`] may find any.
    #[inline]
    pub(super) fn may_have_early_answer(&self) -> bool {
        self.early
    }

    /// An early answer, with the number of its disk.
    fn take_early_answer(&mut self) -> Option<(u8, u64, Vec<u8>)> {
        let found = (0..).zip(&self.units).find_map(|(unit, disk)| {
            let (number, data) = take_early(&disk.as_ref()?.early)?;
            Some((unit, number, data))
        });
        self.early = found.is_some();
        found
    }

    /// True if a drive waits for this answer, which it gets now.
    fn accepts(&mut self, unit: u8, number: u64) -> bool {
        let disk = self.units.get_mut(usize::from(unit)).and_then(Option::as_mut);
        disk.is_some_and(|disk| disk.waiting.take_if(|waiting| *waiting == number).is_some())
    }

    /// The drives have forgotten their requests: the answers are dropped.
    pub(super) fn forget_requests(&mut self) {
        for unit in self.units.iter_mut().flatten() {
            unit.waiting = None;
            take_early(&unit.early);
        }
        self.for_bios = None;
        self.virtio = Default::default();
    }

    /// Checks that the drives of `board` are those of this machine.
    ///
    /// # Errors
    ///
    /// [`MachineError::Disk`] for the first one that is not.
    pub(super) fn check(&self, board: &Board) -> Result<(), MachineError> {
        for (unit, disk) in self.units.iter().enumerate() {
            let (there, here) = (board.disk(unit), disk.as_ref().map(|disk| disk.geometry));
            if there != here {
                return Err(MachineError::Disk { unit, there, here });
            }
        }
        Ok(())
    }
}

/// What the guest has written is complete when the machine is gone, unless its images were handed over.
impl Drop for Disks {
    fn drop(&mut self) {
        for unit in self.units.iter_mut().flatten() {
            unit.work = None;
            unit.image.close();
            if let Some(thread) = unit.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

/// The thread of a disk.
fn serve(unit: u8, image: &SharedImage, early: &EarlyAnswer, queue: &Receiver<Work>, inputs: &Inputs) {
    for work in queue {
        let (number, request) = match work {
            Work::Request(number, request) => (number, request),
            Work::Announce => {
                if let Some((number, data)) = take_early(early) {
                    inputs.push(Input::Disk { unit, number, result: Ok(data) });
                }
                continue;
            }
        };
        let Some(mut image) = image.for_use() else { return };
        let DiskRequest { lba, sectors, kind } = request;
        let (what, result) = match kind {
            DiskRequestKind::Read => {
                let mut data = vec![0; sectors as usize * SECTOR];
                ("read", image.read(lba, &mut data).map(|()| data))
            }
            DiskRequestKind::Write { data, through } => {
                let written = image.write(lba, &data);
                let flush = |()| if through { image.flush().map_err(|error| (lba, error)) } else { Ok(()) };
                ("written", written.and_then(flush).map(|()| Vec::new()))
            }
            DiskRequestKind::Flush => {
                ("flushed", image.flush().map(|()| Vec::new()).map_err(|error| (lba, error)))
            }
        };
        drop(image);
        let result: DiskResult = result.map_err(|(lba, error)| {
            warn!("disk {unit}: sector {lba} cannot be {what}: {error}; the guest gets an error");
            DiskError { lba }
        });
        inputs.push(Input::Disk { unit, number, result });
    }
}

impl Machine {
    /// Connects the disks: of the first [`MOST_DISKS`], which are IDE drives or a CD, two to each channel, the others to the PCI
    /// bus. A restored machine has drives already; the disks must be theirs. Called before the guest runs.
    ///
    /// # Errors
    ///
    /// [`MachineError::Disk`] if a restored machine had other disks, [`MachineError::DiskThread`].
    pub fn attach_disks(
        &mut self,
        images: [Option<DiskImage>; UNITS],
        origin: DiskOrigin,
    ) -> Result<(), MachineError> {
        let disks = Disks::open(images, &self.inputs, origin).map_err(MachineError::DiskThread)?;
        if origin == DiskOrigin::New {
            for (unit, disk) in disks.units.iter().enumerate() {
                if let Some(disk) = disk {
                    self.board.attach_disk(unit, disk.geometry);
                }
            }
            self.board.set_up_pci();
            self.board.set_boot_order();
        }
        disks.check(&self.board)?;
        for (unit, disk) in disks.units.iter().enumerate() {
            let Some(DiskGeometry { sectors, read_only, cdrom }) = disk.as_ref().map(|disk| disk.geometry)
            else {
                continue;
            };
            let virtio = if unit < MOST_DISKS { "" } else { ", virtio" };
            let kind = match (cdrom, read_only) {
                (true, _) => ", CD",
                (false, true) => ", read only",
                (false, false) => "",
            };
            info!("disk {unit}: {sectors} sectors{kind}{virtio}");
        }
        self.disks = disks;
        self.repeat_disk_requests()?;
        Ok(())
    }

    /// The images of the disks, each with its number.
    pub fn disk_images(&self) -> impl Iterator<Item = (u8, &Arc<SharedImage>)> {
        (0..).zip(&self.disks.units).filter_map(|(number, unit)| Some((number, &unit.as_ref()?.image)))
    }

    /// The disks as the guest knows them, each with its number.
    pub fn disks(&self) -> impl Iterator<Item = (u8, DiskGeometry)> {
        (0..).zip(&self.disks.units).filter_map(|(number, unit)| Some((number, unit.as_ref()?.geometry)))
    }

    /// Waits until the disks have done what was requested of them: their images do not change any more.
    pub fn settle_disks(&self) {
        self.disks.units.iter().flatten().for_each(|disk| disk.image.wait_for(disk.submitted));
    }

    /// Disks that keep what is written in memory have the contents of their images again.
    pub(super) fn forget_disk_writes(&self) {
        self.settle_disks();
        self.disk_images().for_each(|(_, image)| image.restore_writes(&SavedWrites::default()));
    }

    /// Hands the images over to another process ([`SharedImage::hand_over`]). The requests of the drives wait.
    ///
    /// # Errors
    ///
    /// The number of a disk and the host's reason; all images are here then.
    pub fn hand_over_disks(&self, release: bool) -> Result<(), (u8, io::Error)> {
        for (unit, image) in self.disk_images() {
            if let Err(error) = image.hand_over(release) {
                self.take_back_disks();
                return Err((unit, error));
            }
        }
        Ok(())
    }

    /// The guest runs here: its disks go on. Without effect on those that were not handed over.
    pub fn take_back_disks(&self) {
        self.disk_images().for_each(|(_, image)| image.take_back());
    }

    /// True if no disk has anything under way: memory and the registers of the drives change by no answer of one.
    pub fn disks_are_idle(&self) -> bool {
        let units = self.disks.units.iter().flatten();
        let virtio = self.disks.virtio.iter();
        units.map(|unit| unit.waiting).all(|waiting| waiting.is_none())
            && self.disks.for_bios.is_none()
            && virtio.flatten().next().is_none()
    }

    /// Transfers data between drives and memory, and passes the requests of the drives on to the disks.
    #[cold]
    pub(super) fn submit_disk_requests(&mut self) {
        self.board.transfer_by_dma(&self.memory);
        self.board.transfer_firmware_configuration(&self.memory);
        while let Some((unit, request)) = self.board.take_disk_request() {
            self.disks.submit(unit, request);
        }
        self.serve_virtio_disks();
    }

    /// The guest looks at a drive: answers that are here already reach their drives before.
    #[cold]
    pub(super) fn take_early_answers(&mut self) -> Result<(), HostError> {
        while let Some((unit, number, data)) = self.disks.take_early_answer() {
            let result = Ok(data);
            self.note(|| JournalEvent::Input(Input::Disk { unit, number, result: result.clone() }));
            self.complete_disk_request(unit, number, result)?;
        }
        Ok(())
    }

    /// An answer of a disk reaches its drive.
    pub(super) fn complete_disk_request(
        &mut self,
        unit: u8,
        number: u64,
        result: DiskResult,
    ) -> Result<Option<Event>, HostError> {
        if self.disks.for_bios.take_if(|waiting| *waiting == number).is_some() {
            return self.complete_bios_transfer(result);
        }
        if !self.disks.accepts(unit, number) {
            return Ok(None);
        }
        match usize::from(unit).checked_sub(MOST_DISKS) {
            None => {
                let effect = self.board.complete_disk_request(usize::from(unit), result);
                let _ = self.apply(effect)?;
            }
            Some(number) => self.complete_virtio_request(number, result),
        }
        Ok(None)
    }
}

#[cfg(test)]
#[path = "disks_test.rs"]
mod tests;
