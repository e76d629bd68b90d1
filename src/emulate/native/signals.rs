//! Exceptions that the host's processor raises inside the stub.
//!
//! The checks before a guest's instruction runs are meant to leave it nothing to raise but #XM, which is
//! wanted: the processor itself then reports in MXCSR what it found. This is the second line of defence. The
//! kernel turns an exception into a signal; the handler below recognises by RIP that the stub raised it,
//! records its vector, and continues at the stub's exit, which restores the registers of this process. A
//! signal from anywhere else goes to the handler that was there before, such as the one of Rust's runtime
//! that reports a stack overflow.
//!
//! [`install`] is called once, when the stub is created; [`prepare_thread`] before a thread enters the stub;
//! [`take_raised`] after it.
//!
//! Manual: sigaction(2), sigaltstack(2), getcontext(3).

use std::cell::Cell;
use std::ops::Range;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use libc::{c_int, c_void};

use crate::emulate::ProcessorStateError;

/// The signals that the kernel makes of exceptions.
const SIGNALS: [c_int; 5] = [libc::SIGFPE, libc::SIGILL, libc::SIGSEGV, libc::SIGBUS, libc::SIGTRAP];
/// Bytes of an alternate signal stack: a signal frame has all registers, which are up to 11 KiB.
const STACK_SIZE: usize = 64 << 10;
/// What the host is asked for.
const WHAT: &str = "handle exceptions of emulated instructions";

/// An exception of the host's processor inside the stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostException {
    /// Its vector.
    pub vector: u8,
    /// Address of the instruction that raised it.
    pub rip: usize,
}

/// Where the stub's code may be interrupted: from its start, once it has saved the registers of this process,
/// to its exit; and the slots.
static CODE: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];
static SLOTS: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

/// The exception that was raised last. One thread at a time runs in the stub.
static IS_RAISED: AtomicBool = AtomicBool::new(false);
static VECTOR: AtomicU64 = AtomicU64::new(0);
static RIP: AtomicUsize = AtomicUsize::new(0);

/// What handled each of [`SIGNALS`] before.
static PREVIOUS: [OnceLock<libc::sigaction>; SIGNALS.len()] = [const { OnceLock::new() }; SIGNALS.len()];

/// Handles exceptions at addresses in `code`, which ends where the stub's exit begins, and in `slots`.
///
/// # Errors
///
/// [`ProcessorStateError`] if the host does not install the handler.
pub fn install(code: Range<usize>, slots: Range<usize>) -> Result<(), ProcessorStateError> {
    for (place, range) in [(&CODE, code), (&SLOTS, slots)] {
        place[0].store(range.start, Ordering::Relaxed);
        place[1].store(range.end, Ordering::Relaxed);
    }
    for (signal, previous) in SIGNALS.into_iter().zip(&PREVIOUS) {
        // SAFETY: a zeroed `sigaction` is valid, and both structures live during the calls. The handler has the
        // type that SA_SIGINFO asks for.
        let installed = unsafe {
            let (mut before, mut action): (libc::sigaction, libc::sigaction) =
                (std::mem::zeroed(), std::mem::zeroed());
            action.sa_sigaction = handle as extern "C" fn(_, _, _) as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            // The handler may run at once and needs to know what was there before.
            libc::sigaction(signal, std::ptr::null(), &mut before) == 0 && {
                previous.get_or_init(|| before);
                libc::sigaction(signal, &action, null_mut()) == 0
            }
        };
        if !installed {
            return Err(ProcessorStateError { what: WHAT, source: std::io::Error::last_os_error().into() });
        }
    }
    Ok(())
}

/// Lets this thread receive the signals: a blocked one would end the process. There is a stack for them even
/// while RSP is the guest's.
pub fn prepare_thread() {
    thread_local!(static IS_PREPARED: Cell<bool> = const { Cell::new(false) });
    if IS_PREPARED.replace(true) {
        return;
    }
    // SAFETY: the sets and the structures are written before they are read. The stack is never freed.
    unsafe {
        let mut signals = std::mem::zeroed();
        libc::sigemptyset(&mut signals);
        for signal in SIGNALS {
            libc::sigaddset(&mut signals, signal);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &signals, null_mut());
        let mut stack: libc::stack_t = std::mem::zeroed();
        libc::sigaltstack(std::ptr::null(), &mut stack);
        // Threads that Rust's runtime has started have one.
        if stack.ss_flags & libc::SS_DISABLE != 0 {
            let memory = Box::leak(vec![0_u8; STACK_SIZE].into_boxed_slice());
            let stack = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK_SIZE };
            libc::sigaltstack(&stack, null_mut());
        }
    }
}

/// Blocks all other signals of this thread; returns what was blocked before.
pub fn block_others() -> libc::sigset_t {
    // SAFETY: both sets are written before they are read; the calls cannot fail with these arguments.
    unsafe {
        let (mut others, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut others);
        for signal in SIGNALS {
            libc::sigdelset(&mut others, signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &others, &mut before);
        before
    }
}

/// Undoes [`block_others`].
pub fn restore(before: &libc::sigset_t) {
    // SAFETY: the set comes from `block_others`.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, null_mut()) };
}

/// The exception since the last call.
pub fn take_raised() -> Option<HostException> {
    if !IS_RAISED.load(Ordering::Relaxed) {
        return None;
    }
    IS_RAISED.store(false, Ordering::Relaxed);
    let vector = u8::try_from(VECTOR.load(Ordering::Relaxed)).unwrap_or(u8::MAX);
    Some(HostException { vector, rip: RIP.load(Ordering::Relaxed) })
}

/// The handler. It uses nothing but atomic variables and its arguments.
extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes both structures, which live until the handler returns.
    let (from_kernel, registers) = unsafe {
        let context = &mut *context.cast::<libc::ucontext_t>();
        ((*info).si_code > 0, &mut context.uc_mcontext.gregs)
    };
    let rip = registers[libc::REG_RIP as usize] as usize;
    let lies_in = |place: &[AtomicUsize; 2]| {
        (place[0].load(Ordering::Relaxed)..place[1].load(Ordering::Relaxed)).contains(&rip)
    };
    if from_kernel && (lies_in(&CODE) || lies_in(&SLOTS)) {
        VECTOR.store(registers[libc::REG_TRAPNO as usize] as u64, Ordering::Relaxed);
        RIP.store(rip, Ordering::Relaxed);
        IS_RAISED.store(true, Ordering::Relaxed);
        registers[libc::REG_RIP as usize] = CODE[1].load(Ordering::Relaxed) as i64;
        return;
    }
    pass_on(signal, info, context, from_kernel);
}

/// Does what would have been done without the stub.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void, from_kernel: bool) {
    let number = SIGNALS.iter().position(|&known| known == signal);
    let Some(previous) = number.and_then(|number| PREVIOUS[number].get()) else { return };
    match previous.sa_sigaction {
        libc::SIG_IGN if !from_kernel => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: `previous` is what `sigaction` returned for this signal. An instruction that raised the
            // signal raises it again after the handler; a signal from elsewhere has to be sent again.
            unsafe {
                libc::sigaction(signal, previous, null_mut());
                if !from_kernel {
                    libc::raise(signal);
                }
            }
        }
        handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: a handler that was installed with SA_SIGINFO has this type.
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                unsafe { std::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: a handler that was installed without SA_SIGINFO has this type.
            let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
            handler(signal);
        }
    }
}
