//! Interrupts probes that would run forever.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::kvm::Kicker;

/// Minimum period after which a vCPU is interrupted, repeatedly: much longer than a guest of a few
/// microseconds runs, so that it is rarely disturbed.
const LEAST_PERIOD: Duration = Duration::from_millis(25);

/// The period as a multiple of the time it took to create the virtual machine, which indicates how slow a
/// host is whose own processor is emulated.
const TIMES_THE_MACHINE: u32 = 50;

/// Timeout of a guest that waits for something: long enough for a busy host.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// Interrupts a vCPU periodically until it is dropped.
pub(super) struct Watchdog {
    period: Duration,
    stop: Arc<StopRequest>,
}

/// Stops the thread of a watchdog.
#[derive(Default)]
struct StopRequest {
    requested: Mutex<bool>,
    changed: Condvar,
}

impl Watchdog {
    /// Starts to interrupt the target of `kicker`, a vCPU of a virtual machine that took `machine` to create.
    pub(super) fn new(kicker: Kicker, machine: Duration) -> std::io::Result<Watchdog> {
        let period = LEAST_PERIOD.max(machine * TIMES_THE_MACHINE);
        let stop = Arc::new(StopRequest::default());
        let request = stop.clone();
        std::thread::Builder::new().name("probe".to_owned()).stack_size(64 << 10).spawn(move || {
            let mut requested = request.requested.lock().unwrap_or_else(PoisonError::into_inner);
            while !*requested {
                let waited = request.changed.wait_timeout(requested, period);
                let (now, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                requested = now;
                if timeout.timed_out() && !*requested {
                    kicker.kick();
                }
            }
        })?;
        Ok(Watchdog { period, stop })
    }

    /// Starts the time limit for the calling thread's work on a guest.
    pub(super) fn time_limit(&self) -> TimeLimit {
        TimeLimit { begin: Instant::now(), processor: processor_time(), period: self.period }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *self.stop.requested.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.changed.notify_one();
    }
}

/// Time limit for the calling thread's work on a guest.
pub(super) struct TimeLimit {
    begin: Instant,
    processor: Duration,
    period: Duration,
}

impl TimeLimit {
    /// True if the guest has had sufficient time: half a period of processor time, independent of other load.
    pub(super) fn is_exceeded(&self) -> bool {
        processor_time().saturating_sub(self.processor) > self.period / 2
            || self.begin.elapsed() > LONGEST_WAIT.max(self.period)
    }
}

/// Processor time the calling thread has used; time in the guest counts.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing; the clock exists on every Linux this can run on.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
