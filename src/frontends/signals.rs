//! Signals that end the run, as a descriptor to poll.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// SIGINT, SIGTERM, SIGHUP and SIGQUIT of this process.
#[derive(Debug)]
pub struct Signals {
    woken: UnixStream,
    last: Arc<AtomicUsize>,
}

impl Signals {
    /// Takes the signals over from their default action, which is to end the process at once.
    ///
    /// # Errors
    ///
    /// The host's, when it has no more file descriptors.
    pub fn new() -> io::Result<Signals> {
        let (woken, waker) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let last = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
            signal_hook::flag::register_usize(signal, last.clone(), signal as usize)?;
            signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(Signals { woken, last })
    }

    /// The latest signal since the last call, if any.
    pub fn take(&mut self) -> Option<i32> {
        let mut bytes = [0; 16];
        // Fails only when no signal has arrived.
        let _ = self.woken.read(&mut bytes);
        match self.last.swap(0, Ordering::SeqCst) {
            0 => None,
            signal => Some(signal as i32),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }
}
