//! Every key in both sets, and the sequences that are not just a code.

use super::*;

/// Each key with its set 1 and its set 2 code; codes above FFh have the `E0` prefix.
#[rustfmt::skip]
const KEYS: [(Key, u16, u16); 103] = [
    (Key::A, 0x1E, 0x1C), (Key::B, 0x30, 0x32), (Key::C, 0x2E, 0x21), (Key::D, 0x20, 0x23),
    (Key::E, 0x12, 0x24), (Key::F, 0x21, 0x2B), (Key::G, 0x22, 0x34), (Key::H, 0x23, 0x33),
    (Key::I, 0x17, 0x43), (Key::J, 0x24, 0x3B), (Key::K, 0x25, 0x42), (Key::L, 0x26, 0x4B),
    (Key::M, 0x32, 0x3A), (Key::N, 0x31, 0x31), (Key::O, 0x18, 0x44), (Key::P, 0x19, 0x4D),
    (Key::Q, 0x10, 0x15), (Key::R, 0x13, 0x2D), (Key::S, 0x1F, 0x1B), (Key::T, 0x14, 0x2C),
    (Key::U, 0x16, 0x3C), (Key::V, 0x2F, 0x2A), (Key::W, 0x11, 0x1D), (Key::X, 0x2D, 0x22),
    (Key::Y, 0x15, 0x35), (Key::Z, 0x2C, 0x1A), (Key::Digit0, 0x0B, 0x45), (Key::Digit1, 0x02, 0x16),
    (Key::Digit2, 0x03, 0x1E), (Key::Digit3, 0x04, 0x26), (Key::Digit4, 0x05, 0x25),
    (Key::Digit5, 0x06, 0x2E), (Key::Digit6, 0x07, 0x36), (Key::Digit7, 0x08, 0x3D),
    (Key::Digit8, 0x09, 0x3E), (Key::Digit9, 0x0A, 0x46), (Key::F1, 0x3B, 0x05), (Key::F2, 0x3C, 0x06),
    (Key::F3, 0x3D, 0x04), (Key::F4, 0x3E, 0x0C), (Key::F5, 0x3F, 0x03), (Key::F6, 0x40, 0x0B),
    (Key::F7, 0x41, 0x83), (Key::F8, 0x42, 0x0A), (Key::F9, 0x43, 0x01), (Key::F10, 0x44, 0x09),
    (Key::F11, 0x57, 0x78), (Key::F12, 0x58, 0x07), (Key::Enter, 0x1C, 0x5A), (Key::Escape, 0x01, 0x76),
    (Key::Backspace, 0x0E, 0x66), (Key::Tab, 0x0F, 0x0D), (Key::Space, 0x39, 0x29),
    (Key::Minus, 0x0C, 0x4E), (Key::Equal, 0x0D, 0x55), (Key::LeftBracket, 0x1A, 0x54),
    (Key::RightBracket, 0x1B, 0x5B), (Key::Backslash, 0x2B, 0x5D), (Key::Semicolon, 0x27, 0x4C),
    (Key::Quote, 0x28, 0x52), (Key::Backquote, 0x29, 0x0E), (Key::Comma, 0x33, 0x41),
    (Key::Period, 0x34, 0x49), (Key::Slash, 0x35, 0x4A), (Key::IntlBackslash, 0x56, 0x61),
    (Key::CapsLock, 0x3A, 0x58), (Key::NumLock, 0x45, 0x77), (Key::ScrollLock, 0x46, 0x7E),
    (Key::Insert, 0xE052, 0xE070), (Key::Delete, 0xE053, 0xE071), (Key::Home, 0xE047, 0xE06C),
    (Key::End, 0xE04F, 0xE069), (Key::PageUp, 0xE049, 0xE07D), (Key::PageDown, 0xE051, 0xE07A),
    (Key::Up, 0xE048, 0xE075), (Key::Down, 0xE050, 0xE072), (Key::Left, 0xE04B, 0xE06B),
    (Key::Right, 0xE04D, 0xE074), (Key::Keypad0, 0x52, 0x70), (Key::Keypad1, 0x4F, 0x69),
    (Key::Keypad2, 0x50, 0x72), (Key::Keypad3, 0x51, 0x7A), (Key::Keypad4, 0x4B, 0x6B),
    (Key::Keypad5, 0x4C, 0x73), (Key::Keypad6, 0x4D, 0x74), (Key::Keypad7, 0x47, 0x6C),
    (Key::Keypad8, 0x48, 0x75), (Key::Keypad9, 0x49, 0x7D), (Key::KeypadDivide, 0xE035, 0xE04A),
    (Key::KeypadMultiply, 0x37, 0x7C), (Key::KeypadSubtract, 0x4A, 0x7B), (Key::KeypadAdd, 0x4E, 0x79),
    (Key::KeypadEnter, 0xE01C, 0xE05A), (Key::KeypadDecimal, 0x53, 0x71), (Key::LeftShift, 0x2A, 0x12),
    (Key::RightShift, 0x36, 0x59), (Key::LeftControl, 0x1D, 0x14), (Key::RightControl, 0xE01D, 0xE014),
    (Key::LeftAlt, 0x38, 0x11), (Key::RightAlt, 0xE038, 0xE011), (Key::LeftMeta, 0xE05B, 0xE01F),
    (Key::RightMeta, 0xE05C, 0xE027), (Key::Menu, 0xE05D, 0xE02F),
];

const NONE: Modifiers = Modifiers { shift: false, control: false, alt: false };

fn press(set: ScanSet, key: Key, modifiers: Modifiers) -> Vec<u8> {
    sequence(set, KeyEvent::press(key), modifiers)
}

fn release(set: ScanSet, key: Key, modifiers: Modifiers) -> Vec<u8> {
    sequence(set, KeyEvent::release(key), modifiers)
}

fn code_bytes(code: u16) -> Vec<u8> {
    let [prefix, code] = code.to_be_bytes();
    if prefix == 0 { vec![code] } else { vec![prefix, code] }
}

#[test]
fn every_key_sends_its_set_1_code_and_bit_7_on_release() {
    for (key, set1, _) in KEYS {
        let mut bytes = code_bytes(set1);
        assert_eq!(press(ScanSet::One, key, NONE), bytes, "{key:?} pressed");
        *bytes.last_mut().unwrap() |= 0x80;
        assert_eq!(release(ScanSet::One, key, NONE), bytes, "{key:?} released");
    }
}

#[test]
fn every_key_sends_its_set_2_code_and_f0_before_it_on_release() {
    for (key, _, set2) in KEYS {
        let mut bytes = code_bytes(set2);
        assert_eq!(press(ScanSet::Two, key, NONE), bytes, "{key:?} pressed");
        bytes.insert(bytes.len() - 1, 0xF0);
        assert_eq!(release(ScanSet::Two, key, NONE), bytes, "{key:?} released");
    }
}

#[test]
fn no_two_keys_send_the_same() {
    for (index, (key, set1, set2)) in KEYS.iter().enumerate() {
        for (other, other1, other2) in &KEYS[index + 1..] {
            assert!(set1 != other1 && set2 != other2, "{key:?} and {other:?}");
        }
    }
}

#[test]
fn pause_sends_press_and_release_at_once() {
    assert_eq!(press(ScanSet::Two, Key::Pause, NONE), [0xE1, 0x14, 0x77, 0xE1, 0xF0, 0x14, 0xF0, 0x77]);
    assert_eq!(press(ScanSet::One, Key::Pause, NONE), [0xE1, 0x1D, 0x45, 0xE1, 0x9D, 0xC5]);
    assert!(release(ScanSet::Two, Key::Pause, NONE).is_empty());
    assert!(release(ScanSet::One, Key::Pause, NONE).is_empty());
}

#[test]
fn control_pause_is_break() {
    let control = Modifiers { control: true, ..NONE };
    assert_eq!(press(ScanSet::Two, Key::Pause, control), [0xE0, 0x7E, 0xE0, 0xF0, 0x7E]);
    assert_eq!(press(ScanSet::One, Key::Pause, control), [0xE0, 0x46, 0xE0, 0xC6]);
    assert!(release(ScanSet::One, Key::Pause, control).is_empty());
}

#[test]
fn print_screen_brings_a_shift_along() {
    assert_eq!(press(ScanSet::Two, Key::PrintScreen, NONE), [0xE0, 0x12, 0xE0, 0x7C]);
    assert_eq!(release(ScanSet::Two, Key::PrintScreen, NONE), [0xE0, 0xF0, 0x7C, 0xE0, 0xF0, 0x12]);
    assert_eq!(press(ScanSet::One, Key::PrintScreen, NONE), [0xE0, 0x2A, 0xE0, 0x37]);
    assert_eq!(release(ScanSet::One, Key::PrintScreen, NONE), [0xE0, 0xB7, 0xE0, 0xAA]);
}

#[test]
fn print_screen_with_shift_or_control_needs_no_shift_of_its_own() {
    for modifiers in [Modifiers { shift: true, ..NONE }, Modifiers { control: true, ..NONE }] {
        assert_eq!(press(ScanSet::Two, Key::PrintScreen, modifiers), [0xE0, 0x7C]);
        assert_eq!(release(ScanSet::Two, Key::PrintScreen, modifiers), [0xE0, 0xF0, 0x7C]);
        assert_eq!(press(ScanSet::One, Key::PrintScreen, modifiers), [0xE0, 0x37]);
    }
}

#[test]
fn alt_print_screen_is_system_request() {
    let alt = Modifiers { alt: true, ..NONE };
    assert_eq!(press(ScanSet::Two, Key::PrintScreen, alt), [0x84]);
    assert_eq!(release(ScanSet::Two, Key::PrintScreen, alt), [0xF0, 0x84]);
    assert_eq!(press(ScanSet::One, Key::PrintScreen, alt), [0x54]);
    assert_eq!(release(ScanSet::One, Key::PrintScreen, alt), [0xD4]);
}

#[test]
fn answers_of_the_keyboard_pass_the_translator_as_on_a_pc() {
    let translated = |bytes: &[u8]| -> Vec<u8> {
        let mut translator = Translator::default();
        bytes.iter().filter_map(|&byte| translator.next(byte)).collect()
    };
    assert_eq!(translated(&[0xFA, 0xAA, 0xEE, 0xFE]), [0xFA, 0xAA, 0xEE, 0xFE]);
    assert_eq!(translated(&[0xAB, 0x83]), [0xAB, 0x41]);
    assert_eq!(translated(&[0x01, 0x02]), [0x43, 0x41]);
    assert_eq!(translated(&[0x00]), [0xFF], "the overrun code of set 2 becomes that of set 1");
}
