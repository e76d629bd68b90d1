//! The PS/2 keyboard: its controller, which scans the keys and answers commands.
//!
//! It follows the IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-Key)".
//! It has scan code sets 1 and 2; set 3 and its per-key repeat types are answered but not kept. It
//! takes no time: a reset and its self-test are over at once. It does not repeat a key that is held
//! down: the source of key events sends repetitions as further presses. Nor does it put shifts
//! around the cursor keys while Shift or Num Lock is on.

mod key;
pub mod layouts;
pub mod names;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::scancodes::{self, Modifiers, ScanSet};

pub use key::{Key, KeyEvent};

/// Scan code bytes that wait to be sent; what does not fit is replaced by one overrun code.
pub const BUFFER_SIZE: usize = 16;

/// Answer bytes that wait to be sent; more are lost, which takes a guest that never reads them.
const REPLY_LIMIT: usize = 16;

const ACK: u8 = 0xFA;
const RESEND: u8 = 0xFE;
const ECHO: u8 = 0xEE;
const SELF_TEST_PASSED: u8 = 0xAA;
const IDENTITY: [u8; 2] = [0xAB, 0x83];

/// First byte value that is a command; below are parameters.
const FIRST_COMMAND: u8 = 0xED;

/// 10.9 repetitions a second after half a second, the typematic rate of a keyboard after reset.
const DEFAULT_TYPEMATIC: u8 = 0x2B;

/// The command whose parameter comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Awaiting {
    Command,
    Leds,
    ScanSet,
    Typematic,
    RepeatType,
}

/// The modifier keys that are down; Print Screen is released the way it was pressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    /// One bit for each modifier key, see [`modifier_bit`].
    modifiers: u8,
    /// `modifiers` when Print Screen was pressed.
    at_print_screen: u8,
}

const LEFT_SHIFT: u8 = 1 << 0;
const RIGHT_SHIFT: u8 = 1 << 1;
const LEFT_CONTROL: u8 = 1 << 2;
const RIGHT_CONTROL: u8 = 1 << 3;
const LEFT_ALT: u8 = 1 << 4;
const RIGHT_ALT: u8 = 1 << 5;
const ALL_MODIFIERS: u8 = (1 << 6) - 1;

fn modifier_bit(key: Key) -> u8 {
    match key {
        Key::LeftShift => LEFT_SHIFT,
        Key::RightShift => RIGHT_SHIFT,
        Key::LeftControl => LEFT_CONTROL,
        Key::RightControl => RIGHT_CONTROL,
        Key::LeftAlt => LEFT_ALT,
        Key::RightAlt => RIGHT_ALT,
        _ => 0,
    }
}

fn modifiers(bits: u8) -> Modifiers {
    Modifiers {
        shift: bits & (LEFT_SHIFT | RIGHT_SHIFT) != 0,
        control: bits & (LEFT_CONTROL | RIGHT_CONTROL) != 0,
        alt: bits & (LEFT_ALT | RIGHT_ALT) != 0,
    }
}

/// A PS/2 keyboard on the wire to its controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyboard {
    codes: VecDeque<u8>,
    replies: VecDeque<u8>,
    awaiting: Awaiting,
    scanning: bool,
    scan_set: ScanSet,
    /// Bit 0 Scroll Lock, bit 1 Num Lock, bit 2 Caps Lock.
    leds: u8,
    typematic: u8,
    /// What the command `FE` sends again.
    last_sent: u8,
    held: Held,
}

impl Default for Keyboard {
    /// As after power-on and a passed self-test whose result was read: set 2, scanning.
    fn default() -> Keyboard {
        Keyboard {
            codes: VecDeque::new(),
            replies: VecDeque::new(),
            awaiting: Awaiting::Command,
            scanning: true,
            scan_set: ScanSet::Two,
            leds: 0,
            typematic: DEFAULT_TYPEMATIC,
            last_sent: SELF_TEST_PASSED,
            held: Held::default(),
        }
    }
}

impl Keyboard {
    /// A key goes down or comes up.
    ///
    /// Its bytes enter the buffer together or not at all; in the latter case the overrun code
    /// follows what is already there. Keys are kept also while scanning is disabled (up to the size
    /// of the buffer) and sent once it is enabled, so that an early key is not lost.
    pub fn key(&mut self, event: KeyEvent) {
        let bit = modifier_bit(event.key);
        if event.down {
            self.held.modifiers |= bit;
        } else {
            self.held.modifiers &= !bit;
        }
        if event == KeyEvent::press(Key::PrintScreen) {
            self.held.at_print_screen = self.held.modifiers;
        }
        let held = if event == KeyEvent::release(Key::PrintScreen) {
            self.held.at_print_screen
        } else {
            self.held.modifiers
        };
        let bytes = scancodes::sequence(self.scan_set, event, modifiers(held));
        if self.codes.len() + bytes.len() <= BUFFER_SIZE {
            self.codes.extend(bytes);
        } else if self.codes.back() != Some(&self.scan_set.overrun()) {
            self.codes.push_back(self.scan_set.overrun());
        }
    }

    /// The next byte the keyboard sends, answers before scan codes.
    pub fn send(&mut self) -> Option<u8> {
        let byte = match self.replies.pop_front() {
            Some(byte) => byte,
            None if self.scanning => self.codes.pop_front()?,
            None => return None,
        };
        if byte != RESEND {
            self.last_sent = byte;
        }
        Some(byte)
    }

    /// Takes a command or parameter byte from the controller.
    ///
    /// A command in place of a parameter abandons the command that waits for it. A byte that is
    /// neither is answered with `FE`.
    pub fn receive(&mut self, byte: u8) {
        let awaiting = std::mem::replace(&mut self.awaiting, Awaiting::Command);
        if awaiting == Awaiting::Command || byte >= FIRST_COMMAND {
            self.command(byte);
        } else {
            self.parameter(awaiting, byte);
        }
    }

    /// True if the keyboard would send the next key at once: it scans, has sent everything and
    /// waits for no parameter.
    pub fn idle(&self) -> bool {
        self.scanning
            && self.codes.is_empty()
            && self.replies.is_empty()
            && self.awaiting == Awaiting::Command
    }

    fn command(&mut self, command: u8) {
        match command {
            0xED => self.expect(Awaiting::Leds),
            0xEE => self.reply(&[ECHO]),
            0xF0 => self.expect(Awaiting::ScanSet),
            0xF2 => self.reply(&[ACK, IDENTITY[0], IDENTITY[1]]),
            0xF3 => self.expect(Awaiting::Typematic),
            0xF4 => {
                self.scanning = true;
                self.reply(&[ACK]);
            }
            0xF5 => {
                self.set_defaults();
                self.scanning = false;
                self.reply(&[ACK]);
            }
            0xF6 => {
                self.set_defaults();
                self.scanning = true;
                self.reply(&[ACK]);
            }
            // Repeat types of all keys: they exist in set 3 only.
            0xF7..=0xFA => self.reply(&[ACK]),
            0xFB..=0xFD => self.expect(Awaiting::RepeatType),
            0xFE => self.reply(&[self.last_sent]),
            0xFF => {
                // A command does not release the keys.
                *self = Keyboard { held: self.held, ..Keyboard::default() };
                self.reply(&[ACK, SELF_TEST_PASSED]);
            }
            _ => self.reply(&[RESEND]),
        }
    }

    fn parameter(&mut self, awaiting: Awaiting, value: u8) {
        match (awaiting, value) {
            (Awaiting::Leds, 0..=0x07) => self.leds = value,
            (Awaiting::Typematic, 0..=0x7F) => self.typematic = value,
            (Awaiting::ScanSet, 0) => return self.reply(&[ACK, self.scan_set.number()]),
            (Awaiting::ScanSet, 1) => self.set_scan_set(ScanSet::One),
            (Awaiting::ScanSet, 2) => self.set_scan_set(ScanSet::Two),
            (Awaiting::RepeatType, _) => {}
            _ => return self.reply(&[RESEND]),
        }
        self.reply(&[ACK]);
    }

    fn expect(&mut self, parameter: Awaiting) {
        self.awaiting = parameter;
        self.reply(&[ACK]);
    }

    fn reply(&mut self, bytes: &[u8]) {
        if self.replies.len() + bytes.len() <= REPLY_LIMIT {
            self.replies.extend(bytes);
        }
    }

    /// Codes of the old set would mean other keys in the new one.
    fn set_scan_set(&mut self, set: ScanSet) {
        self.codes.clear();
        self.scan_set = set;
    }

    fn set_defaults(&mut self) {
        self.codes.clear();
        self.scan_set = ScanSet::Two;
        self.typematic = DEFAULT_TYPEMATIC;
    }

    /// Whether this is a state a keyboard can be in; if not, what is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.codes.len() > BUFFER_SIZE + 1 {
            return Err(format!("{} scan code bytes wait in a buffer of {BUFFER_SIZE}", self.codes.len()));
        }
        if self.replies.len() > REPLY_LIMIT {
            return Err(format!("{} answer bytes wait, at most {REPLY_LIMIT} can", self.replies.len()));
        }
        if self.leds > 0x07 {
            return Err(format!("keyboard LEDs are {:#04x}, at most 0x07 exists", self.leds));
        }
        if self.typematic > 0x7F {
            return Err(format!("typematic rate is {:#04x}, at most 0x7f exists", self.typematic));
        }
        if (self.held.modifiers | self.held.at_print_screen) & !ALL_MODIFIERS != 0 {
            return Err("a modifier key that does not exist is held".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "keyboard_test.rs"]
mod tests;
