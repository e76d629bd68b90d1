//! What a controller sees of the keyboard: keys, commands and their answers.

use super::*;

fn sent(keyboard: &mut Keyboard) -> Vec<u8> {
    std::iter::from_fn(|| keyboard.send()).collect()
}

fn send(keyboard: &mut Keyboard, bytes: &[u8]) -> Vec<u8> {
    bytes.iter().for_each(|&byte| keyboard.receive(byte));
    sent(keyboard)
}

fn tap(keyboard: &mut Keyboard, key: Key) {
    keyboard.key(KeyEvent::press(key));
    keyboard.key(KeyEvent::release(key));
}

#[test]
fn a_key_is_sent_in_set_2() {
    let mut keyboard = Keyboard::default();
    tap(&mut keyboard, Key::A);
    tap(&mut keyboard, Key::Left);
    assert_eq!(sent(&mut keyboard), [0x1C, 0xF0, 0x1C, 0xE0, 0x6B, 0xE0, 0xF0, 0x6B]);
}

#[test]
fn each_command_is_answered() {
    let answers: [(&[u8], &[u8]); 14] = [
        (&[0xED, 0x07], &[0xFA, 0xFA]),
        (&[0xEE], &[0xEE]),
        (&[0xF0, 0x00], &[0xFA, 0xFA, 0x02]),
        (&[0xF0, 0x02], &[0xFA, 0xFA]),
        (&[0xF2], &[0xFA, 0xAB, 0x83]),
        (&[0xF3, 0x7F], &[0xFA, 0xFA]),
        (&[0xF4], &[0xFA]),
        (&[0xF5], &[0xFA]),
        (&[0xF6], &[0xFA]),
        (&[0xF7], &[0xFA]),
        (&[0xFA], &[0xFA]),
        (&[0xFB, 0x1C], &[0xFA, 0xFA]),
        (&[0xFF], &[0xFA, 0xAA]),
        (&[0x60], &[0xFE]),
    ];
    for (bytes, answer) in answers {
        assert_eq!(send(&mut Keyboard::default(), bytes), answer, "to {bytes:02x?}");
    }
}

#[test]
fn wrong_parameters_are_refused_and_change_nothing() {
    for bytes in [[0xED, 0x08], [0xF3, 0x80], [0xF0, 0x03], [0xF0, 0x04]] {
        let mut keyboard = Keyboard::default();
        assert_eq!(send(&mut keyboard, &bytes), [0xFA, 0xFE], "to {bytes:02x?}");
        assert_eq!(keyboard, Keyboard { last_sent: 0xFA, ..Keyboard::default() });
    }
}

#[test]
fn a_command_in_place_of_a_parameter_is_obeyed() {
    let mut keyboard = Keyboard::default();
    assert_eq!(send(&mut keyboard, &[0xED, 0xF5]), [0xFA, 0xFA]);
    assert!(!keyboard.scanning, "F5 was taken as a command, not as LEDs");
    assert_eq!(keyboard.leds, 0);
}

#[test]
fn set_1_can_be_chosen_and_reset_brings_set_2_back() {
    let mut keyboard = Keyboard::default();
    assert_eq!(send(&mut keyboard, &[0xF0, 0x01, 0xF0, 0x00]), [0xFA, 0xFA, 0xFA, 0xFA, 0x01]);
    tap(&mut keyboard, Key::Q);
    assert_eq!(sent(&mut keyboard), [0x10, 0x90]);
    assert_eq!(send(&mut keyboard, &[0xFF]), [0xFA, 0xAA]);
    tap(&mut keyboard, Key::Q);
    assert_eq!(sent(&mut keyboard), [0x15, 0xF0, 0x15]);
}

#[test]
fn keys_pressed_while_scanning_is_disabled_are_sent_when_it_is_enabled() {
    let mut keyboard = Keyboard::default();
    assert_eq!(send(&mut keyboard, &[0xF5]), [0xFA]);
    tap(&mut keyboard, Key::A);
    assert_eq!(sent(&mut keyboard), [0; 0]);
    assert!(!keyboard.idle());
    assert_eq!(send(&mut keyboard, &[0xF4]), [0xFA, 0x1C, 0xF0, 0x1C]);
    assert!(keyboard.idle());
}

#[test]
fn defaults_and_another_scan_code_set_empty_the_buffer_but_enabling_does_not() {
    let cases: [(&[u8], &[u8]); 4] = [
        (&[0xF5, 0xF4], &[0xFA, 0xFA]),
        (&[0xF6], &[0xFA]),
        (&[0xF0, 0x01], &[0xFA, 0xFA]),
        (&[0xF4], &[0xFA, 0x1C]),
    ];
    for (bytes, answer) in cases {
        let mut keyboard = Keyboard::default();
        keyboard.key(KeyEvent::press(Key::A));
        assert_eq!(send(&mut keyboard, bytes), answer, "to {bytes:02x?}");
    }
}

#[test]
fn what_was_sent_last_is_sent_again_on_request() {
    let mut keyboard = Keyboard::default();
    keyboard.key(KeyEvent::press(Key::A));
    assert_eq!(sent(&mut keyboard), [0x1C]);
    assert_eq!(send(&mut keyboard, &[0xFE]), [0x1C]);
    assert_eq!(send(&mut keyboard, &[0x00]), [0xFE], "not a command");
    assert_eq!(send(&mut keyboard, &[0xFE]), [0x1C], "the refusal itself is never repeated");
}

#[test]
fn keys_beyond_the_buffer_become_one_overrun_code() {
    let mut keyboard = Keyboard::default();
    for _ in 0..20 {
        keyboard.key(KeyEvent::press(Key::A));
    }
    let mut expected = vec![0x1C; 16];
    expected.push(0x00);
    assert_eq!(sent(&mut keyboard), expected);
}

#[test]
fn a_key_of_several_bytes_is_never_cut_in_two() {
    let mut keyboard = Keyboard::default();
    for _ in 0..15 {
        keyboard.key(KeyEvent::press(Key::A));
    }
    keyboard.key(KeyEvent::press(Key::Left));
    keyboard.key(KeyEvent::press(Key::A));
    let mut expected = vec![0x1C; 15];
    expected.push(0x00);
    assert_eq!(sent(&mut keyboard), expected);
}

#[test]
fn in_set_1_the_overrun_code_is_ff() {
    let mut keyboard = Keyboard::default();
    assert_eq!(send(&mut keyboard, &[0xF0, 0x01]), [0xFA, 0xFA]);
    for _ in 0..17 {
        keyboard.key(KeyEvent::press(Key::A));
    }
    assert_eq!(sent(&mut keyboard).last(), Some(&0xFF));
}

#[test]
fn answers_overtake_keys_and_are_bounded() {
    let mut keyboard = Keyboard::default();
    keyboard.key(KeyEvent::press(Key::A));
    assert_eq!(send(&mut keyboard, &[0xEE]), [0xEE, 0x1C]);
    assert_eq!(send(&mut keyboard, &[0xEE; 1000]), [0xEE; REPLY_LIMIT]);
}

#[test]
fn print_screen_is_released_the_way_it_was_pressed() {
    let mut keyboard = Keyboard::default();
    keyboard.key(KeyEvent::press(Key::LeftAlt));
    keyboard.key(KeyEvent::press(Key::PrintScreen));
    keyboard.key(KeyEvent::release(Key::LeftAlt));
    keyboard.key(KeyEvent::release(Key::PrintScreen));
    assert_eq!(sent(&mut keyboard), [0x11, 0x84, 0xF0, 0x11, 0xF0, 0x84]);
}
