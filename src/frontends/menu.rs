//! The Ctrl-A menu: commands for the supervisor among the keys for the guest.
//!
//! On a raw terminal every key belongs to the guest, Ctrl-C and Ctrl-Z included. Ctrl-A is the one
//! exception, as it is in other emulators: the key after it is a command. For use on a terminal
//! only; a pipe's bytes are all meant for the guest.

/// The byte Ctrl-A sends.
pub const PREFIX: u8 = 0x01;

/// What the commands are, one per line, for [`MenuEvent::Help`].
pub const HELP: &str = "\
Ctrl-A h    this help
Ctrl-A x    quit
Ctrl-A r    reset the machine
Ctrl-A c    switch between the screen and the serial port
Ctrl-A a    send Ctrl-A to the guest (also Ctrl-A Ctrl-A)
";

/// What the user's keys mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MenuEvent {
    /// These are for the guest.
    Bytes(Vec<u8>),
    /// End the run.
    Quit,
    /// Show [`HELP`].
    Help,
    /// Switch between the VGA screen and the serial port's text.
    ToggleScreen,
    /// Restart the machine.
    Reset,
    /// Ctrl-A was followed by this byte, which is no command. The guest gets neither.
    Unknown(u8),
}

/// Separates commands from input for the guest.
#[derive(Clone, Debug, Default)]
pub struct Menu {
    /// The last byte was the prefix.
    prefixed: bool,
}

impl Menu {
    /// A menu that has seen no prefix yet.
    pub fn new() -> Menu {
        Menu::default()
    }

    /// Takes what the terminal sent, in pieces of any size. The letters of commands may be capital.
    pub fn feed(&mut self, input: &[u8]) -> Vec<MenuEvent> {
        let mut events = Vec::new();
        for &byte in input {
            if !std::mem::take(&mut self.prefixed) {
                if byte == PREFIX {
                    self.prefixed = true;
                } else {
                    pass(&mut events, byte);
                }
                continue;
            }
            match byte.to_ascii_lowercase() {
                b'a' | PREFIX => pass(&mut events, PREFIX),
                b'x' => events.push(MenuEvent::Quit),
                b'h' | b'?' => events.push(MenuEvent::Help),
                b'c' => events.push(MenuEvent::ToggleScreen),
                b'r' => events.push(MenuEvent::Reset),
                _ => events.push(MenuEvent::Unknown(byte)),
            }
        }
        events
    }
}

/// Adds `byte` to what the guest gets.
fn pass(events: &mut Vec<MenuEvent>, byte: u8) {
    match events.last_mut() {
        Some(MenuEvent::Bytes(bytes)) => bytes.push(byte),
        _ => events.push(MenuEvent::Bytes(vec![byte])),
    }
}

#[cfg(test)]
#[path = "menu_test.rs"]
mod tests;
