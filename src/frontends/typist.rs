//! Standard input on its way to the guest.

use std::io::Stdin;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tracing::debug;

use super::display::Display;
use super::keys::{Decoder, Stroke};
use super::menu::{Menu, MenuEvent};
use crate::machine::inputs::{Input, Inputs, Keystroke};
use crate::settings::LayoutName;

/// What Ctrl-C sends.
const CTRL_C: &[u8] = b"\x03";
/// Strokes from a pipe that may wait for the guest before more is read.
const MOST_AHEAD: usize = 256;
/// Most bytes read at a time.
const READ_SIZE: usize = 4096;
/// How long the rest of an escape sequence or of a character is waited for; then a lone `ESC` is the
/// Escape key.
const REST_WAIT: Duration = Duration::from_millis(20);

/// Reads standard input and types it.
#[derive(Debug)]
pub struct Typist {
    stdin: Stdin,
    /// Keys come one by one from a terminal in raw mode: Ctrl-A is the menu.
    interactive: bool,
    ended: bool,
    menu: Menu,
    decoder: Decoder,
    /// When what has come so far is taken for complete.
    complete_at: Option<Instant>,
}

impl Typist {
    /// A typist for a guest that believes its keyboard to have `layout`.
    pub fn new(layout: LayoutName, interactive: bool, readable: bool) -> Typist {
        Typist {
            stdin: std::io::stdin(),
            interactive,
            ended: !readable,
            menu: Menu::new(),
            decoder: Decoder::new(layout),
            complete_at: None,
        }
    }

    /// True if there may be more to read, but not before the guest has taken what came. A pipe is
    /// read only as fast as that; a terminal always, because of the menu.
    pub fn is_held_back(&self, inputs: &Inputs) -> bool {
        !self.ended && !self.interactive && inputs.keystroke_backlog() >= MOST_AHEAD
    }

    /// Standard input, if it is to be read now.
    pub fn watched(&self, inputs: &Inputs) -> Option<BorrowedFd<'_>> {
        (!self.ended && !self.is_held_back(inputs)).then(|| self.stdin.as_fd())
    }

    /// When [`Self::time_passes`] is due next.
    pub fn due(&self) -> Option<Instant> {
        self.complete_at
    }

    /// Types what has waited long enough for a rest that did not come.
    pub fn time_passes(&mut self, now: Instant, inputs: &Inputs) {
        if self.complete_at.is_some_and(|at| now >= at) {
            self.complete_at = None;
            let rest = self.decoder.flush();
            self.push(inputs, rest);
        }
    }

    /// Standard input is ready: reads it once and types what it says.
    pub fn read(&mut self, inputs: &Inputs, display: &mut Display) {
        let mut bytes = [0; READ_SIZE];
        // Not through the standard library, whose buffer would keep bytes that no poll tells of.
        match rustix::io::read(&self.stdin, &mut bytes) {
            Ok(0) => {
                self.ended = true;
                self.complete_at = None;
                let rest = self.decoder.flush();
                self.push(inputs, rest);
            }
            Ok(count) => {
                self.complete_at = Some(Instant::now() + REST_WAIT);
                if self.interactive {
                    for event in self.menu.feed(&bytes[..count]) {
                        self.act(event, inputs, display);
                    }
                } else {
                    let strokes = self.decoder.feed(&bytes[..count]);
                    self.push(inputs, strokes);
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => {
                debug!("standard input cannot be read: {error}");
                self.ended = true;
            }
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
                let strokes = self.decoder.feed(&bytes);
                self.push(inputs, strokes);
            }
            MenuEvent::Quit => inputs.push(Input::Quit),
            MenuEvent::Reset => inputs.push(Input::Reset),
            MenuEvent::Help => display.help(),
            MenuEvent::ToggleScreen => display.toggle(),
            MenuEvent::Unknown(_) => display.bell(),
        }
    }

    fn push(&self, inputs: &Inputs, strokes: Vec<Stroke>) {
        for stroke in strokes {
            if let Some(character) = stroke.missing {
                debug!("the layout has no key for {character:?}");
            }
            let typed = Keystroke { bytes: stroke.bytes.into_vec(), keys: stroke.events };
            // In a pipe nobody pressed Ctrl-C to get away.
            let interrupt = self.interactive && typed.bytes == CTRL_C;
            inputs.push(if interrupt { Input::InterruptKey(typed) } else { Input::Keystroke(typed) });
        }
    }
}
