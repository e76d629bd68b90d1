//! Nothing a probe runs may run for ever.

use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use crate::host::Kicker;

/// How often the vCPU is called back.
const PERIOD: Duration = Duration::from_millis(5);

/// Processor time after which a guest that has not reported hangs. Its guests take microseconds.
const PROCESSOR_TIME: Duration = Duration::from_millis(25);

/// The same in time on the clock, for guests that wait for something: long enough for a busy host.
const CLOCK_TIME: Duration = Duration::from_secs(3);

/// Calls a vCPU back again and again, for as long as it lives.
pub(super) struct Watchdog {
    _end: Sender<()>,
}

impl Watchdog {
    /// Starts to call back whatever vCPU `kicker` aims at.
    pub(super) fn new(kicker: Kicker) -> std::io::Result<Watchdog> {
        let (end, ended) = channel::<()>();
        std::thread::Builder::new().name("probe".to_owned()).stack_size(64 << 10).spawn(move || {
            // The other end is never written to, only dropped.
            while matches!(ended.recv_timeout(PERIOD), Err(std::sync::mpsc::RecvTimeoutError::Timeout)) {
                kicker.kick();
            }
        })?;
        Ok(Watchdog { _end: end })
    }
}

/// How long the calling thread has worked on a guest.
pub(super) struct Patience {
    clock: Instant,
    processor: Duration,
}

impl Patience {
    /// Begins now.
    pub(super) fn new() -> Patience {
        Patience { clock: Instant::now(), processor: processor_time() }
    }

    /// True if the guest had all the time it can need.
    pub(super) fn is_over(&self) -> bool {
        self.clock.elapsed() > CLOCK_TIME || processor_time().saturating_sub(self.processor) > PROCESSOR_TIME
    }
}

/// Processor time the calling thread has used; time in the guest counts.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing; the clock exists on every Linux this can run on.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
