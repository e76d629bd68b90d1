//! The timer of a local APIC: one-shot, periodic and TSC-deadline mode.
//!
//! Manual: Intel SDM volume 3A, "APIC Timer". The bus clock runs at 1 GHz, as in QEMU: before the divider, one
//! tick is one nanosecond of machine time. Ticks that were missed are not made up for: a period that has passed
//! several times counts as one.

use serde::{Deserialize, Serialize};

use crate::devices::MachineTime;

/// Divide configuration register: bits that exist.
pub(super) const DIVIDE_BITS: u32 = 0b1011;

/// Ratio of the time-stamp counter before the machine has set it: one count each nanosecond.
const DEFAULT_KHZ: u32 = 1_000_000;
/// Nanoseconds of a count at 1 kHz.
const NANOS_PER_KHZ: u128 = 1_000_000;

/// How the timer counts (LVT timer register, bits 18 and 17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimerMode {
    OneShot,
    Periodic,
    TscDeadline,
    Reserved,
}

impl TimerMode {
    pub(super) fn of_lvt(entry: u32) -> TimerMode {
        match entry >> 17 & 3 {
            0 => TimerMode::OneShot,
            1 => TimerMode::Periodic,
            2 => TimerMode::TscDeadline,
            _ => TimerMode::Reserved,
        }
    }

    fn counts(self) -> bool {
        matches!(self, TimerMode::OneShot | TimerMode::Periodic)
    }
}

/// The time-stamp counter in terms of machine time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TscRatio {
    khz: u32,
    /// Value of the counter at machine time 0.
    offset: u64,
}

impl TscRatio {
    /// The first time at which the counter has reached `value`.
    fn time_of(self, value: u64) -> u64 {
        let counts = u128::from(value.saturating_sub(self.offset));
        u64::try_from((counts * NANOS_PER_KHZ).div_ceil(u128::from(self.khz))).unwrap_or(u64::MAX)
    }
}

/// The timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ApicTimer {
    initial: u32,
    divide: u32,
    /// When the count reaches 0, in nanoseconds.
    expires: Option<u64>,
    /// IA32_TSC_DEADLINE; 0 if not armed.
    tsc_deadline: u64,
    tsc: TscRatio,
    now: u64,
}

impl Default for ApicTimer {
    fn default() -> ApicTimer {
        ApicTimer {
            initial: 0,
            divide: 0,
            expires: None,
            tsc_deadline: 0,
            tsc: TscRatio { khz: DEFAULT_KHZ, offset: 0 },
            now: 0,
        }
    }
}

impl ApicTimer {
    /// The state after reset, with machine time and the ratio of the time-stamp counter as they are.
    pub(super) fn reset(&mut self) {
        *self = ApicTimer { now: self.now, tsc: self.tsc, ..ApicTimer::default() };
    }

    /// Takes machine time and the ratio of the time-stamp counter from another timer.
    pub(super) fn join(&mut self, other: &ApicTimer) {
        (self.now, self.tsc) = (other.now, other.tsc);
    }

    /// A stopped timer with these registers.
    pub(super) fn stopped(initial: u32, divide: u32) -> ApicTimer {
        ApicTimer { initial, divide: divide & DIVIDE_BITS, ..ApicTimer::default() }
    }

    pub(super) fn set_tsc(&mut self, khz: u32, offset: u64) {
        self.tsc = TscRatio { khz: khz.max(1), offset };
    }

    pub(super) fn now(&self) -> MachineTime {
        MachineTime::from_nanos(self.now)
    }

    pub(super) fn initial(&self) -> u32 {
        self.initial
    }

    pub(super) fn divide(&self) -> u32 {
        self.divide
    }

    pub(super) fn tsc_deadline(&self) -> u64 {
        self.tsc_deadline
    }

    /// Ticks of the bus clock that make one count.
    fn divisor(&self) -> u64 {
        match self.divide & 3 | self.divide >> 1 & 4 {
            7 => 1,
            code => 2 << code,
        }
    }

    /// Current count register.
    pub(super) fn current(&self) -> u32 {
        let left = self.expires.map_or(0, |expires| expires.saturating_sub(self.now));
        u32::try_from(left.div_ceil(self.divisor())).unwrap_or(u32::MAX)
    }

    pub(super) fn start(&mut self, count: u32) {
        let length = u64::from(count) * self.divisor();
        self.expires = (count != 0).then(|| self.now.saturating_add(length));
    }

    /// Writes the initial count register.
    pub(super) fn set_initial(&mut self, mode: TimerMode, count: u32) {
        if mode.counts() {
            self.initial = count;
            self.start(count);
        }
    }

    /// Writes the divide configuration register; the current count continues from where it is.
    pub(super) fn set_divide(&mut self, value: u32) {
        let current = self.current();
        self.divide = value & DIVIDE_BITS;
        self.start(current);
    }

    /// Writes IA32_TSC_DEADLINE.
    pub(super) fn set_tsc_deadline(&mut self, mode: TimerMode, value: u64) {
        if mode == TimerMode::TscDeadline {
            self.tsc_deadline = value;
        }
    }

    /// The mode has changed. To and from TSC-deadline mode disarms the timer.
    pub(super) fn change_mode(&mut self, from: TimerMode, to: TimerMode) {
        if from != to && !(from.counts() && to.counts()) {
            self.initial = 0;
            self.expires = None;
            self.tsc_deadline = 0;
        }
    }

    /// When it expires next.
    pub(super) fn deadline(&self) -> Option<MachineTime> {
        let armed = (self.tsc_deadline != 0).then(|| self.tsc.time_of(self.tsc_deadline));
        self.expires.or(armed).map(MachineTime::from_nanos)
    }

    /// Advances to `now`; true if the timer has expired.
    pub(super) fn advance(&mut self, mode: TimerMode, now: MachineTime) -> bool {
        self.now = now.as_nanos();
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return false;
        }
        self.tsc_deadline = 0;
        let expired = self.expires.take();
        let period = u64::from(self.initial) * self.divisor();
        if let (Some(expired), TimerMode::Periodic, 1..) = (expired, mode, period) {
            let late = self.now.saturating_sub(expired) % period;
            self.expires = Some(self.now.saturating_add(period - late));
        }
        true
    }

    /// What is wrong with a saved state, if it is one that cannot be reached.
    pub(super) fn fault(&self, mode: TimerMode) -> Option<&'static str> {
        if self.divide & !DIVIDE_BITS != 0 {
            return Some("the divide configuration has bits that do not exist");
        }
        if self.tsc.khz == 0 {
            return Some("the time-stamp counter stands still");
        }
        if self.expires.is_some() && !mode.counts()
            || self.tsc_deadline != 0 && mode != TimerMode::TscDeadline
        {
            return Some("the timer runs in a mode in which it does not count");
        }
        let longest = u64::from(u32::MAX) * self.divisor();
        let left = self.expires.map_or(0, |expires| expires.saturating_sub(self.now));
        (left > longest).then_some("the timer expires after more than its longest count")
    }
}
