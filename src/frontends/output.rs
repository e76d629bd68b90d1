//! Standard output, written without ever holding up the thread that deals with people.

use std::collections::VecDeque;
use std::io::Stdout;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tracing::warn;

/// Most bytes written at a time: what a pipe takes without blocking once it reports room (PIPE_BUF).
const CHUNK: usize = 4096;

/// Standard output with the bytes that still have to go there.
#[derive(Debug)]
pub struct Output {
    stdout: Stdout,
    pending: VecDeque<u8>,
    /// Nobody reads any more.
    closed: bool,
}

impl Output {
    /// Nothing pending.
    pub fn new() -> Output {
        Output { stdout: std::io::stdout(), pending: VecDeque::new(), closed: false }
    }

    /// Bytes that still have to be written.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Puts `bytes` behind what is pending.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.closed {
            self.pending.extend(bytes);
        }
    }

    /// Writes as much as can be written now.
    pub fn flush(&mut self) {
        while !self.pending.is_empty() && self.has_room() {
            let (first, _) = self.pending.as_slices();
            match rustix::io::write(&self.stdout, &first[..first.len().min(CHUNK)]) {
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
        let mut fds = [PollFd::new(&self.stdout, PollFlags::OUT)];
        matches!(poll(&mut fds, Some(&Timespec::default())), Ok(count) if count > 0)
    }
}

impl Default for Output {
    fn default() -> Output {
        Output::new()
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stdout.as_fd()
    }
}
