use super::*;
use crate::devices::keyboard::Key;
use crate::machine::inputs::Input;

fn keystroke(byte: u8, key: Key) -> Keystroke {
    let events = [KeyEvent { key, down: true }, KeyEvent { key, down: false }];
    Keystroke { bytes: vec![byte], keys: events.to_vec() }
}

/// Polls as guests do: status until there is a byte, then the byte; gives up after a while.
fn read_scan_code(buffer: &mut InputBuffer, board: &mut Board, inputs: &Inputs) -> Option<u8> {
    for _ in 0..4 {
        let _ = buffer.deliver(board, inputs, false);
        if board.port_in(0x64, 1).0 & 1 == 1 {
            return Some(board.port_in(0x60, 1).0 as u8);
        }
    }
    None
}

#[test]
fn keystrokes_wait_until_the_guest_reads_its_keyboard_and_arrive_one_by_one() {
    let (mut board, inputs) = (Board::default(), Inputs::new());
    let mut buffer = InputBuffer::new(KeyTarget::Auto, Some(0));
    for keystroke in [keystroke(b'a', Key::A), keystroke(b'b', Key::B)] {
        buffer.push_keystroke(keystroke, &inputs);
    }
    let _ = buffer.deliver(&mut board, &inputs, false);
    assert!(buffer.has_pending());
    let codes: Vec<_> = std::iter::from_fn(|| read_scan_code(&mut buffer, &mut board, &inputs)).collect();
    assert_eq!(codes, [0x1E, 0x9E, 0x30, 0xB0]);
    assert!(!buffer.has_pending());
}

#[test]
fn key_events_reach_the_keyboard_before_the_guest_reads_it_and_are_bounded() {
    let (mut board, inputs) = (Board::default(), Inputs::new());
    let mut buffer = InputBuffer::new(KeyTarget::Serial, Some(0));
    let press = |buffer: &mut InputBuffer, keys: &[Key]| {
        inputs.push(Input::KeyEvents(KeyEvent::chord(keys)));
        buffer.push_key_events(KeyEvent::chord(keys), &inputs);
    };
    press(&mut buffer, &[Key::LeftControl, Key::C]);
    let codes: Vec<_> = std::iter::from_fn(|| read_scan_code(&mut buffer, &mut board, &inputs)).collect();
    assert_eq!(codes, [0x1D, 0x2E, 0xAE, 0x9D]);
    for _ in 0..2 * MAX_KEYSTROKES {
        press(&mut buffer, &[Key::A]);
    }
    assert!(buffer.events.len() < MAX_KEYSTROKES + 2);
    assert_eq!(inputs.keystroke_backlog(), 0);
}

#[test]
fn a_guest_that_sets_up_both_devices_gets_keys_where_the_user_looks() {
    // Whether the guest enables the interrupt of received bytes, and what the terminal shows.
    for (listens, screen, by_serial) in [(1, false, true), (1, true, false), (0, false, false)] {
        let (mut board, inputs) = (Board::default(), Inputs::new());
        let mut buffer = InputBuffer::new(KeyTarget::Auto, Some(0));
        // As Linux: it tries all interrupts to find out what kind of port it is.
        for (port, value) in [(0x3F9, 0x0F), (0x3F9, listens), (0x64, 0x60), (0x60, 0x61)] {
            let _ = board.port_out(port, 1, value);
        }
        buffer.set_screen_shown(screen);
        buffer.push_keystroke(keystroke(b'a', Key::A), &inputs);
        let _ = buffer.deliver(&mut board, &inputs, false);
        let received = [0x3FD, 0x64].map(|status| board.port_in(status, 1).0 & 1 == 1);
        assert_eq!(received, [by_serial, !by_serial], "{listens} {screen}");
    }
}

#[test]
fn key_events_arrive_after_earlier_keystrokes() {
    let (mut board, inputs) = (Board::default(), Inputs::new());
    let mut buffer = InputBuffer::new(KeyTarget::Auto, Some(0));
    inputs.push(Input::Keystroke(keystroke(b'a', Key::A)));
    inputs.push(Input::KeyEvents(Vec::new()));
    buffer.push_keystroke(keystroke(b'a', Key::A), &inputs);
    buffer.push_key_events(KeyEvent::chord(&[Key::Escape]), &inputs);
    let codes: Vec<_> = std::iter::from_fn(|| read_scan_code(&mut buffer, &mut board, &inputs)).collect();
    assert_eq!(codes, [0x1E, 0x9E, 0x01, 0x81]);
    assert_eq!(inputs.keystroke_backlog(), 0);
}

#[test]
fn a_guest_that_polls_its_serial_port_receives_keystrokes_there() {
    let (mut board, inputs) = (Board::default(), Inputs::new());
    let mut buffer = InputBuffer::new(KeyTarget::Auto, Some(0));
    buffer.push_keystroke(keystroke(b'a', Key::A), &inputs);
    buffer.push_keystroke(keystroke(b'b', Key::B), &inputs);
    let mut got = Vec::new();
    for _ in 0..8 {
        let _ = buffer.deliver(&mut board, &inputs, false);
        if board.port_in(0x3FD, 1).0 & 1 == 1 {
            got.push(board.port_in(0x3F8, 1).0 as u8);
        }
    }
    assert_eq!(got, b"ab");
}

#[test]
fn waiting_input_and_backlog_counts_survive_save_and_restore() {
    let (mut board, inputs) = (Board::default(), Inputs::new());
    let mut buffer = InputBuffer::new(KeyTarget::Auto, Some(0));
    for key in [keystroke(b'a', Key::A), keystroke(b'b', Key::B)] {
        inputs.push(super::super::inputs::Input::Keystroke(key.clone()));
        buffer.push_keystroke(key, &inputs);
    }
    // The first one is half given.
    assert_eq!(read_scan_code(&mut buffer, &mut board, &inputs), Some(0x1E));
    inputs.push(super::super::inputs::Input::Serial(3, b"xy".to_vec()));
    buffer.push_serial(3, b"xy".to_vec());
    let state = buffer.state();
    let rest = |buffer: &mut InputBuffer, board: &mut Board, inputs: &Inputs| -> Vec<u8> {
        std::iter::from_fn(|| read_scan_code(buffer, board, inputs)).collect()
    };
    let expected = rest(&mut buffer, &mut board, &inputs);
    assert_eq!(expected, [0x9E, 0x30, 0xB0]);
    assert_eq!(inputs.keystroke_backlog(), 0);

    let (mut other_board, others) = (Board::default(), Inputs::new());
    let mut other = InputBuffer::new(KeyTarget::Auto, Some(0));
    others.push(super::super::inputs::Input::Keystroke(keystroke(b'z', Key::Z)));
    other.push_keystroke(keystroke(b'z', Key::Z), &others);
    let bytes = postcard::to_stdvec(&state).unwrap();
    other.set_state(&postcard::from_bytes(&bytes).unwrap(), &others);
    assert_eq!((others.keystroke_backlog(), others.serial_backlog(3)), (1, 2));
    assert_eq!(other.state(), state);
    assert_eq!(rest(&mut other, &mut other_board, &others), expected);
    assert_eq!(others.keystroke_backlog(), 0);
}

#[test]
fn bytes_from_a_socket_fill_the_receiver_as_it_empties() {
    let (mut board, inputs) = (Board::default(), Inputs::new());
    let mut buffer = InputBuffer::new(KeyTarget::Auto, None);
    buffer.push_serial(2, b"xyz".to_vec());
    inputs.serial_bytes_queued(2, 3);
    for expected in *b"xyz" {
        let _ = buffer.deliver(&mut board, &inputs, false);
        assert_eq!(board.port_in(0x3E8, 1).0 as u8, expected);
    }
    assert!(!buffer.has_pending());
    assert_eq!(inputs.serial_backlog(2), 0);
}

#[test]
fn a_reset_loses_no_byte_that_the_guest_has_not_read() {
    let (mut board, inputs) = (Board::default(), Inputs::new());
    let mut buffer = InputBuffer::new(KeyTarget::Auto, None);
    let _ = board.port_out(0x3FA, 1, 1);
    inputs.push(super::super::inputs::Input::Serial(0, (b'a'..=b'z').collect()));
    buffer.push_serial(0, (b'a'..=b'z').collect());
    let _ = buffer.deliver(&mut board, &inputs, false);
    assert_eq!((board.port_in(0x3F8, 1).0 as u8, board.serial(0).room()), (b'a', 1));
    buffer.reset(&board, &inputs);
    board.reset();
    assert_eq!(inputs.serial_backlog(0), 25);
    let mut got = Vec::new();
    while buffer.has_pending() || board.port_in(0x3FD, 1).0 & 1 == 1 {
        let _ = buffer.deliver(&mut board, &inputs, false);
        got.push(board.port_in(0x3F8, 1).0 as u8);
    }
    assert_eq!((got, inputs.serial_backlog(0)), ((b'b'..=b'z').collect(), 0));
}

#[test]
fn a_reset_returns_nothing_that_the_guest_has_sent_to_itself() {
    let (mut board, inputs) = (Board::default(), Inputs::new());
    let mut buffer = InputBuffer::new(KeyTarget::Auto, None);
    for (port, value) in [(0x3FC, 0x10), (0x3F8, b'x'.into())] {
        let _ = board.port_out(port, 1, value);
    }
    buffer.reset(&board, &inputs);
    assert_eq!((buffer.has_pending(), inputs.serial_backlog(0)), (false, 0));
}
