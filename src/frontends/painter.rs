//! VGA text on a terminal: what has changed since the last time, as escape sequences.
//!
//! Nothing here does I/O; the sequences are those of ECMA-48 (cursor position, SGR colours) with
//! the DEC private modes every terminal emulator has (cursor visibility, cursor shape).

use crate::devices::vga::{COLUMNS, ROWS, TextView, cp437};
use crate::inspect::screen::without_empty_end;

/// One picture of the guest's screen.
#[derive(Clone, Copy, Debug)]
pub struct ScreenFrame<'a> {
    /// The cells on the screen row by row, `character | attribute << 8`: see [`TextView::cells`].
    /// Cells missing from the 80x25 are shown black.
    pub cells: &'a [u16],
    /// How they are shown.
    pub view: TextView,
    /// Blinking characters are visible; in the other phase only their background is.
    pub blink_phase: bool,
}

/// Brings a terminal from the last frame to the next.
///
/// The guest's screen is shown at the terminal's top left. A terminal with fewer rows shows the rows down to
/// the cursor, so that input is always visible; columns that do not fit are cut off. The cursor is the
/// terminal's own.
#[derive(Clone, Debug)]
pub struct Painter {
    columns: u16,
    rows: u16,
    /// What each cell of the window shows, row by row; `None` where that is not known.
    shown: Vec<Option<Look>>,
    /// The terminal has to be cleared before it is painted on.
    stale: bool,
    /// Foreground and background that the next character gets.
    pen: Option<(u8, u8)>,
    /// Row and column where the next character goes.
    position: Option<(usize, usize)>,
    cursor: Option<Cursor>,
}

/// How one cell of the terminal looks. Colours are the VGA's, 0 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    glyph: char,
    foreground: u8,
    background: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cursor {
    Hidden,
    Underline,
    Block,
}

/// Default attribute: light grey on black.
const PLAIN: (u8, u8) = (7, 0);

impl Look {
    /// A black cell.
    const BLACK: Look = Look { glyph: ' ', foreground: PLAIN.0, background: PLAIN.1 };

    /// The look of `cell`. `blink`: attribute bit 7 means blinking; `lit`: blinking characters are visible.
    fn of(cell: u16, blink: bool, lit: bool) -> Look {
        let [character, attribute] = cell.to_le_bytes();
        let foreground = attribute & 0x0F;
        if !blink {
            return Look { glyph: cp437::glyph(character), foreground, background: attribute >> 4 };
        }
        let dark = attribute & 0x80 != 0 && !lit;
        let glyph = if dark { ' ' } else { cp437::glyph(character) };
        Look { glyph, foreground, background: attribute >> 4 & 0x07 }
    }

    fn in_frame(frame: &ScreenFrame, index: usize) -> Look {
        match frame.cells.get(index) {
            Some(&cell) if !frame.view.blank => Look::of(cell, frame.view.blink, frame.blink_phase),
            _ => Look::BLACK,
        }
    }

    fn colours(&self) -> (u8, u8) {
        (self.foreground, self.background)
    }

    /// Shows nothing, so that a line can end before it.
    fn is_empty(&self) -> bool {
        self.glyph == ' ' && self.background == PLAIN.1
    }

    /// Some terminals draw these symbols two columns wide, as pictures.
    fn may_be_wide(&self) -> bool {
        matches!(self.glyph, '‼' | '\u{2190}'..='\u{21FF}' | '\u{25A0}'..='\u{26FF}')
    }
}

impl Painter {
    /// A painter for a terminal of this size that shows nothing of it yet.
    pub fn new(columns: u16, rows: u16) -> Painter {
        let mut painter = Painter {
            columns,
            rows,
            shown: Vec::new(),
            stale: true,
            pen: None,
            position: None,
            cursor: None,
        };
        painter.invalidate();
        painter
    }

    /// Sets the terminal's size. Its contents are assumed to be lost.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        (self.columns, self.rows) = (columns, rows);
        self.invalidate();
    }

    /// Other output was written to the terminal: the next frame is painted completely.
    pub fn invalidate(&mut self) {
        let (width, height) = self.window();
        self.shown.clear();
        self.shown.resize(width * height, None);
        self.stale = true;
        self.pen = None;
        self.position = None;
        self.cursor = None;
    }

    /// Appends to `out` the sequences that turn the last frame into this one; nothing if they are equal.
    pub fn paint(&mut self, frame: &ScreenFrame, out: &mut Vec<u8>) {
        let (width, height) = self.window();
        if width == 0 || height == 0 {
            return;
        }
        if std::mem::take(&mut self.stale) {
            out.extend_from_slice(b"\x1b[0m\x1b[2J");
        }
        let cursor = frame.view.cursor_position();
        let top = cursor.map_or(0, |(row, _)| (row + 1).saturating_sub(height));
        for row in 0..height {
            for column in 0..width {
                let look = Look::in_frame(frame, (top + row) * COLUMNS + column);
                let shown = &mut self.shown[row * width + column];
                if *shown != Some(look) {
                    *shown = Some(look);
                    self.put(row, column, look, out);
                }
            }
        }
        match cursor {
            Some((row, column)) if frame.view.cursor_visible && !frame.view.blank && column < width => {
                self.go_to(row - top, column, out);
                let block = frame.view.cursor_is_block();
                self.set_cursor(if block { Cursor::Block } else { Cursor::Underline }, out);
            }
            _ => self.set_cursor(Cursor::Hidden, out),
        }
    }

    /// Columns and rows of the guest's screen that fit.
    fn window(&self) -> (usize, usize) {
        (COLUMNS.min(self.columns.into()), ROWS.min(self.rows.into()))
    }

    fn put(&mut self, row: usize, column: usize, look: Look, out: &mut Vec<u8>) {
        self.go_to(row, column, out);
        if self.pen != Some(look.colours()) {
            self.pen = Some(look.colours());
            append(out, &select(look.colours()));
        }
        append(out, look.glyph.encode_utf8(&mut [0; 4]));
        self.position = (!look.may_be_wide()).then_some((row, column + 1));
    }

    fn go_to(&mut self, row: usize, column: usize, out: &mut Vec<u8>) {
        if self.position != Some((row, column)) {
            self.position = Some((row, column));
            append(out, &format!("\x1b[{};{}H", row + 1, column + 1));
        }
    }

    fn set_cursor(&mut self, cursor: Cursor, out: &mut Vec<u8>) {
        if self.cursor == Some(cursor) {
            return;
        }
        self.cursor = Some(cursor);
        append(
            out,
            match cursor {
                Cursor::Hidden => "\x1b[?25l",
                // The VGA's cursor always blinks, so the blinking shapes.
                Cursor::Underline => "\x1b[3 q\x1b[?25h",
                Cursor::Block => "\x1b[1 q\x1b[?25h",
            },
        );
    }
}

/// The screen as coloured text, to be left on a terminal when the run is over: like
/// [`crate::inspect::screen::plain_text`], with SGR sequences. Every line ends in the terminal's own
/// colours, and text in the plain attribute (light grey on black) has them too. Blinking characters do
/// not blink.
pub fn colour_text(cells: &[u16], blink_enabled: bool) -> String {
    let mut text = String::new();
    for row in cells.chunks(COLUMNS).take(ROWS) {
        let looks: Vec<Look> = row.iter().map(|&cell| Look::of(cell, blink_enabled, true)).collect();
        let end = looks.iter().rposition(|look| !look.is_empty()).map_or(0, |last| last + 1);
        let mut pen = PLAIN;
        for look in &looks[..end] {
            if look.colours() != pen {
                pen = look.colours();
                text.push_str(&if pen == PLAIN { RESET.to_owned() } else { select(pen) });
            }
            text.push(look.glyph);
        }
        if pen != PLAIN {
            text.push_str(RESET);
        }
        text.push('\n');
    }
    without_empty_end(text)
}

/// SGR: the terminal's own colours.
const RESET: &str = "\x1b[0m";

/// The number, 0 to 15, that a terminal gives a colour of the VGA: the VGA counts blue, green, red; a terminal red, green,
/// blue.
pub(super) fn terminal_colour(colour: u8) -> u8 {
    colour & 8 | (colour & 1) << 2 | colour & 2 | colour >> 2 & 1
}

/// SGR: the given foreground and background.
fn select((foreground, background): (u8, u8)) -> String {
    let parameter = |colour: u8, normal: u8| match terminal_colour(colour) {
        bright @ 8.. => normal + 60 + bright - 8,
        dark => normal + dark,
    };
    format!("\x1b[{};{}m", parameter(foreground, 30), parameter(background, 40))
}

fn append(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
#[path = "painter_test.rs"]
mod tests;
