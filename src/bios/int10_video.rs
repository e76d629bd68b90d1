//! INT 10h: the screen. Text modes 2 and 3, and 12h and 13h; other modes are not set, which INT 10h, AH = 0Fh shows.
//! Text services go on to write into the memory of the text while a graphics mode is shown.

use tracing::info;

use super::call::{BiosCall, BiosPlatform, Served};
use super::data_areas::bda;
use super::int10_text::{self, Place, Window};
use super::{int10_graphics, int10_palette, int10_vbe};

const CRTC: u16 = 0x3D4;
/// The mode: 80x25 characters in 16 colours.
const MODE: u8 = 3;
/// Bit 7 of the mode: the screen is not cleared.
const KEEP_SCREEN: u8 = 0x80;
/// Bits of AL in AH = 13h.
const MOVE_CURSOR: u8 = 1;
const WITH_ATTRIBUTES: u8 = 2;
/// Most bytes of a string: a screen.
const LONGEST: u16 = 132 * 60;

pub(super) fn serve(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    match call.ah() {
        0x00 => _ = set_mode(call, platform),
        0x01 => set_cursor_shape(call.cx(), platform),
        0x02 => {
            let place = Place { row: call.dh(), column: call.dl() };
            int10_text::set_cursor(call.bh(), place, platform);
        }
        0x03 => {
            let place = int10_text::cursor(call.bh(), platform);
            call.set_cx(platform.word(bda::CURSOR_SHAPE));
            call.set_dh(place.row);
            call.set_dl(place.column);
        }
        // There is no light pen.
        0x04 => call.set_ah(0),
        0x05 => int10_text::show_page(call.al(), platform),
        0x06 | 0x07 => {
            let window = Window {
                first: Place { row: call.ch(), column: call.cl() },
                last: Place { row: call.dh(), column: call.dl() },
            };
            let lines = i16::from(call.al());
            let lines = if call.ah() == 0x06 { lines } else { -lines };
            int10_text::scroll(window, lines, call.bh(), platform);
        }
        0x08 => {
            let place = int10_text::cursor(call.bh(), platform);
            call.set_ax(int10_text::read_cell(call.bh(), place, platform));
        }
        0x09 => int10_text::write(call.bh(), call.al(), Some(call.bl()), call.cx(), platform),
        0x0A => int10_text::write(call.bh(), call.al(), None, call.cx(), platform),
        0x0E => int10_text::teletype(call.al(), None, platform),
        0x0F => {
            call.set_al(platform.byte(bda::MODE));
            call.set_ah(int10_text::columns(platform));
            call.set_bh(int10_text::page(platform));
        }
        0x10 => int10_palette::serve(call, platform),
        0x11 if call.al() == 0x30 => {
            // No font; 16 lines to a character; the last row.
            call.es = 0;
            call.ebp &= 0xFFFF_0000;
            call.set_cx(platform.word(bda::CHARACTER_HEIGHT));
            call.set_dl(int10_text::last_row(platform));
        }
        0x12 => alternate_select(call),
        0x13 => write_string(call, platform),
        // A VGA with a colour display, and no other.
        0x1A if call.al() == 0 => {
            call.set_al(0x1A);
            call.set_bx(0x0008);
        }
        0x4F => int10_vbe::serve(call, platform),
        _ => {}
    }
    Served::Done
}

/// AH = 00h: sets the mode in AL. False if there is none with this number.
pub(super) fn set_mode(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> bool {
    let mode = call.al() & !KEEP_SCREEN;
    let keep = call.al() & KEEP_SCREEN != 0;
    let graphics = int10_graphics::graphics_mode(mode, platform);
    if mode != 2 && mode != MODE && graphics.is_none() {
        let needed = if mode == 0x12 { ": it needs the display adapter of `--vga std`" } else { "" };
        info!("the BIOS does not set video mode {mode:#04x}{needed}");
        return false;
    }
    let was_vbe = int10_vbe::leave(platform);
    let was_graphics = was_vbe || !matches!(platform.byte(bda::MODE), 2 | MODE);
    platform.set_byte(bda::MODE, mode);
    platform.set_byte(bda::VIDEO, 0x60 | call.al() & KEEP_SCREEN);
    if let Some((registers, memory, length)) = graphics {
        int10_graphics::set_registers(&registers, platform);
        if !keep {
            platform.write(memory, &vec![0; length]);
        }
        // Above 7 there are no modes of the CGA.
        call.set_al(0x20);
        return true;
    }
    if was_graphics {
        int10_graphics::set_registers(&int10_graphics::TEXT, platform);
    }
    set_cursor_shape(0x0D0E, platform);
    if keep {
        platform.write(bda::CURSORS, &[0; 16]);
        int10_text::show_page(0, platform);
    } else {
        int10_text::clear(platform);
    }
    // What the mode was: above 7 or not.
    call.set_al(0x30);
    true
}

/// CH is the first line of the cursor, CL the last. Lines of a character with 8 of them are scaled, as by a VGA BIOS.
fn set_cursor_shape(shape: u16, platform: &mut dyn BiosPlatform) {
    platform.set_word(bda::CURSOR_SHAPE, shape);
    let [last, first] = shape.to_le_bytes();
    let height = platform.byte(bda::CHARACTER_HEIGHT);
    let (mut top, mut bottom) = (first & 0x1F, last & 0x1F);
    if height > 8 && bottom < 8 && top < 8 {
        top = if bottom == top + 1 || bottom == top { height.saturating_sub(3) } else { top * 2 };
        bottom = height.saturating_sub(2);
    }
    platform.set_indexed(CRTC, 0x0A, top | first & 0x60);
    platform.set_indexed(CRTC, 0x0B, bottom);
}

fn alternate_select(call: &mut BiosCall) {
    match call.bl() {
        // A colour display, 256 KiB, no feature bits, switches.
        0x10 => {
            call.set_bx(0x0003);
            call.set_cx(0x0009);
        }
        // Lines, palette loading, grey scales, cursor scaling, display on: accepted.
        0x30..=0x36 => call.set_al(0x12),
        _ => {}
    }
}

fn write_string(call: &mut BiosCall, platform: &mut dyn BiosPlatform) {
    let page = call.bh();
    let before = int10_text::cursor(page, platform);
    int10_text::set_cursor(page, Place { row: call.dh(), column: call.dl() }, platform);
    let mut at = (call.ebp as u16, 0u16);
    let mut next = |platform: &mut dyn BiosPlatform| {
        let byte = platform.byte(call.in_es(at.0));
        at.0 = at.0.wrapping_add(1);
        at.1 += 1;
        byte
    };
    for _ in 0..call.cx().min(LONGEST) {
        let character = next(platform);
        let attribute = if call.al() & WITH_ATTRIBUTES != 0 { next(platform) } else { call.bl() };
        int10_text::teletype(character, Some(attribute), platform);
    }
    if call.al() & MOVE_CURSOR == 0 {
        int10_text::set_cursor(page, before, platform);
    }
}

#[cfg(test)]
#[path = "int10_video_test.rs"]
mod tests;
