//! Sends the contents of disks: all pages that may hold data first, then those written meanwhile.

use std::time::{Duration, Instant};

use super::super::frame::{DiskRound, FrameKind, Message};
use super::super::pages::PAGE;
use super::super::progress::size;
use super::{OutgoingMigration, SourceError, SourceGuestError, unexpected};
use crate::memory::PageSet;

/// Rounds of a disk before memory is sent.
const BULK_ROUNDS: u32 = 4;

/// Most bytes of a disk that is sent.
const MOST_BYTES: u64 = 1 << 44;

impl OutgoingMigration<'_> {
    /// Sends the disks while the guest runs, until little is left.
    pub(super) fn copy_disks(&mut self) -> Result<(), SourceError> {
        for disk in self.guest.copied_disks() {
            let unit = disk.unit;
            let bytes = disk.image.with(|image| image.size());
            if bytes > MOST_BYTES {
                return Err(SourceGuestError::DiskTooLarge { unit, size: bytes }.into());
            }
            disk.image.track(true);
            let pages = disk.image.with(|image| image.pages_in_use());
            let pages = pages.map_err(|error| SourceGuestError::Disk { unit, error })?;
            self.progress.note(&format!(
                "       disk {unit}: {} of {} to send",
                size(pages.len() * PAGE as u64),
                size(bytes)
            ));
            self.disks.push((disk.clone(), pages));
        }
        for _ in 0..BULK_ROUNDS {
            let before = self.disk_pages_left();
            if before == 0 {
                break;
            }
            self.send_disks()?;
            self.take_written_disk_pages();
            if self.disk_pages_left() > before / 2 {
                break;
            }
        }
        Ok(())
    }

    /// Adds the pages that the guest has written since they were asked for.
    pub(super) fn take_written_disk_pages(&mut self) {
        for (disk, pages) in &mut self.disks {
            pages.extend(&disk.image.take_written());
        }
    }

    /// Pages of disks that are still to be sent.
    pub(super) fn disk_pages_left(&self) -> u64 {
        self.disks.iter().map(|(_, pages)| pages.len()).sum()
    }

    /// Sends what is left of all disks. Returns the time until it was in the destination's files.
    pub(super) fn send_disks(&mut self) -> Result<Duration, SourceError> {
        let start = Instant::now();
        for index in 0..self.disks.len() {
            let pages = std::mem::take(&mut self.disks[index].1);
            if !pages.is_empty() {
                self.send_disk(index, &pages)?;
            }
        }
        Ok(start.elapsed())
    }

    fn send_disk(&mut self, index: usize, pages: &PageSet) -> Result<(), SourceError> {
        let disk = self.disks[index].0.clone();
        self.disk_rounds += 1;
        let (number, unit) = (self.disk_rounds, disk.unit);
        self.progress.round(number, pages.len());
        self.wire.send(&Message::DiskBegin(DiskRound { number, unit, pages: pages.len() }))?;
        let end = disk.image.with(|image| image.size());
        for address in pages.iter() {
            let read = |page: &mut [u8]| {
                // The last page of a disk may be shorter.
                let (data, rest) = page.split_at_mut((end - address).min(PAGE as u64) as usize);
                rest.fill(0);
                disk.image.with(|image| image.read(address / 512, data))
            };
            let added = self.encoder.add(address / PAGE as u64, read);
            added.map_err(|(_, error)| SourceGuestError::Disk { unit, error })?;
            if self.encoder.is_full() {
                self.send_frame(FrameKind::DiskPages)?;
            }
        }
        self.send_frame(FrameKind::DiskPages)?;
        self.wire.send(&Message::RoundEnd(number))?;
        match self.wire.receive()? {
            Message::RoundDone(done) if done == number => {}
            other => return Err(unexpected(&other, "a RoundDone frame").into()),
        }
        self.figures.disk_pages += pages.len();
        Ok(())
    }
}
