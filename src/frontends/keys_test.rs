//! Terminal input, and the key events that a guest receives for it.

use super::*;

/// What one read of these bytes, with nothing behind, gives.
fn typed(layout: LayoutName, bytes: &[u8]) -> Vec<DecodedKey> {
    let mut decoder = Decoder::new(layout);
    let mut keystrokes = decoder.feed(bytes);
    keystrokes.extend(decoder.flush());
    let joined: Vec<u8> = keystrokes.iter().flat_map(|keystroke| keystroke.bytes.iter().copied()).collect();
    assert_eq!(joined, bytes, "a serial port gets every byte once");
    keystrokes
}

/// The events of the only keystroke these bytes are.
fn one(layout: LayoutName, bytes: &[u8]) -> Vec<KeyEvent> {
    let keystrokes = typed(layout, bytes);
    assert_eq!(keystrokes.len(), 1, "{bytes:02x?} gave {keystrokes:?}");
    keystrokes[0].events.clone()
}

fn us(bytes: &[u8]) -> Vec<KeyEvent> {
    one(LayoutName::Us, bytes)
}

/// `modifiers` held around `key`.
fn chord(modifiers: &[Key], key: Key) -> Vec<KeyEvent> {
    let mut expected = Vec::new();
    for &modifier in modifiers {
        expected.push(KeyEvent { key: modifier, down: true });
    }
    expected.push(KeyEvent { key, down: true });
    expected.push(KeyEvent { key, down: false });
    for &modifier in modifiers.iter().rev() {
        expected.push(KeyEvent { key: modifier, down: false });
    }
    expected
}

#[test]
fn characters_are_typed_with_their_shifts() {
    assert_eq!(us(b"a"), chord(&[], Key::A));
    assert_eq!(us(b"Q"), chord(&[Key::LeftShift], Key::Q));
    assert_eq!(us(b"@"), chord(&[Key::LeftShift], Key::Digit2));
    assert_eq!(one(LayoutName::It, b"@"), chord(&[Key::RightAlt], Key::Semicolon));
    assert_eq!(one(LayoutName::It, b"{"), chord(&[Key::RightAlt, Key::LeftShift], Key::LeftBracket));
    assert_eq!(one(LayoutName::It, "è".as_bytes()), chord(&[], Key::LeftBracket));
}

#[test]
fn a_character_missing_in_the_layout_is_reported() {
    let keystrokes = typed(LayoutName::Us, "x€".as_bytes());
    assert_eq!(keystrokes[0].missing, None);
    assert_eq!(
        keystrokes[1],
        DecodedKey { bytes: "€".as_bytes().into(), events: vec![], missing: Some('€') }
    );
}

#[test]
fn bytes_that_are_not_utf_8_are_reported_and_passed_on() {
    for bytes in [&b"\xFF"[..], b"\xC3", b"\xE2\x82"] {
        let keystrokes = typed(LayoutName::It, bytes);
        assert_eq!(keystrokes.len(), 1);
        assert_eq!(keystrokes[0].missing, Some('\u{FFFD}'));
    }
    let keystrokes = typed(LayoutName::It, b"\xE2a");
    assert_eq!(keystrokes[1].events, chord(&[], Key::A));
}

#[test]
fn a_character_may_arrive_in_pieces() {
    let mut decoder = Decoder::new(LayoutName::It);
    assert_eq!(decoder.feed(b"\xC3"), []);
    let keystrokes = decoder.feed(b"\xA8");
    assert_eq!(keystrokes[0].events, chord(&[], Key::LeftBracket));
    assert_eq!(*keystrokes[0].bytes, *"è".as_bytes());
}

#[test]
fn enter_is_one_key_however_the_line_ends() {
    assert_eq!(us(b"\r"), chord(&[], Key::Enter));
    assert_eq!(us(b"\n"), chord(&[], Key::Enter));
    let enters = |bytes: &[u8]| {
        let keystrokes = typed(LayoutName::Us, bytes);
        keystrokes.iter().flat_map(|keystroke| &keystroke.events).filter(|event| event.down).count()
    };
    assert_eq!(enters(b"\r\n"), 1);
    assert_eq!(enters(b"\r\n\r\n"), 2);
    assert_eq!(enters(b"\r\r"), 2);
    assert_eq!(enters(b"\n\n"), 2);
    assert_eq!(enters(b"\r\n\n"), 2);

    let mut decoder = Decoder::new(LayoutName::Us);
    assert_eq!(decoder.feed(b"\r")[0].events, chord(&[], Key::Enter));
    assert_eq!(decoder.flush(), []);
    let line_feed = decoder.feed(b"\n");
    assert_eq!((&*line_feed[0].bytes, line_feed[0].events.len()), (&b"\n"[..], 0));
}

#[test]
fn editing_keys_and_control_characters() {
    assert_eq!(us(b"\t"), chord(&[], Key::Tab));
    assert_eq!(us(b"\x7F"), chord(&[], Key::Backspace));
    assert_eq!(us(b"\x08"), chord(&[], Key::Backspace));
    assert_eq!(us(b"\x01"), chord(&[Key::LeftControl], Key::A));
    assert_eq!(us(b"\x1A"), chord(&[Key::LeftControl], Key::Z));
    assert_eq!(us(b"\x00"), chord(&[Key::LeftControl], Key::Space));
    assert_eq!(us(b"\x1C"), chord(&[Key::LeftControl], Key::Backslash));
    assert_eq!(us(b"\x1F"), chord(&[Key::LeftControl, Key::LeftShift], Key::Minus));
    assert_eq!(one(LayoutName::It, b"\x1D"), chord(&[Key::LeftControl, Key::RightAlt], Key::RightBracket));
}

#[test]
fn escape_is_a_key_only_when_nothing_follows() {
    let mut decoder = Decoder::new(LayoutName::Us);
    assert_eq!(decoder.feed(b"\x1B"), []);
    assert_eq!(decoder.flush()[0].events, chord(&[], Key::Escape));
    assert_eq!(decoder.feed(b"\x1B"), []);
    assert_eq!(decoder.feed(b"[")[..], []);
    assert_eq!(decoder.feed(b"A")[0].events, chord(&[], Key::Up));
    assert_eq!(decoder.flush(), []);

    let twice = typed(LayoutName::Us, b"\x1B\x1B");
    assert_eq!(twice.iter().filter(|keystroke| keystroke.events == chord(&[], Key::Escape)).count(), 2);
}

#[test]
fn escape_before_a_character_is_alt() {
    assert_eq!(us(b"\x1Bx"), chord(&[Key::LeftAlt], Key::X));
    assert_eq!(us(b"\x1BX"), chord(&[Key::LeftAlt, Key::LeftShift], Key::X));
    assert_eq!(us(b"\x1B\x01"), chord(&[Key::LeftControl, Key::LeftAlt], Key::A));
    assert_eq!(us(b"\x1B\r"), chord(&[Key::LeftAlt], Key::Enter));
    assert_eq!(us(b"\x1B["), chord(&[Key::LeftAlt], Key::LeftBracket));
    assert_eq!(us(b"\x1BO"), chord(&[Key::LeftAlt, Key::LeftShift], Key::O));
    assert_eq!(one(LayoutName::It, "\x1Bè".as_bytes()), chord(&[Key::LeftAlt], Key::LeftBracket));
}

#[test]
fn every_function_and_cursor_key_in_every_form() {
    let forms: [(Key, &[&str]); 23] = [
        (Key::Up, &["[A", "OA"]),
        (Key::Down, &["[B", "OB"]),
        (Key::Right, &["[C", "OC"]),
        (Key::Left, &["[D", "OD"]),
        (Key::Home, &["[H", "OH", "[1~", "[7~"]),
        (Key::End, &["[F", "OF", "[4~", "[8~"]),
        (Key::Insert, &["[2~"]),
        (Key::Delete, &["[3~"]),
        (Key::PageUp, &["[5~"]),
        (Key::PageDown, &["[6~"]),
        (Key::F1, &["OP", "[P", "[11~", "[[A"]),
        (Key::F2, &["OQ", "[Q", "[12~", "[[B"]),
        (Key::F3, &["OR", "[R", "[13~", "[[C"]),
        (Key::F4, &["OS", "[S", "[14~", "[[D"]),
        (Key::F5, &["[15~", "[[E"]),
        (Key::F6, &["[17~"]),
        (Key::F7, &["[18~"]),
        (Key::F8, &["[19~"]),
        (Key::F9, &["[20~"]),
        (Key::F10, &["[21~"]),
        (Key::F11, &["[23~"]),
        (Key::F12, &["[24~"]),
        (Key::KeypadEnter, &["OM"]),
    ];
    for (key, sequences) in forms {
        for sequence in sequences {
            assert_eq!(us(format!("\x1B{sequence}").as_bytes()), chord(&[], key), "ESC {sequence}");
        }
    }
}

#[test]
fn modifiers_of_special_keys_are_held() {
    assert_eq!(us(b"\x1B[1;2A"), chord(&[Key::LeftShift], Key::Up));
    assert_eq!(us(b"\x1B[1;5C"), chord(&[Key::LeftControl], Key::Right));
    assert_eq!(us(b"\x1B[1;3P"), chord(&[Key::LeftAlt], Key::F1));
    assert_eq!(us(b"\x1B[3;5~"), chord(&[Key::LeftControl], Key::Delete));
    assert_eq!(us(b"\x1B[15;8~"), chord(&[Key::LeftControl, Key::LeftAlt, Key::LeftShift], Key::F5));
    assert_eq!(us(b"\x1B[1;9B"), chord(&[Key::LeftMeta], Key::Down));
    assert_eq!(us(b"\x1B[Z"), chord(&[Key::LeftShift], Key::Tab));
    assert_eq!(us(b"\x1B[25~"), chord(&[Key::LeftShift], Key::F1));
}

#[test]
fn other_escape_sequences_type_nothing() {
    for sequence in ["[200~", "[?1;2c", "[24;80R", "[1;99A", "[1;2;3A", "[9999999~", "[~", "[I", "O@", "[[z"]
    {
        let bytes = format!("\x1B{sequence}");
        assert_eq!(us(bytes.as_bytes()), [], "ESC {sequence}");
    }
}

#[test]
fn a_broken_sequence_does_not_swallow_what_follows() {
    let keystrokes = typed(LayoutName::Us, b"\x1B[1;\ra\x1B[\x01");
    let events: Vec<_> = keystrokes.iter().map(|keystroke| keystroke.events.clone()).collect();
    assert_eq!(
        events,
        [
            vec![],
            chord(&[], Key::Enter),
            chord(&[], Key::A),
            chord(&[Key::LeftAlt], Key::LeftBracket),
            chord(&[Key::LeftControl], Key::A),
        ]
    );
}

#[test]
fn an_endless_sequence_is_given_up() {
    let mut decoder = Decoder::new(LayoutName::Us);
    let mut kept = 0;
    decoder.feed(b"\x1B[");
    for _ in 0..10_000 {
        decoder.feed(b"0");
        kept = kept.max(decoder.pending.len());
    }
    assert!(kept < LONGEST_SEQUENCE, "{kept} bytes wait");
}

#[test]
fn a_stream_decodes_alike_however_it_is_cut() {
    let stream = "aQ1\r\n\x1B[1;5Cè€\x1BOP\x1B[[A\x1Bx\x03\x1B[200~\u{10348}".as_bytes();
    let whole = typed(LayoutName::It, stream);
    for size in 1..stream.len() {
        let mut decoder = Decoder::new(LayoutName::It);
        let mut pieces: Vec<DecodedKey> = stream.chunks(size).flat_map(|piece| decoder.feed(piece)).collect();
        pieces.extend(decoder.flush());
        assert_eq!(pieces, whole, "in pieces of {size}");
    }
}

#[test]
fn a_typed_line_reaches_a_guest_as_set_1() {
    use crate::devices::Device;
    use crate::devices::i8042::I8042;

    let mut chip = I8042::default();
    let mut codes = Vec::new();
    for keystroke in typed(LayoutName::Us, b"aQ1\r") {
        for event in keystroke.events {
            let _ = chip.key(event);
            while chip.read(4).0 & 1 != 0 {
                codes.push(chip.read(0).0);
            }
        }
    }
    assert_eq!(codes, [0x1E, 0x9E, 0x2A, 0x10, 0x90, 0xAA, 0x02, 0x82, 0x1C, 0x9C]);
}
