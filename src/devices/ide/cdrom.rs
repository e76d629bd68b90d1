//! A CD-ROM drive: a packet device (ATA/ATAPI-6, 8.23 and 9.9) with the commands of [`super::packets`].

use serde::{Deserialize, Serialize};

use super::drive::{Drive, Operation, Phase, Protocol, Transfer};
use super::identify::identify_packet_device;
use super::registers::*;

/// The code of DEVICE RESET, which a packet device executes at any time.
pub(super) const DEVICE_RESET: u8 = 0x08;

/// Features of PACKET: data is transferred by DMA.
const FEATURE_DMA: u8 = 0x01;
/// Features of PACKET: commands may overlap, which the drive does not support.
const FEATURE_OVERLAP: u8 = 0x02;

/// Why a packet's command has failed: sense key, additional sense code and its qualifier (SPC-2, 7.20.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sense {
    pub(super) key: u8,
    pub(super) code: u8,
    pub(super) qualifier: u8,
}

const fn sense(key: u8, code: u8, qualifier: u8) -> Sense {
    Sense { key, code, qualifier }
}

pub(super) const NO_MEDIUM: Sense = sense(2, 0x3A, 0);
pub(super) const UNRECOVERED_READ_ERROR: Sense = sense(3, 0x11, 0);
pub(super) const UNKNOWN_COMMAND: Sense = sense(5, 0x20, 0);
pub(super) const OUT_OF_RANGE: Sense = sense(5, 0x21, 0);
pub(super) const INVALID_FIELD: Sense = sense(5, 0x24, 0);
pub(super) const SAVING_NOT_SUPPORTED: Sense = sense(5, 0x39, 0);
pub(super) const REMOVAL_PREVENTED: Sense = sense(5, 0x53, 2);
pub(super) const MEDIUM_MAY_HAVE_CHANGED: Sense = sense(6, 0x28, 0);

/// What a CD-ROM drive has besides what all drives have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cdrom {
    /// It has executed no command since it was reset: its status reads as zero.
    pub(super) is_reset: bool,
    /// Most bytes in a block of data, even.
    pub(super) limit: u16,
    /// Of the last command that has failed.
    pub(super) sense: Sense,
    /// The tray is closed.
    pub(super) loaded: bool,
    /// The tray was opened and closed, and the host has not been told so.
    pub(super) changed: bool,
    /// The host prevents the removal of the CD.
    pub(super) locked: bool,
}

impl Default for Cdrom {
    fn default() -> Cdrom {
        Cdrom {
            is_reset: true,
            limit: 0,
            sense: Sense::default(),
            loaded: true,
            changed: false,
            locked: false,
        }
    }
}

impl Drive {
    /// Executes a command as a packet device.
    pub(super) fn execute_packet_device(&mut self, command: u8, number: usize, channel: u8) {
        if let Some(cdrom) = &mut self.cdrom {
            cdrom.is_reset = false;
        }
        match command {
            DEVICE_RESET => self.reset_device(),
            0xA0 => self.receive_packet(),
            0xA1 => self.start_data(identify_packet_device(self, number, channel)),
            // READ SECTORS and IDENTIFY DEVICE: an old host finds out what device this is.
            0x20 | 0xEC => {
                self.fail(ERROR_ABRT);
                let TaskFile { count, low, mid, high, .. } = TaskFile::signature(true);
                self.task = TaskFile { count, low, mid, high, ..self.task };
            }
            0xEF => self.set_features(),
            _ => self.execute_power_command(command),
        }
    }

    /// DEVICE RESET: as a software reset, but the device stays selected.
    pub(super) fn reset_device(&mut self) {
        let device = self.task.device & DEVICE_1;
        self.reset(true);
        self.task.device = device;
    }

    fn receive_packet(&mut self) {
        let (features, limit) = (self.task.features.now, self.task.byte_count());
        if features & FEATURE_OVERLAP != 0 {
            return self.fail(ERROR_ABRT);
        }
        let protocol = if features & FEATURE_DMA != 0 { Protocol::PacketDma } else { Protocol::Packet };
        self.end_transfer();
        self.transfer = Transfer { operation: Operation::Read, protocol, lba: 0, block: 1, ..self.transfer };
        if let Some(cdrom) = &mut self.cdrom {
            cdrom.limit = limit & !1;
        }
        self.task.count.now = REASON_COMMAND;
        self.phase = Phase::Packet;
    }

    /// The command of a packet has ended.
    pub(super) fn finish_packet(&mut self) {
        self.finish();
        self.task.count.now = REASON_COMMAND | REASON_IO;
    }

    /// The command of a packet has failed.
    pub(super) fn check_condition(&mut self, sense: Sense) {
        self.finish_packet();
        (self.task.error, self.failure) = (sense.key << 4, STATUS_ERR);
        if let Some(cdrom) = &mut self.cdrom {
            cdrom.sense = sense;
        }
    }

    /// False if the host takes no data in PIO; the command is aborted then.
    pub(super) fn host_takes_data(&mut self) -> bool {
        let limit = self.cdrom.as_ref().map_or(0, |cdrom| cdrom.limit);
        let takes = self.transfer.protocol.is_dma() || limit > 0;
        if !takes {
            self.finish_packet();
            (self.task.error, self.failure) = (ERROR_ABRT, STATUS_ERR);
        }
        takes
    }

    /// The answer to a packet, of which the host wants `most` bytes at most.
    pub(super) fn reply(&mut self, mut data: Vec<u8>, most: usize) {
        data.truncate(most);
        if data.is_empty() {
            return self.finish_packet();
        }
        if !self.host_takes_data() {
            return;
        }
        if self.transfer.protocol.is_dma() && !data.len().is_multiple_of(2) {
            // Words are transferred.
            data.push(0);
        }
        (self.buffer, self.position, self.transfer.remaining) = (data, 0, 0);
        self.offer_data();
    }
}
