//! Input that waits for the guest: keystrokes, movements of the mouse and received bytes, delivered at the pace at which it reads them.
//!
//! The run loop pushes what it takes from [`Inputs`] and calls [`InputBuffer::deliver`] after that and around
//! accesses to the keyboard controller and the serial ports. What waits here is part of a snapshot.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use super::board::Board;
use super::inputs::{Inputs, Keystroke};
use super::mouse_input::{MouseBuffer, MouseInput};
use crate::devices::keyboard::KeyEvent;
use crate::settings::KeyTarget;

/// Most keystrokes that wait for a guest that reads none; later ones are dropped.
const MAX_KEYSTROKES: usize = 16 << 10;

/// The device that receives keystrokes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Keyboard,
    Serial,
}

/// The saved state of an [`InputBuffer`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputBufferState {
    keystrokes: Vec<Keystroke>,
    events: Vec<KeyEvent>,
    received: [Vec<u8>; 4],
    /// In a section of its own: older snapshot files have none.
    #[serde(skip)]
    pub mouse: Vec<MouseInput>,
}

/// Keystrokes, movements of the mouse and received bytes that the guest has not read yet.
#[derive(Debug)]
pub struct InputBuffer {
    keys: KeyTarget,
    /// The serial port whose backend is the terminal, if there is one.
    terminal: Option<u8>,
    keystrokes: VecDeque<Keystroke>,
    /// Rest of a keystroke that is being delivered to the keyboard.
    events: VecDeque<KeyEvent>,
    /// Bytes that wait for each serial port.
    received: [VecDeque<u8>; 4],
    mouse: MouseBuffer,
    /// The terminal shows the guest's screen, not its serial port.
    screen_shown: bool,
    warned_full: bool,
}

impl InputBuffer {
    /// An empty buffer. `terminal` is the serial port (0 is COM1) that shares the terminal.
    pub fn new(keys: KeyTarget, terminal: Option<u8>) -> InputBuffer {
        InputBuffer {
            keys,
            terminal,
            keystrokes: VecDeque::new(),
            events: VecDeque::new(),
            received: Default::default(),
            mouse: MouseBuffer::default(),
            screen_shown: false,
            warned_full: false,
        }
    }

    /// Appends a keystroke, or drops it if the buffer is full.
    pub fn push_keystroke(&mut self, keystroke: Keystroke, inputs: &Inputs) {
        if self.keystrokes.len() < MAX_KEYSTROKES {
            self.keystrokes.push_back(keystroke);
            return;
        }
        inputs.keystroke_delivered();
        self.warn_full();
    }

    /// Appends presses and releases of keys of the keyboard, after the keystrokes that already wait.
    pub fn push_key_events(&mut self, events: Vec<KeyEvent>, inputs: &Inputs) {
        if !self.keystrokes.is_empty() {
            self.push_keystroke(Keystroke { bytes: Vec::new(), keys: events }, inputs);
            return;
        }
        inputs.keystroke_delivered();
        if self.events.len() < MAX_KEYSTROKES {
            self.events.extend(events);
        } else {
            self.warn_full();
        }
    }

    fn warn_full(&mut self) {
        if !self.warned_full {
            self.warned_full = true;
            warn!("{MAX_KEYSTROKES} keystrokes wait for the guest: further keystrokes are dropped");
        }
    }

    /// Appends bytes received for a serial port.
    pub fn push_serial(&mut self, port: u8, bytes: Vec<u8>) {
        self.received[usize::from(port)].extend(bytes);
    }

    /// Appends a movement of the mouse, or a change of its buttons.
    pub fn push_mouse(&mut self, input: MouseInput) {
        self.mouse.push(input);
    }

    /// The state to save.
    pub fn state(&self) -> InputBufferState {
        InputBufferState {
            keystrokes: self.keystrokes.iter().cloned().collect(),
            events: self.events.iter().copied().collect(),
            received: self.received.each_ref().map(|bytes| bytes.iter().copied().collect()),
            mouse: self.mouse.state(),
        }
    }

    /// Replaces everything that waits by `state`.
    pub fn set_state(&mut self, state: &InputBufferState, inputs: &Inputs) {
        let before = self.counts();
        self.keystrokes = state.keystrokes.iter().take(MAX_KEYSTROKES).cloned().collect();
        self.events = state.events.iter().copied().collect();
        self.received = state.received.each_ref().map(|bytes| bytes.iter().copied().collect());
        self.mouse.set_state(&state.mouse);
        inputs.replace_backlog(before, self.counts());
    }

    /// Numbers of waiting keystrokes and of waiting bytes for each serial port.
    fn counts(&self) -> (usize, [usize; 4]) {
        (self.keystrokes.len(), self.received.each_ref().map(VecDeque::len))
    }

    /// Drops a partly delivered keystroke, and what the mouse has not reported: the machine is about to be reset. Bytes
    /// that a serial port has received wait again. A UART would lose them, but on a line they come while the guest can
    /// read them; here they are in its receiver as soon as there is room.
    pub fn reset(&mut self, board: &Board, inputs: &Inputs) {
        self.events.clear();
        self.mouse.clear();
        for (number, waiting) in (0..).zip(&mut self.received) {
            let mut unread: VecDeque<u8> = board.serial(number).unread().collect();
            inputs.serial_bytes_queued(number, unread.len());
            unread.append(waiting);
            *waiting = unread;
        }
    }

    /// True if anything waits.
    #[inline]
    pub fn has_pending(&self) -> bool {
        !self.keystrokes.is_empty()
            || !self.events.is_empty()
            || !self.mouse.is_empty()
            || self.received.iter().any(|bytes| !bytes.is_empty())
    }

    /// The terminal shows the guest's screen, or its serial port. It is no state of the machine: another terminal may
    /// show something else.
    pub fn set_screen_shown(&mut self, shown: bool) {
        self.screen_shown = shown;
    }

    /// True if keys wait.
    #[inline]
    pub fn has_keys(&self) -> bool {
        !self.keystrokes.is_empty() || !self.events.is_empty()
    }

    /// Delivers as much as the devices can take now; with `hold_keys` the keyboard gets nothing, although it could take a
    /// key. True if the next deadline of a device may have changed.
    #[must_use]
    pub fn deliver(&mut self, board: &mut Board, inputs: &Inputs, hold_keys: bool) -> bool {
        let mut deadline = false;
        loop {
            if !hold_keys {
                self.deliver_keys(board);
            }
            self.mouse.deliver(board);
            deadline |= self.deliver_serial(board, inputs);
            if !self.events.is_empty() || !self.take_keystroke(board, inputs) {
                return deadline;
            }
        }
    }

    fn deliver_keys(&mut self, board: &mut Board) {
        while board.i8042().idle() {
            let Some(event) = self.events.pop_front() else { return };
            board.key(event);
        }
    }

    fn deliver_serial(&mut self, board: &mut Board, inputs: &Inputs) -> bool {
        let mut deadline = false;
        for (number, bytes) in (0..).zip(&mut self.received) {
            while !bytes.is_empty() && board.serial(number).room() > 0 {
                let Some(byte) = bytes.pop_front() else { break };
                deadline |= board.receive(number, byte).deadline;
                inputs.serial_byte_delivered(number);
            }
        }
        deadline
    }

    /// True if the guest has ever read input.
    pub fn guest_reads_input(&self, board: &Board) -> bool {
        self.target(board).is_some()
    }

    /// The device that receives the next keystroke, once that is known. Kernels set their keyboard up whether it is used or
    /// not. A serial port that interrupts for received bytes is in use, so it gets the keys unless the user looks at the
    /// screen.
    fn target(&self, board: &Board) -> Option<Target> {
        let keyboard = board.i8042().reads_input();
        let serial = self.terminal.is_some_and(|port| board.serial(port).reads_input());
        let listens = self.terminal.is_some_and(|port| board.serial(port).interrupts_for_input());
        match self.keys {
            KeyTarget::Keyboard => keyboard.then_some(Target::Keyboard),
            KeyTarget::Serial => serial.then_some(Target::Serial),
            KeyTarget::Auto if listens && !self.screen_shown => Some(Target::Serial),
            KeyTarget::Auto if keyboard => Some(Target::Keyboard),
            KeyTarget::Auto => serial.then_some(Target::Serial),
        }
    }

    /// Starts to deliver the next keystroke if its target is known and ready.
    fn take_keystroke(&mut self, board: &Board, inputs: &Inputs) -> bool {
        let Some(target) = self.target(board) else { return false };
        // A keystroke without bytes came from `push_key_events`.
        let pressed = self.keystrokes.front().is_some_and(|keystroke| keystroke.bytes.is_empty());
        let keyboard = target == Target::Keyboard || pressed;
        let port = self.terminal.map(usize::from);
        if !keyboard && port.is_some_and(|port| !self.received[port].is_empty()) {
            return false;
        }
        let Some(keystroke) = self.keystrokes.pop_front() else { return false };
        inputs.keystroke_delivered();
        if keyboard {
            if keystroke.keys.is_empty() {
                debug!("no key of the layout types {:?}", String::from_utf8_lossy(&keystroke.bytes));
            }
            self.events.extend(keystroke.keys);
        } else if let (Some(port), Some(number)) = (port, self.terminal) {
            inputs.serial_bytes_queued(number, keystroke.bytes.len());
            self.received[port].extend(keystroke.bytes);
        }
        true
    }
}

#[cfg(test)]
#[path = "input_buffer_test.rs"]
mod tests;
