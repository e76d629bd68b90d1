//! The input queue, through which all nondeterministic data enters the machine.
//!
//! Other threads push [`Input`]s. The machine takes them between two exits, in the order in which they were
//! pushed, and nowhere else; so a recording of a run is a log of this queue.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::cpu::CpuId;
use crate::devices::ide::DiskResult;
use crate::devices::keyboard::KeyEvent;
use crate::kvm::Kicker;

/// An input from outside the machine, as plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// The user typed a key.
    Keystroke(Keystroke),
    /// The user typed Ctrl-C on a terminal. It is input for the guest if the guest ever read input;
    /// otherwise it ends the run.
    InterruptKey(Keystroke),
    /// Keys are pressed and released on the PS/2 keyboard, whichever device receives keystrokes.
    KeyEvents(Vec<KeyEvent>),
    /// The mouse is moved, its wheel is turned, or its buttons change.
    Mouse {
        /// Counts to the right.
        dx: i16,
        /// Counts towards the user, as rows of a screen are counted.
        dy: i16,
        /// Notches of the wheel towards the user.
        wheel: i16,
        /// The buttons that are down from now on: bit 0 left, bit 1 right, bit 2 middle; `None` leaves them.
        buttons: Option<u8>,
    },
    /// Bytes arrived on the line of a serial port (0 is COM1).
    Serial(u8, Vec<u8>),
    /// Coalesced output is due.
    Tick,
    /// Time has passed on the machine's clock.
    Time {
        /// Time since the last such input, or since the machine was started.
        elapsed: Duration,
    },
    /// The user presses the power button.
    PowerButton,
    /// The user requests a non-maskable interrupt of a CPU.
    Nmi {
        /// Number of the CPU.
        cpu: u8,
    },
    /// The user presses the reset button.
    Reset,
    /// The user ends the run.
    Quit,
    /// The time limit of the run has expired.
    TimedOut,
    /// The process was terminated by this signal.
    Terminated(i32),
    /// A disk has carried out the request of a drive.
    Disk {
        /// Number of the disk, from 0 on.
        unit: u8,
        /// Number of the request.
        number: u64,
        /// The answer.
        result: DiskResult,
    },
    /// A client of the machine (a debugger, a queued request) needs it stopped between two instructions.
    Attention,
    /// The terminal shows the guest's screen from now on (`true`), or its serial port. A guest may read keys from both.
    TerminalView {
        /// The screen.
        screen: bool,
    },
}

/// One keystroke of the user, in both forms in which a guest may receive it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keystroke {
    /// The bytes a terminal sends for it, for a serial port.
    pub bytes: Vec<u8>,
    /// The key presses and releases it takes, for the keyboard; empty if the layout has none.
    pub keys: Vec<KeyEvent>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<VecDeque<Input>>,
    arrived: Condvar,
    /// Keystrokes that were pushed and not delivered to the guest yet.
    keystrokes: AtomicUsize,
    /// Bytes that were pushed for each serial port and not delivered to the guest yet.
    serial: [AtomicUsize; 4],
    /// The guest receives movements of the mouse.
    mouse_enabled: AtomicBool,
    /// One bit for each CPU that has left the guest on its own thread and was not taken back yet.
    returned: AtomicU64,
    kicker: Kicker,
}

/// The queue; cloning gives another handle to the same one.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    shared: Arc<Shared>,
    /// There may be something to take, or the deadline timer has expired.
    attention: Arc<AtomicBool>,
}

impl Inputs {
    /// An empty queue.
    pub fn new() -> Inputs {
        Inputs::default()
    }

    /// Appends `input` to the queue and kicks the vCPU out of the guest.
    pub fn push(&self, input: Input) {
        match &input {
            Input::Keystroke(_) | Input::InterruptKey(_) | Input::KeyEvents(_) => {
                _ = self.shared.keystrokes.fetch_add(1, Ordering::Relaxed)
            }
            Input::Serial(port, bytes) => {
                _ = self.shared.serial[usize::from(*port)].fetch_add(bytes.len(), Ordering::Relaxed);
            }
            _ => {}
        }
        self.queue().push_back(input);
        self.attention.store(true, Ordering::Release);
        self.shared.arrived.notify_one();
        self.shared.kicker.kick();
    }

    /// Appends `input` to the queue, on the thread of the machine, which takes it before it enters the guest again.
    pub(super) fn push_own(&self, input: Input) {
        self.queue().push_back(input);
        self.attention.store(true, Ordering::Release);
    }

    /// Keystrokes not yet delivered to the guest.
    pub fn keystroke_backlog(&self) -> usize {
        self.shared.keystrokes.load(Ordering::Relaxed)
    }

    /// Bytes not yet delivered to the guest at a serial port (0 is COM1).
    pub fn serial_backlog(&self, port: u8) -> usize {
        self.shared.serial[usize::from(port)].load(Ordering::Relaxed)
    }

    /// True while the guest receives movements of the mouse.
    pub fn mouse_is_enabled(&self) -> bool {
        self.shared.mouse_enabled.load(Ordering::Relaxed)
    }

    /// The guest has enabled or disabled its mouse.
    pub(super) fn set_mouse_enabled(&self, enabled: bool) {
        self.shared.mouse_enabled.store(enabled, Ordering::Relaxed);
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

    /// True if there may be something to [`Self::take`], or if the deadline timer has expired; costs one load.
    #[inline]
    pub(super) fn has_pending(&self) -> bool {
        self.attention.load(Ordering::Acquire)
    }

    /// The flag that makes [`Self::has_pending`] true until the next [`Self::clear_pending`].
    pub(super) fn attention(&self) -> &Arc<AtomicBool> {
        &self.attention
    }

    /// True if an input that ends the run is queued.
    pub(super) fn run_is_ending(&self) -> bool {
        self.queue().iter().any(|input| matches!(input, Input::Quit | Input::TimedOut | Input::Terminated(_)))
    }

    /// Everything that has arrived, oldest first. What arrives after the last [`Self::clear_pending`] makes
    /// [`Self::has_pending`] true, also if it has been taken.
    pub(super) fn take(&self) -> VecDeque<Input> {
        std::mem::take(&mut *self.queue())
    }

    /// Makes [`Self::has_pending`] false. The caller looks at the queue and at the deadline next.
    pub(super) fn clear_pending(&self) {
        self.attention.store(false, Ordering::SeqCst);
    }

    /// Sleeps until there is something to take.
    pub(super) fn wait(&self) {
        let mut queue = self.queue();
        while queue.is_empty() {
            queue = self.shared.arrived.wait(queue).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// Sleeps until there is something to take, or until `deadline`.
    pub(super) fn wait_until(&self, deadline: Instant) {
        let mut queue = self.queue();
        while queue.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.shared.arrived.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }

    /// Sleeps until there is something to take, a CPU has left the guest, or `deadline` has come.
    pub(super) fn wait_for_return(&self, deadline: Option<Instant>) {
        let mut queue = self.queue();
        while queue.is_empty() && self.shared.returned.load(Ordering::Acquire) == 0 {
            let Some(deadline) = deadline else {
                let waited = self.shared.arrived.wait(queue);
                queue = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.shared.arrived.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }

    /// A CPU has left the guest, on its own thread.
    pub(super) fn cpu_returned(&self, cpu: CpuId) {
        let queue = self.queue();
        self.shared.returned.fetch_or(1 << cpu.number(), Ordering::AcqRel);
        drop(queue);
        self.shared.arrived.notify_one();
    }

    /// Takes one of the CPUs that have left the guest, the next after `last` first.
    pub(super) fn next_returned(&self, last: CpuId) -> Option<CpuId> {
        let returned = self.shared.returned.load(Ordering::Acquire);
        if returned == 0 {
            return None;
        }
        let first = u32::from(last.number()) + 1;
        let cpu = (returned.rotate_right(first).trailing_zeros() + first) % u64::BITS;
        self.shared.returned.fetch_and(!(1 << cpu), Ordering::AcqRel);
        Some(CpuId::new(cpu as u8))
    }

    /// All CPUs that have left the guest were taken back.
    pub(super) fn forget_returned(&self) {
        self.shared.returned.store(0, Ordering::Release);
    }

    /// A keystroke was delivered to the guest, or dropped.
    pub(super) fn keystroke_delivered(&self) {
        self.shared.keystrokes.fetch_sub(1, Ordering::Relaxed);
    }

    /// The bytes of a keystroke are queued for a serial port.
    pub(super) fn serial_bytes_queued(&self, port: u8, count: usize) {
        self.shared.serial[usize::from(port)].fetch_add(count, Ordering::Relaxed);
    }

    /// A byte was delivered to the guest at a serial port.
    pub(super) fn serial_byte_delivered(&self, port: u8) {
        self.shared.serial[usize::from(port)].fetch_sub(1, Ordering::Relaxed);
    }

    /// A restored state replaces the keystrokes and serial bytes (`before`) that waited for the guest.
    pub(super) fn replace_backlog(&self, before: (usize, [usize; 4]), now: (usize, [usize; 4])) {
        // What was pushed meanwhile stays counted.
        let change = |count: &AtomicUsize, before: usize, now: usize| {
            count.fetch_add(now, Ordering::Relaxed);
            count.fetch_sub(before, Ordering::Relaxed);
        };
        change(&self.shared.keystrokes, before.0, now.0);
        for (port, count) in self.shared.serial.iter().enumerate() {
            change(count, before.1[port], now.1[port]);
        }
    }

    /// The handle that kicks the vCPU out of the guest.
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
    fn inputs_are_taken_in_the_order_in_which_they_were_pushed() {
        let inputs = Inputs::new();
        assert!(!inputs.has_pending());
        inputs.push(Input::Serial(1, b"ab".to_vec()));
        inputs.push(Input::Quit);
        assert!(inputs.has_pending());
        inputs.clear_pending();
        assert_eq!(inputs.take(), [Input::Serial(1, b"ab".to_vec()), Input::Quit]);
        assert!(!inputs.has_pending());
        assert_eq!(inputs.serial_backlog(1), 2);
        inputs.serial_byte_delivered(1);
        assert_eq!(inputs.serial_backlog(1), 1);
    }

    #[test]
    fn wait_returns_when_an_input_is_pushed() {
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
