//! An IDE channel with up to two drives: ATA hard disks and ATAPI CD-ROM drives.
//!
//! ATA/ATAPI-6 (T13/1410D). Offsets are those of the command block registers from the channel's base; the device
//! control register is at 0x206. Implemented are transfers by PIO and by DMA with addresses of 28 and 48 bits and of
//! cylinders, heads and sectors, the packet feature set of a CD-ROM drive (`ide/packets.rs`), the power management
//! feature set, the write cache, and software reset. Overlapped and queued commands, SMART, security, host protected
//! areas and the buffer commands are not. The bus master is a device of its own ([`bus_master`]). The machine differs
//! from the standard and from real drives in these points:
//!
//! - A drive never touches a file. It requests sectors ([`Action::disk`], [`IdeChannel::take_request`]), is busy, and
//!   gets them by [`IdeChannel::complete`]. It requests up to 256 sectors of a command at once, and buffers no more.
//! - It never touches memory: the machine copies what it demands ([`IdeChannel::dma_demand`]). Transfer modes make no
//!   difference.
//! - Everything else takes no time, a reset included.
//! - A command whose sectors do not all exist transfers none, and reports the first one that does not.
//! - Commands and registers that are written to a device that is busy or transfers data are ignored, as is a byte
//!   access of the data register, which is 16 or 32 bits wide.
//! - While only device 1 exists, device 0 reads as zero, as do all registers of a channel without drives.
//! - At power-on READ MULTIPLE and WRITE MULTIPLE are disabled, and software reset keeps the settings.

pub mod bus_master;
mod cdrom;
mod check;
mod commands;
mod dma;
mod drive;
mod explain;
mod geometry;
mod identify;
mod packets;
mod registers;
mod request;

use serde::{Deserialize, Serialize};

pub use dma::DmaDemand;
pub use request::{DiskError, DiskGeometry, DiskRequest, DiskRequestKind, DiskResult, SECTOR};

use super::{Action, Device, OPEN_BUS, Payload, Snapshot, StateError};
use cdrom::DEVICE_RESET;
use commands::EXECUTE_DEVICE_DIAGNOSTIC;
use drive::{Drive, Phase};
use registers::*;

/// First command block port of the primary and the secondary channel.
pub const BASE_PORTS: [u16; 2] = [0x1F0, 0x170];

/// One channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdeChannel {
    /// 0 for the primary channel, 1 for the secondary one.
    channel: u8,
    drives: [Option<Drive>; 2],
    /// The device that is selected.
    selected: u8,
    /// Device control as it was written.
    control: u8,
}

impl IdeChannel {
    /// Connects a drive as device `device` (0 or 1) of channel `channel` (0 or 1), before the guest runs.
    pub fn attach(&mut self, channel: u8, device: usize, geometry: DiskGeometry) {
        self.channel = channel & 1;
        self.drives[device & 1] = Some(Drive::new(geometry));
    }

    /// The disk of device `device` (0 or 1); `None` if there is no such drive.
    pub fn disk(&self, device: usize) -> Option<DiskGeometry> {
        Some(self.drives.get(device)?.as_ref()?.geometry)
    }

    /// Takes the next request of a drive, and which device it is of. [`Action::disk`] says that there is one.
    pub fn take_request(&mut self) -> Option<(usize, DiskRequest)> {
        let mut drives = self.drives.iter_mut().enumerate();
        drives.find_map(|(device, drive)| Some((device, drive.as_mut()?.take_request()?)))
    }

    /// The answer to the request of device `device`.
    pub fn complete(&mut self, device: usize, result: DiskResult) -> Action {
        if let Some(Some(drive)) = self.drives.get_mut(device) {
            drive.complete(result);
        }
        self.action()
    }

    /// What a drive wants to transfer by the bus master, and which device it is.
    pub fn dma_demand(&self) -> Option<(usize, DmaDemand)> {
        let mut drives = self.drives.iter().enumerate();
        drives.find_map(|(device, drive)| Some((device, drive.as_ref()?.dma_demand()?)))
    }

    /// The next bytes of device `device` for memory, at most `length`.
    pub fn dma_data(&self, device: usize, length: usize) -> &[u8] {
        let drive = self.drives.get(device).and_then(Option::as_ref);
        drive.map_or(&[], |drive| drive.dma_data(length))
    }

    /// `length` bytes of [`Self::dma_data`] are in memory.
    pub fn dma_taken(&mut self, device: usize, length: usize) -> Action {
        if let Some(Some(drive)) = self.drives.get_mut(device) {
            drive.dma_taken(length);
        }
        self.action()
    }

    /// Memory gives `bytes` to device `device`, no more than it demands.
    pub fn dma_supplied(&mut self, device: usize, bytes: &[u8]) -> Action {
        if let Some(Some(drive)) = self.drives.get_mut(device) {
            drive.dma_supplied(bytes);
        }
        self.action()
    }

    fn selected(&self) -> Option<&Drive> {
        self.drives[usize::from(self.selected)].as_ref()
    }

    fn selected_mut(&mut self) -> Option<&mut Drive> {
        self.drives[usize::from(self.selected)].as_mut()
    }

    /// The drive whose registers the host reads: a disk that is device 0 also answers for a device 1 that does not exist
    /// (9.16.1). A CD-ROM drive answers with zeros: software that looks for its signature would find it twice.
    fn answering(&self) -> Option<&Drive> {
        let for_absent = |drive: &&Drive| self.selected == 1 && drive.cdrom.is_none();
        self.selected().or(self.drives[0].as_ref().filter(for_absent))
    }

    fn is_in_reset(&self) -> bool {
        self.control & CONTROL_SRST != 0
    }

    /// True if the selected device accepts no registers.
    fn is_occupied(&self) -> bool {
        self.is_in_reset() || self.selected().is_some_and(|drive| drive.phase != Phase::Idle)
    }

    fn action(&self) -> Action {
        let wants = |drive: &Drive| drive.has_request() || drive.dma_demand().is_some();
        let disk = self.drives.iter().flatten().any(wants);
        Action { disk, ..Action::line(self.line()) }
    }

    fn status(&self) -> u8 {
        match self.selected() {
            Some(_) if self.is_in_reset() => STATUS_BSY,
            Some(drive) => drive.status(),
            None => 0,
        }
    }

    fn read_register(&self, offset: u16) -> u8 {
        let previous = self.control & CONTROL_HOB != 0;
        self.answering().map_or(0, |drive| drive.task.read(offset, previous))
    }

    fn write_register(&mut self, offset: u16, value: u8) -> Action {
        // A write of any command block register ends the reading of previous contents.
        self.control &= !CONTROL_HOB;
        if self.is_occupied() {
            return Action::NONE;
        }
        for drive in self.drives.iter_mut().flatten().filter(|drive| drive.phase == Phase::Idle) {
            drive.task.write(offset, value);
        }
        if offset == DEVICE {
            self.selected = u8::from(value & DEVICE_1 != 0);
        }
        self.action()
    }

    fn write_command(&mut self, command: u8) -> Action {
        self.control &= !CONTROL_HOB;
        let resets = command == DEVICE_RESET && self.selected().is_some_and(|drive| drive.cdrom.is_some());
        if self.is_in_reset() || self.is_occupied() && !resets {
            return Action::NONE;
        }
        if command == EXECUTE_DEVICE_DIAGNOSTIC {
            self.reset_drives(true);
            // Device 0 interrupts for both.
            if let Some(drive) = &mut self.drives[0] {
                drive.interrupt = true;
            }
            return self.action();
        }
        let (number, channel, was_high) = (self.selected, self.channel, self.line());
        if let Some(drive) = self.selected_mut() {
            drive.execute(command, usize::from(number), channel);
        }
        // A command ends the interrupt before it. One that ends at once interrupts anew.
        if was_high { Action { line: Some(false), ..self.action() } } else { self.action() }
    }

    fn write_control(&mut self, value: u8) -> Action {
        let begins = !self.is_in_reset() && value & CONTROL_SRST != 0;
        self.control = value & (CONTROL_HOB | CONTROL_SRST | CONTROL_NIEN);
        if begins {
            self.reset_drives(false);
        }
        self.action()
    }

    /// Resets both drives and selects device 0.
    fn reset_drives(&mut self, keep_settings: bool) {
        self.drives.iter_mut().flatten().for_each(|drive| drive.reset(keep_settings));
        self.selected = 0;
    }

    /// The effect of a word of data that may end a block.
    #[inline]
    fn data_action(&self, ends_block: bool) -> Action {
        if ends_block { self.action() } else { Action::NONE }
    }
}

impl Device for IdeChannel {
    fn explain(&self) -> Vec<String> {
        explain::lines(self)
    }

    fn read(&mut self, offset: u16) -> (u8, Action) {
        match offset {
            DATA => (OPEN_BUS, Action::NONE),
            STATUS_COMMAND => {
                let status = self.status();
                if let Some(drive) = self.selected_mut() {
                    drive.interrupt = false;
                }
                (status, Action::line(self.line()))
            }
            CONTROL => (self.status(), Action::NONE),
            _ => (self.read_register(offset), Action::NONE),
        }
    }

    fn write(&mut self, offset: u16, value: u8) -> Action {
        match offset {
            DATA => Action::NONE,
            STATUS_COMMAND => self.write_command(value),
            CONTROL => self.write_control(value),
            _ => self.write_register(offset, value),
        }
    }

    fn read_wide(&mut self, offset: u16, size: u8) -> Option<(u32, Action)> {
        if offset != DATA {
            return None;
        }
        let in_reset = self.is_in_reset();
        let Some(drive) = self.selected_mut().filter(|_| !in_reset) else { return Some((0, Action::NONE)) };
        let (low, mut ends) = drive.read_word();
        let mut value = u32::from(low);
        if size == 4 {
            let (high, also) = drive.read_word();
            value |= u32::from(high) << 16;
            ends |= also;
        }
        Some((value, self.data_action(ends)))
    }

    fn read_block(&mut self, offset: u16, size: u8, into: &mut [u8]) -> usize {
        if offset != DATA || self.is_in_reset() {
            return 0;
        }
        self.selected_mut().map_or(0, |drive| drive.read_block(size, into))
    }

    fn write_wide(&mut self, offset: u16, size: u8, value: u32) -> Option<Action> {
        if offset != DATA {
            return None;
        }
        let in_reset = self.is_in_reset();
        let Some(drive) = self.selected_mut().filter(|_| !in_reset) else { return Some(Action::NONE) };
        let mut ends = drive.write_word(value as u16);
        if size == 4 {
            ends |= drive.write_word((value >> 16) as u16);
        }
        Some(self.data_action(ends))
    }

    fn line(&self) -> bool {
        self.control & CONTROL_NIEN == 0 && self.selected().is_some_and(|drive| drive.interrupt)
    }

    /// While a drive waits for its disk: the answer interrupts.
    fn may_interrupt(&self) -> bool {
        let waits = self.selected().is_some_and(|drive| drive.phase == Phase::Busy || drive.interrupt);
        self.control & CONTROL_NIEN == 0 && waits
    }

    /// The drives stay.
    fn after_reset(&self) -> IdeChannel {
        let drives = self.drives.each_ref().map(|drive| Some(Drive::new(drive.as_ref()?.geometry)));
        IdeChannel { channel: self.channel, drives, ..IdeChannel::default() }
    }
}

impl Snapshot for IdeChannel {
    const KIND: &'static str = "ide";
    const VERSION: u16 = 2;
    type State = IdeChannel;

    fn state(&self) -> IdeChannel {
        self.clone()
    }

    /// Version 1 is read of a channel without drives.
    fn restore(&mut self, payload: &Payload) -> Result<(), StateError> {
        payload.expect_kind(Self::KIND)?;
        if (payload.version, payload.bytes.get(1..3)) == (1, Some(&[0, 0]))
            || payload.version == Self::VERSION
        {
            return self.set_state(payload.decode(Self::KIND)?);
        }
        Err(StateError::Version { kind: Self::KIND, found: payload.version, expected: Self::VERSION })
    }

    /// A request that was under way is made again.
    fn set_state(&mut self, mut state: IdeChannel) -> Result<(), StateError> {
        let damaged = |reason: &str| StateError::Damaged { kind: Self::KIND, reason: reason.to_owned() };
        state.drives.iter().flatten().try_for_each(Drive::check).map_err(damaged)?;
        if state.channel > 1 || state.selected > 1 {
            return Err(damaged("there is no such device"));
        }
        if state.control & !(CONTROL_HOB | CONTROL_SRST | CONTROL_NIEN) != 0 {
            return Err(damaged("device control has bits that do not exist"));
        }
        state.drives.iter_mut().flatten().for_each(Drive::repeat_request);
        *self = state;
        Ok(())
    }
}

#[cfg(test)]
#[path = "ide/ide_test.rs"]
mod tests;
