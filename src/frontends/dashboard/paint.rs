//! Cells of a terminal as escape sequences (ECMA-48, SGR).

use std::io::Write;

use ratatui_core::buffer::Buffer;
use ratatui_core::style::{Color, Modifier, Style};

/// Appends what turns a terminal that shows `before` into one that shows `after`, a buffer of the same size.
/// Without `colours`, only bold and reversed characters are used.
pub fn append_changes(before: &Buffer, after: &Buffer, colours: bool, out: &mut Vec<u8>) {
    let (mut pen, mut position) = (None, None);
    for (x, y, cell) in before.diff(after) {
        if position != Some((x, y)) {
            // Writing to memory does not fail.
            let _ = write!(out, "\x1b[{};{}H", y + 1, x + 1);
        }
        let style = cell.style();
        if pen != Some(style) {
            append_style(style, colours, out);
            pen = Some(style);
        }
        out.extend_from_slice(cell.symbol().as_bytes());
        // Terminals do not agree on the width of other characters.
        position = cell.symbol().is_ascii().then_some((x + 1, y));
    }
    if pen.is_some() {
        out.extend_from_slice(b"\x1b[0m");
    }
}

fn append_style(style: Style, colours: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\x1b[0");
    if style.add_modifier.contains(Modifier::BOLD) {
        out.extend_from_slice(b";1");
    }
    if style.add_modifier.contains(Modifier::REVERSED) {
        out.extend_from_slice(b";7");
    }
    if colours {
        append_colour(style.fg, 30, out);
        append_colour(style.bg, 40, out);
    }
    out.push(b'm');
}

/// `base`: 30 for characters, 40 for what is behind them.
fn append_colour(colour: Option<Color>, base: u8, out: &mut Vec<u8>) {
    let number = match colour {
        None | Some(Color::Reset) => return,
        Some(Color::Rgb(red, green, blue)) => {
            let _ = write!(out, ";{};2;{red};{green};{blue}", base + 8);
            return;
        }
        Some(Color::Indexed(number @ 0..8)) => base + number,
        Some(Color::Indexed(number @ 8..16)) => base + 60 + number - 8,
        Some(Color::Indexed(number)) => {
            let _ = write!(out, ";{};5;{number}", base + 8);
            return;
        }
        Some(Color::Black) => base,
        Some(Color::Red) => base + 1,
        Some(Color::Green) => base + 2,
        Some(Color::Yellow) => base + 3,
        Some(Color::Blue) => base + 4,
        Some(Color::Magenta) => base + 5,
        Some(Color::Cyan) => base + 6,
        Some(Color::Gray) => base + 7,
        Some(Color::DarkGray) => base + 60,
        Some(Color::LightRed) => base + 61,
        Some(Color::LightGreen) => base + 62,
        Some(Color::LightYellow) => base + 63,
        Some(Color::LightBlue) => base + 64,
        Some(Color::LightMagenta) => base + 65,
        Some(Color::LightCyan) => base + 66,
        Some(Color::White) => base + 67,
    };
    let _ = write!(out, ";{number}");
}

#[cfg(test)]
mod tests {
    use ratatui_core::layout::Rect;

    use super::*;

    fn changes(colours: bool, draw: impl Fn(&mut Buffer)) -> String {
        let before = Buffer::empty(Rect::new(0, 0, 10, 2));
        let mut after = before.clone();
        draw(&mut after);
        let mut out = Vec::new();
        append_changes(&before, &after, colours, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_what_has_changed_is_written() {
        assert_eq!(changes(true, |_| {}), "");
        let draw = |buffer: &mut Buffer| {
            buffer.set_string(1, 0, "ab", Style::new().fg(Color::LightRed).bg(Color::Indexed(4)));
            buffer.set_string(3, 1, "c", Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED));
        };
        assert_eq!(changes(true, draw), "\x1b[1;2H\x1b[0;91;44mab\x1b[2;4H\x1b[0;1;7mc\x1b[0m");
        assert_eq!(changes(false, draw), "\x1b[1;2H\x1b[0mab\x1b[2;4H\x1b[0;1;7mc\x1b[0m");
    }

    #[test]
    fn pictures_have_colours_of_24_bits() {
        let style = Style::new().fg(Color::Rgb(1, 2, 3)).bg(Color::Rgb(4, 5, 6));
        let shown = changes(true, |buffer| buffer.set_string(0, 0, "▀▀", style));
        assert_eq!(shown, "\x1b[1;1H\x1b[0;38;2;1;2;3;48;2;4;5;6m▀\x1b[1;2H▀\x1b[0m");
    }
}
