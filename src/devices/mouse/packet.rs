//! The counters of a mouse, and the packets in which it reports them.

use serde::{Deserialize, Serialize};

/// The left button, as in packets.
pub const LEFT_BUTTON: u8 = 1 << 0;
/// The right button.
pub const RIGHT_BUTTON: u8 = 1 << 1;
/// All buttons: left, right, middle, and the fourth and fifth, which only the Explorer has.
pub const BUTTONS: u8 = 0x1F;
/// The buttons of a mouse with three.
const THREE_BUTTONS: u8 = 0x07;

/// Largest and smallest value of a movement counter: nine bits.
const MOST: i16 = 255;
const LEAST: i16 = -256;
/// Largest movement of the wheel that a packet of the IntelliMouse carries, and of the Explorer: eight and four bits.
const MOST_WHEEL: i16 = 127;
const MOST_EXPLORER_WHEEL: i16 = 7;

/// A movement of the mouse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Movement {
    /// Counts to the right.
    pub right: i16,
    /// Counts away from the user.
    pub up: i16,
    /// Notches of the wheel towards the user.
    pub wheel: i16,
}

/// What the mouse pretends to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Model {
    /// Three buttons.
    Standard,
    /// IntelliMouse: with a wheel.
    Wheel,
    /// IntelliMouse Explorer: with a wheel and five buttons.
    Explorer,
}

impl Model {
    /// The device identity it answers.
    pub fn identity(self) -> u8 {
        match self {
            Model::Standard => 0x00,
            Model::Wheel => 0x03,
            Model::Explorer => 0x04,
        }
    }

    /// Bytes of a packet.
    pub(super) fn packet_size(self) -> usize {
        if self == Model::Standard { 3 } else { 4 }
    }
}

/// Movement that was not reported yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counters {
    x: i16,
    y: i16,
    wheel: i16,
    /// The movement did not fit a counter.
    x_overflow: bool,
    y_overflow: bool,
}

impl Counters {
    /// Adds `movement`. What does not fit is lost.
    pub(super) fn add(&mut self, movement: Movement) {
        let add = |counter: &mut i16, overflow: &mut bool, counts: i16| {
            let sum = counter.saturating_add(counts);
            *counter = sum.clamp(LEAST, MOST);
            *overflow |= *counter != sum;
        };
        add(&mut self.x, &mut self.x_overflow, movement.right);
        add(&mut self.y, &mut self.y_overflow, movement.up);
        self.wheel = self.wheel.saturating_add(movement.wheel).clamp(-MOST_WHEEL, MOST_WHEEL);
    }

    /// True if there is nothing to report.
    pub(super) fn is_zero(&self) -> bool {
        *self == Counters::default()
    }

    /// The packet that reports them.
    pub(super) fn packet(self, model: Model, buttons: u8, scaled: bool) -> Vec<u8> {
        let scale = |counts: i16| if scaled { double(counts) } else { counts };
        let (x, y) = (scale(self.x), scale(self.y));
        let (x_overflow, y_overflow) = (self.x_overflow || !fits(x), self.y_overflow || !fits(y));
        let (x, y) = (x.clamp(LEAST, MOST), y.clamp(LEAST, MOST));
        let first = u8::from(y_overflow) << 7
            | u8::from(x_overflow) << 6
            | u8::from(y < 0) << 5
            | u8::from(x < 0) << 4
            | 1 << 3
            | buttons & THREE_BUTTONS;
        let mut packet = vec![first, x as u8, y as u8];
        match model {
            Model::Standard => {}
            Model::Wheel => packet.push(self.wheel as u8),
            Model::Explorer => {
                let wheel = self.wheel.clamp(-MOST_EXPLORER_WHEEL, MOST_EXPLORER_WHEEL);
                packet.push(wheel as u8 & 0x0F | (buttons & !THREE_BUTTONS & BUTTONS) << 1);
            }
        }
        packet
    }

    /// Counters that overflow nine bits.
    #[cfg(test)]
    pub(super) fn impossible() -> Counters {
        Counters { x: MOST + 1, ..Counters::default() }
    }

    /// Whether these are values that counters can have; if not, what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        if !fits(self.x) || !fits(self.y) || self.wheel.abs() > MOST_WHEEL {
            let Counters { x, y, wheel, .. } = self;
            return Err(format!("the mouse's counters are {x}, {y} and {wheel}, which do not fit nine bits"));
        }
        Ok(())
    }
}

fn fits(counts: i16) -> bool {
    (LEAST..=MOST).contains(&counts)
}

/// A movement with scaling 2:1, after the table of the Technical Reference.
fn double(counts: i16) -> i16 {
    let size = match counts.abs() {
        0 => 0,
        1 | 2 => 1,
        3 => 3,
        4 => 6,
        5 => 9,
        more => 2 * more,
    };
    size * counts.signum()
}
