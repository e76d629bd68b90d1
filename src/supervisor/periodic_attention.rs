//! Calls for the attention of a machine at intervals, so that a guest under console control stops briefly.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use tracing::warn;

use crate::machine::inputs::{Input, Inputs};

/// How long a guest runs before its breakpoints are inserted again, under the console or a debugger.
pub(crate) const INTERVAL: Duration = Duration::from_millis(10);

/// The thread that calls, once it was needed. It ends when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct PeriodicAttention {
    switch: Option<Sender<bool>>,
    is_on: bool,
}

impl PeriodicAttention {
    /// Calls at intervals from now on, or no longer.
    pub(crate) fn set(&mut self, on: bool, inputs: &Inputs) {
        if on == self.is_on {
            return;
        }
        self.is_on = on;
        let switch = self.switch.get_or_insert_with(|| start(inputs.clone()));
        // It fails if the host gave no thread; the log says so.
        let _ = switch.send(on);
    }
}

fn start(inputs: Inputs) -> Sender<bool> {
    let (switch, switched) = channel();
    let started = thread::Builder::new().name("breakpoints".into()).spawn(move || call(&inputs, &switched));
    if let Err(error) = started {
        warn!("breakpoints in memory that is written later have no effect: no thread to renew them: {error}");
    }
    switch
}

fn call(inputs: &Inputs, switched: &Receiver<bool>) {
    let mut on = false;
    loop {
        let changed = if on {
            switched.recv_timeout(INTERVAL)
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
