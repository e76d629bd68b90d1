//! The local APIC's register page at 0xFEE00000, as far as guests without interrupts use it.
//!
//! Registers keep what is written to them, within their writable bits, so that a guest that sets
//! its APIC up finds it set up. Nothing is delivered: the machine has no interrupt sources yet.
//!
//! Manual: Intel SDM volume 3A, chapter "Advanced Programmable Interrupt Controller (APIC)", table
//! "Local APIC Register Address Map".

use serde::{Deserialize, Serialize};

use super::{Action, Device, Snapshot, StateError};

/// Guest-physical address of the register page.
pub const BASE: u64 = 0xFEE0_0000;
/// Length of the register page in bytes.
pub const LENGTH: u64 = 0x1000;

/// Registers lie 16 bytes apart, 32 bits wide each.
const REGISTERS: usize = 64;

const VERSION_REGISTER: usize = 0x03;
const EOI: usize = 0x0B;
const DESTINATION_FORMAT: usize = 0x0E;
const SPURIOUS: usize = 0x0F;
const LOCAL_VECTORS: std::ops::RangeInclusive<usize> = 0x32..=0x37;

/// Version 0x14 with six local vector table entries, as P4 and later have.
const VERSION_VALUE: u32 = 0x0005_0014;
/// Spurious vector 0xFF, APIC software-enabled (bit 8).
const SPURIOUS_ENABLED: u32 = 0x0000_01FF;
/// A masked local vector.
const MASKED: u32 = 1 << 16;

/// Bits of each register that a guest can change; the others read as they were.
const fn writable(register: usize) -> u32 {
    match register {
        0x02 => 0xFF00_0000,
        0x08 => 0x0000_00FF,
        0x0D => 0xFF00_0000,
        0x0E => 0xF000_0000,
        0x0F => 0x0000_13FF,
        0x2F | 0x32..=0x37 => 0x0007_A7FF,
        // The delivery status bit (12) of the interrupt command register always reads idle.
        0x30 => 0x000C_CFFF,
        0x31 => 0xFF00_0000,
        0x38 => 0xFFFF_FFFF,
        0x3E => 0x0000_000B,
        _ => 0,
    }
}

/// The local APIC of the one processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalApic {
    registers: Vec<u32>,
}

impl Default for LocalApic {
    fn default() -> LocalApic {
        let mut registers = vec![0; REGISTERS];
        registers[VERSION_REGISTER] = VERSION_VALUE;
        registers[DESTINATION_FORMAT] = u32::MAX;
        registers[SPURIOUS] = SPURIOUS_ENABLED;
        for vector in LOCAL_VECTORS {
            registers[vector] = MASKED;
        }
        LocalApic { registers }
    }
}

impl LocalApic {
    /// Reads the 32-bit register at `offset` from [`BASE`]; what is no register reads as 0.
    pub fn register(&self, offset: u64) -> u32 {
        self.index(offset).map_or(0, |register| self.registers[register])
    }

    /// Writes the 32-bit register at `offset` from [`BASE`].
    pub fn set_register(&mut self, offset: u64, value: u32) {
        if let Some(register) = self.index(offset)
            && register != EOI
        {
            let mask = writable(register);
            self.registers[register] = self.registers[register] & !mask | value & mask;
        }
    }

    fn index(&self, offset: u64) -> Option<usize> {
        (offset.is_multiple_of(16) && offset < REGISTERS as u64 * 16).then_some((offset / 16) as usize)
    }
}

/// Only aligned 32-bit accesses are defined (Intel SDM volume 3A, "The Local APIC Block Diagram").
impl Device for LocalApic {
    fn mmio_read(&mut self, offset: u64, size: u8) -> Option<(u64, Action)> {
        (size == 4).then(|| (u64::from(self.register(offset)), Action::NONE))
    }

    fn mmio_write(&mut self, offset: u64, size: u8, value: u64) -> Option<Action> {
        (size == 4).then(|| {
            self.set_register(offset, value as u32);
            Action::NONE
        })
    }
}

impl Snapshot for LocalApic {
    const KIND: &'static str = "lapic";
    const VERSION: u16 = 1;
    type State = LocalApic;

    fn state(&self) -> LocalApic {
        self.clone()
    }

    fn set_state(&mut self, state: LocalApic) -> Result<(), StateError> {
        if state.registers.len() != REGISTERS {
            return Err(StateError::Damaged {
                kind: Self::KIND,
                reason: format!("{} registers; there are {REGISTERS}", state.registers.len()),
            });
        }
        *self = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_software_enabled_from_the_start() {
        assert_eq!(LocalApic::default().register(0xF0) & 0x100, 0x100);
    }

    #[test]
    fn registers_keep_their_writable_bits_only() {
        let mut apic = LocalApic::default();
        apic.set_register(0x320, 0xFFFF_FFFF);
        apic.set_register(0x030, 7);
        apic.set_register(0x0B0, 1);
        apic.set_register(0x0F4, 1);
        assert_eq!(
            (apic.register(0x320), apic.register(0x030), apic.register(0x0B0)),
            (0x0007_A7FF, VERSION_VALUE, 0)
        );
        assert_eq!(apic.register(0x1_0000), 0);
    }

    #[test]
    fn it_survives_save_and_restore() {
        let mut apic = LocalApic::default();
        apic.set_register(0x080, 0x20);
        let mut copy = LocalApic::default();
        copy.restore(&apic.save()).unwrap();
        assert_eq!(copy, apic);
        assert!(copy.set_state(LocalApic { registers: vec![] }).is_err());
    }
}
