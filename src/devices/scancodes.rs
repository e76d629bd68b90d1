//! Scan codes: the bytes a PS/2 keyboard sends for each key, and their translation.
//!
//! Set 2 is what a PS/2 keyboard sends by itself, set 1 what software written for the PC expects.
//! Set 1 is by definition what the translation of the keyboard controller makes of set 2, so only
//! set 2 is written down here, next to the translation table (IBM PS/2 Hardware Interface Technical
//! Reference, "Keyboards (101- and 102-Key)"; Microsoft "Keyboard Scan Code Specification", rev. 1.3a).

use serde::{Deserialize, Serialize};

use super::keyboard::{Key, KeyEvent};

/// Prefix of the keys that the 101-key keyboard added to the 84-key one, in both sets.
pub const EXTENDED: u8 = 0xE0;

/// Prefix of the two halves of the Pause key, in both sets.
pub const PAUSE: u8 = 0xE1;

/// Prefix of a release in set 2.
pub const BREAK: u8 = 0xF0;

/// Bit that marks a release in set 1.
const SET1_RELEASE: u8 = 0x80;

/// Which scan codes a keyboard sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScanSet {
    /// Set 1: one byte a key, bit 7 set on release.
    One,
    /// Set 2: `F0` before the code on release.
    Two,
}

impl ScanSet {
    /// The number by which the keyboard command `F0` knows this set.
    pub fn number(self) -> u8 {
        match self {
            ScanSet::One => 1,
            ScanSet::Two => 2,
        }
    }

    /// What the keyboard sends in place of the codes it had no room for.
    pub fn overrun(self) -> u8 {
        match self {
            ScanSet::One => 0xFF,
            ScanSet::Two => 0x00,
        }
    }
}

/// The modifier keys that change what Print Screen and Pause send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modifiers {
    /// A Shift is down.
    pub shift: bool,
    /// A Control is down.
    pub control: bool,
    /// An Alt is down.
    pub alt: bool,
}

/// The bytes sent for `event` while `modifiers` are down; none for the release of Pause.
///
/// Print Screen on release takes `modifiers` as they were when it was pressed.
pub fn sequence(set: ScanSet, event: KeyEvent, modifiers: Modifiers) -> Vec<u8> {
    let bytes = set2_sequence(event, modifiers);
    match set {
        ScanSet::Two => bytes,
        ScanSet::One => {
            let mut translator = Translator::default();
            bytes.into_iter().filter_map(|byte| translator.next(byte)).collect()
        }
    }
}

fn set2_sequence(event: KeyEvent, modifiers: Modifiers) -> Vec<u8> {
    let fixed: &[u8] = match (event.key, event.down) {
        // Ctrl+Pause is Break, which is sent as a press and a release of its own.
        (Key::Pause, true) if modifiers.control => &[EXTENDED, 0x7E, EXTENDED, BREAK, 0x7E],
        (Key::Pause, true) => &[PAUSE, 0x14, 0x77, PAUSE, BREAK, 0x14, BREAK, 0x77],
        (Key::Pause, false) => &[],
        // Alt+Print Screen is the System Request key of the 84-key keyboard.
        (Key::PrintScreen, true) if modifiers.alt => &[0x84],
        (Key::PrintScreen, false) if modifiers.alt => &[BREAK, 0x84],
        // A Shift of its own goes around the key unless Shift or Control is down already.
        (Key::PrintScreen, true) if !modifiers.shift && !modifiers.control => {
            &[EXTENDED, 0x12, EXTENDED, 0x7C]
        }
        (Key::PrintScreen, false) if !modifiers.shift && !modifiers.control => {
            &[EXTENDED, BREAK, 0x7C, EXTENDED, BREAK, 0x12]
        }
        _ => return plain_sequence(event),
    };
    fixed.to_vec()
}

fn plain_sequence(event: KeyEvent) -> Vec<u8> {
    let (extended, code) = set2_code(event.key);
    let mut bytes = Vec::with_capacity(3);
    if extended {
        bytes.push(EXTENDED);
    }
    if !event.down {
        bytes.push(BREAK);
    }
    bytes.push(code);
    bytes
}

/// The set 2 code of a key, and whether [`EXTENDED`] goes before it.
fn set2_code(key: Key) -> (bool, u8) {
    const fn plain(code: u8) -> (bool, u8) {
        (false, code)
    }
    const fn extended(code: u8) -> (bool, u8) {
        (true, code)
    }
    match key {
        Key::A => plain(0x1C),
        Key::B => plain(0x32),
        Key::C => plain(0x21),
        Key::D => plain(0x23),
        Key::E => plain(0x24),
        Key::F => plain(0x2B),
        Key::G => plain(0x34),
        Key::H => plain(0x33),
        Key::I => plain(0x43),
        Key::J => plain(0x3B),
        Key::K => plain(0x42),
        Key::L => plain(0x4B),
        Key::M => plain(0x3A),
        Key::N => plain(0x31),
        Key::O => plain(0x44),
        Key::P => plain(0x4D),
        Key::Q => plain(0x15),
        Key::R => plain(0x2D),
        Key::S => plain(0x1B),
        Key::T => plain(0x2C),
        Key::U => plain(0x3C),
        Key::V => plain(0x2A),
        Key::W => plain(0x1D),
        Key::X => plain(0x22),
        Key::Y => plain(0x35),
        Key::Z => plain(0x1A),
        Key::Digit0 => plain(0x45),
        Key::Digit1 => plain(0x16),
        Key::Digit2 => plain(0x1E),
        Key::Digit3 => plain(0x26),
        Key::Digit4 => plain(0x25),
        Key::Digit5 => plain(0x2E),
        Key::Digit6 => plain(0x36),
        Key::Digit7 => plain(0x3D),
        Key::Digit8 => plain(0x3E),
        Key::Digit9 => plain(0x46),
        Key::F1 => plain(0x05),
        Key::F2 => plain(0x06),
        Key::F3 => plain(0x04),
        Key::F4 => plain(0x0C),
        Key::F5 => plain(0x03),
        Key::F6 => plain(0x0B),
        Key::F7 => plain(0x83),
        Key::F8 => plain(0x0A),
        Key::F9 => plain(0x01),
        Key::F10 => plain(0x09),
        Key::F11 => plain(0x78),
        Key::F12 => plain(0x07),
        Key::Enter => plain(0x5A),
        Key::Escape => plain(0x76),
        Key::Backspace => plain(0x66),
        Key::Tab => plain(0x0D),
        Key::Space => plain(0x29),
        Key::Minus => plain(0x4E),
        Key::Equal => plain(0x55),
        Key::LeftBracket => plain(0x54),
        Key::RightBracket => plain(0x5B),
        Key::Backslash => plain(0x5D),
        Key::Semicolon => plain(0x4C),
        Key::Quote => plain(0x52),
        Key::Backquote => plain(0x0E),
        Key::Comma => plain(0x41),
        Key::Period => plain(0x49),
        Key::Slash => plain(0x4A),
        Key::IntlBackslash => plain(0x61),
        Key::CapsLock => plain(0x58),
        Key::NumLock => plain(0x77),
        Key::ScrollLock => plain(0x7E),
        Key::PrintScreen => extended(0x7C),
        // Never sent by itself: see `set2_sequence`. This is its part of Ctrl+Pause.
        Key::Pause => extended(0x7E),
        Key::Insert => extended(0x70),
        Key::Delete => extended(0x71),
        Key::Home => extended(0x6C),
        Key::End => extended(0x69),
        Key::PageUp => extended(0x7D),
        Key::PageDown => extended(0x7A),
        Key::Up => extended(0x75),
        Key::Down => extended(0x72),
        Key::Left => extended(0x6B),
        Key::Right => extended(0x74),
        Key::Keypad0 => plain(0x70),
        Key::Keypad1 => plain(0x69),
        Key::Keypad2 => plain(0x72),
        Key::Keypad3 => plain(0x7A),
        Key::Keypad4 => plain(0x6B),
        Key::Keypad5 => plain(0x73),
        Key::Keypad6 => plain(0x74),
        Key::Keypad7 => plain(0x6C),
        Key::Keypad8 => plain(0x75),
        Key::Keypad9 => plain(0x7D),
        Key::KeypadDivide => extended(0x4A),
        Key::KeypadMultiply => plain(0x7C),
        Key::KeypadSubtract => plain(0x7B),
        Key::KeypadAdd => plain(0x79),
        Key::KeypadEnter => extended(0x5A),
        Key::KeypadDecimal => plain(0x71),
        Key::LeftShift => plain(0x12),
        Key::RightShift => plain(0x59),
        Key::LeftControl => plain(0x14),
        Key::RightControl => extended(0x14),
        Key::LeftAlt => plain(0x11),
        Key::RightAlt => extended(0x11),
        Key::LeftMeta => extended(0x1F),
        Key::RightMeta => extended(0x27),
        Key::Menu => extended(0x2F),
    }
}

/// Turns set 2 into set 1 byte by byte, as the keyboard controller does when translation is on.
///
/// It does so with every byte, answers to commands included: the identity `AB 83` arrives as
/// `AB 41`.
#[derive(Debug, Default)]
pub struct Translator {
    release: bool,
}

impl Translator {
    /// Takes one byte from the keyboard; a [`BREAK`] is swallowed and marks the byte after it.
    pub fn next(&mut self, byte: u8) -> Option<u8> {
        if byte == BREAK {
            self.release = true;
            return None;
        }
        let release = std::mem::take(&mut self.release);
        Some(translate(byte) | if release { SET1_RELEASE } else { 0 })
    }
}

fn translate(byte: u8) -> u8 {
    match byte {
        // F7 and System Request, the two codes of set 2 that have bit 7 set.
        0x83 => 0x41,
        0x84 => 0x54,
        _ => TRANSLATION.get(usize::from(byte)).copied().unwrap_or(byte),
    }
}

/// What the controller makes of codes below 80h; it leaves the others alone.
#[rustfmt::skip]
const TRANSLATION: [u8; 128] = [
    0xFF, 0x43, 0x41, 0x3F, 0x3D, 0x3B, 0x3C, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3E, 0x0F, 0x29, 0x59,
    0x65, 0x38, 0x2A, 0x70, 0x1D, 0x10, 0x02, 0x5A, 0x66, 0x71, 0x2C, 0x1F, 0x1E, 0x11, 0x03, 0x5B,
    0x67, 0x2E, 0x2D, 0x20, 0x12, 0x05, 0x04, 0x5C, 0x68, 0x39, 0x2F, 0x21, 0x14, 0x13, 0x06, 0x5D,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5E, 0x6A, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5F,
    0x6B, 0x33, 0x25, 0x17, 0x18, 0x0B, 0x0A, 0x60, 0x6C, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0C, 0x61,
    0x6D, 0x73, 0x28, 0x74, 0x1A, 0x0D, 0x62, 0x6E, 0x3A, 0x36, 0x1C, 0x1B, 0x75, 0x2B, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7A, 0x0E, 0x7B, 0x7C, 0x4F, 0x7D, 0x4B, 0x47, 0x7E, 0x7F, 0x6F,
    0x52, 0x53, 0x50, 0x4C, 0x4D, 0x48, 0x01, 0x45, 0x57, 0x4E, 0x51, 0x4A, 0x37, 0x49, 0x46, 0x54,
];

#[cfg(test)]
#[path = "scancodes_test.rs"]
mod tests;
