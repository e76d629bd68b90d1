//! One drive of a channel: its registers, its settings, and the transfer that is under way.

use serde::{Deserialize, Serialize};

use super::cdrom::Cdrom;
use super::geometry::Translation;
use super::registers::*;
use super::request::{DiskGeometry, DiskRequest, DiskRequestKind, DiskResult, SECTOR};

/// Most sectors in a block of READ MULTIPLE and WRITE MULTIPLE.
pub(super) const MOST_MULTIPLE: u8 = 16;
/// Most sectors in a request to the disk, and in the drive's buffer: a multiple of all block sizes.
pub(super) const MOST_SECTORS: u32 = 256;

/// What the drive is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Nothing: it accepts commands.
    Idle,
    /// It waits for the disk.
    Busy,
    /// The host reads a block of data.
    DataIn,
    /// The host writes a block of data.
    DataOut,
    /// The bus master transfers data.
    Dma,
    /// The host writes a command packet.
    Packet,
}

/// How the data of a command is transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Protocol {
    Pio,
    Dma,
    /// PIO in blocks of as many bytes as the host takes at once.
    Packet,
    PacketDma,
}

impl Protocol {
    pub(super) fn is_dma(self) -> bool {
        matches!(self, Protocol::Dma | Protocol::PacketDma)
    }

    pub(super) fn is_packet(self) -> bool {
        matches!(self, Protocol::Packet | Protocol::PacketDma)
    }
}

/// What the sectors of a command are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Operation {
    Read,
    Write,
    Verify,
    Flush,
}

/// Whether a request is at the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Outstanding {
    None,
    /// The request of the command that is being executed.
    Current,
    /// A request of a command that a reset has ended: its answer is dropped.
    Abandoned,
}

/// How the registers hold the address of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Addressing {
    Chs,
    Lba28,
    Lba48,
}

/// The transfer of a command. While the drive is idle it means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Transfer {
    pub(super) operation: Operation,
    pub(super) addressing: Addressing,
    /// Sector of the next request.
    pub(super) lba: u64,
    /// Sectors that are neither in the buffer nor done.
    pub(super) remaining: u32,
    /// Sectors in a block, each of which has one interrupt.
    pub(super) block: u8,
    pub(super) protocol: Protocol,
}

impl Transfer {
    const NONE: Transfer = Transfer {
        operation: Operation::Flush,
        addressing: Addressing::Chs,
        lba: 0,
        remaining: 0,
        block: 1,
        protocol: Protocol::Pio,
    };
}

/// SET FEATURES: the code of the DMA mode after power-on, Ultra DMA mode 2, as firmware would have set it.
const FIRST_DMA_MODE: u8 = 0x42;

/// One drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Drive {
    pub(super) geometry: DiskGeometry,
    pub(super) task: TaskFile,
    /// Status: ERR and DF.
    pub(super) failure: u8,
    pub(super) phase: Phase,
    /// The interrupt is pending.
    pub(super) interrupt: bool,
    pub(super) translation: Translation,
    /// Sectors in a block of READ MULTIPLE and WRITE MULTIPLE; 0: these commands are disabled.
    pub(super) multiple: u8,
    pub(super) write_cache: bool,
    pub(super) look_ahead: bool,
    /// A software reset returns the settings to their defaults.
    pub(super) reverts: bool,
    pub(super) standby: bool,
    pub(super) asleep: bool,
    /// Code of the selected DMA mode (8.46, table 47).
    pub(super) dma_mode: u8,
    pub(super) transfer: Transfer,
    /// Data on its way, at most [`MOST_SECTORS`], or a packet.
    pub(super) buffer: Vec<u8>,
    /// Reading: bytes that the host has read.
    pub(super) position: usize,
    /// Where the current block ends.
    pub(super) block_end: usize,
    pub(super) outstanding: Outstanding,
    /// What a CD-ROM drive has besides.
    pub(super) cdrom: Option<Cdrom>,
}

impl Drive {
    /// A drive after power-on.
    pub(super) fn new(geometry: DiskGeometry) -> Drive {
        Drive {
            geometry,
            task: TaskFile::signature(geometry.cdrom),
            failure: 0,
            phase: Phase::Idle,
            interrupt: false,
            translation: Translation::default_of(geometry.sectors),
            multiple: 0,
            write_cache: true,
            look_ahead: true,
            reverts: false,
            standby: false,
            asleep: false,
            dma_mode: FIRST_DMA_MODE,
            transfer: Transfer::NONE,
            buffer: Vec::new(),
            position: 0,
            block_end: 0,
            outstanding: Outstanding::None,
            cdrom: geometry.cdrom.then(Cdrom::default),
        }
    }

    pub(super) fn default_translation(&self) -> Translation {
        Translation::default_of(self.geometry.sectors)
    }

    /// The status register.
    pub(super) fn status(&self) -> u8 {
        match self.phase {
            Phase::Busy => STATUS_BSY,
            Phase::Idle if self.cdrom.as_ref().is_some_and(|cdrom| cdrom.is_reset) => 0,
            Phase::Idle => STATUS_DRDY | STATUS_DSC | self.failure,
            _ => STATUS_DRDY | STATUS_DSC | STATUS_DRQ,
        }
    }

    /// Software reset, or EXECUTE DEVICE DIAGNOSTIC, which keeps the settings.
    pub(super) fn reset(&mut self, keep_settings: bool) {
        let fresh = Drive::new(self.geometry);
        if self.outstanding == Outstanding::Current {
            self.outstanding = Outstanding::Abandoned;
        }
        if self.reverts && !keep_settings {
            *self = Drive { outstanding: self.outstanding, ..fresh };
            return;
        }
        self.end_transfer();
        if let Some(cdrom) = &mut self.cdrom {
            cdrom.is_reset = true;
        }
        (self.task, self.failure) = (fresh.task, 0);
        (self.interrupt, self.standby, self.asleep) = (false, false, false);
    }

    pub(super) fn end_transfer(&mut self) {
        self.phase = Phase::Idle;
        self.buffer = Vec::new();
        (self.position, self.block_end, self.transfer.remaining) = (0, 0, 0);
    }

    /// The command has ended; the host gets an interrupt.
    pub(super) fn finish(&mut self) {
        self.end_transfer();
        self.interrupt = true;
    }

    /// The command has ended with these bits in the error register.
    pub(super) fn fail(&mut self, error: u8) {
        self.finish();
        self.task.error = error;
        self.failure = STATUS_ERR;
    }

    /// The command has ended with these bits in the error register, because of sector `lba`.
    pub(super) fn fail_at(&mut self, error: u8, lba: u64) {
        self.fail(error);
        match self.transfer.addressing {
            Addressing::Chs => self.task.set_chs(self.translation.chs(lba)),
            Addressing::Lba28 => self.task.set_lba28(lba),
            Addressing::Lba48 => self.task.set_lba48(lba),
        }
    }

    /// Starts to transfer data of the drive itself to the host.
    pub(super) fn start_data(&mut self, data: Vec<u8>) {
        self.transfer = Transfer { operation: Operation::Read, ..Transfer::NONE };
        (self.buffer, self.position) = (data, 0);
        self.next_block_in();
    }

    /// Starts a transfer whose sectors exist.
    pub(super) fn start(&mut self, transfer: Transfer) {
        self.transfer = transfer;
        self.standby = false;
        (self.position, self.block_end) = (0, 0);
        match transfer.operation {
            Operation::Write if transfer.protocol.is_dma() => self.next_dma_out(),
            // The host gets no interrupt for the first block.
            Operation::Write => self.next_block_out(),
            _ => self.phase = Phase::Busy,
        }
    }

    /// Data for the host is in the buffer.
    pub(super) fn offer_data(&mut self) {
        if self.transfer.protocol.is_dma() {
            self.phase = Phase::Dma;
        } else {
            self.next_block_in();
        }
    }

    fn next_block_in(&mut self) {
        let block = match (self.transfer.protocol, &self.cdrom) {
            (Protocol::Packet, Some(cdrom)) => usize::from(cdrom.limit),
            _ => usize::from(self.transfer.block) * SECTOR,
        };
        self.block_end = (self.position + block).min(self.buffer.len());
        self.phase = Phase::DataIn;
        self.interrupt = true;
        if self.transfer.protocol == Protocol::Packet {
            self.task.set_packet_data(self.block_end - self.position);
        }
    }

    fn next_block_out(&mut self) {
        let sectors = u32::from(self.transfer.block).min(self.transfer.remaining) as usize;
        self.block_end = self.buffer.len() + sectors * SECTOR;
        self.phase = Phase::DataOut;
    }

    /// The host reads a word of data; true if that ends a block.
    #[inline]
    pub(super) fn read_word(&mut self) -> (u16, bool) {
        let word = match self.buffer.get(self.position..self.block_end) {
            Some(&[low, high, ..]) if self.phase == Phase::DataIn => u16::from_le_bytes([low, high]),
            // An answer to a packet may have an odd length.
            Some(&[low]) if self.phase == Phase::DataIn => u16::from(low),
            _ => return (0, false),
        };
        self.position = (self.position + 2).min(self.block_end);
        let ends = self.position >= self.block_end;
        if ends {
            self.end_block_in();
        }
        (word, ends)
    }

    /// The host reads data `size` bytes at a time. All of the block but the last of them, which ends it, are copied
    /// to the beginning of `into`; returns the number of bytes.
    pub(super) fn read_block(&mut self, size: u8, into: &mut [u8]) -> usize {
        let size = usize::from(size.max(1));
        let Some(data) =
            self.buffer.get(self.position..self.block_end).filter(|_| self.phase == Phase::DataIn)
        else {
            return 0;
        };
        let length = into.len().min(data.len().saturating_sub(size)) / size * size;
        into[..length].copy_from_slice(&data[..length]);
        self.position += length;
        length
    }

    fn end_block_in(&mut self) {
        if self.position < self.buffer.len() {
            self.next_block_in();
        } else if self.transfer.remaining > 0 {
            self.request_more();
        } else if self.transfer.protocol == Protocol::Packet {
            self.finish_packet();
        } else {
            self.end_transfer();
        }
    }

    /// The host has taken what was read, and more is to be read.
    pub(super) fn request_more(&mut self) {
        self.buffer.clear();
        (self.position, self.block_end) = (0, 0);
        self.phase = Phase::Busy;
    }

    /// The host writes a word of data; true if that ends a block.
    #[inline]
    pub(super) fn write_word(&mut self, word: u16) -> bool {
        if !matches!(self.phase, Phase::DataOut | Phase::Packet) {
            return false;
        }
        self.buffer.extend(word.to_le_bytes());
        if self.phase == Phase::Packet {
            return self.packet_word_written();
        }
        let ends = self.buffer.len() >= self.block_end;
        if ends {
            self.end_block_out();
        }
        ends
    }

    fn end_block_out(&mut self) {
        self.transfer.remaining -= u32::from(self.transfer.block).min(self.transfer.remaining);
        if self.transfer.remaining == 0 || self.buffer.len() >= MOST_SECTORS as usize * SECTOR {
            self.phase = Phase::Busy;
        } else {
            self.next_block_out();
            self.interrupt = true;
        }
    }

    /// True if there is a request to take.
    pub(super) fn has_request(&self) -> bool {
        self.phase == Phase::Busy && self.outstanding == Outstanding::None
    }

    /// Takes the request to the disk, if there is one.
    pub(super) fn take_request(&mut self) -> Option<DiskRequest> {
        if !self.has_request() {
            return None;
        }
        self.outstanding = Outstanding::Current;
        let Transfer { operation, lba, .. } = self.transfer;
        Some(match operation {
            Operation::Read | Operation::Verify => {
                DiskRequest { lba, sectors: self.requested(), kind: DiskRequestKind::Read }
            }
            Operation::Write => DiskRequest {
                lba,
                sectors: self.requested(),
                kind: DiskRequestKind::Write { data: self.buffer.clone(), through: !self.write_cache },
            },
            Operation::Flush => DiskRequest { lba: 0, sectors: 0, kind: DiskRequestKind::Flush },
        })
    }

    /// Sectors of the request.
    fn requested(&self) -> u32 {
        match self.transfer.operation {
            Operation::Read | Operation::Verify => self.transfer.remaining.min(MOST_SECTORS),
            Operation::Write => (self.buffer.len() / SECTOR) as u32,
            Operation::Flush => 0,
        }
    }

    /// The machine forgets the requests that it has taken: the drive makes them again.
    pub(super) fn repeat_request(&mut self) {
        self.outstanding = Outstanding::None;
    }

    /// The answer to the request that was taken. An answer to none is dropped.
    pub(super) fn complete(&mut self, result: DiskResult) {
        match std::mem::replace(&mut self.outstanding, Outstanding::None) {
            Outstanding::Current if self.phase == Phase::Busy => {}
            _ => return,
        }
        let requested = self.requested();
        let operation = self.transfer.operation;
        let data = match result {
            Ok(data) if operation != Operation::Read || data.len() == requested as usize * SECTOR => data,
            Ok(_) => return self.fail_request(self.transfer.lba),
            Err(error) => return self.fail_request(error.lba),
        };
        self.transfer.lba += u64::from(requested);
        match operation {
            Operation::Read => {
                self.transfer.remaining -= requested;
                self.buffer = data;
                self.offer_data();
            }
            Operation::Write => {
                self.buffer.clear();
                if self.transfer.remaining == 0 {
                    self.finish();
                } else if self.transfer.protocol.is_dma() {
                    self.next_dma_out();
                } else {
                    self.next_block_out();
                    self.interrupt = true;
                }
            }
            Operation::Verify => {
                self.transfer.remaining -= requested;
                if self.transfer.remaining == 0 {
                    self.finish();
                }
            }
            Operation::Flush => self.finish(),
        }
    }

    /// The disk could not carry the request out. A failed write or flush is a device fault: the standard has no
    /// error for it.
    fn fail_request(&mut self, lba: u64) {
        if self.transfer.protocol.is_packet() {
            return self.check_condition(super::cdrom::UNRECOVERED_READ_ERROR);
        }
        match self.transfer.operation {
            Operation::Read | Operation::Verify => self.fail_at(ERROR_UNC, lba),
            Operation::Write | Operation::Flush => {
                self.fail_at(ERROR_ABRT, lba);
                self.failure = STATUS_ERR | STATUS_DF;
            }
        }
    }
}

/// True for the sizes that blocks have.
pub(super) fn is_multiple(sectors: u8) -> bool {
    sectors.is_power_of_two() && sectors <= MOST_MULTIPLE
}
