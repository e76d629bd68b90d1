//! INT 10h, AH = 00h: the registers of the modes that the BIOS sets.
//!
//! Values: IBM PS/2 and PC BIOS Interface Technical Reference, "Video", and the tables of the VGA's registers after each
//! mode. Text in a graphics mode is not drawn.

use super::call::BiosPlatform;
use crate::memory::{VIDEO_MEMORY, VIDEO_WINDOW};

/// The registers of a mode.
pub(super) struct VideoMode {
    misc: u8,
    sequencer: [u8; 5],
    crtc: [u8; 25],
    graphics: [u8; 9],
    attribute: [u8; 21],
    /// The first 256 colours are those of mode 13h; else the 64 of the EGA.
    many_colours: bool,
}

/// 80x25 characters.
pub(super) const TEXT: VideoMode = VideoMode {
    misc: 0x67,
    sequencer: [0x03, 0x00, 0x03, 0x00, 0x02],
    crtc: [
        0x5F, 0x4F, 0x50, 0x82, 0x55, 0x81, 0xBF, 0x1F, 0x00, 0x4F, 0x0D, 0x0E, 0x00, 0x00, 0x00, 0x00, 0x9C,
        0x8E, 0x8F, 0x28, 0x1F, 0x96, 0xB9, 0xA3, 0xFF,
    ],
    graphics: [0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0E, 0x00, 0xFF],
    attribute: [
        0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3A, 0x3B, 0x3C, 0x3D, 0x3E, 0x3F, 0x0C,
        0x00, 0x0F, 0x08, 0x00,
    ],
    many_colours: false,
};

/// Mode 12h: 640x480 pixels of 16 colours.
const PLANES: VideoMode = VideoMode {
    misc: 0xE3,
    sequencer: [0x03, 0x01, 0x0F, 0x00, 0x06],
    crtc: [
        0x5F, 0x4F, 0x50, 0x82, 0x54, 0x80, 0x0B, 0x3E, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xEA,
        0x8C, 0xDF, 0x28, 0x00, 0xE7, 0x04, 0xE3, 0xFF,
    ],
    graphics: [0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x0F, 0xFF],
    attribute: [
        0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3A, 0x3B, 0x3C, 0x3D, 0x3E, 0x3F, 0x01,
        0x00, 0x0F, 0x00, 0x00,
    ],
    many_colours: false,
};

/// Mode 13h: 320x200 pixels of 256 colours.
pub(super) const CHAINED: VideoMode = VideoMode {
    misc: 0x63,
    sequencer: [0x03, 0x01, 0x0F, 0x00, 0x0E],
    crtc: [
        0x5F, 0x4F, 0x50, 0x82, 0x54, 0x80, 0xBF, 0x1F, 0x00, 0x41, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x9C,
        0x8E, 0x8F, 0x28, 0x40, 0x96, 0xB9, 0xA3, 0xFF,
    ],
    graphics: [0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x05, 0x0F, 0xFF],
    attribute: [
        0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x41,
        0x00, 0x0F, 0x00, 0x00,
    ],
    many_colours: true,
};

/// The graphics mode of this number that the BIOS can set, and the memory that shows it. Planes need video memory.
pub(super) fn graphics_mode(mode: u8, platform: &dyn BiosPlatform) -> Option<(VideoMode, u64, usize)> {
    let window = (VIDEO_WINDOW.end - VIDEO_WINDOW.start) as usize;
    match mode {
        0x12 if platform.has_video_memory() => Some((PLANES, VIDEO_MEMORY.start, 4 * window)),
        0x13 => Some((CHAINED, VIDEO_WINDOW.start, window)),
        _ => None,
    }
}

/// Writes the registers of a mode, and its colours.
pub(super) fn set_registers(mode: &VideoMode, platform: &mut dyn BiosPlatform) {
    platform.port_out(0x3C2, mode.misc);
    let set = |port: u16, values: &[u8], platform: &mut dyn BiosPlatform| {
        for (index, value) in (0..).zip(values) {
            platform.set_indexed(port, index, *value);
        }
    };
    // The registers of the CRT controller are protected until then.
    platform.set_indexed(0x3D4, 0x11, 0);
    set(0x3C4, &mode.sequencer, platform);
    set(0x3D4, &mode.crtc, platform);
    set(0x3CE, &mode.graphics, platform);
    // Reading makes the next write an address.
    platform.port_in(0x3DA);
    for (index, value) in (0..).zip(mode.attribute) {
        platform.port_out(0x3C0, index);
        platform.port_out(0x3C0, value);
    }
    platform.port_out(0x3C6, 0xFF);
    platform.port_out(0x3C8, 0);
    for number in 0..=255u8 {
        let colour = if mode.many_colours { colour_of_256(number) } else { ega_colour(number) };
        colour.into_iter().for_each(|component| platform.port_out(0x3C9, component));
    }
    // The palette is the screen's again.
    platform.port_out(0x3C0, 0x20);
}

/// Colour `number` of the EGA, of which there are 64: bits 0 to 2 are two thirds of blue, green and red, bits 3 to 5 one
/// third.
fn ega_colour(number: u8) -> [u8; 3] {
    if number >= 64 {
        return [0; 3];
    }
    [2, 1, 0].map(|bit| 42 * (number >> bit & 1) + 21 * (number >> (bit + 3) & 1))
}

/// Colour `number` of mode 13h: 16 of the EGA, 16 greys, 24 hues in three brightnesses and three saturations, black.
fn colour_of_256(number: u8) -> [u8; 3] {
    const GREYS: [u8; 16] = [0, 5, 8, 11, 14, 17, 20, 24, 28, 32, 36, 40, 45, 50, 56, 63];
    const LEVELS: [(u8, [u8; 3]); 3] = [(63, [0, 31, 45]), (28, [0, 14, 20]), (16, [0, 8, 11])];
    match number {
        0..16 => ega_colour(TEXT.attribute[usize::from(number)]),
        16..32 => [GREYS[usize::from(number - 16)]; 3],
        32..248 => {
            let (of_level, hue) = ((number - 32) / 24, (number - 32) % 24);
            let (most, least) = LEVELS[usize::from(of_level / 3)];
            let least = least[usize::from(of_level % 3)];
            // A component rises for four hues, stays for eight, falls for four, and is at its least for eight.
            let component = |phase: u8| {
                let step = match (hue + phase) % 24 {
                    at @ 0..4 => at,
                    4..=12 => 4,
                    at @ 13..16 => 16 - at,
                    _ => 0,
                };
                least + ((u16::from(most - least) * u16::from(step) + 1) / 4) as u8
            };
            [component(0), component(16), component(8)]
        }
        248.. => [0; 3],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_colours_are_those_of_a_vga() {
        let known = [
            (0, [0; 3]),
            (6, [42, 21, 0]),
            (15, [63; 3]),
            (23, [24; 3]),
            (32, [0, 0, 63]),
            (33, [16, 0, 63]),
            (36, [63, 0, 63]),
            (40, [63, 0, 0]),
            (43, [63, 47, 0]),
            (48, [0, 63, 0]),
            (55, [0, 16, 63]),
            (57, [39, 31, 63]),
            (104, [0, 0, 28]),
            (247, [11, 12, 16]),
            (248, [0; 3]),
        ];
        for (number, colour) in known {
            assert_eq!(colour_of_256(number), colour, "{number}");
        }
        assert_eq!((ega_colour(0x14), ega_colour(0x3F), ega_colour(64)), ([42, 21, 0], [63; 3], [0; 3]));
    }
}
