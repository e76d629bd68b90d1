//! Decodes the bytes of a terminal or a pipe into keystrokes.
//!
//! A terminal sends characters where a keyboard sends keys. [`Decoder`] finds the keys that type the
//! characters in the guest's keyboard layout. Some keys cannot be told apart because terminals send the same
//! byte for both: Ctrl+H is Backspace, Ctrl+I Tab, Ctrl+J and Ctrl+M Enter.

pub(super) mod sequences;

use crate::devices::keyboard::layouts::strokes_for;
use crate::devices::keyboard::{Key, KeyEvent};
use crate::settings::LayoutName;

use sequences::SpecialKey;

const ESCAPE: u8 = 0x1B;
const DELETE: u8 = 0x7F;

/// Longest escape sequence, in bytes; those of keys are far shorter.
const LONGEST_SEQUENCE: usize = 32;

/// One keystroke, in the two forms in which a guest can receive it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedKey {
    /// The bytes of the input, for a serial port.
    pub bytes: Box<[u8]>,
    /// For the keyboard: modifiers go down, the key goes down and comes up, modifiers come up.
    ///
    /// Empty if no key types it: an escape sequence that belongs to no key, the second half of a
    /// CR LF, or [`missing`](DecodedKey::missing).
    pub events: Vec<KeyEvent>,
    /// The character that the layout cannot type; U+FFFD stands for bytes that are not UTF-8.
    pub missing: Option<char>,
}

/// Splits a stream of bytes into keystrokes.
///
/// It understands UTF-8, control characters, and the escape sequences of xterm, VT220 and the Linux
/// console for keys without a character. `ESC` before a character is that character with Alt.
/// CR, LF and CR LF are all one Enter.
#[derive(Debug)]
pub struct Decoder {
    layout: LayoutName,
    /// Bytes whose meaning depends on what follows.
    pending: Vec<u8>,
    /// The last byte was a CR, to which a LF may belong.
    after_return: bool,
}

/// What the first bytes of the input mean.
struct Typed {
    /// How many bytes these are.
    length: usize,
    meaning: Meaning,
}

enum Meaning {
    Key(SpecialKey),
    Character { modifiers: Vec<Key>, character: char },
    Nothing,
}

impl Decoder {
    /// A decoder for a guest that expects this keyboard layout.
    pub fn new(layout: LayoutName) -> Decoder {
        Decoder { layout, pending: Vec::new(), after_return: false }
    }

    /// Takes the next bytes and returns the complete keystrokes.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<DecodedKey> {
        self.pending.extend_from_slice(bytes);
        self.decode(false)
    }

    /// Returns the keystrokes of incomplete input, because nothing follows for now: a single `ESC` is then the
    /// Escape key.
    ///
    /// Call it when no more bytes arrive within the timeout, and at the end of the input.
    pub fn flush(&mut self) -> Vec<DecodedKey> {
        self.decode(true)
    }

    fn decode(&mut self, complete: bool) -> Vec<DecodedKey> {
        let input = std::mem::take(&mut self.pending);
        let mut keystrokes = Vec::new();
        let mut rest = input.as_slice();
        while let Some(typed) = first_typed(rest, complete) {
            let (bytes, behind) = rest.split_at(typed.length);
            rest = behind;
            let meaning = match bytes {
                b"\n" if self.after_return => Meaning::Nothing,
                _ => typed.meaning,
            };
            self.after_return = bytes.ends_with(b"\r");
            keystrokes.push(self.keystroke(bytes, meaning));
        }
        self.pending = rest.to_vec();
        keystrokes
    }

    fn keystroke(&self, bytes: &[u8], meaning: Meaning) -> DecodedKey {
        let mut keystroke = DecodedKey { bytes: bytes.into(), events: Vec::new(), missing: None };
        match meaning {
            Meaning::Key(SpecialKey { mut modifiers, key }) => {
                modifiers.push(key);
                keystroke.events = KeyEvent::chord(&modifiers);
            }
            Meaning::Character { mut modifiers, character } => match strokes_for(self.layout, character) {
                Some(combination) => {
                    modifiers.extend(combination.keys());
                    keystroke.events = KeyEvent::chord(&modifiers);
                }
                None => keystroke.missing = Some(character),
            },
            Meaning::Nothing => {}
        }
        keystroke
    }
}

/// The first keystroke, or `None` if there is none or more bytes are needed (never if the input is
/// `complete`).
fn first_typed(input: &[u8], complete: bool) -> Option<Typed> {
    match input {
        [] => None,
        [ESCAPE] if !complete => None,
        [ESCAPE] | [ESCAPE, ESCAPE, ..] => Some(special(1, Key::Escape)),
        [ESCAPE, b'[', ..] => control_sequence(input, complete),
        [ESCAPE, b'O', ..] => single_shift(input, complete),
        [ESCAPE, rest @ ..] => with_alt(rest, complete),
        _ => unescaped(input, complete),
    }
}

fn special(length: usize, key: Key) -> Typed {
    Typed { length, meaning: Meaning::Key(SpecialKey { modifiers: Vec::new(), key }) }
}

fn nothing(length: usize) -> Typed {
    Typed { length, meaning: Meaning::Nothing }
}

/// `ESC [`, parameters, and a last byte (ECMA-48, section 5.4).
fn control_sequence(input: &[u8], complete: bool) -> Option<Typed> {
    if let [_, _, b'[', rest @ ..] = input {
        return match rest {
            [last, ..] => Some(key_or_nothing(4, sequences::linux_function_key(*last))),
            [] => complete.then(|| nothing(input.len())),
        };
    }
    let end = input.iter().skip(2).position(|byte| !(0x20..=0x3F).contains(byte)).map(|end| end + 2);
    match end {
        Some(end) if end >= LONGEST_SEQUENCE => Some(nothing(LONGEST_SEQUENCE)),
        Some(end) if (0x40..=0x7E).contains(&input[end]) => {
            let key = sequences::control_sequence(&input[2..end], input[end]);
            let meaning = key.map_or(Meaning::Nothing, Meaning::Key);
            Some(Typed { length: end + 1, meaning })
        }
        Some(2) => with_alt(&input[1..], true),
        // The sequence was broken off, and what broke it means something by itself.
        Some(end) => Some(nothing(end)),
        None if input.len() >= LONGEST_SEQUENCE => Some(nothing(LONGEST_SEQUENCE)),
        None if !complete => None,
        None if input.len() == 2 => with_alt(&input[1..], true),
        None => Some(nothing(input.len())),
    }
}

/// `ESC O` and a last byte.
fn single_shift(input: &[u8], complete: bool) -> Option<Typed> {
    match input {
        [_, _, last @ 0x40..=0x7E, ..] => Some(key_or_nothing(3, sequences::single_shift(*last))),
        [_, _] if !complete => None,
        _ => with_alt(&input[1..], true),
    }
}

fn key_or_nothing(length: usize, key: Option<Key>) -> Typed {
    key.map_or(nothing(length), |key| special(length, key))
}

/// What follows an `ESC` that begins no sequence, typed with Alt.
fn with_alt(rest: &[u8], complete: bool) -> Option<Typed> {
    let mut typed = unescaped(rest, complete)?;
    typed.length += 1;
    match &mut typed.meaning {
        Meaning::Key(SpecialKey { modifiers, .. }) | Meaning::Character { modifiers, .. } => {
            modifiers.push(Key::LeftAlt);
        }
        Meaning::Nothing => {}
    }
    Some(typed)
}

/// A character, or a control character, at the start of `input`, which does not begin with `ESC`.
fn unescaped(input: &[u8], complete: bool) -> Option<Typed> {
    let control = |character| Typed {
        length: 1,
        meaning: Meaning::Character { modifiers: vec![Key::LeftControl], character },
    };
    let typed = match *input.first()? {
        b'\r' | b'\n' => special(1, Key::Enter),
        b'\t' => special(1, Key::Tab),
        0x08 | DELETE => special(1, Key::Backspace),
        0x00 => control(' '),
        letter @ 0x01..=0x1A => control(char::from(letter | 0x60)),
        symbol @ 0x1B..=0x1F => control(char::from(symbol | 0x40)),
        _ => return character(input, complete),
    };
    Some(typed)
}

fn character(input: &[u8], complete: bool) -> Option<Typed> {
    let plain = |length, character| Typed {
        length,
        meaning: Meaning::Character { modifiers: Vec::new(), character },
    };
    // No character is longer than four bytes.
    let start = &input[..input.len().min(4)];
    let valid = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() == 0 => {
            return match error.error_len() {
                Some(length) => Some(plain(length, char::REPLACEMENT_CHARACTER)),
                None => complete.then(|| plain(start.len(), char::REPLACEMENT_CHARACTER)),
            };
        }
        Err(error) => std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default(),
    };
    valid.chars().next().map(|first| plain(first.len_utf8(), first))
}

#[cfg(test)]
#[path = "keys_test.rs"]
mod tests;
