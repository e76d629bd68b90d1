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
mod tests {
    use super::*;

    fn combination(key: Key, shift: bool, alt_gr: bool) -> Option<Combination> {
        Some(Combination { key, shift, alt_gr })
    }

    #[test]
    fn every_layout_types_all_of_printable_ascii() {
        for layout in [LayoutName::Us, LayoutName::It] {
            for character in ' '..='~' {
                assert!(strokes_for(layout, character).is_some(), "{layout:?} cannot type {character:?}");
            }
        }
    }

    #[test]
    fn no_layout_types_two_characters_alike() {
        for layout in [LayoutName::Us, LayoutName::It] {
            let characters: Vec<char> = (' '..='~').chain("àèéìòùç°§£€".chars()).collect();
            for (index, &one) in characters.iter().enumerate() {
                for &other in &characters[index + 1..] {
                    let [first, second] = [one, other].map(|character| strokes_for(layout, character));
                    assert!(first.is_none() || first != second, "{layout:?}: {one:?} and {other:?}");
                }
            }
        }
    }

    #[test]
    fn italians_find_their_characters_where_they_are_printed() {
        for (character, key, shift, alt_gr) in [
            ('£', Key::Digit3, true, false),
            ('@', Key::Semicolon, false, true),
            ('#', Key::Quote, false, true),
            ('[', Key::LeftBracket, false, true),
            ('{', Key::LeftBracket, true, true),
            (']', Key::RightBracket, false, true),
            ('}', Key::RightBracket, true, true),
            ('è', Key::LeftBracket, false, false),
            ('é', Key::LeftBracket, true, false),
            ('ç', Key::Semicolon, true, false),
            ('ù', Key::Backslash, false, false),
            ('<', Key::IntlBackslash, false, false),
            ('\\', Key::Backquote, false, false),
            ('/', Key::Digit7, true, false),
            ('€', Key::E, false, true),
            ('e', Key::E, false, false),
        ] {
            assert_eq!(
                strokes_for(LayoutName::It, character),
                combination(key, shift, alt_gr),
                "{character}"
            );
        }
    }

    #[test]
    fn the_us_layout_has_no_accented_letters_and_needs_no_alt_gr() {
        assert_eq!(strokes_for(LayoutName::Us, 'è'), None);
        assert_eq!(strokes_for(LayoutName::Us, '@'), combination(Key::Digit2, true, false));
        assert!((' '..='~').all(|c| !strokes_for(LayoutName::Us, c).unwrap().alt_gr));
    }

    #[test]
    fn control_characters_are_in_no_layout() {
        for character in ('\0'..' ').chain(['\x7F']) {
            assert_eq!(strokes_for(LayoutName::It, character), None);
        }
    }
}
