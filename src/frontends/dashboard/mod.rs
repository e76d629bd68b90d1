//! The dashboard: guest and machine side by side on a terminal, while the guest runs and while it is stopped.
//!
//! ```text
//!  vCPU thread <--requests-- feed (thread) --news--> Dashboard (user-interface thread) --cells--> terminal
//!                                ^------orders----------|
//! ```
//!
//! `feed` reads the machine ten times a second through the request queue and carries out orders. `state` holds what
//! is shown and what keys do; `views` makes cells of it; `paint` makes bytes of those that have changed. Nothing of it
//! exists in a run without `--dashboard`.

mod feed;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod keys;
mod layout;
mod paint;
pub mod sample;
mod serial_text;
mod state;
mod views;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;

use self::feed::{FeedHandle, Order};
use self::keys::KeyReader;
use self::sample::{Sample, Wanted};
use self::serial_text::SerialText;
use self::state::{DashboardState, KeyEffect};
use self::views::{DashboardPicture, ScreenContents};
use super::menu::PREFIX;
use super::messages::escaped;
use super::pictures::line_at_end;
use crate::machine::output::Doorbell;
use crate::machine::screen::Screen;
use crate::supervisor::request_queue::RequestSender;

/// Time between two pictures of it.
pub const REFRESH_INTERVAL: Duration = Duration::from_millis(50);
/// Columns and rows that are used at most.
const MOST_SIZE: (u16, u16) = (400, 200);
/// Clears the terminal, without a cursor.
const CLEAR: &[u8] = b"\x1b[0m\x1b[2J\x1b[?25l";

/// Why there is no dashboard.
#[derive(Debug, thiserror::Error)]
pub enum DashboardError {
    /// Keys or screen are missing.
    #[error(
        "--dashboard needs a terminal, and standard {stream} is none; start it on one, or leave --dashboard out (--console \
         has the same commands without a terminal)"
    )]
    NoTerminal {
        /// `"input"` or `"output"`.
        stream: &'static str,
    },
    /// A shell has started it in the background.
    #[error(
        "--dashboard needs the terminal, and this process is in the background: start it in the foreground"
    )]
    Background,
}

/// What the guest's end leaves to be looked at.
#[derive(Debug)]
pub struct LastPicture {
    /// Why the run is over.
    pub message: String,
    /// The machine after its last instruction.
    pub sample: Sample,
}

/// The dashboard in the user-interface thread.
#[derive(Debug)]
pub struct Dashboard {
    feed: FeedHandle,
    guest: String,
    state: DashboardState,
    serial: SerialText,
    keys: KeyReader,
    /// What the terminal shows.
    shown: Buffer,
    asked: Option<Wanted>,
    colours: bool,
    left: bool,
}

/// What the keys have caused.
#[derive(Debug, Default)]
pub struct KeyResult {
    /// Bytes for the guest.
    pub for_guest: Vec<u8>,
    /// The run ends.
    pub quit: bool,
}

/// Checks that there is a terminal for the dashboard.
///
/// # Errors
///
/// [`DashboardError`].
pub fn check_terminal() -> Result<(), DashboardError> {
    let (input, output) = (io::stdin(), io::stdout());
    if !input.is_terminal() {
        return Err(DashboardError::NoTerminal { stream: "input" });
    }
    if !output.is_terminal() {
        return Err(DashboardError::NoTerminal { stream: "output" });
    }
    let foreground = rustix::termios::tcgetpgrp(&output);
    match foreground.is_ok_and(|group| group == rustix::process::getpgrp()) {
        true => Ok(()),
        false => Err(DashboardError::Background),
    }
}

impl Dashboard {
    /// A dashboard for the guest called `guest`, whose machine is reached through `caller`. With `paused` the guest does not
    /// execute its first instruction. `doorbell` wakes the user-interface thread.
    ///
    /// # Errors
    ///
    /// The host's, if it gives no thread.
    pub fn start(
        guest: &str,
        caller: RequestSender,
        doorbell: Arc<Doorbell>,
        paused: bool,
    ) -> io::Result<Dashboard> {
        if paused {
            // The run has not begun, and its queue is empty.
            let _ = caller.pause();
        }
        Ok(Dashboard {
            feed: feed::start(caller, doorbell)?,
            guest: escaped(guest, &[]),
            state: DashboardState::default(),
            serial: SerialText::default(),
            keys: KeyReader::default(),
            shown: Buffer::default(),
            asked: None,
            // https://no-color.org
            colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            left: false,
        })
    }

    /// Takes serial text of the guest.
    pub fn text(&mut self, bytes: &[u8]) {
        self.serial.push(bytes);
    }

    /// Handles what the terminal has sent for keys.
    pub fn keys(&mut self, bytes: &[u8]) -> KeyResult {
        let mut result = KeyResult::default();
        for &byte in bytes {
            if self.state.to_guest {
                match byte {
                    PREFIX => self.state.to_guest = false,
                    _ => result.for_guest.push(byte),
                }
                continue;
            }
            for key in self.keys.feed(&[byte]) {
                result.quit |= self.act(key);
            }
        }
        self.ask();
        result
    }

    /// Handles an escape sequence whose rest has not arrived in time; true if the run ends.
    pub fn complete_keys(&mut self) -> bool {
        let key = self.keys.flush();
        key.is_some_and(|key| self.act(key))
    }

    /// True if the run ends.
    fn act(&mut self, key: keys::PressedKey) -> bool {
        let mut quit = false;
        for effect in self.state.key(key) {
            match effect {
                KeyEffect::Order(order) => self.feed.order(order),
                KeyEffect::Quit => quit = true,
                KeyEffect::Leave => self.left = true,
            }
        }
        quit
    }

    /// Has the feed read what is shown.
    fn ask(&mut self) {
        let wanted = self.state.wanted();
        if self.asked != Some(wanted) {
            self.asked = Some(wanted);
            self.feed.order(Order::Show(wanted));
        }
    }

    /// The run is over: shows why, and the machine as it was left.
    pub fn show_end(&mut self, last: LastPicture) {
        self.state.end = Some(last.message);
        self.state.to_guest = false;
        self.state.prompt = None;
        self.state.take_sample(last.sample, Instant::now());
    }

    /// What the sample at the end of the run has to contain.
    pub fn wanted_at_end() -> Wanted {
        Wanted { lines: MOST_SIZE.1.into(), maps: true, ..Wanted::default() }
    }

    /// True once the user has left it after the end of the run.
    pub fn is_left(&self) -> bool {
        self.left
    }

    /// True if the guest's screen is shown, not its serial text.
    pub fn shows_screen(&self, screen: &Screen) -> bool {
        screen.in_use() != self.state.other_screen
    }

    /// Appends what brings the terminal, of this size, up to date.
    pub fn paint(&mut self, screen: &Screen, (width, height): (u16, u16), out: &mut Vec<u8>) {
        let (width, height) = (width.min(MOST_SIZE.0), height.min(MOST_SIZE.1));
        let now = Instant::now();
        while let Some(news) = self.feed.news() {
            self.state.take_news(news, now);
        }
        self.state.set_rows(height);
        self.ask();
        let contents = if self.shows_screen(screen) {
            match screen.picture() {
                Some(frame) if self.colours => ScreenContents::Picture(frame),
                Some(frame) => ScreenContents::Note(line_at_end(&frame)),
                None => ScreenContents::Text { cells: screen.cells(), view: screen.view() },
            }
        } else {
            ScreenContents::Serial(self.serial.last_lines(height.into()).collect())
        };
        let picture = DashboardPicture { state: &self.state, guest: &self.guest, screen: &contents };
        let buffer = views::draw(&picture, width, height);
        if buffer.area != self.shown.area {
            out.extend_from_slice(CLEAR);
            self.shown = Buffer::empty(Rect::new(0, 0, width, height));
        }
        paint::append_changes(&self.shown, &buffer, self.colours, out);
        self.shown = buffer;
    }
}
