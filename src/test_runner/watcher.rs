//! The thread beside a running test: it empties the output queue, and interrupts the guest for a look at it.
//!
//! It changes nothing: an interruption is an [`Input::Attention`], at which the thread of the machine decides whether the
//! test is over ([`super::guest_run`]). One that comes too late, in the next test, does no harm.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::captured_output::CapturedOutput;
use crate::machine::inputs::{Input, Inputs};
use crate::machine::output::Doorbell;

/// Time between two ticks, and longest time that output waits.
const TICK: Duration = Duration::from_millis(10);
/// When the guest is interrupted for the first time; then after twice the time, and so on.
const FIRST_LOOK: Duration = Duration::from_millis(2);
/// Longest time between two looks at the guest.
const LONGEST_LOOK: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No test runs.
    Idle,
    /// A test runs; counts them.
    Running(u64),
    /// The thread ends.
    Over,
}

#[derive(Debug)]
struct Shared {
    phase: Mutex<Phase>,
    changed: Condvar,
    output: Mutex<CapturedOutput>,
}

/// The handle on the thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    tests: u64,
}

impl Watcher {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The host's, if it has no more threads.
    pub(super) fn start(
        output: CapturedOutput,
        inputs: Inputs,
        doorbell: Arc<Doorbell>,
    ) -> std::io::Result<Watcher> {
        let shared = Arc::new(Shared {
            phase: Mutex::new(Phase::Idle),
            changed: Condvar::new(),
            output: Mutex::new(output),
        });
        let watched = shared.clone();
        let thread = std::thread::Builder::new().name("watcher".into()).spawn(move || {
            while let Some(test) = watched.next_test() {
                watched.watch(test, &inputs, &doorbell);
            }
        })?;
        Ok(Watcher { shared, thread: Some(thread), tests: 0 })
    }

    /// A test begins: earlier output is forgotten.
    pub(super) fn begin(&mut self) {
        self.output().clear();
        self.tests += 1;
        self.shared.enter(Phase::Running(self.tests));
    }

    /// The test is over: takes the rest of its output.
    pub(super) fn end(&mut self) {
        self.shared.enter(Phase::Idle);
        self.output().receive();
    }

    /// The output of the test so far.
    pub(super) fn output(&self) -> MutexGuard<'_, CapturedOutput> {
        self.shared.output()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.enter(Phase::Over);
        if let Some(thread) = self.thread.take() {
            // It has panicked only if a test has, which is reported there.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn output(&self) -> MutexGuard<'_, CapturedOutput> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: Phase) {
        *self.phase() = phase;
        self.changed.notify_one();
    }

    /// Waits for a test; `None` at the end.
    fn next_test(&self) -> Option<u64> {
        let idle = |phase: &mut Phase| *phase == Phase::Idle;
        match *self.changed.wait_while(self.phase(), idle).unwrap_or_else(PoisonError::into_inner) {
            Phase::Running(test) => Some(test),
            Phase::Idle | Phase::Over => None,
        }
    }

    /// Looks after the test with this number until it is over.
    fn watch(&self, test: u64, inputs: &Inputs, doorbell: &Doorbell) {
        let mut pause = FIRST_LOOK;
        let mut look = Instant::now() + pause;
        loop {
            let wait = look.saturating_duration_since(Instant::now()).min(TICK);
            let runs = |phase: &mut Phase| *phase == Phase::Running(test);
            let (phase, _) = self
                .changed
                .wait_timeout_while(self.phase(), wait, runs)
                .unwrap_or_else(PoisonError::into_inner);
            if *phase != Phase::Running(test) {
                return;
            }
            drop(phase);
            self.output().receive();
            if doorbell.wants_ticks() {
                inputs.push(Input::Tick);
            }
            if Instant::now() >= look {
                pause = (pause * 2).min(LONGEST_LOOK);
                look = Instant::now() + pause;
                inputs.push(Input::Attention);
            }
        }
    }
}
