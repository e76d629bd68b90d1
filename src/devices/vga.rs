//! The registers of a VGA.
//!
//! The text itself is plain guest RAM at [`TEXT_BUFFER`]; this device only says how that RAM is
//! shown: from which cell on, where the cursor stands, what attribute bit 7 means. Every standard
//! register can be written and read back, so that a guest which sets a mode by hand finds what it
//! wrote. Those of the sequencer and of the graphics controller decide how the processor sees video memory in planes
//! ([`PlaneAccess`]), and how a graphics mode is drawn ([`GraphicsView`]); split screens and panning are not drawn.
//!
//! The registers are those of the *IBM Personal System/2 Hardware Interface Technical Reference*,
//! Video Subsystem, chapter "VGA Function"; section names below refer to it.

pub mod cp437;
mod dac;
mod explain;
mod graphics_view;
mod planes;
mod text_view;

#[cfg(test)]
#[path = "vga_test.rs"]
mod tests;

use serde::{Deserialize, Serialize};

use super::{Action, Device, OPEN_BUS, Snapshot, StateError};

use dac::Dac;
pub use graphics_view::{GraphicsView, PixelLayout, VideoFrame, eight_bits};
pub use planes::{PlaneAccess, Planes};
pub use text_view::{BUFFER_CELLS, COLUMNS, ROWS, TEXT_BUFFER, TextView};

/// First port of the range the device answers to, 0x3B0 to 0x3DF: offset 0 of its [`Device`].
pub const FIRST_PORT: u16 = 0x3B0;

/// Number of ports in that range.
pub const PORTS: u16 = 0x30;

/// What input status register 1 reads as, one after the other: the beam on the picture, in a
/// horizontal retrace (bit 0), in the vertical retrace (bits 0 and 3).
///
/// The device has no clock; advancing on each read lets every loop that waits for a bit to change
/// end after a few rounds. Three values, so that a loop that reads twice per round sees them all.
const BEAM: [u8; 3] = [0x00, 0x01, 0x09];

// Registers that 80x25 colour text, BIOS mode 3, leaves behind.
const MODE_3_MISC: u8 = 0x67;
const MODE_3_SEQUENCER: [u8; 5] = [0x03, 0x00, 0x03, 0x00, 0x02];
const MODE_3_CRTC: [u8; 25] = [
    0x5F, 0x4F, 0x50, 0x82, 0x55, 0x81, 0xBF, 0x1F, 0x00, 0x4F, 0x0D, 0x0E, 0x00, 0x00, 0x00, 0x00, 0x9C,
    0x8E, 0x8F, 0x28, 0x1F, 0x96, 0xB9, 0xA3, 0xFF,
];
const MODE_3_GRAPHICS: [u8; 9] = [0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0E, 0x00, 0xFF];
const MODE_3_ATTRIBUTE: [u8; 21] = [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3A, 0x3B, 0x3C, 0x3D, 0x3E, 0x3F, 0x0C,
    0x00, 0x0F, 0x08, 0x00,
];

// CRT controller registers that text needs (section "CRT Controller Registers").
const CRTC_OVERFLOW: u8 = 0x07;
const CRTC_MAX_SCAN_LINE: u8 = 0x09;
const CRTC_CURSOR_START: u8 = 0x0A;
const CRTC_CURSOR_END: u8 = 0x0B;
const CRTC_START_HIGH: u8 = 0x0C;
const CRTC_CURSOR_HIGH: u8 = 0x0E;
const CRTC_RETRACE_END: u8 = 0x11;
const CRTC_OFFSET: u8 = 0x13;

/// Bit 7 of the vertical retrace end register: registers 0 to 7 are write-protected.
const CRTC_PROTECT: u8 = 0x80;
/// The one bit of the overflow register (line compare) that the protection spares.
const CRTC_OVERFLOW_UNPROTECTED: u8 = 0x10;
/// Bit 5 of the cursor start register: no cursor.
const CURSOR_OFF: u8 = 0x20;
/// The scan line in the cursor and maximum scan line registers.
const SCAN_LINE: u8 = 0x1F;

/// Bit 5 of the sequencer's clocking mode register: the picture is off.
const SCREEN_OFF: u8 = 0x20;
/// Bit 5 of the attribute controller's address: the palette drives the picture, not the processor.
const PALETTE_TO_SCREEN: u8 = 0x20;
const ATTRIBUTE_MODE: usize = 0x10;
/// Bit 3 of the attribute mode register: attribute bit 7 blinks instead of brightening.
const BLINK: u8 = 0x08;
/// Bit 0 of the miscellaneous output register: CRT controller at 0x3Dx rather than 0x3Bx.
const COLOUR_PORTS: u8 = 0x01;

/// A VGA's registers. See the [module documentation](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vga {
    state: VgaState,
}

/// Everything the guest can observe of a [`Vga`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VgaState {
    misc: u8,
    feature: u8,
    enable: u8,
    sequencer: Indexed<5>,
    crtc: Indexed<25>,
    graphics: Indexed<9>,
    attribute: Attribute,
    dac: Dac,
    /// Index in [`BEAM`] of what the next read of input status register 1 returns.
    beam: u8,
}

/// Registers behind an index port and a data port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Indexed<const N: usize>
where
    [u8; N]: Serialize + serde::de::DeserializeOwned,
{
    index: u8,
    registers: [u8; N],
}

impl<const N: usize> Indexed<N>
where
    [u8; N]: Serialize + serde::de::DeserializeOwned,
{
    /// The selected register; 0 where there is none.
    fn read(&self) -> u8 {
        self.registers.get(usize::from(self.index)).copied().unwrap_or(0)
    }

    fn write(&mut self, value: u8) {
        if let Some(register) = self.registers.get_mut(usize::from(self.index)) {
            *register = value;
        }
    }
}

/// The attribute controller: one port takes addresses and data in turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Attribute {
    /// The address register, with [`PALETTE_TO_SCREEN`].
    address: u8,
    /// The next write is data, not an address.
    expects_data: bool,
    registers: [u8; 21],
}

impl Attribute {
    fn selected(&self) -> usize {
        usize::from(self.address & 0x1F)
    }

    fn read(&self) -> u8 {
        self.registers.get(self.selected()).copied().unwrap_or(0)
    }

    fn write(&mut self, value: u8) {
        let selected = self.selected();
        if !self.expects_data {
            self.address = value & 0x3F;
        } else if let Some(register) = self.registers.get_mut(selected) {
            *register = if selected < 16 { value & 0x3F } else { value };
        }
        self.expects_data = !self.expects_data;
    }
}

impl Vga {
    /// A VGA as the BIOS leaves it in mode 3: 80x25 cells, an underline cursor in the top left
    /// corner, attribute bit 7 blinks, the usual sixteen colours.
    pub fn new() -> Vga {
        Vga {
            state: VgaState {
                misc: MODE_3_MISC,
                feature: 0,
                enable: 1,
                sequencer: Indexed { index: 0, registers: MODE_3_SEQUENCER },
                crtc: Indexed { index: 0, registers: MODE_3_CRTC },
                graphics: Indexed { index: 0, registers: MODE_3_GRAPHICS },
                attribute: Attribute {
                    address: PALETTE_TO_SCREEN,
                    expects_data: false,
                    registers: MODE_3_ATTRIBUTE,
                },
                dac: Dac::new(),
                beam: 0,
            },
        }
    }

    /// How the text buffer is to be shown, by the registers as they are now.
    pub fn view(&self) -> TextView {
        let crtc = |index: u8| self.state.crtc.registers[usize::from(index)];
        let pair = |high: u8| u16::from_be_bytes([crtc(high), crtc(high + 1)]);
        let last_line = crtc(CRTC_MAX_SCAN_LINE) & SCAN_LINE;
        let cursor_top = crtc(CRTC_CURSOR_START) & SCAN_LINE;
        let cursor_bottom = crtc(CRTC_CURSOR_END) & SCAN_LINE;
        TextView {
            start: pair(CRTC_START_HIGH),
            pitch: u16::from(crtc(CRTC_OFFSET)) * 2,
            cursor: pair(CRTC_CURSOR_HIGH),
            cursor_visible: crtc(CRTC_CURSOR_START) & CURSOR_OFF == 0
                && cursor_top <= cursor_bottom
                && cursor_top <= last_line,
            cursor_top,
            cursor_bottom,
            cell_height: last_line + 1,
            blink: self.state.attribute.registers[ATTRIBUTE_MODE] & BLINK != 0,
            blank: self.state.sequencer.registers[1] & SCREEN_OFF != 0
                || self.state.attribute.address & PALETTE_TO_SCREEN == 0,
        }
    }

    /// The sixteen text colours as red, green and blue, 0 to 63 each, as the palette registers and
    /// the DAC make them.
    pub fn colours(&self) -> [[u8; 3]; 16] {
        std::array::from_fn(|colour| self.state.dac.colour(self.state.attribute.registers[colour]))
    }

    fn write_crtc(&mut self, value: u8) {
        let crtc = &mut self.state.crtc;
        let protected = crtc.registers[usize::from(CRTC_RETRACE_END)] & CRTC_PROTECT != 0;
        match crtc.index {
            CRTC_OVERFLOW if protected => {
                crtc.write(crtc.read() & !CRTC_OVERFLOW_UNPROTECTED | value & CRTC_OVERFLOW_UNPROTECTED);
            }
            0..CRTC_OVERFLOW if protected => {}
            _ => crtc.write(value),
        }
    }

    /// Input status register 1. Reading it also makes the next attribute write an address.
    fn read_status(&mut self) -> u8 {
        self.state.attribute.expects_data = false;
        let status = BEAM[usize::from(self.state.beam)];
        self.state.beam = (self.state.beam + 1) % BEAM.len() as u8;
        status
    }

    /// `port`, with the CRT controller's own ports given as those at 0x3Dx wherever the
    /// miscellaneous output register has put them. `None` for the set of ports not in use.
    fn colour_port(&self, offset: u16) -> Option<u16> {
        let port = FIRST_PORT.wrapping_add(offset);
        let in_use = if self.state.misc & COLOUR_PORTS != 0 { 0x3D0 } else { 0x3B0 };
        match port & 0xFF0 {
            base @ (0x3B0 | 0x3D0) => (base == in_use).then_some(0x3D0 | port & 0xF),
            _ => Some(port),
        }
    }
}

impl Default for Vga {
    fn default() -> Self {
        Vga::new()
    }
}

impl Device for Vga {
    fn explain(&self) -> Vec<String> {
        explain::lines(self)
    }

    fn read(&mut self, offset: u16) -> (u8, Action) {
        let Some(port) = self.colour_port(offset) else { return (OPEN_BUS, Action::NONE) };
        let state = &mut self.state;
        let value = match port {
            0x3C0 => state.attribute.address,
            0x3C1 => state.attribute.read(),
            // Input status register 0: no retrace interrupt, no monitor switch.
            0x3C2 => 0,
            0x3C3 => state.enable,
            0x3C4 => state.sequencer.index,
            0x3C5 => state.sequencer.read(),
            0x3C6 => state.dac.mask,
            0x3C7 => state.dac.direction(),
            0x3C8 => state.dac.index(),
            0x3C9 => state.dac.read(),
            0x3CA => state.feature,
            0x3CC => state.misc,
            0x3CE => state.graphics.index,
            0x3CF => state.graphics.read(),
            0x3D4 => state.crtc.index,
            0x3D5 => state.crtc.read(),
            0x3DA => self.read_status(),
            _ => OPEN_BUS,
        };
        (value, Action::NONE)
    }

    fn write(&mut self, offset: u16, value: u8) -> Action {
        let Some(port) = self.colour_port(offset) else { return Action::NONE };
        let state = &mut self.state;
        match port {
            0x3C0 => state.attribute.write(value),
            0x3C2 => state.misc = value,
            0x3C3 => state.enable = value & 1,
            0x3C4 => state.sequencer.index = value & 0x07,
            0x3C5 => state.sequencer.write(value),
            0x3C6 => state.dac.mask = value,
            0x3C7 => state.dac.start_reading(value),
            0x3C8 => state.dac.start_writing(value),
            0x3C9 => state.dac.write(value),
            0x3CE => state.graphics.index = value & 0x0F,
            0x3CF => state.graphics.write(value),
            0x3D4 => state.crtc.index = value & 0x1F,
            0x3D5 => self.write_crtc(value),
            0x3DA => state.feature = value,
            _ => {}
        }
        Action::NONE
    }
}

impl Snapshot for Vga {
    const KIND: &'static str = "vga";
    const VERSION: u16 = 1;
    type State = VgaState;

    fn state(&self) -> VgaState {
        self.state.clone()
    }

    fn set_state(&mut self, state: VgaState) -> Result<(), StateError> {
        let damaged = |reason: String| Err(StateError::Damaged { kind: Self::KIND, reason });
        let indexes = [
            ("sequencer index", state.sequencer.index, 0x07),
            ("CRT controller index", state.crtc.index, 0x1F),
            ("graphics index", state.graphics.index, 0x0F),
            ("attribute address", state.attribute.address, 0x3F),
            ("retrace phase", state.beam, BEAM.len() as u8 - 1),
        ];
        if let Some((name, value, limit)) = indexes.into_iter().find(|(_, value, limit)| value > limit) {
            return damaged(format!("the {name} is {value:#x}, beyond {limit:#x}"));
        }
        if let Err(reason) = state.dac.check() {
            return damaged(reason);
        }
        self.state = state;
        Ok(())
    }
}
