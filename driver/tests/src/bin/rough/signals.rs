// SPDX-License-Identifier: MIT OR GPL-2.0
//! A timer whose signal ends KVM_RUN.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};

static TICKS: AtomicU64 = AtomicU64::new(0);

extern "C" fn tick(_signal: i32) {
    TICKS.fetch_add(1, Ordering::Relaxed);
}

/// Signals of the timer so far.
pub fn ticks() -> u64 {
    TICKS.load(Ordering::Relaxed)
}

/// Begins to send SIGALRM to this process every so many microseconds; 0 ends it. One that comes before KVM_RUN is
/// followed by another.
pub fn every(microseconds: i64) {
    let interval = libc::timeval { tv_sec: 0, tv_usec: microseconds };
    let timer = libc::itimerval { it_interval: interval, it_value: interval };
    // SAFETY: the handler touches only an atomic; it has no SA_RESTART, so calls are interrupted.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = tick as *const () as usize;
        libc::sigaction(libc::SIGALRM, &action, null_mut());
        libc::setitimer(libc::ITIMER_REAL, &timer, null_mut());
    }
}

/// Lets SIGUSR1 interrupt calls of the thread that it is sent to.
pub fn handle_usr1() {
    // SAFETY: as above.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = tick as *const () as usize;
        libc::sigaction(libc::SIGUSR1, &action, null_mut());
    }
}
