//! The drive's side of transfers by the bus master: what it offers, and what it wants.
//!
//! READ DMA and WRITE DMA (ATA/ATAPI-6, 8.25 and 8.45) and PACKET with its DMA bit. Data goes through the drive's buffer
//! as in PIO; the command ends with one interrupt.

use super::drive::{Drive, MOST_SECTORS, Operation, Phase};
use super::request::SECTOR;

/// Data that a drive wants to transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaDemand {
    /// It goes to memory: the drive is read.
    pub to_memory: bool,
    /// Bytes, at least one.
    pub length: usize,
}

impl Drive {
    /// Waits for the next part of what is to be written.
    pub(super) fn next_dma_out(&mut self) {
        self.buffer.clear();
        self.block_end = self.transfer.remaining.min(MOST_SECTORS) as usize * SECTOR;
        self.phase = Phase::Dma;
    }

    /// What it wants to transfer now.
    pub(super) fn dma_demand(&self) -> Option<DmaDemand> {
        if self.phase != Phase::Dma {
            return None;
        }
        let to_memory = self.transfer.operation == Operation::Read;
        let length = if to_memory {
            self.buffer.len().saturating_sub(self.position)
        } else {
            self.block_end.saturating_sub(self.buffer.len())
        };
        (length > 0).then_some(DmaDemand { to_memory, length })
    }

    /// The next bytes for memory, at most `length`.
    pub(super) fn dma_data(&self, length: usize) -> &[u8] {
        let left = self.buffer.get(self.position..).unwrap_or_default();
        &left[..length.min(left.len())]
    }

    /// The next `length` bytes are in memory.
    pub(super) fn dma_taken(&mut self, length: usize) {
        if self.phase != Phase::Dma || self.transfer.operation != Operation::Read {
            return;
        }
        self.position = (self.position + length).min(self.buffer.len());
        if self.position < self.buffer.len() {
            return;
        }
        if self.transfer.remaining > 0 {
            self.request_more();
        } else if self.transfer.protocol.is_packet() {
            self.finish_packet();
        } else {
            self.finish();
        }
    }

    /// Memory gives `bytes`, of which the drive takes as many as it wants.
    pub(super) fn dma_supplied(&mut self, bytes: &[u8]) {
        let Some(DmaDemand { to_memory: false, length }) = self.dma_demand() else { return };
        self.buffer.extend(&bytes[..length.min(bytes.len())]);
        if self.buffer.len() == self.block_end {
            self.transfer.remaining -= ((self.block_end / SECTOR) as u32).min(self.transfer.remaining);
            self.phase = Phase::Busy;
        }
    }
}
