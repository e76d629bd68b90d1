//! The commands (ATA/ATAPI-6, 8).

use super::drive::{Addressing, Drive, Operation, Protocol, Transfer, is_multiple};
use super::geometry::Translation;
use super::identify::identify;
use super::registers::*;

/// The code of EXECUTE DEVICE DIAGNOSTIC, the only command that both devices execute.
pub(super) const EXECUTE_DEVICE_DIAGNOSTIC: u8 = 0x90;

/// SECTOR COUNT after CHECK POWER MODE: active or idle.
const POWER_ACTIVE: u8 = 0xFF;
const POWER_STANDBY: u8 = 0x00;

impl Drive {
    /// Executes a command. The drive is device `number` of channel `channel`.
    pub(super) fn execute(&mut self, command: u8, number: usize, channel: u8) {
        self.interrupt = false;
        if self.asleep {
            // Only a reset wakes it.
            return;
        }
        (self.failure, self.task.error) = (0, 0);
        if self.cdrom.is_some() {
            return self.execute_packet_device(command, number, channel);
        }
        let multiple = self.multiple;
        let (pio, dma) = (Protocol::Pio, Protocol::Dma);
        match command {
            // RECALIBRATE: nothing moves.
            0x10..=0x1F => self.finish(),
            // READ SECTORS, with and without retries; EXT.
            0x20 | 0x21 => self.access(Operation::Read, false, 1, pio),
            0x24 => self.access(Operation::Read, true, 1, pio),
            // READ MULTIPLE EXT, READ MULTIPLE.
            0x29 if multiple > 0 => self.access(Operation::Read, true, multiple, pio),
            0xC4 if multiple > 0 => self.access(Operation::Read, false, multiple, pio),
            // READ DMA, with and without retries; EXT.
            0xC8 | 0xC9 => self.access(Operation::Read, false, 1, dma),
            0x25 => self.access(Operation::Read, true, 1, dma),
            // WRITE DMA, with and without retries; EXT.
            0xCA | 0xCB => self.access(Operation::Write, false, 1, dma),
            0x35 => self.access(Operation::Write, true, 1, dma),
            // WRITE SECTORS, with and without retries; EXT; WRITE VERIFY.
            0x30 | 0x31 | 0x3C => self.access(Operation::Write, false, 1, pio),
            0x34 => self.access(Operation::Write, true, 1, pio),
            // WRITE MULTIPLE EXT, WRITE MULTIPLE.
            0x39 if multiple > 0 => self.access(Operation::Write, true, multiple, pio),
            0xC5 if multiple > 0 => self.access(Operation::Write, false, multiple, pio),
            // READ VERIFY SECTORS, with and without retries; EXT.
            0x40 | 0x41 => self.access(Operation::Verify, false, 1, pio),
            0x42 => self.access(Operation::Verify, true, 1, pio),
            0x70..=0x7F => self.seek(),
            // INITIALIZE DEVICE PARAMETERS.
            0x91 => self.initialize_parameters(),
            // SET MULTIPLE MODE.
            0xC6 => match self.task.count.now {
                sectors if sectors == 0 || is_multiple(sectors) => {
                    self.multiple = sectors;
                    self.finish();
                }
                _ => self.fail(ERROR_ABRT),
            },
            // FLUSH CACHE, EXT.
            0xE7 | 0xEA => self.flush(),
            // IDENTIFY DEVICE.
            0xEC => self.start_data(identify(self, number, channel)),
            // SET FEATURES.
            0xEF => self.set_features(),
            _ => self.execute_power_command(command),
        }
    }

    /// Executes a command of the power management feature set. Others are aborted: NOP always is.
    pub(super) fn execute_power_command(&mut self, command: u8) {
        match command {
            // STANDBY IMMEDIATE and STANDBY, with their older codes.
            0xE0 | 0x94 | 0xE2 | 0x96 => self.set_standby(true),
            // IDLE IMMEDIATE and IDLE.
            0xE1 | 0x95 | 0xE3 | 0x97 => self.set_standby(false),
            // CHECK POWER MODE.
            0xE5 | 0x98 => {
                self.task.count.now = if self.standby { POWER_STANDBY } else { POWER_ACTIVE };
                self.finish();
            }
            // SLEEP.
            0xE6 | 0x99 => {
                self.finish();
                self.asleep = true;
            }
            _ => self.fail(ERROR_ABRT),
        }
    }

    fn set_standby(&mut self, standby: bool) {
        self.standby = standby;
        self.finish();
    }

    fn flush(&mut self) {
        let addressing = if self.task.is_lba() { Addressing::Lba28 } else { Addressing::Chs };
        let protocol = Protocol::Pio;
        self.start(Transfer {
            operation: Operation::Flush,
            addressing,
            lba: 0,
            remaining: 0,
            block: 1,
            protocol,
        });
    }

    /// The first sector of a command, or the number that is in the registers.
    fn address(&self, addressing: Addressing) -> Option<u64> {
        match addressing {
            Addressing::Chs => self.translation.lba(self.task.chs()),
            Addressing::Lba28 => Some(self.task.lba28()),
            Addressing::Lba48 => Some(self.task.lba48()),
        }
    }

    /// Starts a transfer of the sectors in the registers, in blocks of `block` sectors. An end beyond that of the
    /// disk is an error from the beginning, so that nothing is transferred.
    fn access(&mut self, operation: Operation, extended: bool, block: u8, protocol: Protocol) {
        let addressing = match (extended, self.task.is_lba()) {
            (true, true) => Addressing::Lba48,
            // Commands of 48 bits have no other addresses.
            (true, false) => return self.fail(ERROR_ABRT),
            (false, true) => Addressing::Lba28,
            (false, false) => Addressing::Chs,
        };
        let count = if extended { self.task.count48() } else { self.task.count28() };
        let reach = match addressing {
            Addressing::Chs => self.translation.reach(self.geometry.sectors),
            _ => self.geometry.sectors,
        };
        self.transfer.addressing = addressing;
        let Some(lba) = self.address(addressing) else { return self.fail(ERROR_IDNF) };
        if lba >= reach {
            // The address stays in the registers.
            return self.fail(ERROR_IDNF);
        }
        if reach - lba < u64::from(count) {
            return self.fail_at(ERROR_IDNF, reach);
        }
        if operation == Operation::Write && self.geometry.read_only {
            return self.fail_at(ERROR_WP | ERROR_ABRT, lba);
        }
        self.start(Transfer { operation, addressing, lba, remaining: count, block, protocol });
    }

    fn seek(&mut self) {
        let addressing = if self.task.is_lba() { Addressing::Lba28 } else { Addressing::Chs };
        match self.address(addressing) {
            Some(lba) if lba < self.geometry.sectors => self.finish(),
            _ => self.fail(ERROR_IDNF),
        }
    }

    fn initialize_parameters(&mut self) {
        let (heads, sectors) = ((self.task.device & DEVICE_HEAD) + 1, self.task.count.now);
        if sectors == 0 {
            return self.fail(ERROR_ABRT);
        }
        self.translation = Translation::new(self.geometry.sectors, heads, sectors);
        self.finish();
    }

    pub(super) fn set_features(&mut self) {
        let is_disk = self.cdrom.is_none();
        match self.task.features.now {
            0x02 if is_disk => self.write_cache = true,
            // What the cache holds must be durable then.
            0x82 if is_disk => {
                self.write_cache = false;
                return self.flush();
            }
            0x03 if is_pio_mode(self.task.count.now) => {}
            0x03 if is_dma_mode(self.task.count.now) => self.dma_mode = self.task.count.now,
            0xAA if is_disk => self.look_ahead = true,
            0x55 if is_disk => self.look_ahead = false,
            // Keep the settings over a software reset, or not.
            0x66 => self.reverts = false,
            0xCC => self.reverts = true,
            _ => return self.fail(ERROR_ABRT),
        }
        self.finish();
    }
}

/// True if this is the code (8.46, table 47) of the default transfer mode, or of PIO modes 0 to 4 with flow control.
const fn is_pio_mode(code: u8) -> bool {
    matches!((code >> 3, code & 7), (0, 0..=1) | (1, 0..=4))
}

/// True if this is the code of multiword DMA modes 0 to 2, or of Ultra DMA modes 0 to 2.
pub(super) const fn is_dma_mode(code: u8) -> bool {
    matches!(code, 0x20..=0x22 | 0x40..=0x42)
}
