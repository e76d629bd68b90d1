//! Input that arrives while the guest runs or waits, Ctrl-C above all.
//!
//! The machine's thread reads the socket itself while the guest is stopped. Before it runs the guest, or sleeps where
//! other events can wake it, it starts an [`InputWatch`]: the client's second thread then polls the socket and calls
//! for the machine's attention. Most steps are over before that thread has to do anything.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// How long the guest runs before the socket is polled: most steps are over by then.
const DELAY: Duration = Duration::from_millis(1);
/// Consecutive rounds with nothing to watch before the watching thread sleeps without a timeout.
const IDLE_ROUNDS: u32 = 8;

/// Whether a client's socket is watched; shared by the machine's thread and the watching thread.
#[derive(Debug, Default)]
pub(super) struct InputWatch {
    state: Mutex<WatchState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct WatchState {
    phase: WatchPhase,
    /// Watching begins after [`DELAY`].
    delayed: bool,
    /// Attention is called for after this time at the latest.
    timeout: Option<Duration>,
    /// The watching thread sleeps until it is notified.
    asleep: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum WatchPhase {
    /// The machine's thread reads the socket itself.
    #[default]
    Off,
    /// Until input arrives.
    On,
    /// The client has disconnected.
    Closed,
}

impl InputWatch {
    fn state(&self) -> MutexGuard<'_, WatchState> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Starts watching, after a moment if `delayed`, and calls for attention after `timeout` at the latest.
    pub(super) fn start(&self, delayed: bool, timeout: Option<Duration>) {
        let mut state = self.state();
        // It may be on already: a stale call for attention does not stop it.
        if state.phase != WatchPhase::Closed {
            (state.phase, state.delayed, state.timeout) = (WatchPhase::On, delayed, timeout);
            self.wake(&state, !delayed);
        }
    }

    /// Stops watching: the machine's thread reads the socket itself.
    pub(super) fn stop(&self) {
        self.end(WatchPhase::Off);
    }

    /// Ends the watching thread.
    pub(super) fn close(&self) {
        self.end(WatchPhase::Closed);
    }

    fn end(&self, phase: WatchPhase) {
        let mut state = self.state();
        state.phase = phase;
        self.wake(&state, phase == WatchPhase::Closed);
    }

    /// Wakes the watching thread if it would not see a change by itself, or must see it `now`.
    fn wake(&self, state: &WatchState, now: bool) {
        if now || state.asleep && state.phase == WatchPhase::On {
            self.changed.notify_one();
        }
    }

    /// Input has arrived, the time is over, or the connection is closed. Returns true if watching was on; it is off
    /// then.
    pub(super) fn fire(&self) -> bool {
        let mut state = self.state();
        let on = state.phase == WatchPhase::On;
        if on {
            state.phase = WatchPhase::Off;
        }
        on
    }

    /// Waits until watching is on and returns its timeout; `None` once the client has disconnected.
    pub(super) fn wait_until_on(&self) -> Option<Option<Duration>> {
        let mut state = self.state();
        let mut idle = 0;
        loop {
            state = match (state.phase, state.delayed) {
                (WatchPhase::Closed, _) => return None,
                (WatchPhase::On, false) => return Some(state.timeout),
                (WatchPhase::On, true) => {
                    state.delayed = false;
                    self.changed.wait_timeout(state, DELAY).unwrap_or_else(|poisoned| poisoned.into_inner()).0
                }
                // A client that steps starts the watch again in a moment, without the cost of waking this thread.
                (WatchPhase::Off, _) if idle < IDLE_ROUNDS => {
                    idle += 1;
                    self.changed.wait_timeout(state, DELAY).unwrap_or_else(|poisoned| poisoned.into_inner()).0
                }
                (WatchPhase::Off, _) => {
                    idle = 0;
                    state.asleep = true;
                    let mut woken = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
                    woken.asleep = false;
                    woken
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(10);

    #[test]
    fn a_watch_that_is_stopped_soon_never_fires() {
        let watch = std::sync::Arc::new(InputWatch::default());
        let watcher = watch.clone();
        let thread = std::thread::spawn(move || watcher.wait_until_on());
        for _ in 0..1000 {
            watch.start(true, None);
            watch.stop();
        }
        watch.start(true, Some(TIMEOUT));
        assert_eq!(thread.join().unwrap(), Some(Some(TIMEOUT)));
        assert!(watch.fire());
        assert!(!watch.fire(), "attention is called for once");
        watch.close();
        assert_eq!(watch.wait_until_on(), None);
    }

    #[test]
    fn a_later_start_replaces_an_earlier_one() {
        let watch = InputWatch::default();
        watch.start(false, None);
        watch.start(true, Some(TIMEOUT));
        assert_eq!(watch.wait_until_on(), Some(Some(TIMEOUT)));
        watch.close();
        watch.start(false, None);
        assert_eq!(watch.wait_until_on(), None, "a closed watch stays closed");
    }
}
