//! The mouse on its wire: bytes of the host in, answers and packets out.

use super::*;

/// What the mouse sends until it has nothing more to send.
fn sent(mouse: &mut Mouse) -> Vec<u8> {
    std::iter::from_fn(|| mouse.send()).collect()
}

/// The answer to each of `bytes`, all after one another.
fn tell(mouse: &mut Mouse, bytes: &[u8]) -> Vec<u8> {
    let mut answers = Vec::new();
    for &byte in bytes {
        mouse.receive(byte);
        answers.extend(sent(mouse));
    }
    answers
}

/// A mouse after these bytes.
fn after(bytes: &[u8]) -> Mouse {
    let mut mouse = Mouse::default();
    tell(&mut mouse, bytes);
    mouse
}

fn movement(right: i16, up: i16) -> Movement {
    Movement { right, up, wheel: 0 }
}

/// What the mouse sends for a movement.
fn moved(mouse: &mut Mouse, right: i16, up: i16) -> Vec<u8> {
    mouse.moved(movement(right, up), None);
    sent(mouse)
}

#[test]
fn commands_have_the_answers_of_the_technical_reference() {
    let table: &[(&[u8], &[u8])] = &[
        (&[0xFF], &[0xFA, 0xAA, 0x00]),
        (&[0xF2], &[0xFA, 0x00]),
        (&[0xE6], &[0xFA]),
        (&[0xE7], &[0xFA]),
        (&[0xE8, 0x03], &[0xFA, 0xFA]),
        (&[0xF3, 40], &[0xFA, 0xFA]),
        (&[0xEA], &[0xFA]),
        (&[0xF0], &[0xFA]),
        (&[0xEC], &[0xFA]),
        (&[0xEE], &[0xFA]),
        (&[0xF4], &[0xFA]),
        (&[0xF5], &[0xFA]),
        (&[0xF6], &[0xFA]),
        (&[0xEB], &[0xFA, 0x08, 0, 0]),
        (&[0xE9], &[0xFA, 0x00, 2, 100]),
        (&[0xE8, 0, 0xF3, 200, 0xE7, 0xF4, 0xE9], &[0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 0x30, 0, 200]),
        (&[0xF0, 0xE9], &[0xFA, 0xFA, 0x40, 2, 100]),
        (&[0xF0, 0xEA, 0xE9], &[0xFA, 0xFA, 0xFA, 0x00, 2, 100]),
        (&[0xE7, 0xF4, 0xE8, 3, 0xF6, 0xE9], &[0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 0x00, 2, 100]),
    ];
    for (bytes, answers) in table {
        assert_eq!(tell(&mut Mouse::default(), bytes), *answers, "{bytes:02x?}");
    }
}

#[test]
fn bytes_that_are_no_command_are_refused_and_then_an_error() {
    for byte in (0..0xE6).chain([0xED, 0xEF, 0xF1, 0xF7, 0xFC, 0xFD]) {
        let mut mouse = Mouse::default();
        assert_eq!(tell(&mut mouse, &[byte, byte, byte]), [0xFE, 0xFC, 0xFE], "{byte:#04x}");
        assert_eq!(tell(&mut mouse, &[0xF4, byte]), [0xFA, 0xFE]);
    }
}

#[test]
fn a_refused_parameter_may_be_sent_again() {
    let mut mouse = Mouse::default();
    assert_eq!(tell(&mut mouse, &[0xE8, 4, 3]), [0xFA, 0xFE, 0xFA]);
    assert_eq!(tell(&mut mouse, &[0xF3, 99, 60]), [0xFA, 0xFE, 0xFA]);
    assert_eq!(tell(&mut mouse, &[0xE9]), [0xFA, 0, 3, 60]);
    assert_eq!(tell(&mut mouse, &[0xF3, 99, 99, 60]), [0xFA, 0xFE, 0xFC, 0xFE], "given up");
    assert_eq!(
        tell(&mut mouse, &[0xF3, 0xF4, 0xE9]),
        [0xFA, 0xFA, 0xFA, 0x20, 3, 60],
        "a command in its place"
    );
}

#[test]
fn packets_have_sign_bits_and_nine_bit_counts() {
    let mut mouse = after(&[0xF4]);
    for (right, up, packet) in [
        (1, 1, [0x08, 1, 1]),
        (-1, 0, [0x18, 0xFF, 0]),
        (0, -1, [0x28, 0, 0xFF]),
        (127, -128, [0x28, 127, 128]),
        (255, -256, [0x28, 255, 0]),
        (256, 0, [0x48, 255, 0]),
        (0, 300, [0x88, 0, 255]),
        (-257, -300, [0xF8, 0, 0]),
    ] {
        assert_eq!(moved(&mut mouse, right, up), packet, "{right} {up}");
    }
    assert_eq!(moved(&mut mouse, 0, 0), [0_u8; 0], "nothing has changed");
}

#[test]
fn buttons_are_reported_when_they_change() {
    let mut mouse = after(&[0xF4]);
    for (buttons, first) in [(1, 0x09), (3, 0x0B), (7, 0x0F), (4, 0x0C), (0, 0x08)] {
        mouse.moved(Movement::default(), Some(buttons));
        mouse.moved(Movement::default(), Some(buttons));
        assert_eq!(sent(&mut mouse), [first, 0, 0]);
    }
    mouse.moved(Movement::default(), Some(LEFT_BUTTON | RIGHT_BUTTON));
    assert_eq!(
        tell(&mut mouse, &[0xE9]),
        [0xFA, 0x25, 2, 100],
        "left is bit 2 in the status, right is bit 0"
    );
    assert_eq!(
        tell(&mut mouse, &[0xFF, 0xEB]),
        [0xFA, 0xAA, 0, 0xFA, 0x0B, 0, 0],
        "a reset releases no button"
    );
}

#[test]
fn movement_is_added_up_while_the_host_does_not_read() {
    let mut mouse = after(&[0xF4]);
    for _ in 0..20 {
        mouse.moved(movement(1, -2), None);
    }
    let bytes = sent(&mut mouse);
    let packets: Vec<&[u8]> = bytes.chunks(3).collect();
    assert_eq!(packets[..5], [[0x28, 1, 0xFE]; 5], "sixteen bytes hold five packets");
    assert_eq!(packets[5..], [[0x28, 15, 0xE2]]);
}

#[test]
fn nothing_is_sent_while_reports_are_disabled() {
    let mut mouse = Mouse::default();
    assert!(!mouse.is_enabled() && !mouse.idle());
    assert_eq!(moved(&mut mouse, 5, 5), [0_u8; 0]);
    assert_eq!(tell(&mut mouse, &[0xF4]), [0xFA], "the movement before is forgotten");
    assert!(mouse.is_enabled() && mouse.idle());
    assert_eq!(tell(&mut mouse, &[0xF5]), [0xFA]);
    assert_eq!(moved(&mut mouse, 5, 5), [0_u8; 0]);
}

#[test]
fn a_command_drops_the_packets_that_wait() {
    let mut mouse = after(&[0xF4]);
    mouse.moved(movement(1, 1), None);
    assert_eq!(mouse.send(), Some(0x08));
    assert_eq!(tell(&mut mouse, &[0xF5]), [0xFA]);
}

#[test]
fn remote_mode_sends_what_is_asked_for() {
    let mut mouse = after(&[0xF4, 0xF0]);
    assert!(mouse.idle());
    assert_eq!(moved(&mut mouse, 3, 4), [0_u8; 0]);
    assert!(!mouse.idle());
    assert_eq!(tell(&mut mouse, &[0xEB, 0xEB]), [0xFA, 0x08, 3, 4, 0xFA, 0x08, 0, 0]);
    assert_eq!(tell(&mut mouse, &[0xE7]), [0xFA]);
    assert_eq!(moved(&mut mouse, 10, 0), [0_u8; 0]);
    assert_eq!(tell(&mut mouse, &[0xEB]), [0xFA, 0x08, 10, 0], "scaling is for stream mode");
}

#[test]
fn wrap_mode_sends_every_byte_back() {
    let mut mouse = after(&[0xF4, 0xEE]);
    assert_eq!(tell(&mut mouse, &[0xF4, 0x00, 0xEB, 0xFE, 0xEE]), [0xF4, 0x00, 0xEB, 0xFE, 0xEE]);
    assert_eq!(moved(&mut mouse, 1, 1), [0_u8; 0]);
    assert!(!mouse.idle());
    assert_eq!(tell(&mut mouse, &[0xEC]), [0xFA, 0x08, 1, 1], "what was moved meanwhile");
    assert_eq!(tell(&mut after(&[0xEE]), &[0xFF]), [0xFA, 0xAA, 0]);
}

#[test]
fn scaling_two_to_one_follows_the_table() {
    let mut mouse = after(&[0xF4, 0xE7]);
    for (counts, scaled) in [(1, 1), (2, 1), (3, 3), (4, 6), (5, 9), (6, 12), (127, 254)] {
        assert_eq!(moved(&mut mouse, counts, 0), [0x08, scaled, 0]);
        assert_eq!(moved(&mut mouse, 0, -counts), [0x28, 0, scaled.wrapping_neg()]);
    }
    assert_eq!(moved(&mut mouse, 128, -200), [0x68 | 0x80, 255, 0], "more than nine bits");
}

#[test]
fn three_sample_rates_find_the_wheel_and_the_five_buttons() {
    let wheel = [0xF3, 200, 0xF3, 100, 0xF3, 80];
    let explorer = [0xF3, 200, 0xF3, 200, 0xF3, 80];
    let mut mouse = after(&wheel);
    assert_eq!(tell(&mut mouse, &[0xF2]), [0xFA, 3]);
    tell(&mut mouse, &[0xF4]);
    mouse.moved(Movement { right: 1, up: 2, wheel: -1 }, Some(0x19));
    assert_eq!(sent(&mut mouse), [0x09, 1, 2, 0xFF]);

    tell(&mut mouse, &explorer);
    assert_eq!(tell(&mut mouse, &[0xF2]), [0xFA, 4]);
    mouse.moved(Movement { right: 0, up: 0, wheel: -1 }, Some(0x12));
    assert_eq!(sent(&mut mouse), [0x0A, 0, 0, 0x2F]);
    mouse.moved(Movement { right: 0, up: 0, wheel: 100 }, Some(0x08));
    assert_eq!(sent(&mut mouse), [0x08, 0, 0, 0x17]);
    tell(&mut mouse, &wheel);
    assert_eq!(tell(&mut mouse, &[0xF2]), [0xFA, 4], "it stays one");
    assert_eq!(tell(&mut mouse, &[0xF6, 0xF2]), [0xFA, 0xFA, 4], "defaults do not change it");
    assert_eq!(tell(&mut mouse, &[0xFF, 0xF2]), [0xFA, 0xAA, 0, 0xFA, 0]);
    assert_eq!(tell(&mut after(&[0xF3, 200, 0xF3, 100, 0xF3, 60]), &[0xF2]), [0xFA, 0]);
}

#[test]
fn the_last_answer_or_packet_is_sent_again() {
    let mut mouse = Mouse::default();
    assert_eq!(tell(&mut mouse, &[0xFE]), [0xAA, 0x00]);
    assert_eq!(tell(&mut mouse, &[0xF2, 0xFE, 0xFE]), [0xFA, 0, 0xFA, 0, 0xFA, 0]);
    assert_eq!(tell(&mut mouse, &[0xF4, 0x00, 0xFE]), [0xFA, 0xFE, 0xFA]);
    assert_eq!(moved(&mut mouse, 1, 2), [0x08, 1, 2]);
    assert_eq!(tell(&mut mouse, &[0xFE]), [0x08, 1, 2]);
}

#[test]
fn a_driver_that_probes_for_a_wheel_finds_it() {
    // The commands that Linux' driver sends, in its order.
    let bytes = [0xFF, 0xF2, 0xF3, 200, 0xF3, 100, 0xF3, 80, 0xF2, 0xE8, 3, 0xE6, 0xF3, 100, 0xF4, 0xE9];
    let answers = [
        0xFA, 0xAA, 0, 0xFA, 0, 0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 3, 0xFA, 0xFA, 0xFA, 0xFA, 0xFA,
        0xFA, 0xFA, 0x20, 3, 100,
    ];
    assert_eq!(tell(&mut Mouse::default(), &bytes), answers);
}

#[test]
fn impossible_states_are_found() {
    let wrong: [(Mouse, &str); 6] = [
        (Mouse { output: [0; 17].into(), ..Mouse::default() }, "17 bytes"),
        (Mouse { last: vec![0; 6], ..Mouse::default() }, "6 bytes"),
        (Mouse { resolution: 4, ..Mouse::default() }, "resolution"),
        (Mouse { sample_rate: 0, ..Mouse::default() }, "sample rate"),
        (Mouse { buttons: 0x20, ..Mouse::default() }, "button"),
        (Mouse { counters: Counters::impossible(), ..Mouse::default() }, "nine bits"),
    ];
    for (mouse, word) in wrong {
        assert!(mouse.check().unwrap_err().contains(word), "{mouse:?}");
    }
    assert_eq!(after(&[0xF3, 200, 0xF4]).check(), Ok(()));
}

#[test]
fn any_bytes_and_movements_leave_a_possible_state() {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut mouse = Mouse::default();
    for _ in 0..100_000 {
        let value = next();
        match value % 4 {
            0 => mouse.receive((value >> 8) as u8 | if value & 16 == 0 { 0xE0 } else { 0 }),
            1 => {
                _ = mouse.send();
            }
            _ => {
                let movement = Movement {
                    right: (value >> 8) as i16,
                    up: (value >> 24) as i16,
                    wheel: (value >> 40) as i16,
                };
                mouse.moved(movement, (value & 8 != 0).then_some((value >> 56) as u8));
            }
        }
        assert_eq!(mouse.check(), Ok(()), "{mouse:?}");
        if mouse.idle() {
            mouse.moved(movement(127, -127), None);
            assert!(!mouse.idle());
        }
    }
}
