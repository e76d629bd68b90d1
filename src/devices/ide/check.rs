//! Which states of a drive can be restored.

use super::commands::is_dma_mode;
use super::drive::{Drive, MOST_SECTORS, Operation, Phase, Protocol, Transfer, is_multiple};
use super::packets::PACKET;
use super::registers::*;
use super::request::{DiskGeometry, SECTOR};

impl Drive {
    /// What is wrong with a restored state.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        self.check_settings()?;
        let Transfer { operation, lba, remaining, block, .. } = self.transfer;
        if !self.data_belongs_to_transfer() {
            return Err("the data on its way does not belong to the transfer");
        }
        let received = match (self.phase, operation) {
            (Phase::Busy, Operation::Write) => self.buffer.len() / SECTOR,
            // The block that is being written is among those that remain.
            (Phase::DataOut, _) => (self.block_end / SECTOR).saturating_sub(usize::from(block)),
            _ => 0,
        };
        let end = lba.checked_add(u64::from(remaining) + received as u64);
        if self.phase != Phase::Idle && end.is_none_or(|end| end > self.geometry.sectors) {
            return Err("the transfer goes beyond the end of the disk");
        }
        Ok(())
    }

    fn check_settings(&self) -> Result<(), &'static str> {
        let DiskGeometry { sectors, read_only, cdrom } = self.geometry;
        let Transfer { remaining, block, protocol, .. } = self.transfer;
        self.translation.check()?;
        let most = if cdrom { DiskGeometry::MOST_CD_SECTORS } else { DiskGeometry::MOST_SECTORS };
        if !(1..=most).contains(&sectors) || cdrom && !sectors.is_multiple_of(4) {
            return Err("the disk has an impossible size");
        }
        if cdrom != self.cdrom.is_some() || cdrom && !read_only || protocol.is_packet() && !cdrom {
            return Err("it is both a hard disk and a CD-ROM drive");
        }
        if !is_multiple(self.multiple) && self.multiple != 0 || !is_multiple(block) {
            return Err("the block has an impossible size");
        }
        if self.failure & !(STATUS_ERR | STATUS_DF) != 0 || remaining > 1 << 16 && !protocol.is_packet() {
            return Err("the status is impossible");
        }
        if !is_dma_mode(self.dma_mode) {
            return Err("there is no such DMA mode");
        }
        Ok(())
    }

    fn data_belongs_to_transfer(&self) -> bool {
        let Transfer { operation, remaining, block, protocol, .. } = self.transfer;
        let (length, most) = (self.buffer.len(), MOST_SECTORS as usize * SECTOR);
        let limit = self.cdrom.as_ref().map_or(0, |cdrom| cdrom.limit);
        let whole = length.is_multiple_of(SECTOR);
        let packet = protocol.is_packet();
        let possible = match (self.phase, operation) {
            (Phase::Idle, _) => length == 0,
            (Phase::Busy, Operation::Write) => whole && length > 0,
            (Phase::Busy, Operation::Flush) => length == 0,
            (Phase::Busy, _) => length == 0 && remaining > 0,
            (Phase::DataIn, Operation::Read) => {
                let block = self.block_end.is_multiple_of(if packet { 2 } else { SECTOR });
                !protocol.is_dma()
                    && (whole || packet)
                    && self.position < self.block_end
                    && self.block_end <= length
                    && (block || self.block_end == length)
            }
            (Phase::DataOut, Operation::Write) => {
                let block = usize::from(block).min(remaining as usize) * SECTOR;
                protocol == Protocol::Pio
                    && length < self.block_end
                    && self.block_end - length <= block
                    && self.block_end <= most
                    && self.block_end.is_multiple_of(SECTOR)
            }
            (Phase::Dma, Operation::Read) => protocol.is_dma() && self.position < length && (whole || packet),
            (Phase::Dma, Operation::Write) => {
                protocol == Protocol::Dma
                    && length < self.block_end
                    && self.block_end == remaining.min(MOST_SECTORS) as usize * SECTOR
            }
            (Phase::Packet, Operation::Read) => {
                packet && self.cdrom.is_some() && length < PACKET && remaining == 0 && self.position == 0
            }
            _ => false,
        };
        let is_read = operation == Operation::Read || self.phase == Phase::Idle || self.cdrom.is_none();
        let limited = limit >= 2 && limit.is_multiple_of(2)
            || protocol != Protocol::Packet
            || matches!(self.phase, Phase::Idle | Phase::Packet);
        let even = self.position.is_multiple_of(2) && (length.is_multiple_of(2) || packet);
        possible && is_read && limited && even && length <= most
    }
}
