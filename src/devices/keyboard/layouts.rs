//! Keyboard layouts: which keys type a character.

use super::Key;
use crate::settings::LayoutName;

/// A key and the modifiers held with it to type a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Combination {
    /// The key.
    pub key: Key,
    /// Whether Shift is held.
    pub shift: bool,
    /// Whether AltGr, the right Alt, is held.
    pub alt_gr: bool,
}

impl Combination {
    /// All the keys, in the order in which they go down.
    pub fn keys(self) -> Vec<Key> {
        let modifiers = [(self.alt_gr, Key::RightAlt), (self.shift, Key::LeftShift)];
        let held = modifiers.into_iter().filter(|(held, _)| *held).map(|(_, modifier)| modifier);
        held.chain([self.key]).collect()
    }
}

/// The keys that type `character` in `layout`, or `None` if no combination of Shift, AltGr and one
/// key does. Characters that come from keys without a print, such as Enter, are not in a layout.
pub fn strokes_for(layout: LayoutName, character: char) -> Option<Combination> {
    let rows = match layout {
        LayoutName::Us => US,
        LayoutName::It => ITALIAN,
    };
    rows.iter().chain(COMMON).find_map(|&(key, characters)| {
        let level = characters.chars().position(|typed| typed == character)?;
        Some(Combination { key, shift: level & 1 != 0, alt_gr: level & 2 != 0 })
    })
}

/// A key with what it types plain, with Shift, with AltGr, and with both.
type Row = (Key, &'static str);

/// Keys that type the same in every layout here.
const COMMON: &[Row] = &[
    (Key::A, "aA"),
    (Key::B, "bB"),
    (Key::C, "cC"),
    (Key::D, "dD"),
    (Key::E, "eE"),
    (Key::F, "fF"),
    (Key::G, "gG"),
    (Key::H, "hH"),
    (Key::I, "iI"),
    (Key::J, "jJ"),
    (Key::K, "kK"),
    (Key::L, "lL"),
    (Key::M, "mM"),
    (Key::N, "nN"),
    (Key::O, "oO"),
    (Key::P, "pP"),
    (Key::Q, "qQ"),
    (Key::R, "rR"),
    (Key::S, "sS"),
    (Key::T, "tT"),
    (Key::U, "uU"),
    (Key::V, "vV"),
    (Key::W, "wW"),
    (Key::X, "xX"),
    (Key::Y, "yY"),
    (Key::Z, "zZ"),
    (Key::Space, " "),
];

const US: &[Row] = &[
    (Key::Backquote, "`~"),
    (Key::Digit1, "1!"),
    (Key::Digit2, "2@"),
    (Key::Digit3, "3#"),
    (Key::Digit4, "4$"),
    (Key::Digit5, "5%"),
    (Key::Digit6, "6^"),
    (Key::Digit7, "7&"),
    (Key::Digit8, "8*"),
    (Key::Digit9, "9("),
    (Key::Digit0, "0)"),
    (Key::Minus, "-_"),
    (Key::Equal, "=+"),
    (Key::LeftBracket, "[{"),
    (Key::RightBracket, "]}"),
    (Key::Backslash, "\\|"),
    (Key::Semicolon, ";:"),
    (Key::Quote, "'\""),
    (Key::Comma, ",<"),
    (Key::Period, ".>"),
    (Key::Slash, "/?"),
];

/// As printed on a 105-key Italian keyboard, and the two characters that programmers on Linux type
/// with AltGr because no key shows them: the grave accent (AltGr+') and the tilde (AltGr+ì).
const ITALIAN: &[Row] = &[
    (Key::Backquote, "\\|"),
    (Key::Digit1, "1!"),
    (Key::Digit2, "2\""),
    (Key::Digit3, "3£"),
    (Key::Digit4, "4$"),
    (Key::Digit5, "5%"),
    (Key::Digit6, "6&"),
    (Key::Digit7, "7/"),
    (Key::Digit8, "8("),
    (Key::Digit9, "9)"),
    (Key::Digit0, "0="),
    (Key::Minus, "'?`"),
    (Key::Equal, "ì^~"),
    (Key::E, "eE€"),
    (Key::LeftBracket, "èé[{"),
    (Key::RightBracket, "+*]}"),
    (Key::Semicolon, "òç@"),
    (Key::Quote, "à°#"),
    (Key::Backslash, "ù§"),
    (Key::IntlBackslash, "<>"),
    (Key::Comma, ",;"),
    (Key::Period, ".:"),
    (Key::Slash, "-_"),
];

#[cfg(test)]
#[path = "layouts_test.rs"]
mod tests;
