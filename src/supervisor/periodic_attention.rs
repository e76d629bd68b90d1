//! Calls for the attention of a machine at intervals, so that a guest stops briefly.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use tracing::warn;

use crate::machine::inputs::{Input, Inputs};

/// How long a guest runs before its breakpoints are inserted again, under the console or a debugger.
pub(crate) const INTERVAL: Duration = Duration::from_millis(10);

/// The thread that calls, once it was needed. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct PeriodicAttention {
    interval: Duration,
    switch: Option<Sender<bool>>,
    is_on: bool,
}

impl Default for PeriodicAttention {
    fn default() -> PeriodicAttention {
        PeriodicAttention::every(INTERVAL)
    }
}

impl PeriodicAttention {
    /// Calls at this interval, once it is switched on.
    pub(crate) fn every(interval: Duration) -> PeriodicAttention {
        PeriodicAttention { interval, switch: None, is_on: false }
    }

    /// Calls at intervals from now on, or no longer.
    pub(crate) fn set(&mut self, on: bool, inputs: &Inputs) {
        if on == self.is_on {
            return;
        }
        self.is_on = on;
        let interval = self.interval;
        let switch = self.switch.get_or_insert_with(|| start(inputs.clone(), interval));
        // It fails if the host gave no thread; the log says so.
        let _ = switch.send(on);
    }
}

fn start(inputs: Inputs, interval: Duration) -> Sender<bool> {
    let (switch, switched) = channel();
    let started =
        thread::Builder::new().name("attention".into()).spawn(move || call(&inputs, interval, &switched));
    if let Err(error) = started {
        warn!(
            "the guest is not stopped at intervals, for breakpoints or for its other CPUs: no thread: {error}"
        );
    }
    switch
}

fn call(inputs: &Inputs, interval: Duration, switched: &Receiver<bool>) {
    let mut on = false;
    loop {
        let changed = if on {
            switched.recv_timeout(interval)
        } else {
            switched.recv().map_err(RecvTimeoutError::from)
        };
        match changed {
            Ok(now) => on = now,
            Err(RecvTimeoutError::Timeout) => inputs.push(Input::Attention),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attention_is_called_for_only_while_it_is_on() {
        let (inputs, mut periodic) = (Inputs::new(), PeriodicAttention::default());
        periodic.set(false, &inputs);
        assert!(periodic.switch.is_none(), "no thread before it is needed");
        periodic.set(true, &inputs);
        while inputs.is_idle() {
            thread::yield_now();
        }
        periodic.set(false, &inputs);
        thread::sleep(2 * INTERVAL);
        inputs.pushed();
        thread::sleep(3 * INTERVAL);
        assert!(inputs.is_idle());
    }
}
