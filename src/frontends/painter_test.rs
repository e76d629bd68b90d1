use super::*;
use crate::inspect::screen::plain_text;

const SCREEN: usize = COLUMNS * ROWS;

/// Pseudo-random numbers, the same in every run.
struct Random(u32);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as usize % limit
    }
}

/// A terminal emulator and the painter that writes to it.
struct Terminal {
    emulator: vt100::Parser,
    painter: Painter,
}

impl Terminal {
    fn new(columns: u16, rows: u16) -> Terminal {
        Terminal { emulator: vt100::Parser::new(rows, columns, 0), painter: Painter::new(columns, rows) }
    }

    /// Paints; returns what was sent to the terminal.
    fn show(&mut self, frame: &ScreenFrame) -> Vec<u8> {
        let mut out = Vec::new();
        self.painter.paint(frame, &mut out);
        self.emulator.process(&out);
        out
    }

    /// All visible state: characters, colours, the cursor.
    fn picture(&self) -> (Vec<vt100::Cell>, Option<(u16, u16)>) {
        let screen = self.emulator.screen();
        let (rows, columns) = screen.size();
        let cells = (0..rows)
            .flat_map(|row| (0..columns).map(move |column| (row, column)))
            .map(|(row, column)| screen.cell(row, column).unwrap().clone())
            .collect();
        (cells, (!screen.hide_cursor()).then(|| screen.cursor_position()))
    }

    fn line(&self, row: u16) -> String {
        let (_, columns) = self.emulator.screen().size();
        self.emulator.screen().rows(0, columns).nth(row.into()).unwrap().trim_end().to_owned()
    }

    fn colours(&self, row: u16, column: u16) -> (vt100::Color, vt100::Color) {
        let cell = self.emulator.screen().cell(row, column).unwrap();
        (cell.fgcolor(), cell.bgcolor())
    }
}

fn screen_of(lines: &[&str]) -> Vec<u16> {
    let mut cells = vec![0x0720; SCREEN];
    for (row, line) in lines.iter().enumerate() {
        for (column, byte) in line.bytes().enumerate() {
            cells[row * COLUMNS + column] = 0x0700 | u16::from(byte);
        }
    }
    cells
}

fn frame(cells: &[u16]) -> ScreenFrame<'_> {
    ScreenFrame { cells, view: TextView::default(), blink_phase: true }
}

#[test]
fn a_guest_s_text_is_seen_on_the_terminal() {
    let cells = screen_of(&["Hello", "", "\x03 caf\x7f"]);
    let mut terminal = Terminal::new(80, 25);
    terminal.show(&frame(&cells));
    assert_eq!(terminal.line(0), "Hello");
    assert_eq!(terminal.line(2), "♥ caf⌂");
    assert_eq!(terminal.colours(0, 0), (vt100::Color::Idx(7), vt100::Color::Idx(0)));
}

#[test]
fn any_series_of_frames_ends_in_the_picture_of_the_last() {
    for (columns, rows) in [(80, 25), (100, 40), (80, 10), (33, 25), (1, 1)] {
        let mut random = Random(u32::from(columns) * 1000 + u32::from(rows));
        let mut cells = vec![0x0720; SCREEN];
        let mut terminal = Terminal::new(columns, rows);
        for _ in 0..60 {
            for _ in 0..random.below(200) {
                cells[random.below(SCREEN)] = random.below(0x10000) as u16;
            }
            let view = TextView {
                cursor: random.below(2200) as u16,
                cursor_visible: random.below(4) != 0,
                cursor_top: random.below(16) as u8,
                blink: random.below(4) != 0,
                blank: random.below(10) == 0,
                ..TextView::default()
            };
            let next = ScreenFrame { cells: &cells, view, blink_phase: random.below(2) == 0 };
            terminal.show(&next);
            let mut fresh = Terminal::new(columns, rows);
            fresh.show(&next);
            assert!(terminal.picture() == fresh.picture(), "{columns}x{rows} differs");
        }
    }
}

#[test]
fn an_unchanged_screen_sends_nothing() {
    let cells: Vec<u16> = (0..SCREEN).map(|index| (index * 7) as u16).collect();
    for (columns, rows) in [(80, 25), (200, 60), (40, 12)] {
        let mut terminal = Terminal::new(columns, rows);
        assert!(!terminal.show(&frame(&cells)).is_empty());
        assert_eq!(terminal.show(&frame(&cells)), b"");
    }
}

#[test]
fn a_changed_cell_sends_a_few_bytes() {
    let mut cells = screen_of(&["counter: 1"]);
    let mut terminal = Terminal::new(80, 25);
    terminal.show(&frame(&cells));
    cells[9] = 0x0732;
    let sent = terminal.show(&frame(&cells));
    assert_eq!(String::from_utf8(sent).unwrap(), "\x1b[1;10H2\x1b[1;1H");
    assert_eq!(terminal.line(0), "counter: 2");
}

#[test]
fn neighbours_in_one_colour_share_one_sequence() {
    let mut terminal = Terminal::new(80, 25);
    terminal.show(&frame(&screen_of(&[])));
    let sent = terminal.show(&frame(&screen_of(&["one-whole-line-of-text"])));
    assert!(sent.len() < 22 + 20, "{} bytes", sent.len());
}

#[test]
fn the_sixteen_colours_are_the_terminal_s() {
    let expected = [0, 4, 2, 6, 1, 5, 3, 7, 8, 12, 10, 14, 9, 13, 11, 15];
    let mut cells = screen_of(&[]);
    for colour in 0..16 {
        cells[usize::from(colour)] = colour << 12 | colour << 8 | 0x41;
    }
    let view = TextView { blink: false, ..TextView::default() };
    let mut terminal = Terminal::new(80, 25);
    terminal.show(&ScreenFrame { view, ..frame(&cells) });
    for (column, index) in expected.into_iter().enumerate() {
        let colour = vt100::Color::Idx(index);
        assert_eq!(terminal.colours(0, column as u16), (colour, colour), "colour {column}");
    }
}

#[test]
fn blinking_text_comes_and_goes_and_leaves_its_background() {
    let mut cells = screen_of(&["steady"]);
    cells[COLUMNS] = 0x9F21;
    let mut terminal = Terminal::new(80, 25);
    let lit = frame(&cells);
    let dark = ScreenFrame { blink_phase: false, ..lit };
    terminal.show(&lit);
    assert_eq!(terminal.line(1), "!");
    terminal.show(&dark);
    assert_eq!((terminal.line(0).as_str(), terminal.line(1).as_str()), ("steady", ""));
    assert_eq!(terminal.colours(1, 0).1, vt100::Color::Idx(4), "blue, not bright blue");
    terminal.show(&lit);
    assert_eq!(terminal.line(1), "!");

    let view = TextView { blink: false, ..lit.view };
    terminal.show(&ScreenFrame { view, ..lit });
    assert_eq!(terminal.colours(1, 0).1, vt100::Color::Idx(12), "bright blue when nothing blinks");
    assert_eq!(terminal.show(&ScreenFrame { view, ..dark }), b"", "and then no phase changes anything");
}

#[test]
fn the_cursor_is_where_and_as_the_guest_put_it() {
    let cells = screen_of(&["$ "]);
    let mut terminal = Terminal::new(80, 25);
    let at = |cursor| TextView { cursor, ..TextView::default() };
    let sent = terminal.show(&ScreenFrame { view: at(2), ..frame(&cells) });
    assert_eq!(terminal.picture().1, Some((0, 2)));
    assert!(sent.ends_with(b"\x1b[3 q\x1b[?25h"), "an underline");

    let block = TextView { cursor_top: 0, ..at(81) };
    assert_eq!(terminal.show(&ScreenFrame { view: block, ..frame(&cells) }), b"\x1b[2;2H\x1b[1 q\x1b[?25h");
    assert_eq!(terminal.picture().1, Some((1, 1)));

    let off = TextView { cursor_visible: false, ..at(81) };
    for (view, why) in [(off, "switched off"), (at(2000), "off the screen")] {
        terminal.show(&frame(&cells));
        terminal.show(&ScreenFrame { view, ..frame(&cells) });
        assert_eq!(terminal.picture().1, None, "{why}");
    }
}

#[test]
fn a_screen_switched_off_is_black() {
    let cells = screen_of(&["secret"]);
    let mut terminal = Terminal::new(80, 25);
    let view = TextView { blank: true, ..TextView::default() };
    terminal.show(&frame(&cells));
    terminal.show(&ScreenFrame { view, ..frame(&cells) });
    assert_eq!(terminal.line(0), "");
    assert_eq!(terminal.picture().1, None);
}

#[test]
fn a_small_terminal_follows_the_cursor_s_row() {
    let lines: Vec<String> = (0..ROWS).map(|row| format!("line {row}")).collect();
    let cells = screen_of(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let mut terminal = Terminal::new(40, 10);
    let at_row = |row: u16| TextView { cursor: row * 80 + 7, ..TextView::default() };
    for (row, top, line) in [(0, 0, 0), (9, 0, 9), (20, 11, 9), (24, 15, 9), (3, 0, 3)] {
        terminal.show(&ScreenFrame { view: at_row(row), ..frame(&cells) });
        assert_eq!(terminal.line(0), format!("line {top}"));
        assert_eq!(terminal.picture().1, Some((line, 7)));
    }
    let beyond = TextView { cursor: 60, ..TextView::default() };
    terminal.show(&ScreenFrame { view: beyond, ..frame(&cells) });
    assert_eq!(terminal.picture().1, None, "a cursor in a column that is cut off is not shown");
}

#[test]
fn after_a_resize_everything_is_painted_again_and_nothing_is_left_over() {
    let cells = vec![0x1F58; SCREEN];
    let mut terminal = Terminal::new(80, 25);
    terminal.show(&frame(&cells));
    for (columns, rows) in [(132, 50), (20, 5), (80, 25)] {
        terminal.emulator.screen_mut().set_size(rows, columns);
        terminal.emulator.process(format!("\x1b[{rows};1Hleft over").as_bytes());
        terminal.painter.resize(columns, rows);
        terminal.show(&frame(&cells));
        let mut fresh = Terminal::new(columns, rows);
        fresh.show(&frame(&cells));
        assert!(terminal.picture() == fresh.picture(), "{columns}x{rows}");
    }
    terminal.painter.resize(132, 50);
    terminal.emulator.screen_mut().set_size(50, 132);
    terminal.show(&frame(&cells));
    assert_eq!(terminal.line(24), "X".repeat(80));
    assert_eq!(terminal.line(25), "");
}

#[test]
fn foreign_output_is_painted_over_when_reported() {
    let cells = screen_of(&["guest"]);
    let mut terminal = Terminal::new(80, 25);
    terminal.show(&frame(&cells));
    terminal.emulator.process(b"\x1b[31m\x1b[10;10Hnoise");
    terminal.painter.invalidate();
    terminal.show(&frame(&cells));
    assert_eq!(terminal.line(9), "");
    assert_eq!(terminal.line(0), "guest");
}

#[test]
fn no_byte_of_the_guest_can_control_the_terminal() {
    let cells: Vec<u16> = (0..SCREEN).map(|index| 0x0700 | (index % 256) as u16).collect();
    let sent = String::from_utf8(Terminal::new(80, 25).show(&frame(&cells))).unwrap();
    let mut rest = sent.chars();
    while let Some(character) = rest.next() {
        if character == '\x1b' {
            assert_eq!(rest.next(), Some('['));
            let end = rest.find(|c| !matches!(c, '0'..='9' | ';' | '?' | ' ')).unwrap();
            assert!("HmJqhl".contains(end), "{end:?}");
        } else {
            assert!(!character.is_control(), "{character:?}");
        }
    }
    assert!(!plain_text(&cells).contains(|c: char| c.is_control() && c != '\n'));
}

#[test]
fn short_frames_and_terminals_without_cells_are_harmless() {
    for (columns, rows) in [(0, 0), (0, 25), (80, 0)] {
        let mut out = Vec::new();
        Painter::new(columns, rows).paint(&frame(&[0x0741]), &mut out);
        assert_eq!(out, b"");
    }
    let mut terminal = Terminal::new(80, 25);
    terminal.show(&frame(&[0x0741]));
    assert_eq!(terminal.line(0), "A");
    assert_eq!(plain_text(&[]), "");
    assert_eq!(colour_text(&[], true), "");
    assert_eq!(plain_text(&vec![0x0741; SCREEN * 2]).lines().count(), ROWS);
}

#[test]
fn the_screen_as_plain_text_has_no_blank_ends() {
    assert_eq!(plain_text(&screen_of(&["", "Kernel panic", "", "  at 0x1000"])), {
        "\nKernel panic\n\n  at 0x1000\n"
    });
    assert_eq!(plain_text(&screen_of(&[])), "");
    assert_eq!(plain_text(&[0; SCREEN]), "");
}

#[test]
fn the_last_screen_keeps_its_colours() {
    let mut cells = screen_of(&["plain", "red!"]);
    for cell in &mut cells[COLUMNS..COLUMNS + 3] {
        *cell = *cell & 0xFF | 0x0C00;
    }
    assert_eq!(colour_text(&cells, true), "plain\n\x1b[91;40mred\x1b[0m!\n");

    cells[2 * COLUMNS + 1] = 0x1020;
    assert_eq!(
        colour_text(&cells, true).lines().last(),
        Some(" \x1b[30;44m \x1b[0m"),
        "a coloured background is not blank, and ends with its line"
    );
    cells[2 * COLUMNS + 1] = 0x9F42;
    assert_eq!(colour_text(&cells, true).lines().last(), Some(" \x1b[97;44mB\x1b[0m"));
    assert_eq!(colour_text(&cells, false).lines().last(), Some(" \x1b[97;104mB\x1b[0m"));
}
