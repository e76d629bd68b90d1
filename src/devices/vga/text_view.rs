//! How the text buffer is shown: the part of the registers that a painter needs.

/// Columns of text on the screen.
pub const COLUMNS: usize = 80;

/// Rows of text on the screen.
pub const ROWS: usize = 25;

/// Guest-physical address of the text buffer: two bytes per cell, character then attribute.
pub const TEXT_BUFFER: u64 = 0xB8000;

/// Cells in the text buffer, 32 KiB of them; the screen wraps around at its end.
pub const BUFFER_CELLS: usize = 0x4000;

/// How the text buffer is shown, small enough to be handed between threads as one word
/// ([`TextView::to_bits`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextView {
    /// Cell of the buffer that is shown in the top left corner (start address registers).
    pub start: u16,
    /// Cells from the start of one row to the start of the next: even, 0 to 510 (offset register).
    pub pitch: u16,
    /// Cell of the buffer the cursor is at (cursor location registers).
    pub cursor: u16,
    /// The cursor is switched on and has at least one line. It may still be off the screen: see
    /// [`TextView::cursor_position`].
    pub cursor_visible: bool,
    /// First scan line of the cursor within its cell, 0 to 31.
    pub cursor_top: u8,
    /// Last scan line of the cursor within its cell, 0 to 31.
    pub cursor_bottom: u8,
    /// Scan lines in a cell, 1 to 32.
    pub cell_height: u8,
    /// Attribute bit 7 makes a character blink; otherwise it brightens the background.
    pub blink: bool,
    /// The picture is switched off: nothing but black.
    pub blank: bool,
}

impl TextView {
    /// Row and column of the cell the cursor is at, whether it is switched on or not; `None` when
    /// that cell is not on the screen.
    pub fn cursor_position(&self) -> Option<(usize, usize)> {
        let distance = usize::from(self.cursor.wrapping_sub(self.start));
        let (row, column) = match usize::from(self.pitch) {
            0 => (0, distance),
            pitch => (distance / pitch, distance % pitch),
        };
        (row < ROWS && column < COLUMNS).then_some((row, column))
    }

    /// True if the cursor covers its cell rather than underlining it: it begins in the upper half.
    pub fn cursor_is_block(&self) -> bool {
        self.cursor_top < self.cell_height / 2
    }

    /// The cells on the screen, row by row ([`ROWS`] of [`COLUMNS`]), each `character | attribute
    /// << 8`, taken from the bytes of the text buffer. Cells that `buffer` is too short for
    /// are 0.
    pub fn cells(&self, buffer: &[u8]) -> Vec<u16> {
        let cell = |index: usize| match buffer.get(index * 2..index * 2 + 2) {
            Some(&[character, attribute]) => u16::from_le_bytes([character, attribute]),
            _ => 0,
        };
        let row_start = |row| usize::from(self.start) + row * usize::from(self.pitch);
        (0..ROWS)
            .flat_map(|row| (0..COLUMNS).map(move |column| row_start(row) + column))
            .map(|index| cell(index % BUFFER_CELLS))
            .collect()
    }

    /// The view as one word, for an atomic; [`TextView::from_bits`] takes it back. The layout may
    /// change with any version: it is not for storing.
    pub fn to_bits(self) -> u64 {
        u64::from(self.start)
            | u64::from(self.cursor) << 16
            | u64::from(self.cursor_top & 0x1F) << 32
            | u64::from(self.cursor_bottom & 0x1F) << 37
            | u64::from(self.cell_height.wrapping_sub(1) & 0x1F) << 42
            | u64::from((self.pitch / 2) & 0xFF) << 47
            | u64::from(self.cursor_visible) << 55
            | u64::from(self.blink) << 56
            | u64::from(self.blank) << 57
    }

    /// The view that [`TextView::to_bits`] packed. Any word gives a view that can be painted.
    pub fn from_bits(bits: u64) -> TextView {
        let five = |shift: u32| (bits >> shift & 0x1F) as u8;
        let flag = |shift: u32| bits >> shift & 1 != 0;
        TextView {
            start: bits as u16,
            cursor: (bits >> 16) as u16,
            cursor_top: five(32),
            cursor_bottom: five(37),
            cell_height: five(42) + 1,
            pitch: (bits >> 47 & 0xFF) as u16 * 2,
            cursor_visible: flag(55),
            blink: flag(56),
            blank: flag(57),
        }
    }
}

impl Default for TextView {
    /// The view a [`Vga`](super::Vga) starts with.
    fn default() -> Self {
        super::Vga::new().view()
    }
}
