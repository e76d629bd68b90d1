//! The guest's screen, or its serial text.

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};

use super::DIM;
use crate::devices::vga::{COLUMNS, TextView, VideoFrame, cp437};
use crate::frontends::painter::terminal_colour;
use crate::frontends::pictures::{Window, fit, scaled};

/// The upper half of a cell in the colour of the character, the lower one in that behind it.
const UPPER_HALF: char = '\u{2580}';

/// What the guest shows.
#[derive(Clone, Debug)]
pub enum ScreenContents {
    /// The VGA's text: cells row by row, and how they are shown.
    Text {
        /// `character | attribute << 8`.
        cells: Vec<u16>,
        /// Cursor and blinking.
        view: TextView,
    },
    /// A picture.
    Picture(VideoFrame),
    /// A line that stands for a picture.
    Note(String),
    /// The last lines of the serial port.
    Serial(Vec<String>),
}

impl ScreenContents {
    /// The title of the pane.
    pub fn title(&self) -> &'static str {
        match self {
            ScreenContents::Text { .. } | ScreenContents::Picture(_) | ScreenContents::Note(_) => "Screen",
            ScreenContents::Serial(_) => "Serial port",
        }
    }
}

/// Draws it at `place`, as much as fits.
pub(super) fn draw(buffer: &mut Buffer, place: Rect, contents: &ScreenContents) {
    if place.is_empty() {
        return;
    }
    match contents {
        ScreenContents::Text { cells, view } => text(buffer, place, cells, *view),
        ScreenContents::Picture(frame) => picture(buffer, place, frame),
        ScreenContents::Note(line) => {
            buffer.set_stringn(place.x, place.y, line, place.width.into(), DIM);
        }
        ScreenContents::Serial(lines) if lines.is_empty() => {
            buffer.set_stringn(place.x, place.y, "nothing yet", place.width.into(), DIM);
        }
        ScreenContents::Serial(lines) => {
            let first = lines.len().saturating_sub(place.height.into());
            for (line, y) in lines[first..].iter().zip(place.y..) {
                buffer.set_stringn(place.x, y, line, place.width.into(), Style::new());
            }
        }
    }
}

/// The rows down to the cursor, so that input is always visible.
fn text(buffer: &mut Buffer, place: Rect, cells: &[u16], view: TextView) {
    if view.blank {
        return;
    }
    let cursor = view.cursor_position();
    let top = cursor.map_or(0, |(row, _)| (row + 1).saturating_sub(place.height.into()));
    for (row, y) in (top..).zip(place.y..place.bottom()) {
        for (column, x) in (0..COLUMNS).zip(place.x..place.right()) {
            let Some(cell) = cells.get(row * COLUMNS + column) else { return };
            let [character, attribute] = cell.to_le_bytes();
            let background = if view.blink { attribute >> 4 & 7 } else { attribute >> 4 };
            let mut style = Style::new()
                .fg(Color::Indexed(terminal_colour(attribute & 15)))
                .bg(Color::Indexed(terminal_colour(background)));
            if view.cursor_visible && cursor == Some((row, column)) {
                style = style.add_modifier(Modifier::REVERSED);
            }
            buffer[(x, y)].set_char(cp437::glyph(character)).set_style(style);
        }
    }
}

/// The picture in half blocks.
fn picture(buffer: &mut Buffer, place: Rect, frame: &VideoFrame) {
    let window = Window { cells: (place.width, place.height), pixels: (0, 0) };
    let (columns, rows) = fit(frame.size, window);
    let shown = scaled(frame, (columns, 2 * rows));
    for (y, pixels) in (place.y..place.bottom()).zip(shown.pixels.chunks(2 * columns)) {
        let (upper, lower) = pixels.split_at(columns.min(pixels.len()));
        for ((x, upper), lower) in (place.x..place.right()).zip(upper).zip(lower) {
            let colour = |[red, green, blue]: [u8; 3]| Color::Rgb(red, green, blue);
            let style = Style::new().fg(colour(*upper)).bg(colour(*lower));
            buffer[(x, y)].set_char(UPPER_HALF).set_style(style);
        }
    }
}
