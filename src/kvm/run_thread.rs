//! A thread that runs one vCPU, for machines whose vCPUs run at the same time.
//!
//! The thread does nothing but KVM_RUN: everything else that concerns the vCPU stays on the thread of the machine,
//! which asks for one entry at a time and touches the vCPU only while none is under way. All entries of a vCPU
//! come from the same thread, because KVM waits for all processors of the host when that changes.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{HostError, Kicker};

/// Size of the thread's stack in bytes.
const STACK: usize = 64 << 10;
/// Time after which a vCPU that is waited for is kicked.
const LONGEST_WAIT: Duration = Duration::from_millis(5);
/// KVM_RUN, `_IO(0xAE, 0x80)` (api.rst).
const KVM_RUN: libc::Ioctl = 0xAE80;

/// What the thread does.
#[derive(Debug)]
enum Work {
    /// It starts.
    Starting,
    /// It waits for the next entry.
    Idle,
    /// It enters the guest, or is in it.
    Running,
    /// It has left the guest: what KVM_RUN returned.
    Returned(io::Result<()>),
    /// It ends.
    Over,
}

#[derive(Debug)]
struct Shared {
    work: Mutex<Work>,
    changed: Condvar,
}

impl Shared {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn set(&self, work: Work) {
        *self.work() = work;
        self.changed.notify_all();
    }

    /// Waits while the thread does what `waits` accepts.
    fn wait_while(&self, waits: impl Fn(&Work) -> bool) -> MutexGuard<'_, Work> {
        let guard = self.changed.wait_while(self.work(), |work| waits(work));
        guard.unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The thread of a vCPU.
#[derive(Debug)]
pub(super) struct RunThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// The flag in `kvm_run` that a kick sets.
struct ImmediateExit(*const AtomicU8);

// SAFETY: the thread only passes the pointer to its kicker, which uses it as an atomic byte and only while the vCPU
// exists.
unsafe impl Send for ImmediateExit {}

impl RunThread {
    /// Starts the thread for the vCPU `vcpu`, which `kicker` is aimed at. `returned` is called on it after each exit;
    /// [`Self::wait`] returns soon then. The vCPU outlives the thread.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if the host has no more threads.
    pub(super) fn start(
        vcpu: RawFd,
        index: u8,
        immediate_exit: *const AtomicU8,
        kicker: Kicker,
        returned: Box<dyn Fn() + Send>,
    ) -> Result<RunThread, HostError> {
        let shared = Arc::new(Shared { work: Mutex::new(Work::Starting), changed: Condvar::new() });
        let of_thread = shared.clone();
        let immediate_exit = ImmediateExit(immediate_exit);
        let thread =
            std::thread::Builder::new().name(format!("cpu {index}")).stack_size(STACK).spawn(move || {
                let immediate_exit = immediate_exit;
                kicker.aim(immediate_exit.0);
                of_thread.set(Work::Idle);
                enter_as_asked(&of_thread, vcpu, &returned);
                // A kick must not send its signal to a thread that has ended.
                kicker.clear(immediate_exit.0);
            });
        let thread = thread.map_err(|error| HostError::because("start the thread of a vCPU", error))?;
        drop(shared.wait_while(|work| matches!(work, Work::Starting)));
        Ok(RunThread { shared, thread: Some(thread) })
    }

    /// Enters the guest, which the vCPU is out of.
    pub(super) fn enter(&self) {
        self.shared.set(Work::Running);
    }

    /// The same as [`Self::wait`]. Because inputs do not kick the vCPU meanwhile, it is kicked at times.
    pub(super) fn wait_at_most(&self, kicker: &Kicker) -> io::Result<()> {
        let mut work = self.shared.work();
        while matches!(*work, Work::Running) {
            let waited = self.shared.changed.wait_timeout(work, LONGEST_WAIT);
            let (guard, result) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
            work = guard;
            if result.timed_out() {
                kicker.kick();
            }
        }
        drop(work);
        self.wait()
    }

    /// Waits until the vCPU has left the guest. What KVM_RUN returned, once for each [`Self::enter`].
    pub(super) fn wait(&self) -> io::Result<()> {
        let mut work = self.shared.wait_while(|work| matches!(work, Work::Running));
        match std::mem::replace(&mut *work, Work::Idle) {
            Work::Returned(result) => result,
            other => {
                *work = other;
                Err(io::ErrorKind::Interrupted.into())
            }
        }
    }
}

impl Drop for RunThread {
    /// The vCPU must be out of the guest.
    fn drop(&mut self) {
        self.shared.set(Work::Over);
        if let Some(thread) = self.thread.take() {
            // It has nothing to report.
            let _ = thread.join();
        }
    }
}

fn enter_as_asked(shared: &Shared, vcpu: RawFd, returned: &dyn Fn()) {
    loop {
        match *shared.wait_while(|work| matches!(work, Work::Idle | Work::Returned(_))) {
            Work::Running => {}
            _ => return,
        }
        // SAFETY: the file is that of a vCPU, which outlives this thread; KVM_RUN has no argument. What it writes to,
        // `kvm_run` and guest memory, no reference exists to meanwhile.
        let ran = unsafe { libc::ioctl(vcpu, KVM_RUN, 0) };
        let result = if ran < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
        // First: a report that came after the result was taken could be mistaken for that of the next exit.
        returned();
        let mut work = shared.work();
        if matches!(*work, Work::Over) {
            return;
        }
        *work = Work::Returned(result);
        drop(work);
        shared.changed.notify_all();
    }
}
