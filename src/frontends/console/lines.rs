//! Splits the input of a console client into lines.
//!
//! Lines end with a line feed; carriage returns, and zero bytes after a line end, are ignored. Telnet negotiation is
//! discarded without an answer, which refuses every option, except for [`STATUS_OPTION`]. A backspace deletes a
//! character, for clients that send each key as it is typed.
//!
//! An over-long line is an error, after which the connection must end. So is a byte that no terminal sends, until the
//! client is trusted ([`Lines::trust`]).
//!
//! Manual: RFC 854, "The Telnet Protocol"; RFC 855, "Telnet Option Specifications".

use crate::os::foreign_protocol::is_terminal_byte;

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

/// Telnet: asks the peer to use an option.
const DO: u8 = 253;

/// The telnet option, of a number that is not assigned, with which `kvm console` asks for [`FAILED`].
pub const STATUS_OPTION: u8 = 200;
/// Sent by `kvm console` after it has connected.
pub const REQUEST_STATUS: [u8; 3] = [IAC, DO, STATUS_OPTION];
/// Sent before the prompt to a client that has sent [`REQUEST_STATUS`] if its command failed. Text is UTF-8, which has
/// no byte of 255.
pub const FAILED: [u8; 6] = [IAC, SB, STATUS_OPTION, 1, IAC, SE];

/// Why input is not that of a terminal or a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInput {
    /// A line has more than [`LONGEST`] bytes.
    #[error("the line is too long; at most {LONGEST} bytes are allowed")]
    TooLong,
    /// No terminal sends this byte.
    #[error("the input has the byte {0:#04x}, which is not text")]
    Byte(u8),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Telnet {
    #[default]
    Text,
    /// After [`IAC`].
    Command,
    /// After [`DO`].
    RequestedOption,
    /// After another command that an option follows.
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
    /// The byte before, outside of telnet commands.
    last: Option<u8>,
    telnet: Telnet,
    wants_status: bool,
    trusted: bool,
}

impl Lines {
    /// Takes the next byte; returns the line that it completes, without the line end. Invalid UTF-8 becomes U+FFFD.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`]; the connection must end.
    pub fn take(&mut self, byte: u8) -> Result<Option<String>, InvalidInput> {
        match (self.telnet, byte) {
            (Telnet::Text, IAC) => self.telnet = Telnet::Command,
            (Telnet::Text, _) => return self.text(byte),
            (Telnet::Command, SB) => self.telnet = Telnet::Parameters,
            (Telnet::Command, DO) => self.telnet = Telnet::RequestedOption,
            (Telnet::Command, WILL..=254) => self.telnet = Telnet::Option,
            (Telnet::RequestedOption, _) => {
                self.wants_status |= byte == STATUS_OPTION;
                self.telnet = Telnet::Text;
            }
            // Also the byte 255 itself, which is in no text.
            (Telnet::Command | Telnet::Option, _) => self.telnet = Telnet::Text,
            (Telnet::Parameters, IAC) => self.telnet = Telnet::ParametersCommand,
            (Telnet::Parameters, _) => {}
            (Telnet::ParametersCommand, SE) => self.telnet = Telnet::Text,
            (Telnet::ParametersCommand, _) => self.telnet = Telnet::Parameters,
        }
        Ok(None)
    }

    /// Accepts all bytes from now on: the client has proved to be one of a console.
    pub fn trust(&mut self) {
        self.trusted = true;
    }

    /// True after [`Self::trust`].
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// True once the client has sent [`REQUEST_STATUS`].
    pub fn wants_status(&self) -> bool {
        self.wants_status
    }

    fn text(&mut self, byte: u8) -> Result<Option<String>, InvalidInput> {
        let last = self.last.replace(byte);
        match byte {
            b'\n' => {
                let line = std::mem::take(&mut self.line);
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            b'\r' => {}
            0 if self.trusted || matches!(last, Some(b'\r' | b'\n')) => {}
            0x08 | 0x7F => {
                // The last byte of a UTF-8 character is the last one deleted.
                while self.line.pop().is_some_and(|byte| byte & 0xC0 == 0x80) {}
            }
            _ if !self.trusted && !is_terminal_byte(byte) => return Err(InvalidInput::Byte(byte)),
            _ if self.line.len() < LONGEST => self.line.push(byte),
            _ => return Err(InvalidInput::TooLong),
        }
        Ok(None)
    }
}

/// Arbitrary bytes become valid lines, up to the first invalid input.
#[cfg(any(test, fuzzing))]
pub fn check(bytes: &[u8]) {
    let mut lines = Lines::default();
    for &byte in bytes {
        let taken = lines.take(byte);
        assert!(lines.line.len() <= LONGEST && lines.line.capacity() <= 2 * LONGEST);
        let Ok(line) = taken else { return };
        if let Some(text) = line {
            assert!(byte == b'\n' && lines.line.is_empty());
            // U+FFFD takes three bytes for one.
            assert!(text.len() <= 3 * LONGEST && !text.contains(['\n', '\r', '\0']));
        }
    }
    // Whatever the input before, a plain line is accepted once the negotiation is over.
    let end = b"\xFF\xF0\xFF\xF0\nregs\r\n";
    let last = end.iter().filter_map(|&byte| lines.take(byte).unwrap_or_default()).last();
    assert_eq!(last.as_deref(), Some("regs"));
}

#[cfg(test)]
#[path = "lines_test.rs"]
mod tests;
