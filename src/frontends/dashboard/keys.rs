//! Keys of the dashboard, from the bytes that a terminal sends.

use std::mem::take;

use crate::devices::keyboard;
use crate::frontends::keys::sequences::{control_sequence, single_shift};

/// Maximum length of an escape sequence; a longer one is none.
const LONGEST: usize = 16;
const ESCAPE: u8 = 0x1B;

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PressedKey {
    /// A character.
    Char(char),
    /// Ctrl with a letter, in lower case.
    Ctrl(char),
    /// Enter.
    Enter,
    /// Tab.
    Tab,
    /// Shift-Tab.
    BackTab,
    /// Backspace.
    Backspace,
    /// Escape.
    Escape,
    /// Cursor keys and their neighbours.
    Up,
    /// Down.
    Down,
    /// Left.
    Left,
    /// Right.
    Right,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Home.
    Home,
    /// Any other key with a sequence.
    Other,
}

/// Puts the bytes of keys together.
#[derive(Clone, Debug, Default)]
pub struct KeyReader {
    /// An escape sequence that has begun.
    begun: Vec<u8>,
}

impl KeyReader {
    /// The keys that `bytes` complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<PressedKey> {
        let mut keys = Vec::new();
        for &byte in bytes {
            if self.begun.is_empty() {
                match byte {
                    ESCAPE => self.begun.push(byte),
                    _ => keys.extend(plain(byte)),
                }
                continue;
            }
            if byte == ESCAPE {
                keys.extend(self.flush());
                self.begun.push(byte);
                continue;
            }
            self.begun.push(byte);
            if is_complete(&self.begun) {
                keys.push(sequence(&take(&mut self.begun)));
            }
        }
        keys
    }

    /// The key of a sequence whose rest has not arrived in time: Escape by itself.
    pub fn flush(&mut self) -> Option<PressedKey> {
        let begun = take(&mut self.begun);
        match begun.len() {
            0 => None,
            1 => Some(PressedKey::Escape),
            _ => Some(PressedKey::Other),
        }
    }
}

fn plain(byte: u8) -> Option<PressedKey> {
    match byte {
        b'\r' | b'\n' => Some(PressedKey::Enter),
        b'\t' => Some(PressedKey::Tab),
        0x08 | 0x7F => Some(PressedKey::Backspace),
        0x01..=0x1A => Some(PressedKey::Ctrl(char::from(byte + b'a' - 1))),
        b' '..=b'~' => Some(PressedKey::Char(char::from(byte))),
        _ => None,
    }
}

fn is_complete(sequence: &[u8]) -> bool {
    match sequence {
        [_, b'[' | b'O'] => false,
        [_, b'[', .., last] => (0x40..=0x7E).contains(last) || sequence.len() >= LONGEST,
        _ => true,
    }
}

fn sequence(bytes: &[u8]) -> PressedKey {
    let key = match bytes {
        [_, b'[', parameters @ .., last] => control_sequence(parameters, *last).map(|special| {
            let shifted = special.modifiers.contains(&keyboard::Key::LeftShift);
            (special.key, shifted)
        }),
        [_, b'O', last] => single_shift(*last).map(|key| (key, false)),
        _ => None,
    };
    match key {
        Some((keyboard::Key::Up, _)) => PressedKey::Up,
        Some((keyboard::Key::Down, _)) => PressedKey::Down,
        Some((keyboard::Key::Left, _)) => PressedKey::Left,
        Some((keyboard::Key::Right, _)) => PressedKey::Right,
        Some((keyboard::Key::PageUp, _)) => PressedKey::PageUp,
        Some((keyboard::Key::PageDown, _)) => PressedKey::PageDown,
        Some((keyboard::Key::Home, _)) => PressedKey::Home,
        Some((keyboard::Key::Tab, true)) => PressedKey::BackTab,
        Some((keyboard::Key::KeypadEnter, _)) => PressedKey::Enter,
        _ => PressedKey::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_in_pieces_of_any_size() {
        let input = b"p\x1b[A\x1bOB\x1b[6~\t\x1b[Z\r\x7f\x03\x1b[5;9x\xC3\xA9\x1b\x1b[D";
        let wanted = [
            PressedKey::Char('p'),
            PressedKey::Up,
            PressedKey::Down,
            PressedKey::PageDown,
            PressedKey::Tab,
            PressedKey::BackTab,
            PressedKey::Enter,
            PressedKey::Backspace,
            PressedKey::Ctrl('c'),
            PressedKey::Other,
            PressedKey::Escape,
            PressedKey::Left,
        ];
        assert_eq!(KeyReader::default().feed(input), wanted);
        let mut reader = KeyReader::default();
        let single: Vec<PressedKey> = input.iter().flat_map(|byte| reader.feed(&[*byte])).collect();
        assert_eq!(single, wanted);
    }

    #[test]
    fn a_lone_escape_is_a_key_once_its_time_has_passed() {
        let mut reader = KeyReader::default();
        assert_eq!(reader.feed(b"\x1b"), []);
        assert_eq!(reader.flush(), Some(PressedKey::Escape));
        assert_eq!(reader.flush(), None);
        assert_eq!(
            reader.feed(&[b"\x1b[".as_slice(), &[b'1'; 40]].concat()).len(),
            27,
            "an endless sequence"
        );
    }
}
