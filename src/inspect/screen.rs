//! The text screen as text, or as an image.

use super::picture::Picture;
use crate::devices::vga::{COLUMNS, ROWS, TextView, VideoFrame, cp437, eight_bits};

/// Pixels of a cell from left to right.
const CELL_WIDTH: usize = 8;
/// Pixels of a cell from top to bottom: each row of a glyph is shown twice.
const CELL_HEIGHT: usize = 16;

/// What the screen showed at one moment.
#[derive(Clone, Debug)]
pub struct Shot {
    /// The cells row by row, `character | attribute << 8`: see [`TextView::cells`].
    pub cells: Vec<u16>,
    /// How they are shown.
    pub view: TextView,
    /// The sixteen colours as red, green and blue, 0 to 63 each.
    pub colours: [[u8; 3]; 16],
    /// The picture that is shown in place of text.
    pub frame: Option<VideoFrame>,
}

impl Shot {
    /// The picture of it: of text 640 by 400 pixels, in which blinking characters are there; the cursor is, too.
    pub fn picture(&self) -> Picture {
        if let Some(VideoFrame { size, pixels }) = &self.frame {
            return Picture::with_pixels(size.0, pixels.clone());
        }
        let colours = self.colours.map(eight_bits);
        let mut picture = Picture::new(COLUMNS * CELL_WIDTH, ROWS * CELL_HEIGHT, colours[0]);
        if self.view.blank {
            return picture;
        }
        for (index, &cell) in self.cells.iter().take(COLUMNS * ROWS).enumerate() {
            let [character, attribute] = cell.to_le_bytes();
            let background = if self.view.blink { attribute >> 4 & 7 } else { attribute >> 4 };
            let glyph = glyph(character);
            let (left, top) = (index % COLUMNS * CELL_WIDTH, index / COLUMNS * CELL_HEIGHT);
            for y in 0..CELL_HEIGHT {
                for x in 0..CELL_WIDTH {
                    let inked = glyph[y / 2] >> x & 1 == 1;
                    let colour = if inked { attribute & 15 } else { background };
                    picture.set(left + x, top + y, colours[usize::from(colour)]);
                }
            }
        }
        self.draw_cursor(&mut picture);
        picture
    }

    /// The cursor's lines, in the colour of the character it is at.
    fn draw_cursor(&self, picture: &mut Picture) {
        let Some((row, column)) = self.view.cursor_position().filter(|_| self.view.cursor_visible) else {
            return;
        };
        let cell = self.cells.get(row * COLUMNS + column).copied().unwrap_or_default();
        let line = |line: u8| usize::from(line) * CELL_HEIGHT / usize::from(self.view.cell_height.max(1));
        let last = (line(self.view.cursor_bottom.saturating_add(1))).min(CELL_HEIGHT);
        for y in line(self.view.cursor_top)..last {
            for x in 0..CELL_WIDTH {
                let colour = eight_bits(self.colours[usize::from(cell >> 8 & 15)]);
                picture.set(column * CELL_WIDTH + x, row * CELL_HEIGHT + y, colour);
            }
        }
    }
}

/// The rows of a character from top to bottom; bit 0 is on the left.
fn glyph(character: u8) -> [u8; 8] {
    use font8x8::UnicodeFonts;
    let shown = cp437::glyph(character);
    font8x8::BASIC_FONTS
        .get(shown)
        .or_else(|| font8x8::LATIN_FONTS.get(shown))
        .or_else(|| font8x8::BOX_FONTS.get(shown))
        .or_else(|| font8x8::BLOCK_FONTS.get(shown))
        .or_else(|| font8x8::GREEK_FONTS.get(shown))
        .or_else(|| font8x8::MISC_FONTS.get(shown))
        .unwrap_or(UNKNOWN)
}

/// Stands for the few characters that the font does not have: an empty frame.
const UNKNOWN: [u8; 8] = [0x00, 0x7E, 0x42, 0x42, 0x42, 0x42, 0x7E, 0x00];

/// The screen as text: a line per row, without the spaces at the end of lines and without the empty
/// lines at the end of the screen. `cells` as in [`Shot`].
pub fn plain_text(cells: &[u16]) -> String {
    let mut text = String::new();
    for row in cells.chunks(COLUMNS).take(ROWS) {
        let line: String = row.iter().map(|&cell| cp437::glyph(cell as u8)).collect();
        text.push_str(line.trim_end_matches(' '));
        text.push('\n');
    }
    without_empty_end(text)
}

/// `text` without the empty lines at its end.
pub fn without_empty_end(mut text: String) -> String {
    while text == "\n" || text.ends_with("\n\n") {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::vga::Vga;

    fn shot(cells: &[u16]) -> Shot {
        let vga = Vga::new();
        Shot { cells: cells.to_vec(), view: vga.view(), colours: vga.colours(), frame: None }
    }

    #[test]
    fn letters_are_drawn_in_their_colours() {
        let picture = shot(&[0x1E41, 0x0720, 0x07DB]).picture();
        assert_eq!((picture.width(), picture.height()), (640, 400));
        let colours = Vga::new().colours().map(eight_bits);
        let in_cell = |cell: usize, colour: usize| {
            (0..16)
                .flat_map(|y| (0..8).map(move |x| (cell * 8 + x, y)))
                .filter(|&(x, y)| picture.get(x, y) == Some(colours[colour]))
                .count()
        };
        assert_eq!(in_cell(0, 14) + in_cell(0, 1), 128, "yellow on blue and nothing else");
        assert!((20..100).contains(&in_cell(0, 14)));
        assert_eq!(in_cell(1, 0), 128);
        assert_eq!(in_cell(2, 7), 128, "a full block");
    }

    #[test]
    fn any_cursor_shape_and_missing_cells_are_accepted() {
        for bits in (0..64).map(|bit| 1u64 << bit).chain([u64::MAX, 0]) {
            let shot = Shot { view: TextView::from_bits(bits), ..shot(&[0xFFFF; 7]) };
            assert_eq!(shot.picture().width(), 640);
        }
        let dark = Shot { view: TextView { blank: true, ..Vga::new().view() }, ..shot(&[0x0741; 2000]) };
        assert!((0..640).all(|x| dark.picture().get(x, 7) == Some([0; 3])));
    }

    #[test]
    fn nearly_every_character_has_a_glyph() {
        let unknown: String = (0..=255).filter(|&byte| glyph(byte) == UNKNOWN).map(cp437::glyph).collect();
        assert!(unknown.chars().count() < 50, "{unknown}");
        assert!((0x20..0x7F).chain(0xB0..=0xDF).all(|byte| glyph(byte) != UNKNOWN), "{unknown}");
    }
}
