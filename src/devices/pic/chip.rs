//! One 8259A: requests, priorities, initialisation and commands. [`super::DualPic`] connects two of them.

use serde::{Deserialize, Serialize};

/// ICW1, as opposed to OCW2 and OCW3.
const ICW1: u8 = 1 << 4;
/// OCW3, as opposed to OCW2.
const OCW3: u8 = 1 << 3;

mod icw1 {
    pub const ICW4_FOLLOWS: u8 = 1 << 0;
    pub const SINGLE: u8 = 1 << 1;
    pub const LEVEL_TRIGGERED: u8 = 1 << 3;
}

mod icw4 {
    pub const AUTOMATIC_EOI: u8 = 1 << 1;
    pub const SPECIAL_FULLY_NESTED: u8 = 1 << 4;
}

mod ocw3 {
    pub const READ_IN_SERVICE: u8 = 1 << 0;
    pub const READ_REGISTER: u8 = 1 << 1;
    pub const POLL: u8 = 1 << 2;
    pub const SPECIAL_MASK: u8 = 1 << 5;
    pub const SET_SPECIAL_MASK: u8 = 1 << 6;
}

/// Poll: an input requests service; bits 2 to 0 have its number.
const POLL_REQUEST: u8 = 1 << 7;

/// The input of the first controller to which the second one is connected.
pub(super) const CASCADE: u8 = 2;

/// What the next write to the odd port is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Initialization {
    /// OCW1, but the controller has not been initialised since power-on.
    #[default]
    Never,
    AwaitsIcw2,
    AwaitsIcw3,
    AwaitsIcw4,
    /// OCW1.
    Done,
}

/// One 8259A. Bit n of a byte-wide set stands for input n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct I8259A {
    /// Levels of the inputs.
    pub(super) levels: u8,
    /// Latched requests of edge-triggered inputs.
    pub(super) edges: u8,
    pub(super) in_service: u8,
    pub(super) mask: u8,
    /// Edge/level control register: level-triggered inputs.
    pub(super) elcr: u8,
    pub(super) vector_base: u8,
    /// The input with the highest priority.
    pub(super) highest: u8,
    pub(super) initialization: Initialization,
    single: bool,
    icw4_follows: bool,
    level_triggered: bool,
    automatic_eoi: bool,
    rotates_on_automatic_eoi: bool,
    pub(super) special_fully_nested: bool,
    pub(super) special_mask: bool,
    reads_in_service: bool,
    poll: bool,
}

impl I8259A {
    pub(super) fn level_inputs(&self) -> u8 {
        if self.level_triggered { 0xFF } else { self.elcr }
    }

    /// Interrupt request register.
    pub(super) fn requests(&self) -> u8 {
        self.edges | self.levels & self.level_inputs()
    }

    /// True once the controller knows its vectors.
    pub(super) fn has_vectors(&self) -> bool {
        !matches!(self.initialization, Initialization::Never | Initialization::AwaitsIcw2)
    }

    /// True between ICW1 and ICW2.
    pub(super) fn is_starting(&self) -> bool {
        self.initialization == Initialization::AwaitsIcw2
    }

    pub(super) fn set_level(&mut self, input: u8, level: bool) {
        let bit = 1 << input;
        if level {
            self.edges |= bit & !self.levels & !self.level_inputs();
            self.levels |= bit;
        } else {
            self.levels &= !bit;
        }
    }

    pub(super) fn set_elcr(&mut self, elcr: u8) {
        self.elcr = elcr;
        self.edges &= !self.level_inputs();
    }

    /// The member of `inputs` with the highest priority.
    fn first(&self, inputs: u8) -> Option<u8> {
        let rotated = inputs.rotate_right(u32::from(self.highest));
        (rotated != 0).then(|| (rotated.trailing_zeros() as u8 + self.highest) & 7)
    }

    /// Place of `input` in the order of priorities; 0 is the highest.
    fn rank(&self, input: u8) -> u8 {
        input.wrapping_sub(self.highest) & 7
    }

    /// The inputs in service that keep lower priorities from being served.
    pub(super) fn blocking(&self) -> u8 {
        if self.special_mask { self.in_service & !self.mask } else { self.in_service }
    }

    /// True if a request of `input` would be served, given the inputs in service.
    pub(super) fn admits(&self, input: u8) -> bool {
        self.first(self.blocking()).is_none_or(|served| {
            self.rank(input) < self.rank(served)
                || self.special_fully_nested && input == CASCADE && served == CASCADE
        })
    }

    /// The input to be served next.
    pub(super) fn pending(&self) -> Option<u8> {
        if !self.has_vectors() {
            return None;
        }
        self.first(self.requests() & !self.mask).filter(|input| self.admits(*input))
    }

    /// The processor or a poll takes the request of `input`.
    pub(super) fn acknowledge(&mut self, input: u8) {
        self.edges &= !(1 << input);
        if !self.automatic_eoi {
            self.in_service |= 1 << input;
        } else if self.rotates_on_automatic_eoi {
            self.make_lowest(input);
        }
    }

    /// Takes back a latched request of `input`, and its level.
    pub(super) fn withdraw(&mut self, input: u8) {
        self.edges &= !(1 << input);
        self.levels &= !(1 << input);
    }

    fn make_lowest(&mut self, input: u8) {
        self.highest = (input + 1) & 7;
    }

    /// Takes a poll command that waits for the next read: the answer, and the input it has acknowledged.
    pub(super) fn poll(&mut self) -> Option<(u8, Option<u8>)> {
        if !std::mem::take(&mut self.poll) {
            return None;
        }
        let Some(input) = self.pending() else { return Some((0, None)) };
        self.acknowledge(input);
        Some((POLL_REQUEST | input, Some(input)))
    }

    /// Reads the even port, when no poll waits.
    pub(super) fn read_command(&self) -> u8 {
        if self.reads_in_service { self.in_service } else { self.requests() }
    }

    /// Writes the even port.
    pub(super) fn write_command(&mut self, value: u8) {
        if value & ICW1 != 0 {
            self.start_initialization(value);
        } else if value & OCW3 != 0 {
            self.write_ocw3(value);
        } else {
            self.write_ocw2(value);
        }
    }

    /// Writes the odd port.
    pub(super) fn write_data(&mut self, value: u8) {
        self.initialization = match self.initialization {
            Initialization::Never | Initialization::Done => {
                self.mask = value;
                return;
            }
            Initialization::AwaitsIcw2 => {
                self.vector_base = value & 0xF8;
                if !self.single { Initialization::AwaitsIcw3 } else { self.after_icw3() }
            }
            Initialization::AwaitsIcw3 => self.after_icw3(),
            Initialization::AwaitsIcw4 => {
                self.automatic_eoi = value & icw4::AUTOMATIC_EOI != 0;
                self.special_fully_nested = value & icw4::SPECIAL_FULLY_NESTED != 0;
                Initialization::Done
            }
        };
    }

    fn after_icw3(&self) -> Initialization {
        if self.icw4_follows { Initialization::AwaitsIcw4 } else { Initialization::Done }
    }

    /// Edge detection starts anew: an input that is high has to fall before it can request.
    fn start_initialization(&mut self, value: u8) {
        *self = I8259A {
            levels: self.levels,
            elcr: self.elcr,
            initialization: Initialization::AwaitsIcw2,
            single: value & icw1::SINGLE != 0,
            icw4_follows: value & icw1::ICW4_FOLLOWS != 0,
            level_triggered: value & icw1::LEVEL_TRIGGERED != 0,
            ..I8259A::default()
        };
    }

    /// End of interrupt and rotation. Bits 7 to 5 are the command, bits 2 to 0 the level of a specific one.
    fn write_ocw2(&mut self, value: u8) {
        let input = value & 7;
        match value >> 5 {
            0b000 => self.rotates_on_automatic_eoi = false,
            0b100 => self.rotates_on_automatic_eoi = true,
            // A non-specific end of interrupt does not reach inputs that are masked in special mask mode.
            command @ (0b001 | 0b101) => {
                if let Some(served) = self.first(self.blocking()) {
                    self.in_service &= !(1 << served);
                    if command == 0b101 {
                        self.make_lowest(served);
                    }
                }
            }
            0b011 => self.in_service &= !(1 << input),
            0b110 => self.make_lowest(input),
            0b111 => {
                self.in_service &= !(1 << input);
                self.make_lowest(input);
            }
            _ => {}
        }
    }

    fn write_ocw3(&mut self, value: u8) {
        if value & ocw3::POLL != 0 {
            self.poll = true;
        }
        if value & ocw3::READ_REGISTER != 0 {
            self.reads_in_service = value & ocw3::READ_IN_SERVICE != 0;
        }
        if value & ocw3::SET_SPECIAL_MASK != 0 {
            self.special_mask = value & ocw3::SPECIAL_MASK != 0;
        }
    }

    /// What is wrong with a saved state, if it is one that cannot be reached.
    pub(super) fn fault(&self, settable_elcr: u8) -> Option<&'static str> {
        if self.vector_base & 7 != 0 {
            return Some("the vector base is no multiple of 8");
        }
        if self.highest > 7 {
            return Some("an input above 7 has the highest priority");
        }
        if self.elcr & !settable_elcr != 0 {
            return Some("an input is level-triggered that cannot be");
        }
        if self.edges & self.level_inputs() != 0 {
            return Some("a level-triggered input has a latched edge");
        }
        let sequence = match self.initialization {
            Initialization::AwaitsIcw3 => !self.single,
            Initialization::AwaitsIcw4 => self.icw4_follows,
            _ => true,
        };
        (!sequence).then_some("an initialisation command word is awaited that ICW1 has not announced")
    }
}
