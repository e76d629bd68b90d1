//! Access to RAM that maps a file which has been truncated or cannot be read: the kernel raises SIGBUS.
//!
//! The handler replaces the page by zeros, so that the access, from whatever thread, is completed; it records the
//! failure and wakes the user interface, which ends the run ([`take_file_fault`]). The zeros are in no snapshot and
//! no result: whoever reports an end, completes a snapshot or commits a migration asks [`GuestMemory::file_failure`](super::GuestMemory::file_failure)
//! before. A SIGBUS from elsewhere goes to the handler that was there before.
//!
//! Manual: sigaction(2); mmap(2), "SIGBUS".

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use libc::{c_int, c_void};

use crate::arch::PAGE_SIZE;

const PAGE: usize = PAGE_SIZE as usize;
/// `si_code` of an address behind the end of a file, or that the host could not read.
const BUS_ADRERR: c_int = 2;
/// Ranges of RAM that are watched at a time: two for each machine.
const MOST_RANGES: usize = 64;

/// A range of host addresses that is watched.
struct Entry {
    used: AtomicBool,
    start: AtomicUsize,
    /// 0 while the entry is not valid.
    end: AtomicUsize,
    /// Host address of the first page that could not be read; 0 if there is none.
    failed_at: AtomicUsize,
}

static ENTRIES: [Entry; MOST_RANGES] = [const {
    Entry {
        used: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        failed_at: AtomicUsize::new(0),
    }
}; MOST_RANGES];

/// An eventfd(2) to write to after a failure; negative if there is none.
static WAKE: AtomicI32 = AtomicI32::new(-1);
/// There was a failure since [`take_file_fault`] was called.
static HAS_FAILED: AtomicBool = AtomicBool::new(false);
/// What handled SIGBUS before.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Writes to `eventfd` when RAM cannot be read from its file; `None` ends that.
pub fn notify_file_faults(eventfd: Option<BorrowedFd<'_>>) {
    WAKE.store(eventfd.map_or(-1, |fd| fd.as_raw_fd()), Ordering::Release);
}

/// True if RAM could not be read from its file since the last call.
pub fn take_file_fault() -> bool {
    HAS_FAILED.load(Ordering::Acquire) && HAS_FAILED.swap(false, Ordering::AcqRel)
}

/// RAM in which failures are handled, until this is dropped.
#[derive(Debug, Default)]
pub(super) struct FileFaults {
    entries: Vec<usize>,
}

impl FileFaults {
    /// Handles failures in `ranges` of host addresses.
    ///
    /// # Errors
    ///
    /// The host's, or that too many ranges are watched.
    pub(super) fn watch(&mut self, ranges: impl Iterator<Item = Range<usize>>) -> io::Result<()> {
        install()?;
        for range in ranges {
            let free = ENTRIES.iter().position(|entry| !entry.used.swap(true, Ordering::AcqRel));
            let number = free.ok_or_else(|| io::Error::other("too many machines map files"))?;
            let entry = &ENTRIES[number];
            entry.failed_at.store(0, Ordering::Relaxed);
            entry.start.store(range.start, Ordering::Relaxed);
            entry.end.store(range.end, Ordering::Release);
            self.entries.push(number);
        }
        Ok(())
    }

    /// True if failures are handled.
    pub(super) fn is_watching(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Host address of a page that could not be read.
    pub(super) fn failed_at(&self) -> Option<usize> {
        let mut failed = self.entries.iter().map(|number| ENTRIES[*number].failed_at.load(Ordering::Acquire));
        failed.find(|address| *address != 0)
    }
}

impl Drop for FileFaults {
    fn drop(&mut self) {
        for number in self.entries.drain(..) {
            ENTRIES[number].end.store(0, Ordering::Release);
            ENTRIES[number].used.store(false, Ordering::Release);
        }
    }
}

/// Installs the handler, once in this process.
fn install() -> io::Result<()> {
    static RESULT: OnceLock<Result<(), i32>> = OnceLock::new();
    let result = RESULT.get_or_init(|| {
        // SAFETY: a zeroed `sigaction` is valid, and both structures live during the calls. The handler has the
        // type that SA_SIGINFO asks for. It may run at once, and finds what was there before.
        let installed = unsafe {
            let (mut before, mut action): (libc::sigaction, libc::sigaction) =
                (std::mem::zeroed(), std::mem::zeroed());
            action.sa_sigaction = handle as extern "C" fn(_, _, _) as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut before) == 0 && {
                PREVIOUS.get_or_init(|| before);
                libc::sigaction(libc::SIGBUS, &action, null_mut()) == 0
            }
        };
        if installed { Ok(()) } else { Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)) }
    });
    result.map_err(io::Error::from_raw_os_error)
}

/// The handler. It uses nothing but atomic variables, its arguments and two system calls, which confined threads
/// may make, too.
extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes the structure, which lives until the handler returns.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    let entry = ENTRIES.iter().find(|entry| {
        let end = entry.end.load(Ordering::Acquire);
        code == BUS_ADRERR && (entry.start.load(Ordering::Relaxed)..end).contains(&address)
    });
    // SAFETY: every thread has its own, and the interrupted code gets it back.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    if let Some(entry) = entry
        && replace(address / PAGE * PAGE)
    {
        let _ = entry.failed_at.compare_exchange(0, address, Ordering::AcqRel, Ordering::Relaxed);
        HAS_FAILED.store(true, Ordering::Release);
        let (wake, one) = (WAKE.load(Ordering::Acquire), 1_u64);
        if wake >= 0 {
            // SAFETY: writes eight bytes of a variable that lives during the call.
            unsafe { libc::write(wake, (&raw const one).cast(), size_of::<u64>()) };
        }
    } else {
        pass_on(signal, info, context, code > 0);
    }
    // SAFETY: as above.
    unsafe { *errno = before };
}

/// Replaces the page at `address`, which is in RAM that maps a file, by zeros.
fn replace(address: usize) -> bool {
    // SAFETY: the page lies in a private mapping of guest RAM, to which no references exist: it may become another
    // one at any time. The new one is private, too, allows the same access, and is unmapped together with the rest.
    let result = unsafe {
        libc::mmap(
            address as *mut c_void,
            PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    result != libc::MAP_FAILED
}

/// Does what would have been done without this handler.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void, from_kernel: bool) {
    let Some(previous) = PREVIOUS.get() else { return };
    match previous.sa_sigaction {
        libc::SIG_IGN if !from_kernel => {}
        handler if previous.sa_flags & libc::SA_SIGINFO != 0 && handler > libc::SIG_IGN => {
            // SAFETY: a handler that was installed with SA_SIGINFO has this type.
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                unsafe { std::mem::transmute(handler) };
            handler(signal, info, context);
        }
        // SAFETY: an instruction that raised the signal raises it again after the handler; a signal from elsewhere
        // has to be sent again.
        _ => unsafe {
            libc::signal(signal, libc::SIG_DFL);
            if !from_kernel {
                libc::raise(signal);
            }
        },
    }
}

#[cfg(test)]
#[path = "file_faults_test.rs"]
mod tests;
