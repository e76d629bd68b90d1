//! The end of the guest's serial text, as lines for a pane.
//!
//! It is no terminal emulator: carriage return, line feed, backspace and tab have their effect, and escape sequences are
//! left out.

use std::collections::VecDeque;

/// Lines that are kept.
const MOST_LINES: usize = 200;
/// Characters of a line that are kept.
const LONGEST_LINE: usize = 240;
const TAB: usize = 8;

/// The last lines.
#[derive(Clone, Debug)]
pub struct SerialText {
    /// There is always a last line, which the cursor is in.
    lines: VecDeque<Vec<char>>,
    column: usize,
    escape: Escape,
    /// The beginning of a character of several bytes.
    begun: Vec<u8>,
}

/// How much of an escape sequence has been seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// ESC.
    Begun,
    /// ESC `[` (ECMA-48, "control sequence").
    Control,
}

impl Default for SerialText {
    fn default() -> SerialText {
        SerialText { lines: VecDeque::from([Vec::new()]), column: 0, escape: Escape::None, begun: Vec::new() }
    }
}

impl SerialText {
    /// Appends what the guest has sent.
    pub fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match self.escape {
                Escape::None => self.push_byte(byte),
                Escape::Begun => {
                    self.escape = if byte == b'[' { Escape::Control } else { Escape::None };
                }
                Escape::Control if (0x40..=0x7E).contains(&byte) => self.escape = Escape::None,
                Escape::Control => {}
            }
        }
    }

    /// The last `count` lines without an empty one at the end.
    pub fn last_lines(&self, count: usize) -> impl Iterator<Item = String> + '_ {
        let end = match self.lines.back() {
            Some(last) if last.is_empty() => self.lines.len() - 1,
            _ => self.lines.len(),
        };
        self.lines.range(end.saturating_sub(count)..end).map(|line| line.iter().collect())
    }

    fn push_byte(&mut self, byte: u8) {
        if byte.is_ascii() && !std::mem::take(&mut self.begun).is_empty() {
            self.put(char::REPLACEMENT_CHARACTER);
        }
        match byte {
            b'\n' => {
                self.lines.push_back(Vec::new());
                if self.lines.len() > MOST_LINES {
                    self.lines.pop_front();
                }
                self.column = 0;
            }
            b'\r' => self.column = 0,
            0x08 => self.column = self.column.saturating_sub(1),
            b'\t' => self.column = (self.column / TAB + 1) * TAB,
            0x1B => self.escape = Escape::Begun,
            0..0x20 | 0x7F => {}
            0x20..0x7F => self.put(char::from(byte)),
            _ => self.push_part(byte),
        }
    }

    /// A byte of a character in UTF-8.
    fn push_part(&mut self, byte: u8) {
        self.begun.push(byte);
        match std::str::from_utf8(&self.begun) {
            Ok(text) => {
                let character = text.chars().next();
                self.begun.clear();
                character.into_iter().filter(|it| !it.is_control()).for_each(|it| self.put(it));
            }
            // More bytes are missing.
            Err(error) if error.error_len().is_none() => {}
            Err(_) => {
                self.begun.clear();
                self.put(char::REPLACEMENT_CHARACTER);
            }
        }
    }

    fn put(&mut self, character: char) {
        let Some(line) = self.lines.back_mut() else { return };
        if self.column >= LONGEST_LINE {
            return;
        }
        if line.len() <= self.column {
            line.resize(self.column + 1, ' ');
        }
        line[self.column] = character;
        self.column += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8], count: usize) -> Vec<String> {
        let mut serial = SerialText::default();
        // In pieces, as it comes.
        text.chunks(3).for_each(|piece| serial.push(piece));
        serial.last_lines(count).collect()
    }

    #[test]
    fn the_last_lines_are_kept() {
        assert_eq!(lines(b"", 3), Vec::<String>::new());
        assert_eq!(lines(b"one\r\ntwo\nthree\n", 2), ["two", "three"]);
        assert_eq!(lines(b"one\n\nthree", 9), ["one", "", "three"]);
        assert_eq!(lines(&b"line\n".repeat(1000), 1000).len(), MOST_LINES - 1);
        assert_eq!(lines(&b"x".repeat(1000), 1)[0].len(), LONGEST_LINE);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(lines(b"10%\r20%\tx\x08y\x07\x00", 1), ["20%     y"]);
        assert_eq!(lines(b"\x1b[1;31mred\x1b[0m\x1b7 end", 1), ["red end"]);
        assert_eq!(lines("è ☺ \u{9b}31m".as_bytes(), 1), ["è ☺ 31m"]);
        assert_eq!(lines(b"a\xff\xc3(b", 1), ["a\u{fffd}\u{fffd}(b"]);
    }
}
