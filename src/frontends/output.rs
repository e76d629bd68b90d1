//! Standard output, written without ever blocking the user-interface thread.

use std::collections::VecDeque;
use std::io::Stdout;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{QueueSelector, tcflush, ttyname};
use tracing::warn;

/// Most bytes written at a time: what a pipe takes without blocking once it reports room (PIPE_BUF).
const CHUNK: usize = 4096;

/// Standard output and the bytes that wait to be written there.
#[derive(Debug)]
pub struct Output {
    stdout: Stdout,
    /// The terminal on standard output, opened again: a terminal that reports room may still block a
    /// writer, and O_NONBLOCK on standard output itself would be shared with other processes.
    terminal: Option<OwnedFd>,
    pending: VecDeque<u8>,
    /// The reader has closed it.
    closed: bool,
}

impl Output {
    /// Nothing pending.
    pub fn new() -> Output {
        let stdout = std::io::stdout();
        let terminal = reopened(&stdout);
        Output { stdout, terminal, pending: VecDeque::new(), closed: false }
    }

    /// Number of pending bytes.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Appends `bytes`.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.closed {
            self.pending.extend(bytes);
        }
    }

    /// Drops what is pending.
    pub fn forget(&mut self) {
        self.pending.clear();
    }

    /// Drops what is pending, and what the terminal has buffered but not shown, so that a last message gets
    /// through even if the user has stopped the terminal's output.
    pub fn give_up(&mut self) {
        self.forget();
        if let Some(terminal) = &self.terminal {
            // A terminal that cannot drop its output has none pending.
            let _ = tcflush(terminal, QueueSelector::OFlush);
        }
    }

    /// Writes as much as possible without blocking.
    pub fn flush(&mut self) {
        while !self.pending.is_empty() && self.has_room() {
            let (first, _) = self.pending.as_slices();
            match rustix::io::write(self.as_fd(), &first[..first.len().min(CHUNK)]) {
                Ok(count) => _ = self.pending.drain(..count),
                Err(Errno::INTR | Errno::AGAIN) => return,
                Err(error) => {
                    warn!("standard output takes no more ({error}); what goes there is dropped from now on");
                    self.closed = true;
                    self.pending.clear();
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        let mut fds = [PollFd::new(self, PollFlags::OUT)];
        matches!(poll(&mut fds, Some(&Timespec::default())), Ok(count) if count > 0)
    }
}

/// The terminal on `stdout`, if it is one, opened for non-blocking writes.
fn reopened(stdout: &Stdout) -> Option<OwnedFd> {
    let name = ttyname(stdout, Vec::new()).ok()?;
    let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(name.as_c_str(), flags, Mode::empty()).ok()
}

impl Default for Output {
    fn default() -> Output {
        Output::new()
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.terminal.as_ref().map_or_else(|| self.stdout.as_fd(), OwnedFd::as_fd)
    }
}
