//! Makes a vCPU leave the guest at a point in time, without another thread.
//!
//! A timer of the kernel sends its signal to the thread of the vCPU. The handler sets a flag that the thread looks
//! at between two exits, and `kvm_run.immediate_exit`, so that an expiration just before KVM_RUN is not missed.
//!
//! Manual: timer_create(2), timer_settime(2).

use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::HostError;
use super::kicker;

/// A timer of the calling thread.
#[derive(Debug)]
pub struct DeadlineTimer {
    timer: libc::timer_t,
}

impl DeadlineTimer {
    /// A timer that is not armed. When it expires, `expired` is set and the vCPU of the calling thread, if it runs,
    /// returns [`super::VmExit::Interrupted`].
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if the host has no more timers.
    pub fn new(expired: &Arc<AtomicBool>) -> Result<DeadlineTimer, HostError> {
        install_handler();
        // A signal may arrive after the timer was deleted: the flag is never freed.
        let flag: &'static AtomicBool = Box::leak(Box::new(expired.clone()));
        // SAFETY: a zeroed `sigevent` is valid.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal();
        event.sigev_value.sival_ptr = std::ptr::from_ref(flag).cast_mut().cast();
        // SAFETY: no preconditions.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut timer: libc::timer_t = std::ptr::null_mut();
        // SAFETY: both pointers are valid for the call.
        if unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) } != 0 {
            return Err(HostError::because("create a timer", std::io::Error::last_os_error()));
        }
        Ok(DeadlineTimer { timer })
    }

    /// Arms the timer to expire once `after` from now, in place of what it was armed for.
    pub fn arm(&self, after: Duration) {
        // A time of zero would disarm it.
        let after = after.max(Duration::from_nanos(1));
        self.set(libc::timespec {
            tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(after.subsec_nanos()),
        });
    }

    /// Disarms the timer.
    pub fn disarm(&self) {
        self.set(libc::timespec { tv_sec: 0, tv_nsec: 0 });
    }

    fn set(&self, value: libc::timespec) {
        let setting =
            libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        // SAFETY: the timer exists as long as `self`. It cannot fail for a valid time.
        unsafe { libc::timer_settime(self.timer, 0, &raw const setting, std::ptr::null_mut()) };
    }
}

impl Drop for DeadlineTimer {
    fn drop(&mut self) {
        // SAFETY: the timer exists, and nothing uses it afterwards.
        unsafe { libc::timer_delete(self.timer) };
    }
}

/// Makes the calling thread wake from timed waits when their time has come. Otherwise the kernel may let it sleep 50 us
/// longer. Manual: PR_SET_TIMERSLACK(2const).
pub fn wake_on_time() {
    // SAFETY: no preconditions. It cannot fail: the slack of 1 ns is valid.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

/// The signal of the timers: the second real-time signal that the C library leaves free.
fn signal() -> libc::c_int {
    libc::SIGRTMIN() + 1
}

extern "C" fn expire(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t`.
    let (code, value) = unsafe { ((*info).si_code, (*info).si_value()) };
    if code != libc::SI_TIMER {
        return;
    }
    // SAFETY: the value is the pointer that `DeadlineTimer::new` gave, which is never freed.
    let flag = unsafe { &*value.sival_ptr.cast::<AtomicBool>() };
    flag.store(true, Ordering::Release);
    kicker::kick_own_vcpu();
}

fn install_handler() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: a zeroed `sigaction` is valid; the handler only stores to atomics and so is safe at any time. Without
        // SA_RESTART the interrupted call returns, which is the purpose.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction =
                expire as extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(signal(), &action, std::ptr::null_mut());
        }
    });
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_sets_its_flag_when_the_time_has_come_and_not_before() {
        let expired = Arc::new(AtomicBool::new(false));
        let timer = DeadlineTimer::new(&expired).unwrap();
        let start = Instant::now();
        timer.arm(Duration::from_millis(20));
        while !expired.load(Ordering::Acquire) {
            assert!(start.elapsed() < Duration::from_secs(10), "it has not expired");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(start.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn a_disarmed_timer_does_not_expire() {
        let expired = Arc::new(AtomicBool::new(false));
        let timer = DeadlineTimer::new(&expired).unwrap();
        timer.arm(Duration::from_millis(10));
        timer.disarm();
        std::thread::sleep(Duration::from_millis(30));
        assert!(!expired.load(Ordering::Acquire));
    }
}
