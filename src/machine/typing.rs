//! What was typed, on its way to the guest at the pace the guest takes it.

use std::collections::VecDeque;

use tracing::{debug, warn};

use super::board::Board;
use super::inputs::{Inputs, Typed};
use crate::devices::keyboard::KeyEvent;
use crate::settings::Keys;

/// Strokes that wait for a guest that takes none; what is typed beyond is dropped.
const MOST_STROKES: usize = 16 << 10;

/// Who takes what is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taker {
    Keyboard,
    Serial,
}

/// Strokes and received bytes that the guest has not taken yet.
#[derive(Debug)]
pub struct Typing {
    keys: Keys,
    /// The serial port whose far end is the terminal, if there is one.
    terminal: Option<u8>,
    strokes: VecDeque<Typed>,
    /// Rest of a stroke that goes to the keyboard.
    events: VecDeque<KeyEvent>,
    /// Bytes that wait for each serial port.
    received: [VecDeque<u8>; 4],
    full_told: bool,
}

impl Typing {
    /// Nothing typed yet. `terminal` is the serial port (0 is COM1) that shares the terminal.
    pub fn new(keys: Keys, terminal: Option<u8>) -> Typing {
        Typing {
            keys,
            terminal,
            strokes: VecDeque::new(),
            events: VecDeque::new(),
            received: Default::default(),
            full_told: false,
        }
    }

    /// A stroke arrives.
    pub fn typed(&mut self, stroke: Typed, inputs: &Inputs) {
        if self.strokes.len() < MOST_STROKES {
            self.strokes.push_back(stroke);
            return;
        }
        inputs.stroke_given();
        self.tell_full();
    }

    /// Keys go down and come up on the keyboard.
    pub fn pressed(&mut self, events: Vec<KeyEvent>) {
        if self.events.len() < MOST_STROKES {
            self.events.extend(events);
        } else {
            self.tell_full();
        }
    }

    fn tell_full(&mut self) {
        if !self.full_told {
            self.full_told = true;
            warn!("the guest has {MOST_STROKES} strokes to take; what is typed from now on is lost");
        }
    }

    /// Bytes arrive for a serial port.
    pub fn received(&mut self, port: u8, bytes: Vec<u8>) {
        self.received[usize::from(port)].extend(bytes);
    }

    /// Forgets a stroke that is half given: the machine was reset.
    pub fn reset(&mut self) {
        self.events.clear();
    }

    /// True if [`Self::feed`] could have something to do.
    #[inline]
    pub fn waiting(&self) -> bool {
        !self.strokes.is_empty()
            || !self.events.is_empty()
            || self.received.iter().any(|bytes| !bytes.is_empty())
    }

    /// Gives the guest as much as it is ready for.
    pub fn feed(&mut self, board: &mut Board, inputs: &Inputs) {
        loop {
            self.feed_keyboard(board);
            self.feed_serial(board, inputs);
            if !self.events.is_empty() || !self.next_stroke(board, inputs) {
                return;
            }
        }
    }

    fn feed_keyboard(&mut self, board: &mut Board) {
        while board.i8042.idle() {
            let Some(event) = self.events.pop_front() else { return };
            // The interrupt line leads nowhere yet.
            let _ = board.i8042.key(event);
        }
    }

    fn feed_serial(&mut self, board: &mut Board, inputs: &Inputs) {
        for (number, (port, bytes)) in board.serial.iter_mut().zip(&mut self.received).enumerate() {
            while port.room() > 0 {
                let Some(byte) = bytes.pop_front() else { break };
                let _ = port.receive(byte);
                inputs.byte_given(number as u8);
            }
        }
    }

    /// True if the guest has ever asked for what is typed.
    pub fn asked(&self, board: &Board) -> bool {
        self.taker(board).is_some()
    }

    /// Who gets the next stroke, as far as that is known yet.
    fn taker(&self, board: &Board) -> Option<Taker> {
        let keyboard = board.i8042.asked();
        let serial = self.terminal.is_some_and(|port| board.serial[usize::from(port)].asked());
        match self.keys {
            Keys::Keyboard => keyboard.then_some(Taker::Keyboard),
            Keys::Serial => serial.then_some(Taker::Serial),
            Keys::Auto if keyboard => Some(Taker::Keyboard),
            Keys::Auto => serial.then_some(Taker::Serial),
        }
    }

    /// Takes the next stroke up if there is a taker for it.
    fn next_stroke(&mut self, board: &Board, inputs: &Inputs) -> bool {
        let Some(taker) = self.taker(board) else { return false };
        let keyboard = taker == Taker::Keyboard;
        let port = self.terminal.map(usize::from);
        if !keyboard && port.is_some_and(|port| !self.received[port].is_empty()) {
            return false;
        }
        let Some(stroke) = self.strokes.pop_front() else { return false };
        inputs.stroke_given();
        if keyboard {
            if stroke.keys.is_empty() {
                debug!("no key of the layout types {:?}", String::from_utf8_lossy(&stroke.bytes));
            }
            self.events.extend(stroke.keys);
        } else if let (Some(port), Some(number)) = (port, self.terminal) {
            inputs.bytes_typed(number, stroke.bytes.len());
            self.received[port].extend(stroke.bytes);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::PortDevice;
    use crate::devices::keyboard::Key;

    fn stroke(byte: u8, key: Key) -> Typed {
        let events = [KeyEvent { key, down: true }, KeyEvent { key, down: false }];
        Typed { bytes: vec![byte], keys: events.to_vec() }
    }

    /// Polls as guests do: status until there is a byte, then the byte; gives up after a while.
    fn read_scan_code(typing: &mut Typing, board: &mut Board, inputs: &Inputs) -> Option<u8> {
        for _ in 0..4 {
            typing.feed(board, inputs);
            if board.i8042.read(4).0 & 1 == 1 {
                return Some(board.i8042.read(0).0);
            }
        }
        None
    }

    #[test]
    fn strokes_wait_until_the_guest_looks_at_its_keyboard_and_come_one_by_one() {
        let (mut board, inputs) = (Board::default(), Inputs::new());
        let mut typing = Typing::new(Keys::Auto, Some(0));
        for stroke in [stroke(b'a', Key::A), stroke(b'b', Key::B)] {
            typing.typed(stroke, &inputs);
        }
        typing.feed(&mut board, &inputs);
        assert!(typing.waiting());
        let codes: Vec<_> = std::iter::from_fn(|| read_scan_code(&mut typing, &mut board, &inputs)).collect();
        assert_eq!(codes, [0x1E, 0x9E, 0x30, 0xB0]);
        assert!(!typing.waiting());
    }

    #[test]
    fn keys_that_are_pressed_go_to_the_keyboard_even_if_nobody_has_asked_and_are_bounded() {
        let (mut board, inputs) = (Board::default(), Inputs::new());
        let mut typing = Typing::new(Keys::Serial, Some(0));
        typing.pressed(KeyEvent::chord(&[Key::LeftControl, Key::C]));
        let codes: Vec<_> = std::iter::from_fn(|| read_scan_code(&mut typing, &mut board, &inputs)).collect();
        assert_eq!(codes, [0x1D, 0x2E, 0xAE, 0x9D]);
        for _ in 0..2 * MOST_STROKES {
            typing.pressed(KeyEvent::chord(&[Key::A]));
        }
        assert!(typing.events.len() < MOST_STROKES + 2);
    }

    #[test]
    fn a_guest_that_waits_at_its_serial_port_gets_bytes_there() {
        let (mut board, inputs) = (Board::default(), Inputs::new());
        let mut typing = Typing::new(Keys::Auto, Some(0));
        typing.typed(stroke(b'a', Key::A), &inputs);
        typing.typed(stroke(b'b', Key::B), &inputs);
        let mut got = Vec::new();
        for _ in 0..8 {
            typing.feed(&mut board, &inputs);
            if board.serial[0].read(5).0 & 1 == 1 {
                got.push(board.serial[0].read(0).0);
            }
        }
        assert_eq!(got, b"ab");
    }

    #[test]
    fn bytes_from_a_socket_fill_the_receiver_as_it_empties() {
        let (mut board, inputs) = (Board::default(), Inputs::new());
        let mut typing = Typing::new(Keys::Auto, None);
        typing.received(2, b"xyz".to_vec());
        inputs.bytes_typed(2, 3);
        for expected in *b"xyz" {
            typing.feed(&mut board, &inputs);
            assert_eq!(board.serial[2].read(0).0, expected);
        }
        assert!(!typing.waiting());
        assert_eq!(inputs.serial_backlog(2), 0);
    }
}
