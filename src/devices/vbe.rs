//! The display interface of Bochs (VBE DISPI): modes with a linear framebuffer.
//!
//! An index register and a data register of 16 bits each, at ports 0x1CE and 0x1CF (or 0x1D0, which is aligned); and the
//! same registers side by side in the window of a PCI function ([`super::pci::display`]), as in QEMU's stdvga. The
//! picture itself is in video memory ([`crate::memory::VIDEO_MEMORY`]).
//!
//! Specification: Bochs 2.7, `bochs/iodev/display/vbe.h` and the chapter "VBE Display Interface" of its developers'
//! guide; for the window QEMU's `docs/specs/standard-vga.rst`. Values that a mode cannot have are corrected while one is
//! enabled, in the order in which QEMU 7.2 does it. Not implemented: DAC components of eight bits (bit 5 of the enable
//! register stays clear, by which guests find out), access by bytes, EDID, another endianness, and VGA registers that
//! follow the mode.

use serde::{Deserialize, Serialize};

use super::{Action, Device, Snapshot, StateError};
use crate::memory::VIDEO_MEMORY;

/// The port of the index register.
pub const INDEX_PORT: u16 = 0x1CE;
/// The last port: an aligned data register.
pub const LAST_PORT: u16 = 0x1D0;

/// Offsets in the window in memory of the VGA's ports from 0x3C0 on.
pub const VGA_PORTS: std::ops::Range<u64> = 0x400..0x420;
/// Offsets of the registers of this interface.
const REGISTERS: std::ops::Range<u64> = 0x500..0x516;
/// Offset of the size of QEMU's registers, and of what says how pixels are stored.
const EXTENSION: u64 = 0x600;
const EXTENSION_SIZE: u64 = 8;
const LITTLE_ENDIAN: u64 = 0x1E1E_1E1E;

/// The first and the last version of the interface that a guest may ask for.
const OLDEST: u16 = 0xB0C0;
const NEWEST: u16 = 0xB0C5;

// Registers.
const ID: usize = 0;
/// Register: pixels of a line.
pub const WIDTH: usize = 1;
/// Register: lines.
pub const HEIGHT: usize = 2;
/// Register: bits of a pixel.
pub const BITS: usize = 3;
/// Register: [`ENABLED`], [`LINEAR`], [`KEEP_MEMORY`].
pub const ENABLE: usize = 4;
/// Register: what the window below 1 MiB shows, in units of 64 KiB.
pub const BANK: usize = 5;
/// Register: pixels of a line in memory.
pub const VIRTUAL_WIDTH: usize = 6;
/// Register, read only: lines in memory.
pub const VIRTUAL_HEIGHT: usize = 7;
/// Register: the first pixel of a line that is shown.
pub const X_OFFSET: usize = 8;
/// Register: the first line that is shown.
pub const Y_OFFSET: usize = 9;
/// Reads as the size of video memory in units of 64 KiB.
const MEMORY_SIZE: usize = 10;
const STORED: usize = MEMORY_SIZE;

// Bits of the enable register.
/// Bit of [`ENABLE`]: a mode is shown.
pub const ENABLED: u16 = 0x01;
const GET_CAPABILITIES: u16 = 0x02;
const DAC_8_BITS: u16 = 0x20;
/// Bit of [`ENABLE`]: the mode is meant to be used by its linear framebuffer.
pub const LINEAR: u16 = 0x40;
/// Bit of [`ENABLE`]: a mode that begins does not clear memory.
pub const KEEP_MEMORY: u16 = 0x80;

/// Most pixels of a line.
pub const MOST_WIDTH: u16 = 16_000;
const MOST_HEIGHT: u16 = 12_000;
const MOST_BITS: u16 = 32;

const MEMORY: u32 = (VIDEO_MEMORY.end - VIDEO_MEMORY.start) as u32;
/// Bytes that are seen in the window below 1 MiB.
const BANK_SIZE: u32 = 64 << 10;

/// A mode of the interface: where the picture is in video memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearMode {
    /// Pixels from left to right.
    pub width: u16,
    /// Lines.
    pub height: u16,
    /// Bits of a pixel: 4 (in planes), 8 (a number of a colour), 15, 16, 24 or 32.
    pub bits: u8,
    /// Bytes from a line to the next one.
    pub pitch: u32,
    /// Bytes from the start of video memory to the first pixel shown.
    pub start: u32,
}

/// The interface. See the [module documentation](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BochsVbe {
    state: VbeState,
    /// Bytes at the start of video memory that the machine has to clear.
    clear: Option<u32>,
}

/// Everything the guest can observe of a [`BochsVbe`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VbeState {
    /// The machine has the interface.
    present: bool,
    index: u16,
    registers: [u16; STORED],
    /// What the last read of planes has found in them.
    latches: [u8; 4],
}

impl Default for BochsVbe {
    /// An interface that the machine does not have, which is not saved.
    fn default() -> BochsVbe {
        let mut registers = [0; STORED];
        registers[ID] = NEWEST;
        BochsVbe { state: VbeState { present: false, index: 0, registers, latches: [0; 4] }, clear: None }
    }
}

impl BochsVbe {
    /// The machine has the interface.
    pub fn set_present(&mut self) {
        self.state.present = true;
    }

    /// True if the machine has the interface.
    pub fn is_present(&self) -> bool {
        self.state.present
    }

    /// Sets a mode with a linear framebuffer and black pixels, as a boot loader does.
    pub fn set_mode(&mut self, width: u16, height: u16, bits: u8) {
        let values = [(ENABLE, 0), (WIDTH, width), (HEIGHT, height), (BITS, bits.into())];
        for (register, value) in values.into_iter().chain([(ENABLE, ENABLED | LINEAR)]) {
            let _ = self.write_register(register, value);
        }
    }

    /// The mode, if one is enabled.
    pub fn mode(&self) -> Option<LinearMode> {
        let register = |at: usize| self.state.registers[at];
        if register(ENABLE) & ENABLED == 0 {
            return None;
        }
        Some(LinearMode {
            width: register(WIDTH),
            height: register(HEIGHT),
            bits: register(BITS) as u8,
            pitch: self.pitch(),
            start: self.start(),
        })
    }

    /// Offset in video memory of what the window below 1 MiB shows, if a mode is enabled.
    pub fn bank(&self) -> Option<u32> {
        self.mode().map(|_| u32::from(self.state.registers[BANK]) * BANK_SIZE)
    }

    /// Takes the number of bytes at the start of video memory that a new mode has cleared.
    pub fn take_clear(&mut self) -> Option<u32> {
        self.clear.take()
    }

    /// What the last read of planes has found in them.
    pub fn latches(&self) -> [u8; 4] {
        self.state.latches
    }

    /// The guest has read planes.
    pub fn set_latches(&mut self, planes: [u8; 4]) {
        self.state.latches = planes;
    }

    /// Bits that a pixel takes.
    fn stored_bits(&self) -> u32 {
        match self.state.registers[BITS] {
            15 => 16,
            bits => bits.into(),
        }
    }

    fn pitch(&self) -> u32 {
        u32::from(self.state.registers[VIRTUAL_WIDTH]) * self.stored_bits() / 8
    }

    fn start(&self) -> u32 {
        let [x, y] = [X_OFFSET, Y_OFFSET].map(|at| u32::from(self.state.registers[at]));
        x * self.stored_bits() / 8 + y * self.pitch()
    }

    /// Corrects what a mode cannot have.
    fn correct(&mut self) {
        let registers = &mut self.state.registers;
        if registers[ENABLE] & ENABLED == 0 {
            return;
        }
        if !matches!(registers[BITS], 4 | 8 | 15 | 16 | 24 | 32) {
            registers[BITS] = 8;
        }
        registers[WIDTH] = (registers[WIDTH] & !7).clamp(8, MOST_WIDTH);
        registers[VIRTUAL_WIDTH] = (registers[VIRTUAL_WIDTH] & !7).min(MOST_WIDTH).max(registers[WIDTH]);
        let pitch = self.pitch();
        // At most 4 MiB lines of 4 bytes; those that fit in the register are enough.
        let most = u16::try_from(MEMORY / pitch).unwrap_or(u16::MAX);
        let registers = &mut self.state.registers;
        registers[HEIGHT] = registers[HEIGHT].clamp(1, MOST_HEIGHT).min(most);
        registers[X_OFFSET] = registers[X_OFFSET].min(MOST_WIDTH);
        registers[Y_OFFSET] = registers[Y_OFFSET].min(MOST_HEIGHT);
        registers[VIRTUAL_HEIGHT] = most;
        let shown = u32::from(registers[HEIGHT]) * pitch;
        for offset in [Y_OFFSET, X_OFFSET] {
            if self.start() + shown > MEMORY {
                self.state.registers[offset] = 0;
            }
        }
    }

    fn read_register(&self, register: usize) -> u16 {
        let capabilities = self.state.registers[ENABLE] & GET_CAPABILITIES != 0;
        match register {
            WIDTH if capabilities => MOST_WIDTH,
            HEIGHT if capabilities => MOST_HEIGHT,
            BITS if capabilities => MOST_BITS,
            MEMORY_SIZE => (MEMORY / BANK_SIZE) as u16,
            _ => self.state.registers.get(register).copied().unwrap_or(0),
        }
    }

    fn write_register(&mut self, register: usize, value: u16) -> Action {
        let registers = &mut self.state.registers;
        match register {
            ID => {
                if (OLDEST..=NEWEST).contains(&value) {
                    registers[ID] = value;
                }
            }
            WIDTH | HEIGHT | BITS | VIRTUAL_WIDTH | X_OFFSET | Y_OFFSET => {
                registers[register] = value;
                self.correct();
            }
            BANK => registers[BANK] = value & (MEMORY / BANK_SIZE - 1) as u16,
            ENABLE => {
                let begins = value & ENABLED != 0 && registers[ENABLE] & ENABLED == 0;
                registers[ENABLE] = value & !DAC_8_BITS;
                if begins {
                    [registers[VIRTUAL_WIDTH], registers[X_OFFSET], registers[Y_OFFSET]] = [0; 3];
                    self.correct();
                    if value & KEEP_MEMORY == 0 {
                        self.clear = Some(u32::from(self.state.registers[HEIGHT]) * self.pitch());
                    }
                } else {
                    registers[BANK] = 0;
                }
            }
            _ => return Action::NONE,
        }
        Action { memory: true, ..Action::NONE }
    }
}

impl Device for BochsVbe {
    fn read_wide(&mut self, offset: u16, size: u8) -> Option<(u32, Action)> {
        let value = match offset {
            0 => self.state.index,
            _ => self.read_register(self.state.index.into()),
        };
        (size == 2).then_some((value.into(), Action::NONE))
    }

    fn write_wide(&mut self, offset: u16, size: u8, value: u32) -> Option<Action> {
        if size != 2 {
            return None;
        }
        Some(match offset {
            0 => {
                self.state.index = value as u16;
                Action::NONE
            }
            _ => self.write_register(self.state.index.into(), value as u16),
        })
    }

    fn mmio_read(&mut self, offset: u64, size: u8) -> Option<(u64, Action)> {
        let value = match offset {
            _ if REGISTERS.contains(&offset) && offset.is_multiple_of(2) && size >= 2 => {
                self.read_register(((offset - REGISTERS.start) / 2) as usize).into()
            }
            EXTENSION => EXTENSION_SIZE,
            0x604 => LITTLE_ENDIAN,
            _ => u64::MAX,
        };
        Some((value, Action::NONE))
    }

    fn mmio_write(&mut self, offset: u64, size: u8, value: u64) -> Option<Action> {
        if REGISTERS.contains(&offset) && offset.is_multiple_of(2) && size == 2 {
            return Some(self.write_register(((offset - REGISTERS.start) / 2) as usize, value as u16));
        }
        Some(Action::NONE)
    }

    fn after_reset(&self) -> BochsVbe {
        let mut fresh = BochsVbe::default();
        fresh.state.present = self.state.present;
        fresh
    }
}

impl Snapshot for BochsVbe {
    const KIND: &'static str = "bochs-vbe";
    const VERSION: u16 = 1;
    type State = VbeState;

    fn state(&self) -> VbeState {
        self.state.clone()
    }

    fn set_state(&mut self, state: VbeState) -> Result<(), StateError> {
        let mut corrected = BochsVbe { state: state.clone(), clear: None };
        corrected.correct();
        let registers = state.registers;
        let damaged = |reason: String| Err(StateError::Damaged { kind: Self::KIND, reason });
        if !(OLDEST..=NEWEST).contains(&registers[ID]) {
            return damaged(format!("the version is {:#x}", registers[ID]));
        }
        if u32::from(registers[BANK]) >= MEMORY / BANK_SIZE || registers[ENABLE] & DAC_8_BITS != 0 {
            return damaged(format!("the bank is {}, enabled is {:#x}", registers[BANK], registers[ENABLE]));
        }
        if corrected.state != state {
            return damaged("a mode is enabled that does not fit in video memory".to_owned());
        }
        *self = corrected;
        Ok(())
    }
}

#[cfg(test)]
#[path = "vbe_test.rs"]
mod tests;
