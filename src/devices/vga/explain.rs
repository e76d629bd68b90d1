//! The registers of a VGA in words.
//!
//! *IBM Personal System/2 Hardware Interface Technical Reference*, "VGA Function".

use super::Vga;

/// Names of the CRT controller's registers.
const CRTC: [&str; 25] = [
    "horizontal total",
    "horizontal display end",
    "horizontal blanking start",
    "horizontal blanking end",
    "horizontal retrace start",
    "horizontal retrace end",
    "vertical total",
    "overflow",
    "preset row scan",
    "maximum scan line",
    "cursor start",
    "cursor end",
    "start address high",
    "start address low",
    "cursor location high",
    "cursor location low",
    "vertical retrace start",
    "vertical retrace end",
    "vertical display end",
    "offset",
    "underline location",
    "vertical blanking start",
    "vertical blanking end",
    "mode control",
    "line compare",
];
/// Names of the sequencer's and of the graphics controller's registers.
const SEQUENCER: [&str; 5] = ["reset", "clocking mode", "map mask", "character map select", "memory mode"];
const GRAPHICS: [&str; 9] = [
    "set/reset",
    "enable set/reset",
    "colour compare",
    "data rotate",
    "read map select",
    "graphics mode",
    "miscellaneous",
    "colour don't care",
    "bit mask",
];
/// Graphics controller, miscellaneous register: graphics, not text.
const GRAPHICS_MODE: u8 = 1;
/// Graphics controller, mode register: 256 colours.
const SHIFT_256: u8 = 0x40;

/// The state in words, a line each.
pub(super) fn lines(vga: &Vga) -> Vec<String> {
    let (state, view) = (&vga.state, vga.view());
    let crtc = |index: usize| state.crtc.registers[index];
    let columns = u32::from(crtc(1)) + 1;
    let overflow = crtc(7);
    let last_line =
        u32::from(crtc(18)) | u32::from(overflow >> 1 & 1) << 8 | u32::from(overflow >> 6 & 1) << 9;
    let scan_lines = last_line + 1;
    let colour = if state.misc & 1 != 0 { "ports 0x3Dx" } else { "ports 0x3Bx" };
    let mode = match (state.graphics.registers[6] & GRAPHICS_MODE != 0, state.graphics.registers[5]) {
        (false, _) => format!(
            "text, {columns} columns, {} rows of {} scan lines",
            scan_lines / u32::from(view.cell_height.max(1)),
            view.cell_height
        ),
        (true, mode) if mode & SHIFT_256 != 0 => {
            format!("graphics in 256 colours, {scan_lines} scan lines")
        }
        (true, _) => format!("graphics in planes, {} pixels, {scan_lines} scan lines", columns * 8),
    };
    let blank = if view.blank { ", picture off" } else { "" };
    let row = |cell: u16| match view.pitch {
        0 => format!("cell {cell}"),
        pitch => format!(
            "row {}, column {}",
            cell.wrapping_sub(view.start) / pitch,
            cell.wrapping_sub(view.start) % pitch
        ),
    };
    let cursor = match view.cursor_visible {
        true => {
            format!("at {}, scan lines {} to {}", row(view.cursor), view.cursor_top, view.cursor_bottom)
        }
        false => format!("off, at {}", row(view.cursor)),
    };
    let blink = if view.blink { "attribute bit 7 blinks" } else { "attribute bit 7 brightens" };
    let mut lines = vec![
        format!("{mode}{blank}, {colour}"),
        format!("cursor {cursor}"),
        format!("start address {:#x}, {} cells in a row, {blink}", view.start, view.pitch),
    ];
    let registers = [
        ("CRTC", &CRTC[..], &state.crtc.registers[..]),
        ("sequencer", &SEQUENCER[..], &state.sequencer.registers[..]),
        ("graphics", &GRAPHICS[..], &state.graphics.registers[..]),
    ];
    for (chip, names, values) in registers {
        for (index, (name, value)) in names.iter().zip(values).enumerate() {
            lines.push(format!("{chip} {index:#04x} {name}: {value:#04x}"));
        }
    }
    lines
}
