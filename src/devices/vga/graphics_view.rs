//! How a graphics mode is shown: where its pixels are, and what they look like.
//!
//! The sections of the manual are those of [`super`], and "Video Memory Organization".

use super::{
    CRTC_MAX_SCAN_LINE, CRTC_OFFSET, CRTC_OVERFLOW, CRTC_START_HIGH, PALETTE_TO_SCREEN, SCREEN_OFF, Vga,
};
use crate::devices::vbe::LinearMode;
use crate::memory::{VIDEO_MEMORY, VIDEO_WINDOW};

const CRTC_WIDTH: usize = 0x01;
const CRTC_HEIGHT: usize = 0x12;
/// Bit 7 of the maximum scan line register: each line is shown twice.
const DOUBLE_SCAN: u8 = 0x80;
/// Bit 0 of the miscellaneous register of the graphics controller: no text.
const GRAPHICS: u8 = 0x01;
/// Bit 6 of the mode register of the graphics controller: eight bits make a pixel.
const EIGHT_BITS: u8 = 0x40;
/// Bit 3 of the sequencer's memory mode register: the planes are chained.
const CHAINED: u8 = 0x08;
/// Largest picture of the VGA itself, which the registers could exceed.
const MOST_WIDTH: u32 = 2048;
const MOST_HEIGHT: u32 = 2048;

/// How pixels are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelLayout {
    /// A byte each, one after the other, in the window below 1 MiB (mode 13h).
    Chained,
    /// A byte each, in four planes in turn.
    Unchained,
    /// A bit in each of four planes (mode 12h).
    Planar,
    /// So many bits each, one after the other, in video memory: 8, 15, 16, 24 or 32.
    Linear(u8),
}

/// How a picture is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphicsView {
    /// How pixels are stored.
    pub layout: PixelLayout,
    /// Pixels from left to right, and lines.
    pub size: (u32, u32),
    /// Bytes from a line to the next one, in each plane.
    pub pitch: u32,
    /// Bytes from the start of memory to the first pixel, in each plane.
    pub start: u32,
    /// The colours of pixels with at most eight bits: red, green and blue, 0 to 255.
    pub palette: Vec<[u8; 3]>,
    /// The picture is switched off.
    pub blank: bool,
}

/// A picture as red, green and blue, a byte each, line by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoFrame {
    /// Pixels from left to right, and lines.
    pub size: (usize, usize),
    /// The pixels.
    pub pixels: Vec<[u8; 3]>,
}

/// Six bits of a colour as eight.
pub fn eight_bits(colour: [u8; 3]) -> [u8; 3] {
    colour.map(|component| (component & 0x3F) << 2 | (component & 0x3F) >> 4)
}

impl Vga {
    /// True if the registers are those of a graphics mode.
    #[inline]
    pub fn is_graphics(&self) -> bool {
        self.state.graphics.registers[6] & GRAPHICS != 0
    }

    /// How a graphics mode of the VGA itself is shown; `None` in text modes and in those that are not drawn, which use
    /// the memory of the text.
    pub fn graphics_view(&self) -> Option<GraphicsView> {
        let (crtc, graphics) = (&self.state.crtc.registers, &self.state.graphics.registers);
        if !self.is_graphics() || graphics[6] >> 2 & 3 > 1 {
            return None;
        }
        let eight = graphics[5] & EIGHT_BITS != 0;
        let chained = self.state.sequencer.registers[4] & CHAINED != 0;
        let layout = match (eight, chained) {
            (true, true) => PixelLayout::Chained,
            (true, false) => PixelLayout::Unchained,
            (false, _) => PixelLayout::Planar,
        };
        let width = (u32::from(crtc[CRTC_WIDTH]) + 1) * if eight { 4 } else { 8 };
        let (overflow, lines) = (crtc[usize::from(CRTC_OVERFLOW)], crtc[usize::from(CRTC_MAX_SCAN_LINE)]);
        let last = u32::from(crtc[CRTC_HEIGHT])
            | u32::from(overflow >> 1 & 1) << 8
            | u32::from(overflow >> 6 & 1) << 9;
        let repeated = (u32::from(lines & 0x1F) + 1) * if lines & DOUBLE_SCAN != 0 { 2 } else { 1 };
        let start =
            u16::from_be_bytes([crtc[usize::from(CRTC_START_HIGH)], crtc[usize::from(CRTC_START_HIGH) + 1]]);
        let unit = if layout == PixelLayout::Chained { 4 } else { 1 };
        Some(GraphicsView {
            layout,
            size: (width.min(MOST_WIDTH), ((last + 1) / repeated).clamp(1, MOST_HEIGHT)),
            pitch: u32::from(crtc[usize::from(CRTC_OFFSET)]) * 2 * unit,
            start: u32::from(start) * unit,
            palette: if eight { self.palette() } else { self.planar_palette() },
            blank: self.state.sequencer.registers[1] & SCREEN_OFF != 0
                || self.state.attribute.address & PALETTE_TO_SCREEN == 0,
        })
    }

    /// How a mode with a linear framebuffer is shown.
    pub fn linear_view(&self, mode: LinearMode) -> GraphicsView {
        let planar = mode.bits == 4;
        // Eight pixels take a byte of each plane.
        let unit = if planar { 4 } else { 1 };
        GraphicsView {
            layout: if planar { PixelLayout::Planar } else { PixelLayout::Linear(mode.bits) },
            size: (mode.width.into(), mode.height.into()),
            pitch: mode.pitch / unit,
            start: mode.start / unit,
            palette: if planar { self.planar_palette() } else { self.palette() },
            blank: false,
        }
    }

    /// The 256 colours.
    fn palette(&self) -> Vec<[u8; 3]> {
        (0..=255).map(|pixel| eight_bits(self.state.dac.colour(pixel))).collect()
    }

    /// The sixteen colours of pixels in planes: the attribute controller's palette, and its colour select register.
    fn planar_palette(&self) -> Vec<[u8; 3]> {
        let registers = &self.state.attribute.registers;
        let (mode, enabled, select) = (registers[0x10], registers[0x12] & 15, registers[0x14]);
        let colour = |pixel: u8| {
            let entry = registers[usize::from(pixel & enabled)];
            let low = if mode & 0x80 != 0 { entry & 0x0F | (select & 3) << 4 } else { entry & 0x3F };
            eight_bits(self.state.dac.colour(low | (select & 0x0C) << 4))
        };
        (0..16).map(colour).collect()
    }
}

impl GraphicsView {
    /// Guest-physical address and length of the memory in which the pixels are.
    pub fn memory(&self) -> (u64, usize) {
        let length = |range: &std::ops::Range<u64>| (range.end - range.start) as usize;
        match self.layout {
            PixelLayout::Chained => (VIDEO_WINDOW.start, length(&VIDEO_WINDOW)),
            PixelLayout::Unchained => (VIDEO_MEMORY.start, 4 * length(&VIDEO_WINDOW)),
            PixelLayout::Planar | PixelLayout::Linear(_) => {
                let lines = u64::from(self.size.1);
                let unit = if self.layout == PixelLayout::Planar { 4 } else { 1 };
                let bytes = (u64::from(self.start) + lines * u64::from(self.pitch)) * unit;
                let least = 4 * length(&VIDEO_WINDOW) as u64;
                (VIDEO_MEMORY.start, bytes.max(least).min(length(&VIDEO_MEMORY) as u64) as usize)
            }
        }
    }

    /// The picture, from the bytes of [`Self::memory`]; what they are too short for is black.
    pub fn frame(&self, bytes: &[u8]) -> VideoFrame {
        let (width, height) = (self.size.0 as usize, self.size.1 as usize);
        let mut pixels = vec![[0; 3]; width * height];
        if !self.blank {
            for (y, line) in pixels.chunks_mut(width.max(1)).enumerate() {
                let first = self.start as usize + y * self.pitch as usize;
                for (x, pixel) in line.iter_mut().enumerate() {
                    *pixel = self.pixel(bytes, first, x);
                }
            }
        }
        VideoFrame { size: (width, height), pixels }
    }

    fn pixel(&self, bytes: &[u8], first: usize, x: usize) -> [u8; 3] {
        // The VGA's own addresses have 16 bits.
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        let colour = |number: u8| self.palette.get(usize::from(number)).copied().unwrap_or_default();
        match self.layout {
            PixelLayout::Chained => colour(byte((first + x) & 0xFFFF)),
            PixelLayout::Unchained => colour(byte(((first + x / 4) & 0xFFFF) * 4 + x % 4)),
            PixelLayout::Planar => {
                let at = (first + x / 8) * 4;
                let bit = |plane: usize| (byte(at + plane) >> (7 - x % 8) & 1) << plane;
                colour((0..4).fold(0, |pixel, plane| pixel | bit(plane)))
            }
            PixelLayout::Linear(8) => colour(byte(first + x)),
            PixelLayout::Linear(bits @ (15 | 16)) => {
                let pixel = u16::from_le_bytes([byte(first + 2 * x), byte(first + 2 * x + 1)]);
                let (red, green) =
                    if bits == 15 { (pixel >> 10, pixel >> 5 & 31) } else { (pixel >> 11, pixel >> 5 & 63) };
                let five = |value: u16| ((value & 31) << 3 | (value & 31) >> 2) as u8;
                let green = if bits == 15 { five(green) } else { (green << 2 | green >> 4) as u8 };
                [five(red), green, five(pixel)]
            }
            PixelLayout::Linear(bits) => {
                let at = first + x * usize::from(bits / 8);
                [byte(at + 2), byte(at + 1), byte(at)]
            }
        }
    }
}
