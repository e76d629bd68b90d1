//! Escape sequences that terminals send for keys without a character.
//!
//! The forms are those of xterm ("XTerm Control Sequences", section "PC-Style Function Keys"), of
//! the DEC VT220 and of the Linux console (`console_codes(4)`).

use crate::devices::keyboard::Key;

/// A key without a character, and the modifiers the terminal says were held.
#[derive(Debug, PartialEq, Eq)]
pub struct SpecialKey {
    /// In the order in which they are pressed.
    pub modifiers: Vec<Key>,
    /// The key.
    pub key: Key,
}

impl SpecialKey {
    fn plain(key: Key) -> SpecialKey {
        SpecialKey { modifiers: Vec::new(), key }
    }

    fn shifted(key: Key) -> SpecialKey {
        SpecialKey { modifiers: vec![Key::LeftShift], key }
    }
}

/// The key of `ESC [ parameters last`, or `None` if it is not the sequence of a key.
pub fn control_sequence(parameters: &[u8], last: u8) -> Option<SpecialKey> {
    let numbers = numbers(parameters)?;
    let first = numbers.first().copied();
    let mut special = match last {
        b'~' => numbered(first?)?,
        b'Z' => SpecialKey::shifted(Key::Tab),
        // Keys with a letter have the number 1, which is left out with the modifiers.
        _ if first.unwrap_or(1) == 1 => SpecialKey::plain(lettered(last)?),
        _ => return None,
    };
    match numbers.as_slice() {
        [] | [_] => {}
        [_, modifiers] => special.modifiers.extend(held(*modifiers)?),
        _ => return None,
    }
    Some(special)
}

/// The key of `ESC O last`: function keys, cursor keys and the keypad in their application modes.
pub fn single_shift(last: u8) -> Option<Key> {
    let key = match last {
        b'M' => Key::KeypadEnter,
        b'j' => Key::KeypadMultiply,
        b'k' => Key::KeypadAdd,
        b'm' => Key::KeypadSubtract,
        b'n' => Key::KeypadDecimal,
        b'o' => Key::KeypadDivide,
        b'p' => Key::Keypad0,
        b'q' => Key::Keypad1,
        b'r' => Key::Keypad2,
        b's' => Key::Keypad3,
        b't' => Key::Keypad4,
        b'u' => Key::Keypad5,
        b'v' => Key::Keypad6,
        b'w' => Key::Keypad7,
        b'x' => Key::Keypad8,
        b'y' => Key::Keypad9,
        _ => return lettered(last),
    };
    Some(key)
}

/// The key of `ESC [ [ last`, which the Linux console sends for F1 to F5.
pub fn linux_function_key(last: u8) -> Option<Key> {
    match last {
        b'A' => Some(Key::F1),
        b'B' => Some(Key::F2),
        b'C' => Some(Key::F3),
        b'D' => Some(Key::F4),
        b'E' => Some(Key::F5),
        _ => None,
    }
}

fn lettered(last: u8) -> Option<Key> {
    match last {
        b'A' => Some(Key::Up),
        b'B' => Some(Key::Down),
        b'C' => Some(Key::Right),
        b'D' => Some(Key::Left),
        b'E' => Some(Key::Keypad5),
        b'F' => Some(Key::End),
        b'H' => Some(Key::Home),
        b'P' => Some(Key::F1),
        b'Q' => Some(Key::F2),
        b'R' => Some(Key::F3),
        b'S' => Some(Key::F4),
        _ => None,
    }
}

fn numbered(number: u16) -> Option<SpecialKey> {
    let key = match number {
        1 | 7 => Key::Home,
        2 => Key::Insert,
        3 => Key::Delete,
        4 | 8 => Key::End,
        5 => Key::PageUp,
        6 => Key::PageDown,
        11 => Key::F1,
        12 => Key::F2,
        13 => Key::F3,
        14 => Key::F4,
        15 => Key::F5,
        17 => Key::F6,
        18 => Key::F7,
        19 => Key::F8,
        20 => Key::F9,
        21 => Key::F10,
        23 => Key::F11,
        24 => Key::F12,
        _ => return linux_shifted(number).map(SpecialKey::shifted),
    };
    Some(SpecialKey::plain(key))
}

/// F13 to F20 of a VT220, which a PC types as Shift+F1 to Shift+F8.
fn linux_shifted(number: u16) -> Option<Key> {
    match number {
        25 => Some(Key::F1),
        26 => Some(Key::F2),
        28 => Some(Key::F3),
        29 => Some(Key::F4),
        31 => Some(Key::F5),
        32 => Some(Key::F6),
        33 => Some(Key::F7),
        34 => Some(Key::F8),
        _ => None,
    }
}

fn numbers(parameters: &[u8]) -> Option<Vec<u16>> {
    if parameters.is_empty() {
        return Some(Vec::new());
    }
    let number = |digits: &[u8]| {
        let all_digits = digits.iter().all(u8::is_ascii_digit);
        all_digits.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
    };
    parameters.split(|&byte| byte == b';').map(number).collect()
}

/// xterm's modifier parameter: one more than the sum of Shift 1, Alt 2, Control 4 and Meta 8.
fn held(parameter: u16) -> Option<Vec<Key>> {
    let bits = parameter.checked_sub(1).filter(|&bits| bits < 16)?;
    let keys = [(4, Key::LeftControl), (2, Key::LeftAlt), (1, Key::LeftShift), (8, Key::LeftMeta)];
    Some(keys.into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, key)| key).collect())
}
