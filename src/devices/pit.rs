//! The programmable interval timer (8254) and system control port B (0x61).
//!
//! Intel 8254 datasheet (231164); Intel ICH10 datasheet, 13.7.1 (NMI_SC, 0x61). All of the 8254 is implemented.
//! The machine differs from the chips in these points:
//!
//! - All counters share a clock of 1,193,182 Hz whose pulses lie at exact multiples from power-on.
//! - At power-on no counter is programmed: all stand still, with their outputs high.
//! - An initial count of 1 in modes 2 and 3, which the datasheet forbids, acts as 2.
//! - A latched count is read from its low byte on, also if a low byte was read just before.
//! - Of port 0x61 only the bits of counter 2, the speaker and the refresh clock exist. No error is ever reported.
//!
//! Offsets are port numbers. The interrupt line is the output of counter 0, whose gate is tied high. However long
//! the clock has stood, [`Device::advance`] delivers at most one edge of it; the others are lost, and the phase
//! is kept. Only rising edges are deadlines.

mod copied;
mod counter;
mod counting;

use serde::{Deserialize, Serialize};

use counter::Counter;

use super::{Action, Device, MachineTime, OPEN_BUS, Snapshot, StateError};

/// First port: counter 0.
pub const FIRST_PORT: u16 = 0x40;
/// The control word register, the last port of the 8254.
pub const CONTROL_PORT: u16 = 0x43;
/// System control port B.
pub const SYSTEM_CONTROL_B: u16 = 0x61;
/// Clock pulses in a second.
pub const FREQUENCY: u64 = 1_193_182;

const LAST_COUNTER_PORT: u16 = CONTROL_PORT - 1;

/// Control word: bits 7 and 6 select a counter, or the read-back command.
const SELECT_SHIFT: u8 = 6;
/// Control word: access order; 0 is the counter latch command.
const ACCESS: u8 = 0x30;
/// Read-back command: do not latch the count.
const NO_COUNT: u8 = 0x20;
/// Read-back command: do not latch the status.
const NO_STATUS: u8 = 0x10;

/// Port 0x61: gate of counter 2.
const GATE_2: u8 = 0x01;
/// Port 0x61: the output of counter 2 reaches the speaker.
const SPEAKER: u8 = 0x02;
/// Port 0x61: changes with each refresh cycle.
const REFRESH: u8 = 0x10;
/// Port 0x61: output of counter 2.
const OUT_2: u8 = 0x20;
/// Duration of a refresh cycle.
const REFRESH_NANOS: u64 = 15_085;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// The timer with its three counters, and system control port B.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pit {
    counters: [Counter; 3],
    speaker: bool,
    /// Level of the interrupt line: the output of counter 0, or high after a rising edge that was delivered late.
    line: bool,
    now: MachineTime,
}

impl Default for Pit {
    fn default() -> Pit {
        Pit {
            counters: [true, true, false].map(Counter::new),
            speaker: false,
            line: true,
            now: MachineTime::default(),
        }
    }
}

impl Pit {
    /// Frequency of the output of counter `counter` (0 to 2) in hertz; `None` if it does not change periodically.
    pub fn frequency(&self, counter: usize) -> Option<f64> {
        let counting = &self.counters.get(counter)?.counting;
        let initial = counting.initial().filter(|_| counting.is_periodic())?;
        Some(FREQUENCY as f64 / f64::from(initial))
    }

    /// True if no interrupt will come unless a counter is programmed.
    pub fn is_stopped(&self) -> bool {
        self.next_deadline().is_none()
    }

    /// True if the output of counter 2 reaches the speaker.
    pub fn speaker_is_on(&self) -> bool {
        self.speaker
    }

    /// One line for each counter, without line ends.
    pub fn describe(&self) -> [String; 3] {
        [0, 1, 2].map(|number| format!("counter {number}: {}", self.counters[number]))
    }

    fn write_control(&mut self, value: u8) {
        if let Some(counter) = self.counters.get_mut(usize::from(value >> SELECT_SHIFT)) {
            match value & ACCESS {
                0 => counter.latch_count(),
                _ => counter.program(value),
            }
            return;
        }
        for (number, counter) in self.counters.iter_mut().enumerate() {
            if value >> (number + 1) & 1 == 0 {
                continue;
            }
            if value & NO_COUNT == 0 {
                counter.latch_count();
            }
            if value & NO_STATUS == 0 {
                counter.latch_status();
            }
        }
    }

    fn read_system_control(&self) -> u8 {
        let counting = &self.counters[2].counting;
        let refresh = self.now.as_nanos() / REFRESH_NANOS % 2 == 1;
        [(counting.gate(), GATE_2), (self.speaker, SPEAKER), (refresh, REFRESH), (counting.out(), OUT_2)]
            .into_iter()
            .filter_map(|(set, bit)| set.then_some(bit))
            .sum()
    }
}

/// Clock pulses from power-on to `time`.
fn pulses(time: MachineTime) -> u64 {
    (u128::from(time.as_nanos()) * u128::from(FREQUENCY) / NANOS_PER_SECOND) as u64
}

/// The first time at which `pulses` clock pulses have come, if it can be represented.
fn time_of(pulses: u64) -> Option<MachineTime> {
    let nanos = (u128::from(pulses) * NANOS_PER_SECOND).div_ceil(u128::from(FREQUENCY));
    u64::try_from(nanos).ok().map(MachineTime::from_nanos)
}

impl Device for Pit {
    fn explain(&self) -> Vec<String> {
        self.describe().into()
    }

    fn read(&mut self, port: u16) -> (u8, Action) {
        let value = match port {
            FIRST_PORT..=LAST_COUNTER_PORT => self.counters[usize::from(port - FIRST_PORT)].read(),
            SYSTEM_CONTROL_B => self.read_system_control(),
            // The control word register cannot be read.
            _ => OPEN_BUS,
        };
        (value, Action::NONE)
    }

    fn write(&mut self, port: u16, value: u8) -> Action {
        let before = (self.line, self.next_deadline());
        match port {
            FIRST_PORT..=LAST_COUNTER_PORT => self.counters[usize::from(port - FIRST_PORT)].write(value),
            CONTROL_PORT => self.write_control(value),
            SYSTEM_CONTROL_B => {
                self.counters[2].counting.set_gate(value & GATE_2 != 0);
                self.speaker = value & SPEAKER != 0;
            }
            _ => {}
        }
        self.line = self.counters[0].counting.out();
        Action {
            line: (self.line != before.0).then_some(self.line),
            deadline: self.next_deadline() != before.1,
            ..Action::NONE
        }
    }

    fn may_interrupt(&self) -> bool {
        !self.is_stopped()
    }

    fn line(&self) -> bool {
        self.line
    }

    /// The next rising edge of the output of counter 0.
    fn next_deadline(&self) -> Option<MachineTime> {
        let until = self.counters[0].counting.pulses_to_rising_edge()?;
        time_of(pulses(self.now) + until)
    }

    fn advance(&mut self, now: MachineTime) -> Action {
        let elapsed = pulses(now).saturating_sub(pulses(self.now));
        self.now = self.now.max(now);
        let has_risen =
            self.counters[0].counting.pulses_to_rising_edge().is_some_and(|until| until <= elapsed);
        for counter in &mut self.counters {
            counter.counting.clock(elapsed);
        }
        let before = self.line;
        self.line = has_risen || self.counters[0].counting.out();
        // An edge of a line that was high, or seemed to be, begins with a fall.
        let line = if has_risen { Some(false) } else { (self.line != before).then_some(self.line) };
        Action { line, deadline: has_risen, ..Action::NONE }
    }
}

impl Snapshot for Pit {
    const KIND: &'static str = "pit";
    const VERSION: u16 = 1;
    type State = Pit;

    fn state(&self) -> Pit {
        self.clone()
    }

    fn set_state(&mut self, state: Pit) -> Result<(), StateError> {
        let damaged = |reason: &str| StateError::Damaged { kind: Self::KIND, reason: reason.to_owned() };
        state.counters.iter().try_for_each(Counter::check).map_err(damaged)?;
        if state.counters[..2].iter().any(|counter| !counter.counting.gate()) {
            return Err(damaged("the gate of counter 0 or 1 is low"));
        }
        if state.counters[0].counting.out() && !state.line {
            return Err(damaged("the interrupt line is not the output of counter 0"));
        }
        *self = state;
        Ok(())
    }
}

#[cfg(test)]
#[path = "pit_test.rs"]
mod tests;

#[cfg(test)]
#[path = "pit/datasheet_test.rs"]
mod datasheet;
