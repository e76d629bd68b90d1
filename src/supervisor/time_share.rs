//! The time that other CPUs get while a debugger steps one.
//!
//! A step is made while all others are stopped. If they are to run meanwhile (gdb's `set scheduler-locking off`), they
//! take turns with the steps: what the stepped CPU waits for, a lock or an interrupt, comes from them.

use std::time::{Duration, Instant};

use super::periodic_attention::PeriodicAttention;
use crate::machine::inputs::Inputs;

/// The length of a turn, and of the steps between two turns.
const TURN: Duration = Duration::from_millis(1);

/// Measures the turns, and ends them.
#[derive(Debug)]
pub(super) struct TimeShare {
    attention: PeriodicAttention,
    last_turn: Option<Instant>,
}

impl Default for TimeShare {
    fn default() -> TimeShare {
        TimeShare { attention: PeriodicAttention::every(TURN), last_turn: None }
    }
}

impl TimeShare {
    /// True if the others have not run for the length of a turn.
    pub(super) fn is_others_turn(&self) -> bool {
        self.last_turn.is_none_or(|end| end.elapsed() >= TURN)
    }

    /// A turn begins: an attention input will end it.
    pub(super) fn begin(&mut self, inputs: &Inputs) {
        self.attention.set(true, inputs);
    }

    /// The turn is over.
    pub(super) fn end(&mut self, inputs: &Inputs) {
        self.attention.set(false, inputs);
        self.last_turn = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_of_the_others_end_and_come_again() {
        let (inputs, mut share) = (Inputs::new(), TimeShare::default());
        assert!(share.is_others_turn(), "they have not run yet");
        share.begin(&inputs);
        while inputs.is_idle() {
            std::thread::yield_now();
        }
        let end = Instant::now();
        share.end(&inputs);
        while !share.is_others_turn() {
            std::thread::yield_now();
        }
        assert!(end.elapsed() >= TURN, "steps have a turn, too");
    }
}
