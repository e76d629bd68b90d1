//! The bus master registers of the IDE function, and how they transfer data.
//!
//! Manuals: Programming Interface for Bus Master IDE Controller, revision 1.0; Intel 82371SB (PIIX3), 2.7. Each channel
//! has eight ports: command, status, and the address of a table of physical region descriptors. The ports are at base
//! address register 4 of the function; without the bus master bit of its command register nothing is transferred.
//!
//! The machine asks for one step after another ([`BusMaster::step`]) while the drive demands data, carries it out and
//! reports it: it reads a descriptor, or copies bytes between the drive and memory. A step moves at least one byte or
//! reads a descriptor that maps at least two, so a table without an end costs no more than the data of the command.
//! A descriptor or a region that is not RAM ends the transfer with the error bit. Addresses have 32 bits and wrap; a
//! region may cross a boundary of 64 KiB, which the manual forbids.

use serde::{Deserialize, Serialize};

use super::super::{Action, Device, Snapshot, StateError};
use super::DmaDemand;

const COMMAND: u16 = 0;
const STATUS: u16 = 2;
const TABLE: u16 = 4;

const COMMAND_START: u8 = 0x01;
/// The bus master writes to memory.
const COMMAND_TO_MEMORY: u8 = 0x08;
const STATUS_ACTIVE: u8 = 0x01;
const STATUS_ERROR: u8 = 0x02;
const STATUS_INTERRUPT: u8 = 0x04;
/// Drives that are capable of DMA, as firmware and drivers tell each other.
const STATUS_CAPABLE: u8 = 0x60;

/// Bytes of a descriptor.
const DESCRIPTOR: u32 = 8;
/// Descriptor: end of the table.
const LAST: u8 = 0x80;
const MOST_IN_REGION: u32 = 1 << 16;

/// A channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Registers {
    command: u8,
    status: u8,
    table: u32,
    /// Address of the next descriptor.
    next: u32,
    /// What is left of the region: its address and length.
    address: u32,
    length: u32,
    /// It is the last one.
    is_last: bool,
    /// Level of the channel's interrupt line.
    line: bool,
}

/// What the machine is to do for a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmaStep {
    /// Read a descriptor of 8 bytes, and report it ([`BusMaster::descriptor_read`]).
    Descriptor {
        /// Its guest-physical address.
        address: u64,
    },
    /// Copy data between the drive and memory, and report it ([`BusMaster::transferred`]).
    Data {
        /// Guest-physical address.
        address: u64,
        /// Bytes, at most 64 KiB.
        length: usize,
    },
}

/// The bus master of both channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusMaster {
    channels: [Registers; 2],
}

impl BusMaster {
    /// The next step of a transfer on channel `channel` (0 or 1), whose drive demands `demand`; `None` while the guest
    /// has not started the bus master in this direction.
    pub fn step(&self, channel: usize, demand: DmaDemand) -> Option<DmaStep> {
        let registers = self.channels.get(channel)?;
        let to_memory = registers.command & COMMAND_TO_MEMORY != 0;
        if registers.status & STATUS_ACTIVE == 0 || to_memory != demand.to_memory {
            return None;
        }
        if registers.length == 0 {
            return Some(DmaStep::Descriptor { address: registers.next.into() });
        }
        let address = u64::from(registers.address);
        let before_wrap = (1 << 32) - address;
        let length = demand.length.min(registers.length as usize).min(before_wrap as usize);
        Some(DmaStep::Data { address, length })
    }

    /// The descriptor that was to be read.
    pub fn descriptor_read(&mut self, channel: usize, descriptor: [u8; 8]) {
        let Some(registers) = self.channels.get_mut(channel) else { return };
        let [a0, a1, a2, a3, c0, c1, _, flags] = descriptor;
        registers.next = registers.next.wrapping_add(DESCRIPTOR);
        registers.address = u32::from_le_bytes([a0, a1, a2, a3]) & !1;
        registers.length = match u32::from(u16::from_le_bytes([c0, c1]) & !1) {
            0 => MOST_IN_REGION,
            length => length,
        };
        registers.is_last = flags & LAST != 0;
    }

    /// `length` bytes, at most those of the step, were copied.
    pub fn transferred(&mut self, channel: usize, length: usize) {
        let Some(registers) = self.channels.get_mut(channel) else { return };
        let length = length.min(registers.length as usize) as u32;
        registers.address = registers.address.wrapping_add(length);
        registers.length -= length;
        if registers.length == 0 && registers.is_last {
            registers.status &= !STATUS_ACTIVE;
        }
    }

    /// The step could not be carried out: the memory is none.
    pub fn failed(&mut self, channel: usize) {
        if let Some(registers) = self.channels.get_mut(channel) {
            registers.status = registers.status & !STATUS_ACTIVE | STATUS_ERROR;
        }
    }

    /// The interrupt line of channel `channel` is at `level`. Its rising edge sets the interrupt bit.
    pub fn set_line(&mut self, channel: usize, level: bool) {
        let Some(registers) = self.channels.get_mut(channel) else { return };
        if level && !registers.line {
            registers.status |= STATUS_INTERRUPT;
        }
        registers.line = level;
    }

    /// The guest has started the bus master on channel `channel`, and its table has not ended.
    pub fn is_active(&self, channel: usize) -> bool {
        self.channels.get(channel).is_some_and(|registers| registers.status & STATUS_ACTIVE != 0)
    }
}

impl Registers {
    fn write_command(&mut self, value: u8) {
        let (was_started, starts) = (self.command & COMMAND_START != 0, value & COMMAND_START != 0);
        if was_started && starts {
            // The direction stays while it is started.
            return;
        }
        self.command = value & (COMMAND_START | COMMAND_TO_MEMORY);
        if starts {
            (self.next, self.length, self.is_last) = (self.table, 0, false);
            self.status |= STATUS_ACTIVE;
        } else {
            self.status &= !STATUS_ACTIVE;
        }
    }

    fn write_table(&mut self, byte: u16, value: u8) {
        let mut bytes = self.table.to_le_bytes();
        bytes[usize::from(byte & 3)] = value;
        self.table = u32::from_le_bytes(bytes) & !3;
    }

    fn are_possible(&self) -> bool {
        self.command & !(COMMAND_START | COMMAND_TO_MEMORY) == 0
            && self.status & !(STATUS_ACTIVE | STATUS_ERROR | STATUS_INTERRUPT | STATUS_CAPABLE) == 0
            && (self.status & STATUS_ACTIVE == 0 || self.command & COMMAND_START != 0)
            && self.table.is_multiple_of(4)
            && self.next.is_multiple_of(4)
            && self.length <= MOST_IN_REGION
    }
}

/// Offsets are those from the base address: the primary channel, then the secondary one.
impl Device for BusMaster {
    fn read(&mut self, offset: u16) -> (u8, Action) {
        let registers = &self.channels[usize::from(offset >> 3 & 1)];
        let value = match offset & 7 {
            COMMAND => registers.command,
            STATUS => registers.status,
            byte @ TABLE.. => registers.table.to_le_bytes()[usize::from(byte & 3)],
            _ => 0,
        };
        (value, Action::NONE)
    }

    fn write(&mut self, offset: u16, value: u8) -> Action {
        let registers = &mut self.channels[usize::from(offset >> 3 & 1)];
        match offset & 7 {
            COMMAND => {
                registers.write_command(value);
                return Action { disk: true, ..Action::NONE };
            }
            STATUS => {
                let clears = value & (STATUS_ERROR | STATUS_INTERRUPT);
                registers.status = registers.status & !(STATUS_CAPABLE | clears) | value & STATUS_CAPABLE;
            }
            byte @ TABLE.. => registers.write_table(byte, value),
            _ => {}
        }
        Action::NONE
    }
}

impl Snapshot for BusMaster {
    const KIND: &'static str = "ide-bus-master";
    const VERSION: u16 = 1;
    type State = BusMaster;

    fn state(&self) -> BusMaster {
        *self
    }

    fn set_state(&mut self, state: BusMaster) -> Result<(), StateError> {
        if !state.channels.iter().all(Registers::are_possible) {
            let reason = "a register has a value that the guest cannot have given it".to_owned();
            return Err(StateError::Damaged { kind: Self::KIND, reason });
        }
        *self = state;
        Ok(())
    }
}

#[cfg(test)]
#[path = "bus_master_test.rs"]
mod tests;
