//! Registers and bits (ATA/ATAPI-6, 7).

use serde::{Deserialize, Serialize};

pub(super) const DATA: u16 = 0;
/// Error when read, features when written.
pub(super) const ERROR_FEATURES: u16 = 1;
pub(super) const SECTOR_COUNT: u16 = 2;
pub(super) const LBA_LOW: u16 = 3;
pub(super) const LBA_MID: u16 = 4;
pub(super) const LBA_HIGH: u16 = 5;
pub(super) const DEVICE: u16 = 6;
/// Status when read, command when written.
pub(super) const STATUS_COMMAND: u16 = 7;
/// Alternate status when read, device control when written.
pub(super) const CONTROL: u16 = 0x206;

pub(super) const STATUS_BSY: u8 = 0x80;
pub(super) const STATUS_DRDY: u8 = 0x40;
/// Device fault.
pub(super) const STATUS_DF: u8 = 0x20;
/// Seek complete, as before ATA-4.
pub(super) const STATUS_DSC: u8 = 0x10;
pub(super) const STATUS_DRQ: u8 = 0x08;
pub(super) const STATUS_ERR: u8 = 0x01;

/// Uncorrectable data, when reading.
pub(super) const ERROR_UNC: u8 = 0x40;
/// Write protected, when writing.
pub(super) const ERROR_WP: u8 = 0x40;
/// Address not found.
pub(super) const ERROR_IDNF: u8 = 0x10;
/// Command aborted.
pub(super) const ERROR_ABRT: u8 = 0x04;
/// Sector count of a packet device: the interrupt reason. The packet, or the end of the command.
pub(super) const REASON_COMMAND: u8 = 0x01;
/// Interrupt reason: data or status for the host.
pub(super) const REASON_IO: u8 = 0x02;
/// After a reset: device 0 passed, and device 1 passed or is absent.
pub(super) const DIAGNOSTIC_PASSED: u8 = 0x01;

/// Bits 7 and 5 of the device register, which read as written; they are obsolete.
pub(super) const DEVICE_LBA: u8 = 0x40;
pub(super) const DEVICE_1: u8 = 0x10;
pub(super) const DEVICE_HEAD: u8 = 0x0F;

/// Read the previous contents of the registers that are two deep.
pub(super) const CONTROL_HOB: u8 = 0x80;
pub(super) const CONTROL_SRST: u8 = 0x04;
pub(super) const CONTROL_NIEN: u8 = 0x02;

/// A register with its previous content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fifo {
    pub(super) now: u8,
    pub(super) previous: u8,
}

impl Fifo {
    fn write(&mut self, value: u8) {
        *self = Fifo { now: value, previous: self.now };
    }

    fn read(self, previous: bool) -> u8 {
        if previous { self.previous } else { self.now }
    }

    fn holding(value: u8) -> Fifo {
        Fifo { now: value, previous: 0 }
    }
}

/// The command block registers of one device, except those that it computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TaskFile {
    pub(super) features: Fifo,
    pub(super) count: Fifo,
    pub(super) low: Fifo,
    pub(super) mid: Fifo,
    pub(super) high: Fifo,
    pub(super) device: u8,
    pub(super) error: u8,
}

impl TaskFile {
    /// The registers after a reset: the signature of a device with or without the packet feature set (9.12).
    pub(super) fn signature(packet: bool) -> TaskFile {
        let (mid, high) = if packet { (0x14, 0xEB) } else { (0, 0) };
        TaskFile {
            count: Fifo::holding(1),
            low: Fifo::holding(1),
            mid: Fifo::holding(mid),
            high: Fifo::holding(high),
            error: DIAGNOSTIC_PASSED,
            ..TaskFile::default()
        }
    }

    /// PACKET: the most bytes that the host takes at once, in PIO.
    pub(super) fn byte_count(&self) -> u16 {
        u16::from_le_bytes([self.mid.now, self.high.now])
    }

    /// PACKET: the host is to read this many bytes, at most 65,535.
    pub(super) fn set_packet_data(&mut self, bytes: usize) {
        [self.mid.now, self.high.now] = (bytes as u16).to_le_bytes();
        self.count.now = REASON_IO;
    }

    /// The host writes a register other than data and command.
    pub(super) fn write(&mut self, offset: u16, value: u8) {
        match offset {
            ERROR_FEATURES => self.features.write(value),
            SECTOR_COUNT => self.count.write(value),
            LBA_LOW => self.low.write(value),
            LBA_MID => self.mid.write(value),
            LBA_HIGH => self.high.write(value),
            _ => self.device = value,
        }
    }

    /// The host reads a register other than data and status.
    pub(super) fn read(&self, offset: u16, previous: bool) -> u8 {
        match offset {
            ERROR_FEATURES => self.error,
            SECTOR_COUNT => self.count.read(previous),
            LBA_LOW => self.low.read(previous),
            LBA_MID => self.mid.read(previous),
            LBA_HIGH => self.high.read(previous),
            _ => self.device,
        }
    }

    /// The address of 48 bits.
    pub(super) fn lba48(&self) -> u64 {
        let [low, mid, high] = [self.low, self.mid, self.high];
        let bytes = [low.now, mid.now, high.now, low.previous, mid.previous, high.previous, 0, 0];
        u64::from_le_bytes(bytes)
    }

    pub(super) fn set_lba48(&mut self, lba: u64) {
        let [low, mid, high, low_48, mid_48, high_48, ..] = lba.to_le_bytes();
        self.low = Fifo { now: low, previous: low_48 };
        self.mid = Fifo { now: mid, previous: mid_48 };
        self.high = Fifo { now: high, previous: high_48 };
    }

    /// The address of 28 bits.
    pub(super) fn lba28(&self) -> u64 {
        let head = self.device & DEVICE_HEAD;
        u64::from(u32::from_le_bytes([self.low.now, self.mid.now, self.high.now, head]))
    }

    pub(super) fn set_lba28(&mut self, lba: u64) {
        let [low, mid, high, head, ..] = lba.to_le_bytes();
        (self.low.now, self.mid.now, self.high.now) = (low, mid, high);
        self.device = self.device & !DEVICE_HEAD | head & DEVICE_HEAD;
    }

    pub(super) fn is_lba(&self) -> bool {
        self.device & DEVICE_LBA != 0
    }

    /// Cylinder, head, sector.
    pub(super) fn chs(&self) -> (u16, u8, u8) {
        let cylinder = u16::from_le_bytes([self.mid.now, self.high.now]);
        (cylinder, self.device & DEVICE_HEAD, self.low.now)
    }

    pub(super) fn set_chs(&mut self, (cylinder, head, sector): (u16, u8, u8)) {
        [self.mid.now, self.high.now] = cylinder.to_le_bytes();
        self.low.now = sector;
        self.device = self.device & !DEVICE_HEAD | head & DEVICE_HEAD;
    }

    /// Sectors of a command of 28 bits, 1 to 256.
    pub(super) fn count28(&self) -> u32 {
        if self.count.now == 0 { 256 } else { u32::from(self.count.now) }
    }

    /// Sectors of a command of 48 bits, 1 to 65,536.
    pub(super) fn count48(&self) -> u32 {
        let count = u16::from_le_bytes([self.count.now, self.count.previous]);
        if count == 0 { 1 << 16 } else { u32::from(count) }
    }
}
