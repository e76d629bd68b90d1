//! Makes a vCPU leave the guest, from another thread.
//!
//! KVM_RUN returns early when its thread receives a signal, or when it finds `kvm_run.immediate_exit` set on
//! entry. A kick sets the flag first and then sends the signal, so that no race between the two threads loses
//! it.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, Once};

/// Kicks one vCPU, from any thread. It is created before its vCPU and outlives it: after a reset it kicks the
/// new vCPU.
///
/// Without a vCPU, a kick does nothing.
#[derive(Clone, Debug, Default)]
pub struct Kicker {
    target: Arc<Mutex<Option<Target>>>,
}

#[derive(Debug)]
struct Target {
    thread: libc::pthread_t,
    immediate_exit: *const AtomicU8,
}

// SAFETY: the pointer is used only under the mutex of the `Kicker`, which the vCPU locks to remove the target
// before it unmaps `kvm_run`; an atomic byte may be written from any thread.
unsafe impl Send for Target {}

impl Kicker {
    /// Makes the vCPU return [`super::VmExit::Interrupted`] soon.
    pub fn kick(&self) {
        let target = self.target.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(target) = target.as_ref() {
            // SAFETY: see `Send for Target`: `kvm_run` is mapped as long as the target is set.
            unsafe { &*target.immediate_exit }.store(1, Ordering::SeqCst);
            // SAFETY: the thread that owns the vCPU removes the target before it exits.
            unsafe { libc::pthread_kill(target.thread, kick_signal()) };
        }
    }

    /// Sets the target to a vCPU that the calling thread is about to run.
    pub(super) fn aim(&self, immediate_exit: *const AtomicU8) {
        install_handler();
        OWN_VCPU.set(immediate_exit);
        // SAFETY: always succeeds, no preconditions.
        let thread = unsafe { libc::pthread_self() };
        *self.target.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) =
            Some(Target { thread, immediate_exit });
    }

    /// Clears the target if it is still this vCPU: after a reset the new vCPU becomes the target before the
    /// old one is dropped.
    pub(super) fn clear(&self, immediate_exit: *const AtomicU8) {
        if OWN_VCPU.get() == immediate_exit {
            OWN_VCPU.set(std::ptr::null());
        }
        let mut target = self.target.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if target.as_ref().is_some_and(|target| target.immediate_exit == immediate_exit) {
            *target = None;
        }
    }
}

thread_local! {
    /// `kvm_run.immediate_exit` of the vCPU that the thread runs. It has no destructor, so a signal handler may use it.
    static OWN_VCPU: Cell<*const AtomicU8> = const { Cell::new(std::ptr::null()) };
}

/// Makes the vCPU of the calling thread return [`super::VmExit::Interrupted`] at its next entry. Safe in a signal handler.
pub(super) fn kick_own_vcpu() {
    let immediate_exit = OWN_VCPU.get();
    if !immediate_exit.is_null() {
        // SAFETY: `kvm_run` is mapped as long as the pointer is set: the vCPU clears it, on this thread, before.
        unsafe { &*immediate_exit }.store(1, Ordering::SeqCst);
    }
}

/// The kick signal: the first real-time signal that the C library leaves free.
fn kick_signal() -> libc::c_int {
    libc::SIGRTMIN()
}

/// Installs a handler for the kick signal that does nothing, so that the signal only interrupts KVM_RUN.
fn install_handler() {
    static ONCE: Once = Once::new();
    extern "C" fn nothing(_: libc::c_int) {}
    ONCE.call_once(|| {
        // SAFETY: a zeroed `sigaction` is valid; the handler does nothing and so is safe at any time. Without
        // SA_RESTART the interrupted call returns, which is the purpose.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
            libc::sigaction(kick_signal(), &action, std::ptr::null_mut());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kicker_targets_the_new_vcpu_after_the_old_one_is_dropped() {
        let (old, new) = (AtomicU8::new(0), AtomicU8::new(0));
        let kicker = Kicker::default();
        kicker.aim(&old);
        kicker.aim(&new);
        kicker.clear(&old);
        kicker.kick();
        assert_eq!((old.load(Ordering::SeqCst), new.load(Ordering::SeqCst)), (0, 1));
        kicker.clear(&new);
        new.store(0, Ordering::SeqCst);
        kicker.kick();
        assert_eq!(new.load(Ordering::SeqCst), 0);
    }
}
