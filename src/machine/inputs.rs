//! The one door: everything that is not decided by the guest itself enters here.
//!
//! Other threads push [`Input`]s; the machine takes them between two exits, in the order in which
//! they came, and nowhere else. Recording a run means recording this queue.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use crate::devices::keyboard::KeyEvent;
use crate::kvm::Kicker;

/// Something from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Somebody typed something.
    Typed(Typed),
    /// Somebody typed Ctrl-C on a terminal: for the guest if it ever asked for input, else it ends
    /// the run.
    Interrupt(Typed),
    /// Keys go down and come up on the keyboard, whoever gets what is typed.
    Keys(Vec<KeyEvent>),
    /// Bytes arrived on the line of a serial port (0 is COM1).
    Serial(u8, Vec<u8>),
    /// Collected output has waited long enough.
    Tick,
    /// The user presses the reset button.
    Reset,
    /// The user ends the run.
    Quit,
    /// The run has taken as long as it may.
    TimedOut,
    /// The process was told to end by this signal.
    Terminated(i32),
    /// Whoever runs the machine has something to look at: a debugger, a request.
    Attention,
}

/// One stroke on the user's keyboard, in both forms a guest may want it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Typed {
    /// The bytes a terminal sends for it, for a serial port.
    pub bytes: Vec<u8>,
    /// The keys that go down and up for it, for the keyboard; empty if the layout has none.
    pub keys: Vec<KeyEvent>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<VecDeque<Input>>,
    arrived: Condvar,
    waiting: AtomicBool,
    /// Strokes that were pushed and that the guest has not been given yet.
    typed: AtomicUsize,
    /// Bytes that were pushed for each serial port and that the guest has not been given yet.
    serial: [AtomicUsize; 4],
    kicker: Kicker,
}

/// The queue; cloning gives another handle to the same one.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    shared: Arc<Shared>,
}

impl Inputs {
    /// An empty queue.
    pub fn new() -> Inputs {
        Inputs::default()
    }

    /// Puts `input` at the end of the queue and gets the vCPU out of the guest.
    pub fn push(&self, input: Input) {
        match &input {
            Input::Typed(_) | Input::Interrupt(_) | Input::Keys(_) => {
                _ = self.shared.typed.fetch_add(1, Ordering::Relaxed)
            }
            Input::Serial(port, bytes) => {
                _ = self.shared.serial[usize::from(*port)].fetch_add(bytes.len(), Ordering::Relaxed);
            }
            _ => {}
        }
        self.queue().push_back(input);
        self.shared.waiting.store(true, Ordering::Release);
        self.shared.arrived.notify_one();
        self.shared.kicker.kick();
    }

    /// Strokes that wait for the guest.
    pub fn typed_backlog(&self) -> usize {
        self.shared.typed.load(Ordering::Relaxed)
    }

    /// Bytes that wait for the guest at a serial port (0 is COM1).
    pub fn serial_backlog(&self, port: u8) -> usize {
        self.shared.serial[usize::from(port)].load(Ordering::Relaxed)
    }

    /// True if the machine has taken all that was pushed.
    pub fn is_idle(&self) -> bool {
        self.queue().is_empty()
    }

    /// Takes everything that was pushed.
    #[cfg(test)]
    pub(crate) fn pushed(&self) -> Vec<Input> {
        self.take().into()
    }

    /// True if there may be something to [`Self::take`]; costs one load.
    #[inline]
    pub(super) fn waiting(&self) -> bool {
        self.shared.waiting.load(Ordering::Acquire)
    }

    /// True if something that ends the run has arrived.
    pub(super) fn ending(&self) -> bool {
        self.queue().iter().any(|input| matches!(input, Input::Quit | Input::TimedOut | Input::Terminated(_)))
    }

    /// Everything that has arrived, oldest first.
    pub(super) fn take(&self) -> VecDeque<Input> {
        let mut queue = self.queue();
        self.shared.waiting.store(false, Ordering::Release);
        std::mem::take(&mut *queue)
    }

    /// Sleeps until there is something to take.
    pub(super) fn wait(&self) {
        let mut queue = self.queue();
        while queue.is_empty() {
            queue = self.shared.arrived.wait(queue).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// The guest was given a stroke.
    pub(super) fn stroke_given(&self) {
        self.shared.typed.fetch_sub(1, Ordering::Relaxed);
    }

    /// A stroke's bytes are now on their way to a serial port.
    pub(super) fn bytes_typed(&self, port: u8, count: usize) {
        self.shared.serial[usize::from(port)].fetch_add(count, Ordering::Relaxed);
    }

    /// The guest was given a byte at a serial port.
    pub(super) fn byte_given(&self, port: u8) {
        self.shared.serial[usize::from(port)].fetch_sub(1, Ordering::Relaxed);
    }

    /// The strokes and bytes that waited for the guest are others now.
    pub(super) fn waiting_changed(&self, before: (usize, [usize; 4]), now: (usize, [usize; 4])) {
        // What was pushed meanwhile stays counted.
        let change = |count: &AtomicUsize, before: usize, now: usize| {
            count.fetch_add(now, Ordering::Relaxed);
            count.fetch_sub(before, Ordering::Relaxed);
        };
        change(&self.shared.typed, before.0, now.0);
        for (port, count) in self.shared.serial.iter().enumerate() {
            change(count, before.1[port], now.1[port]);
        }
    }

    /// The handle that gets the vCPU out of the guest.
    pub(super) fn kicker(&self) -> &Kicker {
        &self.shared.kicker
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Input>> {
        self.shared.queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_come_out_in_the_order_they_went_in() {
        let inputs = Inputs::new();
        assert!(!inputs.waiting());
        inputs.push(Input::Serial(1, b"ab".to_vec()));
        inputs.push(Input::Quit);
        assert!(inputs.waiting());
        assert_eq!(inputs.take(), [Input::Serial(1, b"ab".to_vec()), Input::Quit]);
        assert!(!inputs.waiting());
        assert_eq!(inputs.serial_backlog(1), 2);
        inputs.byte_given(1);
        assert_eq!(inputs.serial_backlog(1), 1);
    }

    #[test]
    fn waiting_ends_when_something_arrives() {
        let inputs = Inputs::new();
        let other = inputs.clone();
        let waiter = std::thread::spawn(move || {
            other.wait();
            other.take()
        });
        inputs.push(Input::TimedOut);
        assert_eq!(waiter.join().unwrap(), [Input::TimedOut]);
    }
}
