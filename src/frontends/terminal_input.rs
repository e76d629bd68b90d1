//! Standard input as keystrokes for the guest.

use std::io::Stdin;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tracing::debug;

use super::display::Display;
use super::keys::{DecodedKey, Decoder};
use super::menu::{Menu, MenuEvent};
use super::mouse_reports::{MouseReports, Piece};
use crate::machine::inputs::{Input, Inputs, Keystroke};
use crate::settings::LayoutName;

/// What Ctrl-C sends.
const CTRL_C: &[u8] = b"\x03";
/// Maximum number of pending keystrokes from a pipe before reading stops.
const MOST_PENDING: usize = 256;
/// Maximum number of bytes read at a time.
const READ_SIZE: usize = 4096;
/// Timeout for the rest of an escape sequence or of a character; after it a lone `ESC` is the Escape key.
const SEQUENCE_TIMEOUT: Duration = Duration::from_millis(20);

/// Reads standard input, handles the Ctrl-A menu, and sends the rest to the guest as keystrokes.
#[derive(Debug)]
pub struct TerminalInput {
    stdin: Stdin,
    /// Keys come one by one from a terminal in raw mode: Ctrl-A is the menu.
    interactive: bool,
    ended: bool,
    mouse: MouseReports,
    /// The terminal shows the guest's screen, as the machine knows.
    screen_shown: bool,
    menu: Menu,
    decoder: Decoder,
    /// When an incomplete sequence times out.
    complete_at: Option<Instant>,
}

impl TerminalInput {
    /// Input for a guest that expects a keyboard with `layout`.
    pub fn new(layout: LayoutName, interactive: bool, readable: bool) -> TerminalInput {
        TerminalInput {
            stdin: std::io::stdin(),
            interactive,
            ended: !readable,
            mouse: MouseReports::default(),
            screen_shown: false,
            menu: Menu::new(),
            decoder: Decoder::new(layout),
            complete_at: None,
        }
    }

    /// True if reading has to wait for the guest. A pipe is read only as fast as the guest takes its
    /// input; a terminal always, because of the menu.
    pub fn is_held_back(&self, inputs: &Inputs) -> bool {
        !self.ended && !self.interactive && inputs.keystroke_backlog() >= MOST_PENDING
    }

    /// True if there are no more keys.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Standard input, if it should be polled.
    pub fn watched(&self, inputs: &Inputs) -> Option<BorrowedFd<'_>> {
        (!self.ended && !self.is_held_back(inputs)).then(|| self.stdin.as_fd())
    }

    /// The next deadline of [`Self::time_passes`].
    pub fn due(&self) -> Option<Instant> {
        self.complete_at
    }

    /// Sends incomplete sequences whose rest did not arrive in time.
    pub fn time_passes(&mut self, now: Instant, inputs: &Inputs, display: &mut Display) {
        if self.complete_at.is_some_and(|at| now >= at) {
            self.complete_at = None;
            let begun = self.mouse.flush();
            if !begun.is_empty() {
                self.keys(&begun, inputs, display);
            }
            let rest = self.decoder.flush();
            self.push(inputs, rest);
            if let Some(dashboard) = display.dashboard() {
                if dashboard.complete_keys() {
                    inputs.push(Input::Quit);
                }
                display.hurry();
            }
        }
    }

    /// Reads standard input once, when it is ready, and sends what was read.
    pub fn read(&mut self, inputs: &Inputs, display: &mut Display) {
        let mut bytes = [0; READ_SIZE];
        // Not through the standard library, whose buffer would hide bytes from poll.
        match rustix::io::read(&self.stdin, &mut bytes) {
            Ok(0) => {
                self.ended = true;
                self.complete_at = None;
                let rest = self.decoder.flush();
                self.push(inputs, rest);
            }
            Ok(count) => {
                self.complete_at = Some(Instant::now() + SEQUENCE_TIMEOUT);
                if self.interactive {
                    let answered = display.take_answer(&bytes[..count]);
                    let bytes = answered.as_deref().unwrap_or(&bytes[..count]);
                    for piece in self.mouse.feed(bytes) {
                        match piece {
                            Piece::Bytes(bytes) => self.keys(&bytes, inputs, display),
                            Piece::Mouse(input) => inputs.push(input),
                        }
                    }
                } else {
                    let keys = self.decoder.feed(&bytes[..count]);
                    self.push(inputs, keys);
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => {
                debug!("standard input cannot be read: {error}");
                self.ended = true;
            }
        }
    }

    /// The terminal reports its mouse to the guest, or does not.
    pub fn report_mouse(&mut self, on: bool, inputs: &Inputs) {
        if let Some(released) = self.mouse.set_on(on) {
            inputs.push(released);
        }
    }

    /// The terminal shows the guest's screen, or its serial port: what is typed from now on is meant for that.
    pub fn report_view(&mut self, screen: bool, inputs: &Inputs) {
        if self.screen_shown != screen {
            self.screen_shown = screen;
            inputs.push(Input::TerminalView { screen });
        }
    }

    /// Bytes that the terminal sends for keys.
    fn keys(&mut self, bytes: &[u8], inputs: &Inputs, display: &mut Display) {
        if let Some(dashboard) = display.dashboard() {
            let result = dashboard.keys(bytes);
            let keys = self.decoder.feed(&result.for_guest);
            self.push(inputs, keys);
            if result.quit {
                inputs.push(Input::Quit);
            }
            return display.hurry();
        }
        for event in self.menu.feed(bytes) {
            self.act(event, inputs, display);
        }
    }

    fn act(&mut self, event: MenuEvent, inputs: &Inputs, display: &mut Display) {
        let only_ends_help =
            display.key_ends_help() && matches!(event, MenuEvent::Bytes(_) | MenuEvent::Help);
        if only_ends_help {
            return;
        }
        match event {
            MenuEvent::Bytes(bytes) => {
                let keys = self.decoder.feed(&bytes);
                self.push(inputs, keys);
            }
            MenuEvent::Quit => inputs.push(Input::Quit),
            MenuEvent::Reset => inputs.push(Input::Reset),
            MenuEvent::Help => display.help(),
            MenuEvent::ToggleScreen => display.toggle(),
            MenuEvent::Unknown(_) => display.bell(),
        }
    }

    fn push(&self, inputs: &Inputs, keys: Vec<DecodedKey>) {
        for stroke in keys {
            if let Some(character) = stroke.missing {
                debug!("the layout has no key for {character:?}");
            }
            let typed = Keystroke { bytes: stroke.bytes.into_vec(), keys: stroke.events };
            // A Ctrl-C byte in a pipe is data, not a user's wish to quit.
            let interrupt = self.interactive && typed.bytes == CTRL_C;
            inputs.push(if interrupt { Input::InterruptKey(typed) } else { Input::Keystroke(typed) });
        }
    }
}
