//! One of the three counters: its access order and latches around the counting element.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::counting::Counting;

/// Access order in bits 5 and 4 of a control word.
const ACCESS: u8 = 0x30;
const ACCESS_LOW: u8 = 0x10;
const ACCESS_HIGH: u8 = 0x20;
const ACCESS_BOTH: u8 = 0x30;
/// Mode and BCD in a control word.
const MODE: u8 = 0x0F;

const STATUS_OUT: u8 = 0x80;
const STATUS_NULL_COUNT: u8 = 0x40;

/// One counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counter {
    pub counting: Counting,
    /// Bits 5 and 4 of the last control word.
    access: u8,
    /// The first of two bytes of a count, while the second is expected.
    low_byte: Option<u8>,
    /// The next byte read is the second of two.
    high_byte_next: bool,
    latched_count: Option<u16>,
    latched_status: Option<u8>,
}

impl Counter {
    pub fn new(gate: bool) -> Counter {
        Counter {
            counting: Counting::new(gate),
            access: ACCESS_BOTH,
            low_byte: None,
            high_byte_next: false,
            latched_count: None,
            latched_status: None,
        }
    }

    /// A control word that programs this counter is written; bits 7 and 6 are ignored.
    pub fn program(&mut self, control: u8) {
        self.counting.program(control & MODE);
        self.access = control & ACCESS;
        self.low_byte = None;
        self.high_byte_next = false;
        self.latched_count = None;
        self.latched_status = None;
    }

    /// Latches the count, unless one is latched.
    pub fn latch_count(&mut self) {
        if self.latched_count.is_none() {
            self.latched_count = Some(self.counting.read());
            self.high_byte_next = false;
        }
    }

    /// Latches the status, unless one is latched.
    pub fn latch_status(&mut self) {
        let out = if self.counting.out() { STATUS_OUT } else { 0 };
        let null_count = if self.counting.null_count() { STATUS_NULL_COUNT } else { 0 };
        self.latched_status.get_or_insert(out | null_count | self.access | self.counting.control());
    }

    #[cfg(test)]
    pub fn has_latched_count(&self) -> bool {
        self.latched_count.is_some()
    }

    #[cfg(test)]
    pub fn has_latched_status(&self) -> bool {
        self.latched_status.is_some()
    }

    /// The counter's port is read.
    pub fn read(&mut self) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let [low, high] = self.latched_count.unwrap_or_else(|| self.counting.read()).to_le_bytes();
        let both = self.access == ACCESS_BOTH;
        let first = both && !self.high_byte_next;
        self.high_byte_next = first;
        if !first {
            self.latched_count = None;
        }
        if first || self.access == ACCESS_LOW { low } else { high }
    }

    /// The counter's port is written.
    pub fn write(&mut self, value: u8) {
        match self.access {
            ACCESS_LOW => self.counting.write(u16::from(value)),
            ACCESS_HIGH => self.counting.write(u16::from(value) << 8),
            _ => match self.low_byte.take() {
                Some(low) => self.counting.write(u16::from_le_bytes([low, value])),
                None => {
                    self.low_byte = Some(value);
                    self.counting.write_first_byte();
                }
            },
        }
    }

    /// Checks that the counter can get into this state.
    pub fn check(&self) -> Result<(), &'static str> {
        self.counting.check()?;
        if !matches!(self.access, ACCESS_LOW | ACCESS_HIGH | ACCESS_BOTH) {
            return Err("a counter has an impossible access order");
        }
        let both = self.access == ACCESS_BOTH;
        if !both && (self.low_byte.is_some() || self.high_byte_next) {
            return Err("a counter expects the second byte of one");
        }
        Ok(())
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counting = &self.counting;
        let Some(initial) = counting.initial() else {
            return f.write_str("stopped: no count was written");
        };
        write!(f, "{}, initial count {initial}, count {:#06x}", counting.mode().name(), counting.read())?;
        if counting.is_bcd() {
            f.write_str(" (BCD)")?;
        }
        if counting.is_periodic() {
            write!(f, ", {:.3} Hz", super::FREQUENCY as f64 / f64::from(initial))?;
        }
        let level = |high: bool| if high { "high" } else { "low" };
        write!(f, ", gate {}, output {}", level(counting.gate()), level(counting.out()))
    }
}
