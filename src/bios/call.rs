//! A call of the BIOS: the caller's registers, and what services act on.

use crate::arch::flags::{RFLAGS_CF, RFLAGS_ZF};
use crate::devices::bios_port::BiosTransfer;
use crate::settings::DiskInterface;

/// The registers of a caller, and what INT has pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct BiosCall {
    /// Number of the interrupt.
    pub vector: u8,
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
    pub esi: u32,
    pub edi: u32,
    pub ebp: u32,
    pub ds: u16,
    pub es: u16,
    /// IP of the caller, where the ROM returns to.
    pub ip: u16,
    /// CS of the caller.
    pub cs: u16,
    /// FLAGS of the caller.
    pub flags: u16,
}

/// A register whose low 16 bits and their halves have names.
macro_rules! named_parts {
    ($full:ident, $word:ident $set_word:ident, $low:ident $set_low:ident, $high:ident $set_high:ident) => {
        #[allow(missing_docs)]
        pub fn $word(&self) -> u16 {
            self.$full as u16
        }

        #[allow(missing_docs)]
        pub fn $set_word(&mut self, value: u16) {
            self.$full = self.$full & 0xFFFF_0000 | u32::from(value);
        }

        #[allow(missing_docs)]
        pub fn $low(&self) -> u8 {
            self.$full as u8
        }

        #[allow(missing_docs)]
        pub fn $set_low(&mut self, value: u8) {
            self.$full = self.$full & 0xFFFF_FF00 | u32::from(value);
        }

        #[allow(missing_docs)]
        pub fn $high(&self) -> u8 {
            (self.$full >> 8) as u8
        }

        #[allow(missing_docs)]
        pub fn $set_high(&mut self, value: u8) {
            self.$full = self.$full & 0xFFFF_00FF | u32::from(value) << 8;
        }
    };
}

impl BiosCall {
    named_parts!(eax, ax set_ax, al set_al, ah set_ah);
    named_parts!(ebx, bx set_bx, bl set_bl, bh set_bh);
    named_parts!(ecx, cx set_cx, cl set_cl, ch set_ch);
    named_parts!(edx, dx set_dx, dl set_dl, dh set_dh);

    /// Sets CF of the caller.
    pub fn set_carry(&mut self, set: bool) {
        self.set_flag(RFLAGS_CF as u16, set);
    }

    /// Sets ZF of the caller.
    pub fn set_zero(&mut self, set: bool) {
        self.set_flag(RFLAGS_ZF as u16, set);
    }

    fn set_flag(&mut self, flag: u16, set: bool) {
        self.flags = if set { self.flags | flag } else { self.flags & !flag };
    }

    /// The address of ES:`offset`.
    pub fn in_es(&self, offset: u16) -> u64 {
        linear(self.es, offset)
    }

    /// The address of DS:`offset`.
    pub fn in_ds(&self, offset: u16) -> u64 {
        linear(self.ds, offset)
    }
}

/// The address of `segment`:`offset` in real mode.
pub fn linear(segment: u16, offset: u16) -> u64 {
    (u64::from(segment) << 4) + u64::from(offset)
}

/// How a call goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Served {
    /// The ROM returns to the caller.
    Done,
    /// The ROM waits for an interrupt and calls again; of INT 70h, it calls the alarm's handler.
    Wait,
    /// The answer of a disk is needed ([`complete`](super::complete)).
    Transfer(BiosTransfer),
    /// The machine cannot go on, for this reason.
    Stop(String),
}

/// A disk of the machine, to which the BIOS gives a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BiosDisk {
    /// Number of the machine's disk.
    pub unit: u8,
    /// How it is connected.
    pub interface: DiskInterface,
    /// Number of sectors of 512 bytes, those of a CD included.
    pub sectors: u64,
    /// Writes are refused.
    pub read_only: bool,
}

/// What the services act on.
pub trait BiosPlatform {
    /// Fills `bytes` from guest-physical memory. What is not RAM reads as all ones.
    fn read(&self, address: u64, bytes: &mut [u8]);

    /// Writes to guest-physical memory. What is not RAM stays as it is.
    fn write(&mut self, address: u64, bytes: &[u8]);

    /// Reads a byte from a port.
    fn port_in(&mut self, port: u16) -> u8;

    /// Writes a byte to a port.
    fn port_out(&mut self, port: u16, value: u8);

    /// Reads a word from a port.
    fn port_in_word(&mut self, port: u16) -> u16;

    /// Writes a word to a port.
    fn port_out_word(&mut self, port: u16, value: u16);

    /// True if the PICs and the interval timer are reached by [`Self::port_out`]: they are not KVM's.
    fn reaches_interrupt_controllers(&self) -> bool;

    /// The guest-physical ranges that are RAM, ascending.
    fn ram(&self) -> Vec<std::ops::Range<u64>>;

    /// True if the machine has video memory: for planes of pixels and for the modes of VBE.
    fn has_video_memory(&self) -> bool {
        false
    }

    /// The disks and the CD, in the order of their units.
    fn disks(&self) -> Vec<BiosDisk>;
}

impl dyn BiosPlatform + '_ {
    /// Reads a byte of memory.
    pub fn byte(&self, address: u64) -> u8 {
        let mut bytes = [0];
        self.read(address, &mut bytes);
        bytes[0]
    }

    /// Reads a little-endian word of memory.
    pub fn word(&self, address: u64) -> u16 {
        let mut bytes = [0; 2];
        self.read(address, &mut bytes);
        u16::from_le_bytes(bytes)
    }

    /// Reads a little-endian double word of memory.
    pub fn double_word(&self, address: u64) -> u32 {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// Writes a byte of memory.
    pub fn set_byte(&mut self, address: u64, value: u8) {
        self.write(address, &[value]);
    }

    /// Writes a little-endian word of memory.
    pub fn set_word(&mut self, address: u64, value: u16) {
        self.write(address, &value.to_le_bytes());
    }

    /// Writes a little-endian double word of memory.
    pub fn set_double_word(&mut self, address: u64, value: u32) {
        self.write(address, &value.to_le_bytes());
    }

    /// Reads the register `index` behind an index port and the data port after it.
    pub fn indexed(&mut self, port: u16, index: u8) -> u8 {
        self.port_out(port, index);
        self.port_in(port + 1)
    }

    /// Writes the register `index` behind an index port and the data port after it.
    pub fn set_indexed(&mut self, port: u16, index: u8, value: u8) {
        self.port_out(port, index);
        self.port_out(port + 1, value);
    }
}
