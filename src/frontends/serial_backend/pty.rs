//! A serial port on a pseudo-terminal.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, ioctl_fionbio, ioctl_fionread};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::{READ_SIZE, buffer};

/// How long it may take until written bytes are reported as waiting for a reader.
const ON_ITS_WAY: Duration = Duration::from_millis(20);

/// A pseudo-terminal in raw mode.
///
/// The master side does not show whether a program has opened the terminal. So the guest never waits for a
/// reader: what does not fit is buffered, and the oldest bytes are dropped beyond the limit.
#[derive(Debug)]
pub struct PtyBackend {
    pub(super) name: String,
    master: OwnedFd,
    /// Kept open, so that the terminal outlives the programs that use it.
    slave: OwnedFd,
    pending: VecDeque<u8>,
    written: Option<Instant>,
}

impl PtyBackend {
    pub(super) fn open() -> io::Result<PtyBackend> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty())?;
        let mut settings = tcgetattr(&slave)?;
        settings.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &settings)?;
        ioctl_fionbio(&master, true)?;
        Ok(PtyBackend {
            name: name.to_string_lossy().into_owned(),
            master,
            slave,
            pending: VecDeque::new(),
            written: None,
        })
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        buffer(&mut self.pending, bytes);
    }

    /// Bytes that no program has read yet, as far as the host reports: a recent write counts as one.
    pub(super) fn unread(&self) -> usize {
        let unread = ioctl_fionread(&self.slave).unwrap_or(0);
        let on_its_way = self.written.is_some_and(|written| written.elapsed() < ON_ITS_WAY);
        usize::try_from(unread)
            .unwrap_or(usize::MAX)
            .saturating_add(self.pending.len())
            .max(on_its_way.into())
    }

    pub(super) fn poll_target(&self, wanted: bool) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, wanted);
        events.set(PollFlags::OUT, !self.pending.is_empty());
        (!events.is_empty()).then(|| (self.master.as_fd(), events))
    }

    pub(super) fn flush(&mut self) {
        while !self.pending.is_empty() {
            match rustix::io::write(&self.master, self.pending.as_slices().0) {
                Ok(count) if count > 0 => {
                    self.pending.drain(..count);
                    self.written = Some(Instant::now());
                }
                Err(Errno::INTR) => {}
                _ => return,
            }
        }
    }

    pub(super) fn receive(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; READ_SIZE];
        let count = rustix::io::read(&self.master, &mut bytes).unwrap_or(0);
        bytes.truncate(count);
        bytes
    }
}

#[cfg(test)]
#[path = "pty_test.rs"]
mod tests;
