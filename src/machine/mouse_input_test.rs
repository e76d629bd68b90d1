use super::*;
use crate::devices::mouse::LEFT_BUTTON;

fn moved(dx: i16, dy: i16) -> MouseInput {
    MouseInput { dx, dy, ..MouseInput::default() }
}

fn buttons(buttons: u8) -> MouseInput {
    MouseInput { buttons: Some(buttons), ..MouseInput::default() }
}

/// A board whose guest has sent these bytes to its mouse and read the answers.
fn board(bytes: &[u8]) -> Board {
    let mut board = Board::default();
    for &byte in bytes {
        let _ = board.port_out(0x64, 1, 0xD4);
        let _ = board.port_out(0x60, 1, byte.into());
        while board.port_in(0x64, 1).0 & 1 != 0 {
            let _ = board.port_in(0x60, 1);
        }
    }
    board
}

/// All that a guest reads which takes every byte.
fn packets(buffer: &mut MouseBuffer, board: &mut Board) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        buffer.deliver(board);
        if board.port_in(0x64, 1).0 & 0x21 != 0x21 {
            return bytes;
        }
        bytes.push(board.port_in(0x60, 1).0 as u8);
    }
}

#[test]
fn a_long_way_arrives_whole_in_steps() {
    let mut buffer = MouseBuffer::default();
    let mut board = board(&[0xF4]);
    buffer.push(MouseInput { buttons: Some(LEFT_BUTTON), ..moved(1000, -300) });
    let bytes = packets(&mut buffer, &mut board);
    let sum = |at: usize| bytes.chunks(3).map(|packet| i32::from(packet[at] as i8)).sum::<i32>();
    assert_eq!((sum(1), sum(2)), (1000, 300), "a mouse counts upwards");
    let pressed: Vec<bool> = bytes.chunks(3).map(|packet| packet[0] & 1 != 0).collect();
    assert_eq!(
        pressed,
        [false, false, false, false, false, false, false, true],
        "pressed at the end of the way"
    );
    assert!(buffer.is_empty());
}

#[test]
fn movements_are_added_up_between_changes_of_the_buttons() {
    let mut buffer = MouseBuffer::default();
    for input in [moved(1, 2), moved(3, 4), buttons(1), moved(i16::MAX, 0), moved(i16::MAX, 0)] {
        buffer.push(input);
    }
    assert_eq!(buffer.state(), [MouseInput { buttons: Some(1), ..moved(4, 6) }, moved(i16::MAX, 0)]);
}

#[test]
fn what_waits_is_bounded() {
    let mut buffer = MouseBuffer::default();
    for number in 0..3 * MOST_WAITING {
        buffer.push(buttons(number as u8 & 1));
        buffer.push(moved(1, 1));
    }
    assert!(buffer.waiting.len() <= MOST_WAITING);
}

#[test]
fn a_guest_without_a_mouse_gets_the_buttons_only() {
    let mut buffer = MouseBuffer::default();
    let mut board = board(&[]);
    buffer.push(moved(500, 500));
    buffer.push(buttons(2));
    assert_eq!(packets(&mut buffer, &mut board), [0_u8; 0]);
    assert!(buffer.is_empty());
    let _ = board.port_out(0x64, 1, 0xD4);
    let _ = board.port_out(0x60, 1, 0xEB);
    assert_eq!(packets(&mut buffer, &mut board), [0xFA, 0x0A, 0, 0]);
}

#[test]
fn a_guest_that_does_not_read_finds_all_of_it_later_also_in_a_restored_buffer() {
    let mut buffer = MouseBuffer::default();
    let mut board = board(&[0xF4]);
    for _ in 0..100 {
        buffer.push(moved(10, 0));
        buffer.deliver(&mut board);
    }
    let mut restored = MouseBuffer::default();
    restored.set_state(&buffer.state());
    let bytes = packets(&mut restored, &mut board);
    assert_eq!(bytes.chunks(3).map(|packet| u32::from(packet[1])).sum::<u32>(), 1000);
}
