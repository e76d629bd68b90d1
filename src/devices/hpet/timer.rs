//! One timer of the HPET: its comparator, and what the main counter does to it.

use serde::{Deserialize, Serialize};

/// Level-triggered.
const LEVEL: u64 = 1 << 1;
const INTERRUPT_ENABLED: u64 = 1 << 2;
const PERIODIC: u64 = 1 << 3;
const PERIODIC_CAPABLE: u64 = 1 << 4;
const SIZE_64_CAPABLE: u64 = 1 << 5;
/// The next write of the comparator also sets the accumulator.
const VALUE_SET: u64 = 1 << 6;
const MODE_32: u64 = 1 << 8;
const ROUTE_SHIFT: u32 = 9;
const ROUTE: u64 = 0x1F << ROUTE_SHIFT;
/// The bits that read as they were written.
const STORED: u64 = LEVEL | INTERRUPT_ENABLED | PERIODIC | MODE_32 | ROUTE;

/// The halves of a 64-bit register.
pub(super) const LOW_HALF: u64 = 0xFFFF_FFFF;
pub(super) const HIGH_HALF: u64 = !LOW_HALF;

/// A timer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Timer {
    config: u64,
    /// The value of the main counter that raises the interrupt: in periodic mode the accumulator.
    comparator: u64,
    /// Periodic mode: what was last written to the comparator.
    period: u64,
    /// Which halves of the comparator the next writes also set in periodic mode.
    value_set: u64,
}

impl Default for Timer {
    fn default() -> Timer {
        Timer { config: 0, comparator: u64::MAX, period: 0, value_set: 0 }
    }
}

impl Timer {
    pub fn is_level_triggered(&self) -> bool {
        self.config & LEVEL != 0
    }

    pub fn is_enabled(&self) -> bool {
        self.config & INTERRUPT_ENABLED != 0
    }

    pub fn is_periodic(&self) -> bool {
        self.config & PERIODIC != 0
    }

    /// The bit of the I/O APIC pin to which the interrupt is routed.
    pub fn route(&self) -> u32 {
        1 << ((self.config & ROUTE) >> ROUTE_SHIFT)
    }

    pub fn comparator(&self) -> u64 {
        self.comparator
    }

    /// The configuration and capability register; `routes` has the pins to which interrupts can be routed.
    pub fn configuration(&self, routes: u32) -> u64 {
        let value_set = if self.value_set & LOW_HALF != 0 { VALUE_SET } else { 0 };
        u64::from(routes) << 32 | self.config | value_set | PERIODIC_CAPABLE | SIZE_64_CAPABLE
    }

    /// Writes the configuration register. A route that is not among `routes` changes nothing.
    pub fn configure(&mut self, value: u64, routes: u32) {
        let route = self.config & ROUTE;
        self.config = value & STORED;
        if routes & self.route() == 0 {
            self.config = self.config & !ROUTE | route;
        }
        let range = self.range();
        self.value_set = if value & VALUE_SET != 0 && self.is_periodic() { range } else { 0 };
        self.comparator &= range;
        self.period &= range;
    }

    /// Writes the bits `mask` of the comparator.
    pub fn write_comparator(&mut self, value: u64, mask: u64) {
        let mask = mask & self.range();
        let replace = |old: u64, mask: u64| old & !mask | value & mask;
        if !self.is_periodic() {
            self.comparator = replace(self.comparator, mask);
            self.value_set = 0;
            return;
        }
        // Each half is set once. Another write of the low half begins with the period.
        if mask & LOW_HALF != 0 && self.value_set & LOW_HALF == 0 {
            self.value_set = 0;
        }
        self.period = replace(self.period, mask);
        self.comparator = replace(self.comparator, mask & self.value_set);
        self.value_set &= !mask;
    }

    /// The highest value of the comparator.
    fn range(&self) -> u64 {
        if self.config & MODE_32 != 0 { LOW_HALF } else { u64::MAX }
    }

    /// Ticks until the main counter, which is at `counter`, reaches the comparator the next time.
    pub fn ticks_to_match(&self, counter: u64) -> u128 {
        match self.comparator.wrapping_sub(counter) & self.range() {
            0 => u128::from(self.range()) + 1,
            ticks => u128::from(ticks),
        }
    }

    /// The main counter goes `ticks` on from `counter`. True if it has reached the comparator.
    pub fn count(&mut self, counter: u64, ticks: u64) -> bool {
        let Some(rest) = u128::from(ticks).checked_sub(self.ticks_to_match(counter)) else { return false };
        if self.is_periodic() && self.period != 0 {
            // `rest` is less than `ticks`.
            let matches = rest as u64 / self.period + 1;
            self.comparator = self.comparator.wrapping_add(matches.wrapping_mul(self.period)) & self.range();
        }
        true
    }

    /// Checks that the timer can get into this state; `routes` as for [`Self::configuration`].
    pub fn check(&self, routes: u32) -> Result<(), &'static str> {
        if self.config & !STORED != 0 || self.config & ROUTE != 0 && self.route() & routes == 0 {
            return Err("a timer has an impossible configuration");
        }
        if (self.comparator | self.period | self.value_set) & !self.range() != 0 {
            return Err("a 32-bit timer has 64-bit values");
        }
        if !matches!(self.value_set, 0 | HIGH_HALF | LOW_HALF | u64::MAX) {
            return Err("a timer expects part of an accumulator");
        }
        Ok(())
    }
}
