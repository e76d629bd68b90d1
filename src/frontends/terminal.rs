//! The user's terminal: configured for the run and restored afterwards.
//!
//! Raw mode belongs to standard input, the screen to standard output; either may be a terminal
//! without the other; anything else is left alone.
//!
//! In raw mode every key reaches the guest as a byte, Ctrl-C and Ctrl-Z too: they are the guest's
//! to interpret. The way out is the Ctrl-A prefix of [`menu`](super::menu).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::pictures::Window;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{
    OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr,
};

/// Columns and rows that are assumed where the terminal does not report its size.
pub const FALLBACK_SIZE: (u16, u16) = (80, 25);

/// Timeout for a terminal that accepts no output; the rest is dropped.
const WRITE_TIMEOUT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Which of the terminal's two screens is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminalScreen {
    /// The one the shell is on, with its scrollback.
    Main,
    /// The other one, which leaves the shell's as it was.
    Alternate,
}

/// Why the terminal could not be configured.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot {action} of the terminal on standard {stream} ({reason}); \
     redirect standard {stream} to run without it"
)]
pub struct TerminalError {
    /// `"input"` or `"output"`.
    stream: &'static str,
    /// What was tried.
    action: &'static str,
    /// The host's error.
    reason: Errno,
}

/// A terminal in the mode of a run. It is restored when this is dropped, when any thread panics (before the
/// panic's message is printed), or by [`TerminalGuard::restore_now`].
#[derive(Debug)]
pub struct TerminalGuard {
    terminal: Arc<Terminal>,
}

#[derive(Debug)]
struct Terminal {
    /// Standard input and its settings as they were found, if it is a terminal.
    input: Option<(OwnedFd, Termios)>,
    /// Standard output, if it is a terminal.
    output: Option<OwnedFd>,
    /// The screen in use; `None` once the terminal has been restored.
    screen: Mutex<Option<TerminalScreen>>,
    /// The mouse was reported at some time in the run.
    mouse_used: AtomicBool,
}

impl TerminalGuard {
    /// Puts `input` into raw mode and `output` on `screen`, each if it is a terminal.
    ///
    /// # Errors
    ///
    /// [`TerminalError`] when a terminal refuses; it is left as it was found.
    pub fn enter(
        input: impl AsFd,
        output: impl AsFd,
        screen: TerminalScreen,
    ) -> Result<TerminalGuard, TerminalError> {
        let guard = TerminalGuard::take_over(input.as_fd(), output.as_fd(), screen)?;
        let terminal = Arc::downgrade(&guard.terminal);
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |information| {
            if let Some(terminal) = terminal.upgrade() {
                terminal.restore();
            }
            previous(information);
        }));
        Ok(guard)
    }

    /// [`TerminalGuard::enter`] without the panic hook, which is the whole process's.
    fn take_over(
        input: BorrowedFd,
        output: BorrowedFd,
        screen: TerminalScreen,
    ) -> Result<TerminalGuard, TerminalError> {
        let own = |fd: BorrowedFd, stream| {
            rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(|reason| TerminalError {
                stream,
                action: "keep hold",
                reason,
            })
        };
        let refused = |action| move |reason| TerminalError { stream: "input", action, reason };
        let input = if isatty(input) {
            let found = tcgetattr(input).map_err(refused("read the settings"))?;
            Some((own(input, "input")?, found))
        } else {
            None
        };
        let output = if isatty(output) { Some(own(output, "output")?) } else { None };
        // From here on an error drops the guard, which undoes what has been done.
        let guard = TerminalGuard {
            terminal: Arc::new(Terminal {
                input,
                output,
                screen: Mutex::new(Some(TerminalScreen::Main)),
                mouse_used: AtomicBool::new(false),
            }),
        };
        if let Some((input, found)) = &guard.terminal.input {
            let mut raw = found.clone();
            raw.make_raw();
            raw.special_codes[SpecialCodeIndex::VMIN] = 1;
            raw.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(input, OptionalActions::Now, &raw).map_err(refused("change the settings"))?;
        }
        guard.switch_to(screen);
        Ok(guard)
    }

    /// True if keys are read from a terminal in raw mode.
    pub fn has_keyboard(&self) -> bool {
        self.terminal.input.is_some()
    }

    /// True if standard output is a terminal.
    pub fn has_screen(&self) -> bool {
        self.terminal.output.is_some()
    }

    /// Columns and rows of the terminal on standard output, or [`FALLBACK_SIZE`].
    pub fn size(&self) -> (u16, u16) {
        let size = self.terminal.output.as_ref().and_then(|output| tcgetwinsize(output).ok());
        match size {
            Some(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
            _ => FALLBACK_SIZE,
        }
    }

    /// The window of the terminal on standard output, with its pixels where the terminal knows them.
    pub fn window(&self) -> Window {
        let size = self.terminal.output.as_ref().and_then(|output| tcgetwinsize(output).ok());
        Window { cells: self.size(), pixels: size.map_or((0, 0), |size| (size.ws_xpixel, size.ws_ypixel)) }
    }

    /// Changes to `screen`, with the cursor and the colours as the terminal has them by default. No
    /// effect without a terminal on standard output, or after it has been restored.
    pub fn switch_to(&self, screen: TerminalScreen) {
        self.terminal.send(&self.switching_to(screen));
    }

    /// The bytes that [`TerminalGuard::switch_to`] sends, for a caller that sends them in order with other
    /// output. From now on `screen` counts as the one in use.
    pub fn switching_to(&self, screen: TerminalScreen) -> Vec<u8> {
        let mut current = self.terminal.screen();
        if current.is_none_or(|current| current == screen) {
            return Vec::new();
        }
        *current = Some(screen);
        let change = match screen {
            TerminalScreen::Main => LEAVE_ALTERNATE,
            TerminalScreen::Alternate => ENTER_ALTERNATE,
        };
        [PLAIN, change].concat()
    }

    /// The bytes that make the terminal report its mouse, or stop it, for a caller that sends them in order with
    /// other output. Restoring the terminal stops it, too.
    pub fn switching_mouse(&self, on: bool) -> &'static [u8] {
        let screen = self.terminal.screen();
        if screen.is_none() {
            return b"";
        }
        if on {
            self.terminal.mouse_used.store(true, Ordering::Relaxed);
            return MOUSE_ON;
        }
        MOUSE_OFF
    }

    /// Restores the terminal now, for a thread that is about to end the process. Other writers to the terminal
    /// must have stopped. Later calls do nothing.
    pub fn restore_now(&self) {
        self.terminal.restore();
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        self.restore_now();
    }
}

/// Own colours (SGR 0), own cursor shape (DECSCUSR 0), cursor shown (DECTCEM).
const PLAIN: &[u8] = b"\x1b[0m\x1b[0 q\x1b[?25h";
const ENTER_ALTERNATE: &[u8] = b"\x1b[?1049h";
const LEAVE_ALTERNATE: &[u8] = b"\x1b[?1049l";

/// All motion of the mouse (1003) is reported, with decimal numbers (SGR, 1006).
const MOUSE_ON: &[u8] = b"\x1b[?1003h\x1b[?1006h";
const MOUSE_OFF: &[u8] = b"\x1b[?1003l\x1b[?1006l";

impl Terminal {
    fn screen(&self) -> MutexGuard<'_, Option<TerminalScreen>> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn restore(&self) {
        // Locked to the end, so that a thread that finds the terminal restored may end the process.
        let mut current = self.screen();
        let Some(screen) = current.take() else { return };
        if self.mouse_used.load(Ordering::Relaxed) {
            self.send(MOUSE_OFF);
        }
        self.send(PLAIN);
        if screen == TerminalScreen::Alternate {
            self.send(LEAVE_ALTERNATE);
        }
        if let Some((input, found)) = &self.input {
            // A disconnected terminal has no settings to restore.
            let _ = tcsetattr(input, OptionalActions::Now, found);
        }
    }

    /// Writes to the terminal on standard output. A failure cannot be reported anywhere.
    fn send(&self, mut bytes: &[u8]) {
        let Some(output) = &self.output else { return };
        while !bytes.is_empty() {
            match rustix::io::write(output, bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let mut room = [PollFd::new(output, PollFlags::OUT)];
                    if !matches!(poll(&mut room, Some(&WRITE_TIMEOUT)), Ok(1..) | Err(Errno::INTR)) {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }
}

/// Prepares a guest's serial text for a raw terminal, where a line feed only moves down: adds a carriage
/// return before a line feed that lacks one.
#[derive(Clone, Debug, Default)]
pub struct Newlines {
    after_return: bool,
}

impl Newlines {
    /// For the beginning of a text.
    pub fn new() -> Newlines {
        Newlines::default()
    }

    /// Appends `text`, the next piece, to `out` with the carriage returns it lacks.
    pub fn translate(&mut self, text: &[u8], out: &mut Vec<u8>) {
        for &byte in text {
            if byte == b'\n' && !self.after_return {
                out.push(b'\r');
            }
            out.push(byte);
            self.after_return = byte == b'\r';
        }
    }
}

#[cfg(test)]
#[path = "terminal_test.rs"]
mod tests;
