//! Text on the screen, which is plain memory at B8000h, and its copy on COM1.
//!
//! What programs write through the BIOS also goes to COM1, where it can be read without the screen: characters as UTF-8,
//! line ends, and for text elsewhere on the screen the sequences of a terminal (ECMA-48: CUP, ED, SU). Windows that are
//! scrolled, and what is written to memory directly, are not copied. The copy ends once the guest uses COM1 itself: it
//! has enabled an interrupt there, or has changed the format or the modem lines.

use super::call::BiosPlatform;
use super::data_areas::{MIRROR, bda};
use crate::devices::vga::{TEXT_BUFFER, cp437};

/// A blank as it is after power-on: white on black.
pub(super) const BLANK: u16 = 0x0720;
/// Pages with a cursor.
const PAGES: u8 = 8;
/// Size of the text buffer in bytes.
const BUFFER_SIZE: u64 = 0x8000;
const CRTC: u16 = 0x3D4;
const COM1: u16 = 0x3F8;
/// COM1 as the machine starts: no interrupt; words of 8 bits; of the modem lines only OUT2. Offset, mask and value.
const COM1_UNUSED: [(u16, u8, u8); 3] = [(1, 0x0F, 0), (3, 0xFF, 0x03), (4, 0x1F, 0x08)];
/// No position: the copy is somewhere else.
const NOWHERE: u16 = 0xFFFF;

/// A place on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub row: u8,
    pub column: u8,
}

impl Place {
    fn from_word(word: u16) -> Place {
        let [column, row] = word.to_le_bytes();
        Place { row, column }
    }

    fn word(self) -> u16 {
        u16::from_le_bytes([self.column, self.row])
    }
}

/// A rectangle of the screen, with both corners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub first: Place,
    pub last: Place,
}

/// Columns of the screen.
pub(super) fn columns(platform: &dyn BiosPlatform) -> u8 {
    platform.word(bda::COLUMNS).clamp(1, 132) as u8
}

/// The last row, counted from 0.
pub(super) fn last_row(platform: &dyn BiosPlatform) -> u8 {
    platform.byte(bda::LAST_ROW).clamp(1, 59)
}

/// The page that is shown.
pub(super) fn page(platform: &dyn BiosPlatform) -> u8 {
    platform.byte(bda::PAGE) % PAGES
}

/// The cursor of a page.
pub(super) fn cursor(page: u8, platform: &dyn BiosPlatform) -> Place {
    Place::from_word(platform.word(bda::CURSORS + 2 * u64::from(page % PAGES)))
}

/// Moves the cursor of a page.
pub(super) fn set_cursor(page: u8, place: Place, platform: &mut dyn BiosPlatform) {
    platform.set_word(bda::CURSORS + 2 * u64::from(page % PAGES), place.word());
    show_cursor(platform);
}

/// Tells the VGA where the page and its cursor are.
pub(super) fn show_cursor(platform: &mut dyn BiosPlatform) {
    let page = page(platform);
    let start = page_start(page, platform) / 2;
    let place = cursor(page, platform);
    let at = start + u64::from(place.row) * u64::from(columns(platform)) + u64::from(place.column);
    platform.set_indexed(CRTC, 0x0E, (at >> 8) as u8);
    platform.set_indexed(CRTC, 0x0F, at as u8);
}

/// Shows a page.
pub(super) fn show_page(page: u8, platform: &mut dyn BiosPlatform) {
    platform.set_byte(bda::PAGE, page % PAGES);
    let start = page_start(page, platform);
    platform.set_word(bda::PAGE_START, start as u16);
    platform.set_indexed(CRTC, 0x0C, (start >> 9) as u8);
    platform.set_indexed(CRTC, 0x0D, (start >> 1) as u8);
    show_cursor(platform);
    copy_moves_elsewhere(platform);
}

fn page_start(page: u8, platform: &dyn BiosPlatform) -> u64 {
    u64::from(page % PAGES) * u64::from(platform.word(bda::PAGE_SIZE)) % BUFFER_SIZE
}

/// The address of a cell.
fn cell(page: u8, place: Place, platform: &dyn BiosPlatform) -> u64 {
    let at = (u64::from(place.row) * u64::from(columns(platform)) + u64::from(place.column)) * 2;
    TEXT_BUFFER + (page_start(page, platform) + at) % BUFFER_SIZE
}

/// Character (low byte) and attribute of a cell.
pub(super) fn read_cell(page: u8, place: Place, platform: &dyn BiosPlatform) -> u16 {
    platform.word(cell(page, place, platform))
}

/// Writes a character `count` times from the cursor on, which does not move; `None` keeps the attributes.
pub(super) fn write(
    page: u8,
    character: u8,
    attribute: Option<u8>,
    count: u16,
    platform: &mut dyn BiosPlatform,
) {
    let at = cursor(page, platform);
    let columns = u32::from(columns(platform));
    let first = u32::from(at.row) * columns + u32::from(at.column);
    let end = columns * (u32::from(last_row(platform)) + 1);
    let count = u32::from(count).min(end.saturating_sub(first));
    for index in first..first + count {
        let place = Place { row: (index / columns) as u8, column: (index % columns) as u8 };
        put(page, place, character, attribute, platform);
    }
    if page % PAGES == self::page(platform) && count > 0 && copy_follows(platform) {
        move_copy(at, platform);
        let in_row = count.min(columns.saturating_sub(u32::from(at.column)));
        (0..in_row).for_each(|_| copy_character(character, platform));
        let column = u32::from(at.column) + in_row;
        let after = Place { column: column as u8, ..at }.word();
        platform.set_word(MIRROR, if column < columns { after } else { NOWHERE });
    }
}

fn put(page: u8, place: Place, character: u8, attribute: Option<u8>, platform: &mut dyn BiosPlatform) {
    let at = cell(page, place, platform);
    match attribute {
        Some(attribute) => platform.write(at, &[character, attribute]),
        None => platform.set_byte(at, character),
    }
}

/// Writes a character at the cursor of the page that is shown and moves it on; BEL, BS, LF and CR have their effects.
pub(super) fn teletype(character: u8, attribute: Option<u8>, platform: &mut dyn BiosPlatform) {
    let page = page(platform);
    let mut place = cursor(page, platform);
    let follows = copy_follows(platform);
    if follows {
        move_copy(place, platform);
    }
    let last_row = last_row(platform);
    match character {
        0x07 => {}
        0x08 => place.column = place.column.saturating_sub(1),
        b'\n' => place.row = place.row.saturating_add(1),
        b'\r' => place.column = 0,
        _ => {
            put(page, place, character, attribute, platform);
            place.column = place.column.saturating_add(1);
        }
    }
    if follows {
        match character {
            0x07 | 0x08 | b'\n' | b'\r' => platform.port_out(COM1, character),
            _ => copy_character(character, platform),
        }
    }
    let wrapped = place.column >= columns(platform);
    if wrapped {
        place = Place { row: place.row.saturating_add(1), column: 0 };
    }
    if place.row > last_row {
        place.row = last_row;
        let attribute = (read_cell(page, Place { row: last_row, column: 0 }, platform) >> 8) as u8;
        scroll_page(page, whole(platform), 1, attribute, platform);
    }
    if follows {
        if wrapped {
            [b'\r', b'\n'].into_iter().for_each(|byte| platform.port_out(COM1, byte));
        }
        platform.set_word(MIRROR, place.word());
    }
    set_cursor(page, place, platform);
}

/// The whole screen.
pub(super) fn whole(platform: &dyn BiosPlatform) -> Window {
    let last = Place { row: last_row(platform), column: columns(platform) - 1 };
    Window { first: Place { row: 0, column: 0 }, last }
}

/// Scrolls a window of the page that is shown by `lines` (up if positive); 0, and more than it has, clear it.
pub(super) fn scroll(window: Window, lines: i16, attribute: u8, platform: &mut dyn BiosPlatform) {
    let whole = whole(platform);
    let Window { first, mut last } = window;
    last.row = last.row.min(whole.last.row);
    last.column = last.column.min(whole.last.column);
    if first.row > last.row || first.column > last.column {
        return;
    }
    let window = Window { first, last };
    scroll_page(page(platform), window, lines, attribute, platform);
    if window == whole && copy_follows(platform) {
        match lines {
            0 => clear_copy(platform),
            1.. => send(&format!("\x1b[{lines}S"), platform),
            _ => send(&format!("\x1b[{}T", -i32::from(lines)), platform),
        }
    }
}

fn scroll_page(page: u8, window: Window, lines: i16, attribute: u8, platform: &mut dyn BiosPlatform) {
    let Window { first, last } = window;
    let height = i16::from(last.row - first.row) + 1;
    let lines = if lines == 0 || lines.abs() > height { height } else { lines };
    let width = usize::from(last.column - first.column) + 1;
    let mut row = vec![0; 2 * width];
    let rows: Vec<u8> = (first.row..=last.row).collect();
    let order: Box<dyn Iterator<Item = &u8>> =
        if lines > 0 { Box::new(rows.iter()) } else { Box::new(rows.iter().rev()) };
    for to in order {
        let from = i16::from(*to) + lines;
        let at = |row: u8| Place { row, column: first.column };
        if from >= i16::from(first.row) && from <= i16::from(last.row) {
            platform.read(cell(page, at(from as u8), platform), &mut row);
        } else {
            row.chunks_mut(2).for_each(|cell| cell.copy_from_slice(&[b' ', attribute]));
        }
        let to = cell(page, at(*to), platform);
        platform.write(to, &row);
    }
}

/// Clears all pages and puts their cursors into the top left corner.
pub(super) fn clear(platform: &mut dyn BiosPlatform) {
    let blanks = BLANK.to_le_bytes().repeat(BUFFER_SIZE as usize / 2);
    platform.write(TEXT_BUFFER, &blanks);
    platform.write(bda::CURSORS, &[0; 2 * PAGES as usize]);
    if copy_follows(platform) {
        clear_copy(platform);
    }
    show_page(0, platform);
    platform.set_word(MIRROR, 0);
}

/// True if text is copied to COM1.
fn copy_follows(platform: &mut dyn BiosPlatform) -> bool {
    COM1_UNUSED.into_iter().all(|(offset, mask, value)| platform.port_in(COM1 + offset) & mask == value)
}

fn send(text: &str, platform: &mut dyn BiosPlatform) {
    text.bytes().for_each(|byte| platform.port_out(COM1, byte));
}

/// Sends a character of the screen.
fn copy_character(character: u8, platform: &mut dyn BiosPlatform) {
    let mut bytes = [0; 4];
    send(cp437::glyph(character).encode_utf8(&mut bytes), platform);
}

/// Moves the cursor of the terminal at COM1 to `place`.
fn move_copy(place: Place, platform: &mut dyn BiosPlatform) {
    let word = platform.word(MIRROR);
    let from = Place::from_word(word);
    if word == place.word() {
        return;
    }
    if word != NOWHERE && place.column == 0 && place.row == from.row {
        send("\r", platform);
    } else if word != NOWHERE && place.column == 0 && place.row == from.row.wrapping_add(1) {
        send("\r\n", platform);
    } else {
        send(&format!("\x1b[{};{}H", u16::from(place.row) + 1, u16::from(place.column) + 1), platform);
    }
    platform.set_word(MIRROR, place.word());
}

/// Clears the terminal, unless it has shown nothing.
fn clear_copy(platform: &mut dyn BiosPlatform) {
    if platform.word(MIRROR) != 0 {
        send("\x1b[2J\x1b[H", platform);
        platform.set_word(MIRROR, 0);
    }
}

fn copy_moves_elsewhere(platform: &mut dyn BiosPlatform) {
    if platform.word(MIRROR) != 0 {
        platform.set_word(MIRROR, NOWHERE);
    }
}
