//! Standard input on its way to the guest.

use std::io::{Read, Stdin};
use std::os::fd::{AsFd, BorrowedFd};

use tracing::debug;

use super::display::Display;
use super::keys::{Decoder, Stroke};
use super::menu::{Menu, MenuEvent};
use crate::machine::inputs::{Input, Inputs, Typed};
use crate::settings::LayoutName;

/// What Ctrl-C sends.
const CTRL_C: &[u8] = b"\x03";
/// Strokes from a pipe that may wait for the guest before more is read.
const MOST_AHEAD: usize = 256;
/// Most bytes read at a time.
const READ_SIZE: usize = 4096;

/// Reads standard input and types it.
#[derive(Debug)]
pub struct Typist {
    stdin: Stdin,
    /// Keys come one by one from a terminal in raw mode: Ctrl-A is the menu.
    interactive: bool,
    ended: bool,
    menu: Menu,
    decoder: Decoder,
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
        }
    }

    /// True if there may be more to read, now or later.
    pub fn may_continue(&self) -> bool {
        !self.ended
    }

    /// Standard input, if it is to be read now. A pipe is read only as fast as the guest takes what
    /// comes out of it; a terminal always, because of the menu.
    pub fn watched(&self, inputs: &Inputs) -> Option<BorrowedFd<'_>> {
        let wanted = self.interactive || inputs.typed_backlog() < MOST_AHEAD;
        (wanted && !self.ended).then(|| self.stdin.as_fd())
    }

    /// Standard input is ready: reads it once and types what it says.
    pub fn read(&mut self, inputs: &Inputs, display: &mut Display) {
        let mut bytes = [0; READ_SIZE];
        match self.stdin.lock().read(&mut bytes) {
            Ok(0) => {
                self.ended = true;
                let rest = self.decoder.flush();
                push(inputs, rest);
            }
            Ok(count) if self.interactive => {
                for event in self.menu.feed(&bytes[..count]) {
                    self.act(event, inputs, display);
                }
                let rest = self.decoder.flush();
                push(inputs, rest);
            }
            Ok(count) => {
                let strokes = self.decoder.feed(&bytes[..count]);
                push(inputs, strokes);
                if count < READ_SIZE {
                    let rest = self.decoder.flush();
                    push(inputs, rest);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                debug!("standard input cannot be read: {error}");
                self.ended = true;
            }
        }
    }

    fn act(&mut self, event: MenuEvent, inputs: &Inputs, display: &mut Display) {
        if display.key_ends_help() {
            return;
        }
        match event {
            MenuEvent::Bytes(bytes) => {
                let strokes = self.decoder.feed(&bytes);
                push(inputs, strokes);
            }
            MenuEvent::Quit => inputs.push(Input::Quit),
            MenuEvent::Reset => inputs.push(Input::Reset),
            MenuEvent::Help => display.help(),
            MenuEvent::ToggleScreen => display.toggle(),
            MenuEvent::Unknown(_) => display.bell(),
        }
    }
}

fn push(inputs: &Inputs, strokes: Vec<Stroke>) {
    for stroke in strokes {
        if let Some(character) = stroke.missing {
            debug!("the layout has no key for {character:?}");
        }
        let typed = Typed { bytes: stroke.bytes.into_vec(), keys: stroke.events };
        let interrupt = typed.bytes == CTRL_C;
        inputs.push(if interrupt { Input::Interrupt(typed) } else { Input::Typed(typed) });
    }
}
