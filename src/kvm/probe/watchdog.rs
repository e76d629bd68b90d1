//! Nothing a probe runs may run for ever.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::kvm::Kicker;

/// After this time a vCPU is called back, and again after each such time: much longer than a guest of
/// a few microseconds runs, so that it is hardly ever disturbed.
const LEAST_PERIOD: Duration = Duration::from_millis(25);

/// The same as a multiple of what it took to make the virtual machine: that tells how slow a host is
/// whose own processor is emulated.
const TIMES_THE_MACHINE: u32 = 50;

/// A guest that waits for something is given up after this time: long enough for a busy host.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// Calls a vCPU back again and again, for as long as it lives.
pub(super) struct Watchdog {
    period: Duration,
    end: Arc<End>,
}

/// The end of a watchdog: whether it has come, and who waits for it.
#[derive(Default)]
struct End {
    come: Mutex<bool>,
    waiter: Condvar,
}

impl Watchdog {
    /// Starts to call back whatever vCPU `kicker` aims at, of a virtual machine that took `machine` to
    /// make.
    pub(super) fn new(kicker: Kicker, machine: Duration) -> std::io::Result<Watchdog> {
        let period = LEAST_PERIOD.max(machine * TIMES_THE_MACHINE);
        let end = Arc::new(End::default());
        let theirs = end.clone();
        std::thread::Builder::new().name("probe".to_owned()).stack_size(64 << 10).spawn(move || {
            let mut come = theirs.come.lock().unwrap_or_else(PoisonError::into_inner);
            while !*come {
                let waited = theirs.waiter.wait_timeout(come, period);
                let (now, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                come = now;
                if timeout.timed_out() && !*come {
                    kicker.kick();
                }
            }
        })?;
        Ok(Watchdog { period, end })
    }

    /// The calling thread begins to work on a guest.
    pub(super) fn patience(&self) -> Patience {
        Patience { begin: Instant::now(), processor: processor_time(), period: self.period }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *self.end.come.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.end.waiter.notify_one();
    }
}

/// How long the calling thread works on a guest before it gives up.
pub(super) struct Patience {
    begin: Instant,
    processor: Duration,
    period: Duration,
}

impl Patience {
    /// True if the guest had all the time it can need: most of a period on the processor, however busy
    /// that is with others.
    pub(super) fn is_over(&self) -> bool {
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
