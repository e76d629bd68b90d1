//! Splits the input of a console client into lines.
//!
//! Lines end with a line feed; carriage returns and zero bytes are ignored. Telnet negotiation is discarded
//! without an answer, which refuses every option. A backspace deletes a character, for clients that send each
//! key as it is typed.
//!
//! Manual: RFC 854, "The Telnet Protocol"; RFC 855, "Telnet Option Specifications".

/// Longest line in bytes.
pub const LONGEST: usize = 1000;

/// Telnet: the next byte is a command.
const IAC: u8 = 255;
/// Telnet: what follows are parameters of an option, up to [`SE`].
const SB: u8 = 250;
/// Telnet: parameters end.
const SE: u8 = 240;
/// Telnet: the first of the commands that are followed by an option (WILL, WONT, DO and DONT).
const WILL: u8 = 251;

/// A line that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Its text, without the line end; invalid UTF-8 becomes U+FFFD.
    Text(String),
    /// It had more than [`LONGEST`] bytes, which are discarded.
    TooLong,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Telnet {
    #[default]
    Text,
    /// After [`IAC`].
    Command,
    /// After a command that an option follows.
    Option,
    /// Among the parameters of an option.
    Parameters,
    /// After [`IAC`] among them.
    ParametersCommand,
}

/// Collects bytes into a line; holds at most one line, whatever the input.
#[derive(Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
    too_long: bool,
    telnet: Telnet,
}

impl Lines {
    /// Takes the next byte; returns the line that it completes.
    pub fn take(&mut self, byte: u8) -> Option<Line> {
        match (self.telnet, byte) {
            (Telnet::Text, IAC) => self.telnet = Telnet::Command,
            (Telnet::Text, _) => return self.text(byte),
            (Telnet::Command, SB) => self.telnet = Telnet::Parameters,
            (Telnet::Command, WILL..=254) => self.telnet = Telnet::Option,
            // Also the byte 255 itself, which is in no text.
            (Telnet::Command | Telnet::Option, _) => self.telnet = Telnet::Text,
            (Telnet::Parameters, IAC) => self.telnet = Telnet::ParametersCommand,
            (Telnet::Parameters, _) => {}
            (Telnet::ParametersCommand, SE) => self.telnet = Telnet::Text,
            (Telnet::ParametersCommand, _) => self.telnet = Telnet::Parameters,
        }
        None
    }

    fn text(&mut self, byte: u8) -> Option<Line> {
        match byte {
            b'\n' => {
                let line = std::mem::take(&mut self.line);
                return Some(match std::mem::take(&mut self.too_long) {
                    true => Line::TooLong,
                    false => Line::Text(String::from_utf8_lossy(&line).into_owned()),
                });
            }
            b'\r' | 0 => {}
            0x08 | 0x7F => {
                // The last byte of a UTF-8 character is the last one deleted.
                while self.line.pop().is_some_and(|byte| byte & 0xC0 == 0x80) {}
            }
            _ if self.line.len() < LONGEST => self.line.push(byte),
            _ => {
                self.too_long = true;
                self.line.clear();
            }
        }
        None
    }
}

/// Arbitrary bytes become valid lines.
#[cfg(any(test, fuzzing))]
pub fn check(bytes: &[u8]) {
    let mut lines = Lines::default();
    let mut ends = 0;
    for &byte in bytes {
        ends += usize::from(byte == b'\n');
        let line = lines.take(byte);
        assert!(lines.line.len() <= LONGEST && lines.line.capacity() <= 2 * LONGEST);
        if let Some(line) = line {
            assert!(byte == b'\n' && ends > 0);
            if let Line::Text(text) = line {
                // U+FFFD takes three bytes for one.
                assert!(text.len() <= 3 * LONGEST && !text.contains(['\n', '\r', '\0']));
            }
            assert!(lines.line.is_empty() && !lines.too_long);
        }
    }
    // Whatever the input before, a plain line is accepted once the negotiation is over.
    let end = b"\xFF\xF0\xFF\xF0\nregs\r\n";
    let last = end.iter().filter_map(|&byte| lines.take(byte)).last();
    assert_eq!(last, Some(Line::Text("regs".to_owned())));
}

#[cfg(test)]
#[path = "lines_test.rs"]
mod tests;
