//! The counting element of a counter: what its clock, its gate and new counts do to its count and its output.
//!
//! [`Counting::clock`] applies any number of clock pulses at once, in constant time.

use serde::{Deserialize, Serialize};

/// The bit of a control word that selects BCD.
const CONTROL_BCD: u8 = 0x01;

/// The six modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    TerminalCount,
    OneShot,
    RateGenerator,
    SquareWave,
    SoftwareStrobe,
    HardwareStrobe,
}

impl Mode {
    /// The mode that bits 3 to 1 of `control` select. Bit 3 is ignored in modes 2 and 3.
    pub fn of(control: u8) -> Mode {
        match control >> 1 & 7 {
            0 => Mode::TerminalCount,
            1 => Mode::OneShot,
            2 | 6 => Mode::RateGenerator,
            3 | 7 => Mode::SquareWave,
            4 => Mode::SoftwareStrobe,
            _ => Mode::HardwareStrobe,
        }
    }

    /// Number and name in the datasheet.
    pub fn name(self) -> &'static str {
        match self {
            Mode::TerminalCount => "mode 0 (interrupt on terminal count)",
            Mode::OneShot => "mode 1 (hardware retriggerable one-shot)",
            Mode::RateGenerator => "mode 2 (rate generator)",
            Mode::SquareWave => "mode 3 (square wave)",
            Mode::SoftwareStrobe => "mode 4 (software triggered strobe)",
            Mode::HardwareStrobe => "mode 5 (hardware triggered strobe)",
        }
    }

    /// Reloads its count by itself.
    pub fn is_periodic(self) -> bool {
        matches!(self, Mode::RateGenerator | Mode::SquareWave)
    }

    /// A rising gate starts the count, and a low gate does not stop it.
    fn is_triggered(self) -> bool {
        matches!(self, Mode::OneShot | Mode::HardwareStrobe)
    }

    fn is_strobe(self) -> bool {
        matches!(self, Mode::SoftwareStrobe | Mode::HardwareStrobe)
    }
}

/// A counting element with its gate and output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counting {
    /// Bits 3 to 0 of the last control word: mode and BCD.
    control: u8,
    gate: bool,
    out: bool,
    /// The count register, from 1 (from 2 in the periodic modes) to 65536 or 10000; `None` until a count is written.
    initial: Option<u32>,
    /// The count register has not been loaded since it or the control word was written.
    null_count: bool,
    /// The next clock pulse loads the count register.
    load: bool,
    /// The count has been loaded and was not disabled since.
    counting: bool,
    /// Terminal count has not been reached since the count was loaded. Not used in the periodic modes.
    armed: bool,
    /// Square wave: the count loaded last was odd.
    odd: bool,
    /// The count, up to 65536 or 10000.
    count: u32,
}

impl Counting {
    /// A counting element that was never programmed: it stands still, with its output high.
    pub fn new(gate: bool) -> Counting {
        Counting {
            control: 3 << 1,
            gate,
            out: true,
            initial: None,
            null_count: true,
            load: false,
            counting: false,
            armed: false,
            odd: false,
            count: 0,
        }
    }

    pub fn mode(&self) -> Mode {
        Mode::of(self.control)
    }

    /// Bits 3 to 0 of the last control word.
    pub fn control(&self) -> u8 {
        self.control
    }

    pub fn is_bcd(&self) -> bool {
        self.control & CONTROL_BCD != 0
    }

    pub fn out(&self) -> bool {
        self.out
    }

    pub fn gate(&self) -> bool {
        self.gate
    }

    pub fn null_count(&self) -> bool {
        self.null_count
    }

    /// The count register in clock pulses, if a count was written.
    pub fn initial(&self) -> Option<u32> {
        self.initial
    }

    fn modulus(&self) -> u32 {
        if self.is_bcd() { 10_000 } else { 0x1_0000 }
    }

    /// Clock pulses change the count, once it is loaded.
    fn is_enabled(&self) -> bool {
        self.gate || self.mode().is_triggered()
    }

    /// The count as it is read: binary or four BCD digits.
    pub fn read(&self) -> u16 {
        let count = self.count % self.modulus();
        if !self.is_bcd() {
            return count as u16;
        }
        let digit = |weight: u32| (count / weight % 10) as u16;
        digit(1000) << 12 | digit(100) << 8 | digit(10) << 4 | digit(1)
    }

    /// A control word with these bits 3 to 0 is written.
    pub fn program(&mut self, control: u8) {
        let out = Mode::of(control) != Mode::TerminalCount;
        *self = Counting { control, out, count: self.count, ..Counting::new(self.gate) };
    }

    /// The first of two bytes of a count is written.
    pub fn write_first_byte(&mut self) {
        if self.mode() == Mode::TerminalCount {
            self.out = false;
            self.counting = false;
            self.load = false;
            self.armed = false;
        }
    }

    /// A count is written, as binary number or as four BCD digits.
    pub fn write(&mut self, value: u16) {
        let written = if self.is_bcd() {
            (0..4).rev().fold(0, |count, digit| count * 10 + u32::from(value >> (4 * digit) & 0xF))
        } else {
            u32::from(value)
        };
        // 0 is the largest count; 1 is illegal in the periodic modes, and taken as 2.
        let initial = match written % self.modulus() {
            0 => self.modulus(),
            1 if self.mode().is_periodic() => 2,
            other => other,
        };
        let first = self.initial.is_none();
        self.initial = Some(initial);
        self.null_count = true;
        match self.mode() {
            Mode::TerminalCount => {
                self.write_first_byte();
                self.load = true;
            }
            Mode::SoftwareStrobe => self.load = true,
            Mode::RateGenerator | Mode::SquareWave => self.load |= first,
            Mode::OneShot | Mode::HardwareStrobe => {}
        }
    }

    /// The gate input is at `level`.
    pub fn set_gate(&mut self, level: bool) {
        let rises = level && !self.gate;
        self.gate = level;
        if self.mode().is_periodic() && !level {
            self.out = true;
        }
        if rises && (self.mode().is_periodic() || self.mode().is_triggered()) {
            self.load |= self.initial.is_some();
        }
    }

    /// Transfers the count register to the counting element.
    fn reload(&mut self) {
        let initial = self.initial.unwrap_or(2);
        self.null_count = false;
        self.odd = initial % 2 == 1;
        self.count = if self.mode() == Mode::SquareWave { initial & !1 } else { initial };
    }

    /// `pulses` clock pulses.
    pub fn clock(&mut self, mut pulses: u64) {
        if pulses == 0 {
            return;
        }
        if self.mode().is_strobe() {
            // The strobe lasts one pulse. A strobe that begins with one of the coming pulses is set below.
            self.out = true;
        }
        if self.load {
            self.load = false;
            self.counting = true;
            self.armed = true;
            self.reload();
            if self.mode() == Mode::OneShot {
                self.out = false;
            }
            pulses -= 1;
        }
        if pulses == 0 || !self.counting || !self.is_enabled() {
            return;
        }
        match self.mode() {
            Mode::RateGenerator => self.clock_rate_generator(pulses),
            Mode::SquareWave => self.clock_square_wave(pulses),
            _ => self.clock_once_through(pulses),
        }
    }

    /// The modes that pass terminal count once and count on from the highest count.
    fn clock_once_through(&mut self, pulses: u64) {
        let count = u64::from(self.count);
        if self.armed && count <= pulses {
            self.armed = false;
            self.out = !self.mode().is_strobe() || count < pulses;
        }
        let modulus = u64::from(self.modulus());
        self.count = ((count + modulus - pulses % modulus) % modulus) as u32;
    }

    /// The output is low while the count is 1; the count register is loaded next.
    fn clock_rate_generator(&mut self, mut pulses: u64) {
        if let Some(rest) = pulses.checked_sub(u64::from(self.count)) {
            self.reload();
            pulses = rest % u64::from(self.count);
        }
        self.count -= pulses as u32;
        self.out = self.count != 1;
    }

    /// The count goes down by two; the count register is loaded at the end of each half.
    fn clock_square_wave(&mut self, mut pulses: u64) {
        let Some(rest) = pulses.checked_sub(self.rest_of_half()) else {
            self.count -= 2 * pulses as u32;
            return;
        };
        self.out = !self.out;
        self.reload();
        pulses = rest % u64::from(self.count + u32::from(self.odd));
        let half = self.rest_of_half();
        if pulses >= half {
            self.out = !self.out;
            pulses -= half;
        }
        self.count -= 2 * pulses as u32;
    }

    /// Square wave: pulses until the output changes. An odd count makes the high half one pulse longer.
    fn rest_of_half(&self) -> u64 {
        u64::from(self.count / 2) + u64::from(self.odd && self.out)
    }

    /// Clock pulses until the output rises, if it will without a change of the gate or another count.
    pub fn pulses_to_rising_edge(&self) -> Option<u64> {
        if self.mode().is_strobe() && !self.out {
            return Some(1);
        }
        if !self.is_enabled() || !self.counting && !self.load {
            return None;
        }
        let initial = u64::from(self.initial?);
        let count = if self.load { initial + 1 } else { u64::from(self.count) };
        let armed = self.armed || self.load;
        match self.mode() {
            Mode::TerminalCount | Mode::OneShot => armed.then_some(count),
            Mode::SoftwareStrobe | Mode::HardwareStrobe => armed.then_some(count + 1),
            Mode::RateGenerator => Some(count),
            Mode::SquareWave if self.load => Some(count),
            Mode::SquareWave if self.out => Some(self.rest_of_half() + initial / 2),
            Mode::SquareWave => Some(self.rest_of_half()),
        }
    }

    /// True if the output changes periodically.
    pub fn is_periodic(&self) -> bool {
        self.mode().is_periodic() && self.gate && self.initial.is_some()
    }

    /// Checks that the counting element can get into this state.
    pub fn check(&self) -> Result<(), &'static str> {
        let modulus = self.modulus();
        let lowest = if self.mode().is_periodic() { 2 } else { 1 };
        if self.control > 0xF || self.count > 0x1_0000 {
            return Err("a counter has bits that do not exist");
        }
        if self.initial.is_some_and(|initial| initial < lowest || initial > modulus) {
            return Err("a counter has an impossible initial count");
        }
        if (self.load || self.counting) && self.initial.is_none() {
            return Err("a counter counts without an initial count");
        }
        if self.armed && (!self.counting || self.mode() == Mode::TerminalCount && self.out) {
            return Err("a counter waits for a terminal count that cannot come");
        }
        let counts = match self.mode() {
            _ if !self.counting => 0..=0x1_0000,
            Mode::RateGenerator => 1..=modulus,
            Mode::SquareWave if self.odd && self.out => 0..=modulus,
            Mode::SquareWave => 2..=modulus,
            _ if self.armed => 1..=modulus,
            _ => 0..=modulus - 1,
        };
        let square = self.counting && self.mode() == Mode::SquareWave;
        if !counts.contains(&self.count) || square && self.count % 2 == 1 {
            return Err("a counter has an impossible count");
        }
        Ok(())
    }
}
