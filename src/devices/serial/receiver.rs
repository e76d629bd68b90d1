//! The receiver of a serial port: buffer register or FIFO, and the errors of each character.
//!
//! PC16550D datasheet, "Line Status Register" and "FIFO Interrupt Mode Operation".

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::registers::{CHARACTER_ERRORS, LSR_DATA_READY, LSR_FIFO_ERROR, LSR_OVERRUN};

/// Depth of the FIFO in characters.
pub const FIFO_DEPTH: usize = 16;

/// A character as it arrives on the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedCharacter {
    /// The data bits.
    pub data: u8,
    /// Parity error, framing error and break, as the bits of LSR.
    pub errors: u8,
}

/// The receiver. Without the FIFO it holds one character.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiver {
    fifo: bool,
    /// Characters that were not read yet. The first has no errors: `errors` has them.
    characters: VecDeque<ReceivedCharacter>,
    /// The buffer register: the last character that was received without the FIFO.
    buffer: u8,
    /// LSR: an overrun since LSR was read.
    overrun: bool,
    /// LSR: errors of characters that have been first since LSR was read.
    errors: u8,
}

impl Receiver {
    /// True if the FIFO is enabled.
    pub fn has_fifo(&self) -> bool {
        self.fifo
    }

    /// Enables or disables the FIFO; a change discards what is received.
    pub fn enable_fifo(&mut self, enable: bool) {
        if enable != self.fifo {
            self.fifo = enable;
            self.clear();
        }
    }

    /// Discards all characters. An overrun, and errors that LSR shows, stay until LSR is read.
    pub fn clear(&mut self) {
        self.characters.clear();
    }

    /// Number of characters that wait.
    pub fn len(&self) -> usize {
        self.characters.len()
    }

    /// True if no character waits.
    pub fn is_empty(&self) -> bool {
        self.characters.is_empty()
    }

    /// Number of characters that can be received without an overrun.
    pub fn room(&self) -> usize {
        let depth = if self.fifo { FIFO_DEPTH } else { 1 };
        depth.saturating_sub(self.len())
    }

    /// Receives a character. On an overrun the FIFO keeps what it holds; the buffer register is overwritten.
    pub fn push(&mut self, character: ReceivedCharacter) {
        if self.room() == 0 {
            self.overrun = true;
            if self.fifo {
                return;
            }
            self.characters.clear();
        }
        if !self.fifo {
            self.buffer = character.data;
        }
        self.characters.push_back(character);
        self.reveal();
    }

    /// The first character, which is removed. An empty FIFO gives 0; the buffer register keeps its contents.
    pub fn pop(&mut self) -> u8 {
        let Some(character) = self.characters.pop_front() else {
            return if self.fifo { 0 } else { self.buffer };
        };
        self.reveal();
        character.data
    }

    /// The characters that wait, the first one first.
    pub fn waiting(&self) -> impl Iterator<Item = ReceivedCharacter> {
        self.characters.iter().copied()
    }

    /// True if LSR shows an error, which is a receiver line status interrupt.
    pub fn has_error(&self) -> bool {
        self.overrun || self.errors != 0
    }

    /// The receiver's bits of LSR; reading them clears the errors.
    pub fn take_status(&mut self) -> u8 {
        let later_errors = self.characters.iter().any(|character| character.errors != 0);
        let mut status = self.errors;
        if !self.characters.is_empty() {
            status |= LSR_DATA_READY;
        }
        if self.overrun {
            status |= LSR_OVERRUN;
        }
        if self.fifo && (self.errors != 0 || later_errors) {
            status |= LSR_FIFO_ERROR;
        }
        (self.overrun, self.errors) = (false, 0);
        status
    }

    /// True if a receiver can be in this state.
    pub fn is_possible(&self) -> bool {
        let depth = if self.fifo { FIFO_DEPTH } else { 1 };
        let mut all = self.characters.iter().map(|character| character.errors).chain([self.errors]);
        self.characters.len() <= depth
            && all.all(|errors| errors & !CHARACTER_ERRORS == 0)
            && self.characters.front().is_none_or(|first| first.errors == 0)
    }

    /// A receiver with these characters, as far as there is room for them.
    pub fn holding(fifo: bool, received: &[u8]) -> Receiver {
        let mut receiver = Receiver { fifo, ..Receiver::default() };
        for &data in received.iter().take(receiver.room()) {
            receiver.push(ReceivedCharacter { data, errors: 0 });
        }
        receiver
    }

    /// Moves the errors of the first character to LSR.
    fn reveal(&mut self) {
        if let Some(first) = self.characters.front_mut() {
            self.errors |= std::mem::take(&mut first.errors);
        }
    }
}
