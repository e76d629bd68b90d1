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
fn the_italian_layout_types_the_characters_of_an_italian_keyboard() {
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
        assert_eq!(strokes_for(LayoutName::It, character), combination(key, shift, alt_gr), "{character}");
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
