//! Where the time on the machine's clock comes from: the host's monotonic clock, read when the guest can notice it.
//!
//! [`Machine::sync_clock`] turns what has passed into an input ([`Input::Time`]), so that a recording holds it. It is
//! called before an access to a device that shows the time, when the next deadline of a device has come, and when the
//! guest wakes from `hlt`. Devices are told the clock's time and nothing else.

use std::time::{Duration, Instant};

use super::inputs::Input;
use super::journal::JournalEvent;
use super::{Event, Machine};
use crate::devices::MachineTime;
use crate::kvm::{DeadlineTimer, HostError, wake_on_time};
use crate::settings::ClockMode;

/// Shortest time for which the deadline timer is armed: the guest makes some progress between two of its interrupts,
/// whatever frequency it has programmed.
const SHORTEST: Duration = Duration::from_micros(20);

/// The host's clock, as the source of the machine's.
#[derive(Debug)]
pub(super) struct TimeSource {
    mode: ClockMode,
    /// Up to here the time has been taken into the machine's clock; `None` while it stands still.
    taken: Option<Instant>,
    timer: Option<DeadlineTimer>,
    /// What the timer is armed for.
    armed: Option<MachineTime>,
    /// The machine's thread sleeps until the next deadline: no timer is needed.
    asleep: bool,
    /// The machine's thread wakes on time.
    punctual: bool,
}

impl TimeSource {
    /// A source that starts now.
    pub(super) fn new(mode: ClockMode) -> TimeSource {
        TimeSource {
            mode,
            taken: Some(Instant::now()),
            timer: None,
            armed: None,
            asleep: false,
            punctual: false,
        }
    }

    /// The time that has passed since the last call.
    fn take(&mut self) -> Duration {
        let Some(taken) = &mut self.taken else { return Duration::ZERO };
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(*taken);
        *taken = now;
        elapsed
    }

    /// The guest goes on.
    pub(super) fn resume(&mut self) {
        if self.mode == ClockMode::Virtual && self.taken.is_none() {
            self.taken = Some(Instant::now());
        }
    }

    /// The host's time at which the machine's clock, now at `now`, reaches `deadline`.
    fn at(&self, deadline: MachineTime, now: MachineTime) -> Instant {
        let left = Duration::from_nanos(deadline.as_nanos().saturating_sub(now.as_nanos()));
        let start = self.taken.unwrap_or_else(Instant::now);
        start.checked_add(left).unwrap_or_else(|| start + Duration::from_secs(1 << 30))
    }
}

impl Machine {
    /// Takes the time that has passed into the machine's clock, and advances the devices; an event if one of them
    /// requests a reset or the end.
    #[cold]
    pub(super) fn sync_clock(&mut self) -> Result<Option<Event>, HostError> {
        let elapsed = self.time.take();
        if elapsed.is_zero() {
            return Ok(None);
        }
        self.note(|| JournalEvent::Input(Input::Time { elapsed }));
        self.advance_clock(elapsed)
    }

    /// True if the next deadline of a device has come by the host's clock.
    pub(super) fn deadline_has_come(&self) -> bool {
        self.next_deadline_on_host().is_some_and(|deadline| deadline <= Instant::now())
    }

    /// The host's time at which a device has something to do by itself.
    pub(super) fn next_deadline_on_host(&self) -> Option<Instant> {
        Some(self.time.at(self.board.next_deadline()?, self.clock.now()))
    }

    /// Arms the deadline timer for the next deadline of a device, or disarms it.
    pub(super) fn arm_timer(&mut self) -> Result<(), HostError> {
        // The thread of the machine sleeps until the deadline while the CPUs run.
        if self.runs_in_parallel() || self.time.asleep {
            return Ok(());
        }
        let deadline = self.board.next_deadline();
        if deadline == self.time.armed {
            return Ok(());
        }
        self.time.armed = deadline;
        let Some(deadline) = deadline else {
            if let Some(timer) = &self.time.timer {
                timer.disarm();
            }
            return Ok(());
        };
        let left = self.time.at(deadline, self.clock.now()).saturating_duration_since(Instant::now());
        if self.time.timer.is_none() {
            self.time.timer = Some(DeadlineTimer::new(self.inputs.attention())?);
        }
        if let Some(timer) = &self.time.timer {
            timer.arm(left.max(SHORTEST));
        }
        Ok(())
    }

    /// The timer may have expired: it is armed again even for the same deadline.
    pub(super) fn rearm_timer(&mut self) -> Result<(), HostError> {
        self.time.armed = None;
        self.arm_timer()
    }

    /// The machine's thread is about to sleep until the next deadline. The timer would wake it a second time.
    pub(super) fn fall_asleep(&mut self) {
        self.time.asleep = true;
        if !std::mem::replace(&mut self.time.punctual, true) {
            wake_on_time();
        }
        if let (Some(timer), Some(_)) = (&self.time.timer, self.time.armed.take()) {
            timer.disarm();
        }
    }

    /// The machine's thread does not sleep any more. If it has not slept at all, because the deadline had come, the
    /// timer is still armed for that: it would interrupt the guest for nothing.
    pub(super) fn wake_up(&mut self) -> Result<(), HostError> {
        self.time.asleep = false;
        if self.time.armed == self.board.next_deadline() { self.rearm_timer() } else { self.arm_timer() }
    }

    /// The guest stops, for a debugger or a command: with `clock = virtual` its clock stands still.
    pub fn pause_clock(&mut self) -> Result<(), HostError> {
        if self.time.mode == ClockMode::Virtual && self.time.taken.is_some() {
            self.sync_clock()?;
            self.time.taken = None;
        }
        Ok(())
    }
}
