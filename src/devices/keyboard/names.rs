//! Names of the keys, as users write them.

use super::Key;

/// The key called `name`, for example `a`, `ret`, `f1` or `ctrl`.
///
/// The names are those of QEMU's `sendkey` command, in lower case. Keys are named by their place on
/// a US keyboard, whatever the layout.
pub fn key_named(name: &str) -> Option<Key> {
    NAMES.iter().find(|(known, _)| *known == name).map(|&(_, key)| key)
}

/// Every name there is.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|&(name, _)| name)
}

const NAMES: &[(&str, Key)] = &[
    ("a", Key::A),
    ("b", Key::B),
    ("c", Key::C),
    ("d", Key::D),
    ("e", Key::E),
    ("f", Key::F),
    ("g", Key::G),
    ("h", Key::H),
    ("i", Key::I),
    ("j", Key::J),
    ("k", Key::K),
    ("l", Key::L),
    ("m", Key::M),
    ("n", Key::N),
    ("o", Key::O),
    ("p", Key::P),
    ("q", Key::Q),
    ("r", Key::R),
    ("s", Key::S),
    ("t", Key::T),
    ("u", Key::U),
    ("v", Key::V),
    ("w", Key::W),
    ("x", Key::X),
    ("y", Key::Y),
    ("z", Key::Z),
    ("0", Key::Digit0),
    ("1", Key::Digit1),
    ("2", Key::Digit2),
    ("3", Key::Digit3),
    ("4", Key::Digit4),
    ("5", Key::Digit5),
    ("6", Key::Digit6),
    ("7", Key::Digit7),
    ("8", Key::Digit8),
    ("9", Key::Digit9),
    ("f1", Key::F1),
    ("f2", Key::F2),
    ("f3", Key::F3),
    ("f4", Key::F4),
    ("f5", Key::F5),
    ("f6", Key::F6),
    ("f7", Key::F7),
    ("f8", Key::F8),
    ("f9", Key::F9),
    ("f10", Key::F10),
    ("f11", Key::F11),
    ("f12", Key::F12),
    ("ret", Key::Enter),
    ("esc", Key::Escape),
    ("backspace", Key::Backspace),
    ("tab", Key::Tab),
    ("spc", Key::Space),
    ("minus", Key::Minus),
    ("equal", Key::Equal),
    ("bracket_left", Key::LeftBracket),
    ("bracket_right", Key::RightBracket),
    ("backslash", Key::Backslash),
    ("semicolon", Key::Semicolon),
    ("apostrophe", Key::Quote),
    ("grave_accent", Key::Backquote),
    ("comma", Key::Comma),
    ("dot", Key::Period),
    ("slash", Key::Slash),
    ("less", Key::IntlBackslash),
    ("caps_lock", Key::CapsLock),
    ("num_lock", Key::NumLock),
    ("scroll_lock", Key::ScrollLock),
    ("print", Key::PrintScreen),
    ("pause", Key::Pause),
    ("insert", Key::Insert),
    ("delete", Key::Delete),
    ("home", Key::Home),
    ("end", Key::End),
    ("pgup", Key::PageUp),
    ("pgdn", Key::PageDown),
    ("up", Key::Up),
    ("down", Key::Down),
    ("left", Key::Left),
    ("right", Key::Right),
    ("kp_0", Key::Keypad0),
    ("kp_1", Key::Keypad1),
    ("kp_2", Key::Keypad2),
    ("kp_3", Key::Keypad3),
    ("kp_4", Key::Keypad4),
    ("kp_5", Key::Keypad5),
    ("kp_6", Key::Keypad6),
    ("kp_7", Key::Keypad7),
    ("kp_8", Key::Keypad8),
    ("kp_9", Key::Keypad9),
    ("kp_divide", Key::KeypadDivide),
    ("kp_multiply", Key::KeypadMultiply),
    ("kp_subtract", Key::KeypadSubtract),
    ("kp_add", Key::KeypadAdd),
    ("kp_enter", Key::KeypadEnter),
    ("kp_decimal", Key::KeypadDecimal),
    ("shift", Key::LeftShift),
    ("shift_r", Key::RightShift),
    ("ctrl", Key::LeftControl),
    ("ctrl_r", Key::RightControl),
    ("alt", Key::LeftAlt),
    ("alt_r", Key::RightAlt),
    ("meta_l", Key::LeftMeta),
    ("meta_r", Key::RightMeta),
    ("menu", Key::Menu),
    // Second names.
    ("altgr", Key::RightAlt),
    ("asterisk", Key::KeypadMultiply),
    ("enter", Key::Enter),
    ("sysrq", Key::PrintScreen),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_key_has_a_name_and_no_name_two_keys() {
        let keys: HashSet<Key> = NAMES.iter().map(|&(_, key)| key).collect();
        assert_eq!(keys.len(), 105);
        let names: HashSet<&str> = NAMES.iter().map(|&(name, _)| name).collect();
        assert_eq!(names.len(), NAMES.len());
    }

    #[test]
    fn keys_have_their_common_names() {
        assert_eq!(key_named("ret"), Some(Key::Enter));
        assert_eq!(key_named("ctrl"), Some(Key::LeftControl));
        assert_eq!(key_named("a"), Some(Key::A));
        assert_eq!(key_named("f1"), Some(Key::F1));
        assert_eq!(key_named("spc"), Some(Key::Space));
        assert_eq!(key_named("less"), Some(Key::IntlBackslash));
        assert_eq!(key_named("pgdn"), Some(Key::PageDown));
        assert_eq!(key_named("any"), None);
        assert_eq!(key_named(""), None);
    }
}
