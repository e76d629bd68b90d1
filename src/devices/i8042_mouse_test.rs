//! The second port of the controller, as the driver of a mouse sees it.

use super::super::keyboard::Key;
use super::super::mouse::{LEFT_BUTTON, RIGHT_BUTTON};
use super::super::{Payload, Snapshot};
use super::*;

const FULL: u8 = 0x01;
const FROM_MOUSE: u8 = 0x21;

fn out(device: &mut I8042, offset: u16, value: u8) -> Action {
    device.write(offset, value)
}

fn status(device: &mut I8042) -> u8 {
    device.read(COMMAND).0
}

/// All bytes that can be read, each with bit 5 of the status.
fn drain(device: &mut I8042) -> Vec<(u8, bool)> {
    let mut bytes = Vec::new();
    loop {
        let status = status(device);
        if status & FULL == 0 {
            return bytes;
        }
        bytes.push((device.read(DATA).0, status & FROM_MOUSE == FROM_MOUSE));
    }
}

fn tell_mouse(device: &mut I8042, bytes: &[u8]) -> Vec<u8> {
    let mut answers = Vec::new();
    for byte in bytes {
        let _ = out(device, COMMAND, 0xD4);
        let _ = out(device, DATA, *byte);
        for (answer, from_mouse) in drain(device) {
            assert!(from_mouse, "{answer:#04x}");
            answers.push(answer);
        }
    }
    answers
}

fn configure(device: &mut I8042, value: u8) {
    let _ = out(device, COMMAND, 0x60);
    let _ = out(device, DATA, value);
}

/// A controller whose driver has enabled mouse and interrupts.
fn enabled() -> I8042 {
    let mut device = I8042::default();
    configure(&mut device, 0x47);
    assert_eq!(tell_mouse(&mut device, &[0xF4]), [0xFA]);
    device
}

fn move_right(device: &mut I8042, counts: i16) -> Action {
    device.mouse_moved(Movement { right: counts, ..Movement::default() }, None)
}

#[test]
fn the_interface_can_be_disabled_enabled_and_tested() {
    let mut device = I8042::default();
    let _ = out(&mut device, COMMAND, 0xA8);
    let _ = out(&mut device, COMMAND, 0x20);
    assert_eq!(device.read(DATA).0, 0x44);
    let _ = out(&mut device, COMMAND, 0xA9);
    assert_eq!(status(&mut device) & FROM_MOUSE, FULL, "the answer is the controller's");
    assert_eq!(device.read(DATA).0, 0);
    let _ = out(&mut device, COMMAND, 0xA7);
    let _ = out(&mut device, COMMAND, 0x20);
    assert_eq!(device.read(DATA).0, 0x64);
}

#[test]
fn a_byte_for_the_mouse_enables_its_interface_and_is_answered() {
    let mut device = I8042::default();
    assert_eq!(tell_mouse(&mut device, &[0xFF, 0xF2]), [0xFA, 0xAA, 0x00, 0xFA, 0x00]);
    let _ = out(&mut device, COMMAND, 0x20);
    assert_eq!(device.read(DATA).0, 0x44);
}

#[test]
fn only_the_next_byte_is_for_the_mouse() {
    let mut device = I8042::default();
    assert_eq!(tell_mouse(&mut device, &[0xF2]), [0xFA, 0x00]);
    let _ = out(&mut device, DATA, 0xEE);
    assert_eq!(drain(&mut device), [(0xEE, false)], "the keyboard's echo");
}

#[test]
fn a_movement_raises_irq_12_for_each_byte() {
    let mut device = enabled();
    let raised = Action { second_line: Some(true), ..Action::NONE };
    let lowered = Action { second_line: Some(false), ..Action::NONE };
    assert_eq!(move_right(&mut device, -3), raised);
    for byte in [0x18, 0xFD] {
        assert_eq!(device.read(DATA), (byte, lowered));
        assert!(device.auxiliary_line() && !device.line(), "the next byte has raised it again");
    }
    assert_eq!(device.read(DATA), (0x00, lowered));
    assert!(!device.auxiliary_line());
}

#[test]
fn its_interrupt_can_be_switched_off_and_on() {
    let mut device = enabled();
    configure(&mut device, 0x45);
    assert_eq!(move_right(&mut device, 1), Action::NONE);
    let _ = out(&mut device, COMMAND, 0x60);
    assert_eq!(out(&mut device, DATA, 0x47).second_line, Some(true));
    assert!(device.second_may_interrupt());
    let _ = out(&mut device, COMMAND, 0x60);
    assert_eq!(out(&mut device, DATA, 0x45).second_line, Some(false));
    assert!(!device.second_may_interrupt());
}

#[test]
fn a_byte_put_in_the_output_buffer_raises_irq_12() {
    let mut device = I8042::default();
    configure(&mut device, 0x47);
    let _ = out(&mut device, COMMAND, 0xD3);
    assert_eq!(out(&mut device, DATA, 0xA5).second_line, Some(true));
    assert_eq!(drain(&mut device), [(0xA5, true)]);
    assert!(!device.auxiliary_line());
}

#[test]
fn keys_come_before_the_mouse_and_do_not_tear_its_bytes_from_their_source() {
    let mut device = enabled();
    let _ = move_right(&mut device, 1);
    let _ = device.key(KeyEvent::press(Key::A));
    assert!(!device.idle());
    assert_eq!(drain(&mut device), [(0x08, true), (0x1E, false), (0x01, true), (0x00, true)]);
    assert!(device.idle() && device.mouse_idle());
}

#[test]
fn a_disabled_interface_holds_packets_back() {
    let mut device = enabled();
    let _ = out(&mut device, COMMAND, 0xA7);
    assert!(!device.mouse_idle() && device.mouse_is_enabled());
    let _ = move_right(&mut device, 1);
    assert_eq!(drain(&mut device), []);
    assert_eq!(out(&mut device, COMMAND, 0xA8).second_line, Some(true));
    assert_eq!(drain(&mut device).len(), 3);
}

#[test]
fn waiting_for_the_mouse_does_not_count_as_reading_the_keyboard() {
    let mut device = I8042::default();
    let _ = out(&mut device, COMMAND, 0xD4);
    let _ = out(&mut device, DATA, 0xFF);
    for _ in 0..3 {
        status(&mut device);
        status(&mut device);
        let _ = device.read(DATA);
    }
    assert!(!device.reads_input());
}

#[test]
fn a_controller_saved_in_mid_packet_goes_on() {
    let mut device = enabled();
    let _ = device.mouse_moved(Movement { right: 4, up: -5, wheel: 0 }, Some(LEFT_BUTTON));
    assert_eq!(device.read(DATA).0, 0x29);
    let mut restored = I8042::default();
    restored.restore(&device.save()).unwrap();
    assert_eq!(restored, device);
    assert!(restored.auxiliary_line());
    let _ = restored.mouse_moved(Movement::default(), Some(LEFT_BUTTON | RIGHT_BUTTON));
    let bytes: Vec<u8> = drain(&mut restored).iter().map(|(byte, _)| *byte).collect();
    assert_eq!(bytes, [4, 0xFB, 0x0B, 0, 0]);
}

#[test]
fn a_state_of_version_1_is_read() {
    // Keyboard at power-on, whose self-test result is the last byte sent.
    let keyboard = postcard::to_stdvec(&Keyboard::default()).unwrap();
    let mut bytes = keyboard;
    bytes.extend([0x65; 1]);
    bytes.extend([0; 31]);
    bytes.extend([0xCF, 0, 0]);
    // A reply with its two flags, a code, the last byte read, two polls, input was read.
    bytes.extend([1, 0x55, 0, 0, 1, 0x1E, 0x42, 2, 1]);
    let mut device = I8042::default();
    device.restore(&Payload { kind: "i8042".to_owned(), version: 1, bytes }).unwrap();
    assert!(device.line() && device.reads_input());
    assert_eq!(drain(&mut device), [(0x55, false), (0x1E, false)]);
    let newer = Payload { version: 3, ..device.save() };
    assert!(device.restore(&newer).is_err());
}

#[test]
fn any_accesses_and_inputs_leave_a_state_that_is_accepted() {
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut device = I8042::default();
    for round in 0..50_000 {
        let value = next();
        let byte = (value >> 8) as u8;
        let before = (device.line(), device.auxiliary_line());
        let action = match value % 8 {
            0 => device.write(COMMAND, byte),
            1 => device.write(COMMAND, 0xD4),
            2 => device.write(DATA, byte),
            3 => device.write(DATA, 0xF4),
            4 => move_right(&mut device, (value >> 16) as i16),
            5 => device.key(KeyEvent { key: Key::A, down: byte & 1 != 0 }),
            6 => device.read(COMMAND).1,
            _ => device.read(DATA).1,
        };
        let now = (device.line(), device.auxiliary_line());
        assert!(!(now.0 && now.1), "one byte is from one device");
        assert!(now.0 == before.0 || action.line.is_some());
        assert!(now.1 == before.1 || action.second_line.is_some());
        if round % 64 == 0 {
            let mut restored = I8042::default();
            restored.restore(&device.save()).unwrap();
            assert_eq!(restored, device);
        }
    }
}
