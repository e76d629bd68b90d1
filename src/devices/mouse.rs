//! The PS/2 mouse: counters, buttons and the commands of the host.
//!
//! It follows the IBM PS/2 Hardware Interface Technical Reference ("Mouse") and, for the wheel and for the fourth and
//! fifth button, Microsoft's IntelliMouse and IntelliMouse Explorer, which a host finds by three sample rates in a
//! row. It has stream, remote and wrap mode, both scalings, and the answers to what it does not understand.
//!
//! It takes no time: a reset and its self-test are over at once, and a movement is reported as soon as there is room
//! in the output buffer. Sample rate and resolution are kept and reported, and do not change the movement. Movement
//! that does not fit the nine bits of a counter is lost, and the next packet has the overflow bit; the machine moves
//! the mouse only as fast as the guest reads ([`Mouse::idle`]), so that this takes a guest in remote mode or one that
//! disables its mouse.

mod packet;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use packet::Counters;
pub use packet::{BUTTONS, LEFT_BUTTON, Model, Movement, RIGHT_BUTTON};

/// Bytes that wait to be sent, answers and packets together.
pub const BUFFER_SIZE: usize = 16;

/// Longest answer: acknowledgement and the packet of a mouse with a wheel.
const LONGEST_ANSWER: usize = 5;

const ACK: u8 = 0xFA;
const ERROR: u8 = 0xFC;
const RESEND: u8 = 0xFE;
const SELF_TEST_PASSED: u8 = 0xAA;

const RESET: u8 = 0xFF;
const LEAVE_WRAP: u8 = 0xEC;
/// First byte value that is a command; below are parameters.
const FIRST_COMMAND: u8 = 0xE6;

/// Sample rates that exist, per second.
const SAMPLE_RATES: [u8; 7] = [10, 20, 40, 60, 80, 100, 200];
const DEFAULT_SAMPLE_RATE: u8 = 100;
/// Resolutions are 0 to 3: 1, 2, 4 and 8 counts per millimetre.
const HIGHEST_RESOLUTION: u8 = 3;
const DEFAULT_RESOLUTION: u8 = 2;
/// Sample rates that ask for the wheel, and for the fourth and fifth button.
const WHEEL_KNOCK: [u8; 3] = [200, 100, 80];
const EXPLORER_KNOCK: [u8; 3] = [200, 200, 80];

/// The command whose parameter comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Awaiting {
    Command,
    Resolution,
    SampleRate,
}

/// A PS/2 mouse on the wire to its controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mouse {
    output: VecDeque<u8>,
    awaiting: Awaiting,
    /// The last byte of the host was refused: the next one that is refused is an error.
    refused: bool,
    remote: bool,
    wrap: bool,
    /// Movement is reported in stream mode.
    reporting: bool,
    double_scaling: bool,
    resolution: u8,
    sample_rate: u8,
    /// The last three sample rates, oldest first.
    rates: [u8; 3],
    model: Model,
    counters: Counters,
    /// [`BUTTONS`] that are down.
    buttons: u8,
    /// Those that were down in the last packet.
    reported_buttons: u8,
    /// What the command `FE` sends again: the last answer or packet.
    last: Vec<u8>,
}

impl Default for Mouse {
    /// As after power-on and a passed self-test whose result was read: stream mode, no reports.
    fn default() -> Mouse {
        Mouse {
            output: VecDeque::new(),
            awaiting: Awaiting::Command,
            refused: false,
            remote: false,
            wrap: false,
            reporting: false,
            double_scaling: false,
            resolution: DEFAULT_RESOLUTION,
            sample_rate: DEFAULT_SAMPLE_RATE,
            rates: [0; 3],
            model: Model::Standard,
            counters: Counters::default(),
            buttons: 0,
            reported_buttons: 0,
            last: vec![SELF_TEST_PASSED, Model::Standard.identity()],
        }
    }
}

impl Mouse {
    /// The mouse is moved, and its buttons are as in `buttons` from now on ([`BUTTONS`]; `None` leaves them).
    pub fn moved(&mut self, movement: Movement, buttons: Option<u8>) {
        self.counters.add(movement);
        if let Some(buttons) = buttons {
            self.buttons = buttons & BUTTONS;
        }
        self.report();
    }

    /// True if the guest receives movements: it has enabled reports in stream mode, or has chosen remote mode.
    pub fn is_enabled(&self) -> bool {
        self.remote || self.reporting
    }

    /// True if the next movement would be reported at once and nothing of it would be lost.
    pub fn idle(&self) -> bool {
        self.is_enabled()
            && !self.wrap
            && self.output.is_empty()
            && self.counters.is_zero()
            && self.awaiting == Awaiting::Command
    }

    /// The next byte the mouse sends.
    pub fn send(&mut self) -> Option<u8> {
        let byte = self.output.pop_front()?;
        self.report();
        Some(byte)
    }

    /// Takes a command or parameter byte from the controller.
    ///
    /// What waits to be sent is dropped, as the host would take it for the answer. A command in place of a parameter
    /// abandons the command that waits for it. A byte that is neither is answered with `FE`, and with `FC` if the one
    /// before was, too.
    pub fn receive(&mut self, byte: u8) {
        self.output.clear();
        if self.wrap && byte != RESET && byte != LEAVE_WRAP {
            return self.answer(&[byte]);
        }
        let awaiting = std::mem::replace(&mut self.awaiting, Awaiting::Command);
        let understood = if awaiting == Awaiting::Command || byte >= FIRST_COMMAND {
            self.command(byte)
        } else {
            self.parameter(awaiting, byte)
        };
        if understood {
            self.refused = false;
        } else if std::mem::replace(&mut self.refused, true) {
            self.refused = false;
            self.answer(&[ERROR]);
        } else {
            self.awaiting = awaiting;
            // Not what `FE` sends again.
            self.output.push_back(RESEND);
        }
        self.report();
    }

    fn command(&mut self, command: u8) -> bool {
        match command {
            0xE6 => self.double_scaling = false,
            0xE7 => self.double_scaling = true,
            0xE8 => self.awaiting = Awaiting::Resolution,
            0xE9 => {
                let answer = [ACK, self.status(), self.resolution, self.sample_rate];
                self.answer(&answer);
                return true;
            }
            0xEA => {
                self.remote = false;
                self.counters = Counters::default();
            }
            0xEB => {
                // Scaling applies in stream mode only.
                let packet = self.packet(false);
                self.answer(&[&[ACK], &packet[..]].concat());
                return true;
            }
            0xEC => self.wrap = false,
            0xEE => self.wrap = true,
            0xF0 => {
                self.remote = true;
                self.counters = Counters::default();
            }
            0xF2 => {
                let identity = self.model.identity();
                self.answer(&[ACK, identity]);
                return true;
            }
            0xF3 => self.awaiting = Awaiting::SampleRate,
            0xF4 => {
                self.reporting = true;
                self.counters = Counters::default();
                self.reported_buttons = self.buttons;
            }
            0xF5 => self.reporting = false,
            0xF6 => self.set_defaults(),
            0xFE => {
                self.output.extend(self.last.iter());
                return true;
            }
            0xFF => {
                // A command does not release the buttons.
                *self = Mouse { buttons: self.buttons, ..Mouse::default() };
                self.answer(&[ACK, SELF_TEST_PASSED, Model::Standard.identity()]);
                return true;
            }
            _ => return false,
        }
        self.answer(&[ACK]);
        true
    }

    fn parameter(&mut self, awaiting: Awaiting, value: u8) -> bool {
        match awaiting {
            Awaiting::Resolution if value <= HIGHEST_RESOLUTION => self.resolution = value,
            Awaiting::SampleRate if SAMPLE_RATES.contains(&value) => self.set_sample_rate(value),
            _ => return false,
        }
        self.answer(&[ACK]);
        true
    }

    fn set_sample_rate(&mut self, rate: u8) {
        self.sample_rate = rate;
        self.rates = [self.rates[1], self.rates[2], rate];
        match self.rates {
            WHEEL_KNOCK if self.model == Model::Standard => self.model = Model::Wheel,
            EXPLORER_KNOCK => self.model = Model::Explorer,
            _ => {}
        }
    }

    fn set_defaults(&mut self) {
        *self = Mouse { buttons: self.buttons, model: self.model, ..Mouse::default() };
    }

    /// First byte of the answer to the status request.
    fn status(&self) -> u8 {
        let flag = |bit: u8, set: bool| u8::from(set) << bit;
        // The buttons are in another order than in a packet.
        let [left, right, middle] = [0, 1, 2].map(|bit| self.buttons >> bit & 1);
        flag(6, self.remote)
            | flag(5, self.reporting)
            | flag(4, self.double_scaling)
            | left << 2
            | middle << 1
            | right
    }

    /// Puts a packet in the output buffer if something has changed and there is room.
    fn report(&mut self) {
        let changed = !self.counters.is_zero() || self.buttons != self.reported_buttons;
        let streams = self.reporting && !self.remote && !self.wrap;
        if changed && streams && self.output.len() + self.model.packet_size() <= BUFFER_SIZE {
            let packet = self.packet(self.double_scaling);
            self.output.extend(&packet);
            self.last = packet;
        }
    }

    /// A packet with the movement since the last one.
    fn packet(&mut self, scaled: bool) -> Vec<u8> {
        self.reported_buttons = self.buttons;
        std::mem::take(&mut self.counters).packet(self.model, self.buttons, scaled)
    }

    fn answer(&mut self, bytes: &[u8]) {
        self.output.extend(bytes);
        self.last = bytes.to_vec();
    }

    /// Whether this is a state a mouse can be in; if not, what is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.output.len() > BUFFER_SIZE {
            return Err(format!("{} bytes wait in a mouse's buffer of {BUFFER_SIZE}", self.output.len()));
        }
        if self.last.len() > LONGEST_ANSWER {
            return Err(format!(
                "the mouse's last answer has {} bytes, at most {LONGEST_ANSWER}",
                self.last.len()
            ));
        }
        if self.resolution > HIGHEST_RESOLUTION {
            return Err(format!("the mouse's resolution is {}, at most 3 exists", self.resolution));
        }
        let known = |rate: &u8| SAMPLE_RATES.contains(rate);
        if !known(&self.sample_rate) || !self.rates.iter().all(|rate| *rate == 0 || known(rate)) {
            return Err("the mouse has a sample rate that does not exist".to_owned());
        }
        if (self.buttons | self.reported_buttons) & !BUTTONS != 0 {
            return Err("a mouse button that does not exist is down".to_owned());
        }
        self.counters.check()
    }
}

#[cfg(test)]
#[path = "mouse_test.rs"]
mod tests;
