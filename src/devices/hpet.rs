//! The high precision event timer (HPET) at 0xFED00000.
//!
//! IA-PC HPET specification 1.0a: three timers, one-shot or periodic, 32 or 64 bits, level- or edge-triggered,
//! and a main counter of 100 MHz. Interrupts go to I/O APIC pins or replace those of the PIT and the RTC; not to
//! the front-side bus. Registers are accessed with 4 or 8 bytes at a multiple of that.
//!
//! As in hardware, a comparator that is behind the main counter matches only when the counter has wrapped.
//!
//! The board reads the outputs after each access and each [`Device::advance`]: [`Hpet::lines`] and [`Hpet::legacy`]
//! are levels, [`Hpet::take_pulses`] has the edges since it was called last. However long the clock has stood, a
//! timer delivers at most one pulse; the phase is kept.

mod timer;

use serde::{Deserialize, Serialize};

use timer::{HIGH_HALF, LOW_HALF, Timer};

use super::{Action, Device, MachineTime, Snapshot, StateError};

/// Guest-physical address of the registers.
pub const BASE: u64 = 0xFED0_0000;
/// Length of the registers in bytes.
pub const LENGTH: u64 = 0x400;
/// Duration of a tick of the main counter in femtoseconds.
pub const PERIOD_FEMTOSECONDS: u32 = 10_000_000;
/// In [`Hpet::take_pulses`]: ISA interrupt 0, in place of the PIT's.
pub const LEGACY_IRQ_0: u32 = 1 << 24;
/// In [`Hpet::take_pulses`]: ISA interrupt 8, in place of the RTC's.
pub const LEGACY_IRQ_8: u32 = 1 << 25;

/// The low half of the capabilities, which identifies the timer block: vendor 0x8086, legacy replacement, 64-bit main
/// counter, three timers, revision 1.
pub const IDENTIFICATION: u32 = 0x8086_A201;

const CAPABILITIES: u64 = 0x000;
const CONFIGURATION: u64 = 0x010;
const INTERRUPT_STATUS: u64 = 0x020;
const MAIN_COUNTER: u64 = 0x0F0;
const FIRST_TIMER: u64 = 0x100;
const TIMER_LENGTH: u64 = 0x20;
const TIMER_CONFIGURATION: u64 = 0x00;
const TIMER_COMPARATOR: u64 = 0x08;

/// The main counter runs and interrupts are delivered.
const ENABLE: u64 = 1 << 0;
/// Timers 0 and 1 replace the interrupts of the PIT and the RTC.
const LEGACY_REPLACEMENT: u64 = 1 << 1;
/// Status bits of the three timers.
const STATUS: u64 = 0x7;

/// The I/O APIC pins to which timers can be routed: 2, 8 and 16 to 23.
const ROUTES: u32 = 0x00FF_0104;

const TICK_NANOS: u64 = PERIOD_FEMTOSECONDS as u64 / 1_000_000;

/// The event timer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hpet {
    configuration: u64,
    /// Level-triggered timers that have matched, one bit each.
    status: u64,
    /// The main counter at `now`.
    counter: u64,
    timers: [Timer; 3],
    pulses: u32,
    now: MachineTime,
}

impl Hpet {
    /// Levels of the I/O APIC's pins 0 to 23 as this device drives them, without legacy replacement.
    pub fn lines(&self) -> u32 {
        self.levels() & ROUTES
    }

    /// Levels of ISA interrupts 0 and 8 while this device replaces those of the PIT and the RTC; `None` while it
    /// does not.
    pub fn legacy(&self) -> Option<(bool, bool)> {
        let levels = self.levels();
        let bit = |bit: u32| levels & bit != 0;
        self.replaces_legacy().then(|| (bit(LEGACY_IRQ_0), bit(LEGACY_IRQ_8)))
    }

    /// Edge-triggered interrupts since the last call: I/O APIC pins 0 to 23, [`LEGACY_IRQ_0`] and [`LEGACY_IRQ_8`].
    /// Each is one pulse.
    pub fn take_pulses(&mut self) -> u32 {
        std::mem::take(&mut self.pulses)
    }

    /// True if a timer may interrupt, as it is programmed.
    pub fn can_interrupt(&self) -> bool {
        self.is_running() && self.timers.iter().any(Timer::is_enabled)
    }

    /// One line for the main counter and one for each timer, without line ends.
    pub fn describe(&self) -> [String; 4] {
        let timer = |number: usize| {
            let timer = &self.timers[number];
            let kind = if timer.is_periodic() { "periodic" } else { "one-shot" };
            let trigger = if timer.is_level_triggered() { "level" } else { "edge" };
            let enabled = if timer.is_enabled() { "interrupt enabled" } else { "interrupt disabled" };
            format!("timer {number}: {kind}, {trigger}, comparator {:#x}, {enabled}", timer.comparator())
        };
        let state = if self.is_running() { "running" } else { "stopped" };
        let legacy = if self.replaces_legacy() { ", in place of PIT and RTC" } else { "" };
        [format!("counter {:#x}, {state}{legacy}", self.counter), timer(0), timer(1), timer(2)]
    }

    fn is_running(&self) -> bool {
        self.configuration & ENABLE != 0
    }

    fn replaces_legacy(&self) -> bool {
        self.configuration & LEGACY_REPLACEMENT != 0
    }

    /// The output of timer `number`.
    fn output(&self, number: usize) -> u32 {
        match number {
            0 if self.replaces_legacy() => LEGACY_IRQ_0,
            1 if self.replaces_legacy() => LEGACY_IRQ_8,
            _ => self.timers[number].route() & ROUTES,
        }
    }

    /// Levels of all outputs.
    fn levels(&self) -> u32 {
        if !self.is_running() {
            return 0;
        }
        let high = |number: &usize| {
            let timer = &self.timers[*number];
            timer.is_enabled() && timer.is_level_triggered() && self.status >> number & 1 == 1
        };
        (0..3).filter(high).fold(0, |levels, number| levels | self.output(number))
    }

    /// The timer at `offset`, and the offset of the register within it.
    fn timer_at(offset: u64) -> Option<(usize, u64)> {
        let offset = offset.checked_sub(FIRST_TIMER)?;
        let number = usize::try_from(offset / TIMER_LENGTH).ok()?;
        (number < 3).then_some((number, offset % TIMER_LENGTH))
    }

    /// Reads the 64-bit register at `offset`; what is no register reads as 0.
    fn register(&self, offset: u64) -> u64 {
        match offset {
            CAPABILITIES => u64::from(PERIOD_FEMTOSECONDS) << 32 | u64::from(IDENTIFICATION),
            CONFIGURATION => self.configuration,
            INTERRUPT_STATUS => self.status,
            MAIN_COUNTER => self.counter,
            _ => match Self::timer_at(offset) {
                Some((number, TIMER_CONFIGURATION)) => self.timers[number].configuration(ROUTES),
                Some((number, TIMER_COMPARATOR)) => self.timers[number].comparator(),
                _ => 0,
            },
        }
    }

    /// Writes the bits `mask` of the 64-bit register at `offset`.
    fn set_register(&mut self, offset: u64, value: u64, mask: u64) {
        let replace = |old: u64| old & !mask | value & mask;
        match offset {
            CONFIGURATION => self.configuration = replace(self.configuration) & (ENABLE | LEGACY_REPLACEMENT),
            INTERRUPT_STATUS => self.status &= !(value & mask),
            MAIN_COUNTER => self.counter = replace(self.counter),
            _ => match Self::timer_at(offset) {
                Some((number, TIMER_CONFIGURATION)) => {
                    let timer = &mut self.timers[number];
                    timer.configure(replace(timer.configuration(ROUTES)), ROUTES);
                }
                Some((number, TIMER_COMPARATOR)) => self.timers[number].write_comparator(value, mask),
                _ => {}
            },
        }
    }
}

/// Offset of the 64-bit register that an access covers, its bits, and their position in it.
fn decode(offset: u64, size: u8) -> Option<(u64, u64, u32)> {
    let aligned = offset.is_multiple_of(u64::from(size.max(1)));
    match (size, offset & 4) {
        (8, 0) if aligned => Some((offset, u64::MAX, 0)),
        (4, 0) if aligned => Some((offset, LOW_HALF, 0)),
        (4, _) if aligned => Some((offset - 4, HIGH_HALF, 32)),
        _ => None,
    }
}

impl Device for Hpet {
    fn explain(&self) -> Vec<String> {
        self.describe().into()
    }

    fn mmio_read(&mut self, offset: u64, size: u8) -> Option<(u64, Action)> {
        let (offset, mask, shift) = decode(offset, size)?;
        Some(((self.register(offset) & mask) >> shift, Action::NONE))
    }

    fn mmio_write(&mut self, offset: u64, size: u8, value: u64) -> Option<Action> {
        let (offset, mask, shift) = decode(offset, size)?;
        let before = self.next_deadline();
        self.set_register(offset, value << shift, mask);
        Some(Action { deadline: self.next_deadline() != before, ..Action::NONE })
    }

    /// The next match of a timer that changes an output.
    fn next_deadline(&self) -> Option<MachineTime> {
        if !self.is_running() {
            return None;
        }
        let matters = |number: &usize| {
            let timer = &self.timers[*number];
            let is_high = timer.is_level_triggered() && self.status >> number & 1 == 1;
            timer.is_enabled() && self.output(*number) != 0 && !is_high
        };
        let ticks =
            (0..3).filter(matters).map(|number| self.timers[number].ticks_to_match(self.counter)).min()?;
        let tick = u128::from(self.now.as_nanos() / TICK_NANOS) + ticks;
        u64::try_from(tick * u128::from(TICK_NANOS)).ok().map(MachineTime::from_nanos)
    }

    fn advance(&mut self, now: MachineTime) -> Action {
        let ticks = (now.as_nanos() / TICK_NANOS).saturating_sub(self.now.as_nanos() / TICK_NANOS);
        self.now = self.now.max(now);
        if !self.is_running() || ticks == 0 {
            return Action::NONE;
        }
        let mut matched = false;
        for number in 0..3 {
            if !self.timers[number].count(self.counter, ticks) {
                continue;
            }
            matched = true;
            if self.timers[number].is_level_triggered() {
                self.status |= 1 << number;
            } else if self.timers[number].is_enabled() {
                self.pulses |= self.output(number);
            }
        }
        self.counter = self.counter.wrapping_add(ticks);
        Action { deadline: matched, ..Action::NONE }
    }
}

impl Snapshot for Hpet {
    const KIND: &'static str = "hpet";
    const VERSION: u16 = 1;
    type State = Hpet;

    fn state(&self) -> Hpet {
        self.clone()
    }

    fn set_state(&mut self, state: Hpet) -> Result<(), StateError> {
        let damaged = |reason: &str| StateError::Damaged { kind: Self::KIND, reason: reason.to_owned() };
        state.timers.iter().try_for_each(|timer| timer.check(ROUTES)).map_err(damaged)?;
        let outputs = ROUTES | LEGACY_IRQ_0 | LEGACY_IRQ_8;
        let impossible = state.configuration & !(ENABLE | LEGACY_REPLACEMENT) | state.status & !STATUS;
        if impossible != 0 || state.pulses & !outputs != 0 {
            return Err(damaged("a register has bits that do not exist"));
        }
        *self = state;
        Ok(())
    }
}

#[cfg(test)]
#[path = "hpet_test.rs"]
mod tests;
