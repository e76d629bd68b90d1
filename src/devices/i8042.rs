//! The 8042 keyboard controller, ports 60h and 64h.
//!
//! It follows the IBM Personal Computer AT Technical Reference ("Keyboard Controller") and, for the
//! commands that came later, the IBM PS/2 Hardware Interface Technical Reference ("Keyboard and
//! Auxiliary Device Controller"). The second port has a mouse, on IRQ 12. The controller takes no
//! time: a command is carried out while it is written, so that the input buffer is never seen full.
//! An answer of the controller is read before a byte of the keyboard, and that before one of the
//! mouse.
//!
//! The A20 bit of the output port is kept and has no effect: address line 20 is always enabled.

mod explain;
mod saved;

use serde::{Deserialize, Serialize};

use super::keyboard::{KeyEvent, Keyboard};
use super::mouse::{Mouse, Movement};
use super::scancodes::Translator;
use super::{Action, Device, MachineRequest};

/// Offset of the data register, port 60h.
const DATA: u16 = 0;
/// Offset of the status (read) and command (write) register, port 64h.
const COMMAND: u16 = 4;

mod status {
    pub const OUTPUT_FULL: u8 = 1 << 0;
    pub const SYSTEM: u8 = 1 << 2;
    pub const COMMAND: u8 = 1 << 3;
    pub const NOT_LOCKED: u8 = 1 << 4;
    pub const AUXILIARY: u8 = 1 << 5;
}

mod config {
    pub const KEYBOARD_INTERRUPT: u8 = 1 << 0;
    pub const AUXILIARY_INTERRUPT: u8 = 1 << 1;
    pub const SYSTEM: u8 = 1 << 2;
    pub const KEYBOARD_DISABLED: u8 = 1 << 4;
    pub const AUXILIARY_DISABLED: u8 = 1 << 5;
    pub const TRANSLATE: u8 = 1 << 6;
}

/// Configuration byte a BIOS leaves behind, interrupts aside.
const BIOS_CONFIG: u8 = config::SYSTEM | config::AUXILIARY_DISABLED | config::TRANSLATE;

/// Configuration byte after the controller's self-test: both interfaces are disabled.
const SELF_TEST_CONFIG: u8 = BIOS_CONFIG | config::KEYBOARD_DISABLED;

mod output_port {
    pub const NOT_RESET: u8 = 1 << 0;
    pub const OUTPUT_FULL: u8 = 1 << 4;
    pub const AUXILIARY_FULL: u8 = 1 << 5;
    /// A20 and the lines to both devices are high.
    pub const DEFAULT: u8 = 0xCF;
}

/// Input port: keyboard not locked, colour display, no manufacturing jumper, second RAM bank on.
const INPUT_PORT: u8 = 0xB0;

const SELF_TEST_PASSED: u8 = 0x55;
const INTERFACE_GOOD: u8 = 0x00;

/// Consecutive reads of the status, without a write between, that count as waiting for input.
///
/// A guest that is about to write a command reads it once, to check that the controller is ready.
const POLLS_OF_A_READER: u8 = 2;

/// What the next byte written to port 60h is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Parameter {
    /// The keyboard.
    Keyboard,
    /// This byte of the internal RAM.
    Ram(u8),
    OutputPort,
    /// To be read back as if the keyboard had sent it.
    KeyboardOutput,
    /// To be read back as if the mouse had sent it.
    AuxiliaryOutput,
    /// The mouse.
    Auxiliary,
}

/// A byte in the output buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OutputByte {
    byte: u8,
    /// It comes from the mouse, or as if it did.
    auxiliary: bool,
}

/// Levels of the lines to IRQ 1 and IRQ 12.
type Lines = (bool, bool);

/// The keyboard controller with its keyboard and its mouse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct I8042 {
    keyboard: Keyboard,
    mouse: Mouse,
    /// Internal RAM; byte 0 is the configuration.
    ram: [u8; 32],
    output_port: u8,
    parameter: Parameter,
    /// The last write was to the command register.
    command_written: bool,
    /// The answer of the controller itself. Read before `code`, so that it is not taken for a key that came
    /// shortly before.
    reply: Option<OutputByte>,
    /// The byte that has arrived from the keyboard, translated, or from the mouse.
    code: Option<OutputByte>,
    last_read: u8,
    /// Reads of the status since the last write, up to [`POLLS_OF_A_READER`].
    polls: u8,
    reads_input: bool,
}

impl Default for I8042 {
    /// The state a BIOS leaves behind: keyboard enabled and scanning, translation on, no interrupt,
    /// system flag set.
    fn default() -> I8042 {
        let mut ram = [0; 32];
        ram[0] = BIOS_CONFIG;
        I8042 {
            keyboard: Keyboard::default(),
            mouse: Mouse::default(),
            ram,
            output_port: output_port::DEFAULT,
            parameter: Parameter::Keyboard,
            command_written: false,
            reply: None,
            code: None,
            last_read: 0,
            polls: 0,
            reads_input: false,
        }
    }
}

impl I8042 {
    /// A key goes down or comes up.
    ///
    /// While the guest does not read, its bytes wait in the keyboard's buffer
    /// ([`Keyboard::key`]); [`I8042::idle`] is true when there is certainly room.
    pub fn key(&mut self, event: KeyEvent) -> Action {
        let before = self.lines();
        self.keyboard.key(event);
        self.send_next(before)
    }

    /// True when the next key would reach the guest at once: it has taken every byte, and neither
    /// the keyboard nor its interface is disabled.
    ///
    /// Keystrokes are delivered only then, so at the speed at which the guest reads.
    pub fn idle(&self) -> bool {
        self.reply.is_none() && self.code.is_none() && self.interface_enabled() && self.keyboard.idle()
    }

    /// The mouse is moved, and its buttons are as in `buttons` from now on ([`Mouse::moved`]).
    ///
    /// [`I8042::mouse_idle`] is true when nothing of it can be lost.
    pub fn mouse_moved(&mut self, movement: Movement, buttons: Option<u8>) -> Action {
        let before = self.lines();
        self.mouse.moved(movement, buttons);
        self.send_next(before)
    }

    /// True if the next movement would be reported at once: the mouse and its interface are enabled, and the
    /// controller has taken every byte of the mouse.
    pub fn mouse_idle(&self) -> bool {
        self.auxiliary_enabled() && self.mouse.idle()
    }

    /// True if the guest has asked the mouse for its movements ([`Mouse::is_enabled`]).
    pub fn mouse_is_enabled(&self) -> bool {
        self.mouse.is_enabled()
    }

    /// True once the guest has polled for keyboard input since power-on.
    ///
    /// That is: it has read the data register when neither an answer to a controller command nor a byte of the mouse
    /// was there, or
    /// read the status twice in a row without a write between, or enabled the keyboard interrupt.
    /// A single read of the status does not count, because one precedes every command, also those that
    /// reset the machine or switch A20.
    pub fn reads_input(&self) -> bool {
        self.reads_input
    }

    /// Level of the interrupt line to IRQ 1: high while a byte of the keyboard can be read and its
    /// interrupt is enabled.
    ///
    /// Reading a byte lowers the line, and [`Action::line`] reports that, even if the next byte has already
    /// raised it again. So the machine reads the level here after each such action, or an edge-triggered
    /// interrupt controller would miss the next byte.
    pub fn line(&self) -> bool {
        self.next_byte().is_some_and(|next| !next.auxiliary)
            && self.config() & config::KEYBOARD_INTERRUPT != 0
    }

    /// The same for the line to IRQ 12 and bytes of the mouse.
    pub fn auxiliary_line(&self) -> bool {
        self.next_byte().is_some_and(|next| next.auxiliary)
            && self.config() & config::AUXILIARY_INTERRUPT != 0
    }

    fn lines(&self) -> Lines {
        (self.line(), self.auxiliary_line())
    }

    /// The byte that a read of the data register takes.
    fn next_byte(&self) -> Option<OutputByte> {
        self.reply.or(self.code)
    }

    fn config(&self) -> u8 {
        self.ram[0]
    }

    fn interface_enabled(&self) -> bool {
        self.config() & config::KEYBOARD_DISABLED == 0
    }

    fn auxiliary_enabled(&self) -> bool {
        self.config() & config::AUXILIARY_DISABLED == 0
    }

    fn set_config(&mut self, value: u8) {
        self.ram[0] = value;
        self.reads_input |= value & config::KEYBOARD_INTERRUPT != 0;
    }

    fn status(&self) -> u8 {
        let mut status = status::NOT_LOCKED;
        if self.config() & config::SYSTEM != 0 {
            status |= status::SYSTEM;
        }
        if self.command_written {
            status |= status::COMMAND;
        }
        if let Some(next) = self.next_byte() {
            status |= status::OUTPUT_FULL;
            if next.auxiliary {
                status |= status::AUXILIARY;
            }
        }
        status
    }

    fn read_status(&mut self) -> u8 {
        // The answer to a command is no key, and neither is a byte of the mouse: polling for it does not count.
        if self.reply.is_none() && self.code.is_none_or(|code| !code.auxiliary) {
            self.polls = POLLS_OF_A_READER.min(self.polls + 1);
            self.reads_input |= self.polls == POLLS_OF_A_READER;
        }
        self.status()
    }

    fn read_data(&mut self) -> (u8, Action) {
        let before = self.lines();
        let byte = match (self.reply.take(), self.code) {
            (Some(reply), _) => {
                self.polls = 0;
                reply.byte
            }
            (None, Some(OutputByte { byte, auxiliary })) => {
                self.code = None;
                if auxiliary {
                    self.polls = 0;
                } else {
                    self.reads_input = true;
                }
                byte
            }
            (None, None) => {
                self.reads_input = true;
                self.last_read
            }
        };
        self.last_read = byte;
        let mut action = self.send_next(before);
        // Each byte makes an edge.
        if before.0 {
            action.line = Some(false);
        }
        if before.1 {
            action.second_line = Some(false);
        }
        (byte, action)
    }

    fn write_command(&mut self, command: u8) -> Action {
        self.command_written = true;
        self.parameter = Parameter::Keyboard;
        match command {
            0x20..=0x3F => self.answer(self.ram[usize::from(command & 0x1F)]),
            0x60..=0x7F => self.parameter = Parameter::Ram(command & 0x1F),
            0xA7 => self.set_config(self.config() | config::AUXILIARY_DISABLED),
            0xA8 => self.set_config(self.config() & !config::AUXILIARY_DISABLED),
            0xA9 | 0xAB => self.answer(INTERFACE_GOOD),
            0xAA => self.self_test(),
            0xAD => self.set_config(self.config() | config::KEYBOARD_DISABLED),
            0xAE => self.set_config(self.config() & !config::KEYBOARD_DISABLED),
            0xC0 => self.answer(INPUT_PORT),
            0xD0 => self.answer(self.read_output_port()),
            0xD1 => self.parameter = Parameter::OutputPort,
            0xD2 => self.parameter = Parameter::KeyboardOutput,
            0xD3 => self.parameter = Parameter::AuxiliaryOutput,
            0xD4 => self.parameter = Parameter::Auxiliary,
            0xE0 => self.answer(self.test_inputs()),
            // A pulse on the output port lines whose bit is 0; line 0 is the machine's reset.
            0xF0..=0xFF if command & output_port::NOT_RESET == 0 => {
                return Action::request(MachineRequest::Reset);
            }
            _ => {}
        }
        Action::NONE
    }

    fn write_data(&mut self, value: u8) -> Action {
        self.command_written = false;
        match std::mem::replace(&mut self.parameter, Parameter::Keyboard) {
            Parameter::Keyboard => {
                // The controller cannot talk to a keyboard whose clock it holds.
                self.set_config(self.config() & !config::KEYBOARD_DISABLED);
                self.keyboard.receive(value);
            }
            Parameter::Ram(0) => self.set_config(value),
            Parameter::Ram(index) => self.ram[usize::from(index)] = value,
            Parameter::OutputPort => {
                self.output_port = value | output_port::NOT_RESET;
                if value & output_port::NOT_RESET == 0 {
                    return Action::request(MachineRequest::Reset);
                }
            }
            Parameter::KeyboardOutput => self.answer(value),
            Parameter::AuxiliaryOutput => {
                self.reply = Some(OutputByte { byte: value, auxiliary: true });
            }
            Parameter::Auxiliary => {
                self.set_config(self.config() & !config::AUXILIARY_DISABLED);
                self.mouse.receive(value);
            }
        }
        Action::NONE
    }

    fn answer(&mut self, byte: u8) {
        self.reply = Some(OutputByte { byte, auxiliary: false });
    }

    fn self_test(&mut self) {
        self.set_config(SELF_TEST_CONFIG);
        self.output_port = output_port::DEFAULT;
        self.code = None;
        self.answer(SELF_TEST_PASSED);
    }

    fn read_output_port(&self) -> u8 {
        let status = self.status();
        let mut value = self.output_port & !(output_port::OUTPUT_FULL | output_port::AUXILIARY_FULL);
        if status & status::AUXILIARY != 0 {
            value |= output_port::AUXILIARY_FULL;
        } else if status & status::OUTPUT_FULL != 0 {
            value |= output_port::OUTPUT_FULL;
        }
        value
    }

    /// Clock (bit 0, held low while the interface is disabled) and data (bit 1) of the keyboard.
    fn test_inputs(&self) -> u8 {
        0b10 | u8::from(self.interface_enabled())
    }

    /// Takes the next byte from the keyboard or the mouse if there is room, and reports how the lines have changed.
    fn send_next(&mut self, before: Lines) -> Action {
        if self.code.is_none() && self.interface_enabled() {
            self.code = self.receive_from_keyboard().map(|byte| OutputByte { byte, auxiliary: false });
        }
        if self.code.is_none() && self.auxiliary_enabled() {
            self.code = self.mouse.send().map(|byte| OutputByte { byte, auxiliary: true });
        }
        let now = self.lines();
        let changed = |now: bool, before: bool| (now != before).then_some(now);
        Action { line: changed(now.0, before.0), second_line: changed(now.1, before.1), ..Action::NONE }
    }

    fn receive_from_keyboard(&mut self) -> Option<u8> {
        if self.config() & config::TRANSLATE == 0 {
            return self.keyboard.send();
        }
        let mut translator = Translator::default();
        loop {
            // Only a release prefix gives nothing, and its code follows in the same buffer.
            if let Some(byte) = translator.next(self.keyboard.send()?) {
                return Some(byte);
            }
        }
    }
}

impl Device for I8042 {
    fn explain(&self) -> Vec<String> {
        explain::lines(self)
    }

    fn line(&self) -> bool {
        self.line()
    }

    fn second_line(&self) -> bool {
        self.auxiliary_line()
    }

    fn second_may_interrupt(&self) -> bool {
        self.config() & config::AUXILIARY_INTERRUPT != 0 && self.mouse.is_enabled()
    }

    fn may_interrupt(&self) -> bool {
        self.config() & config::KEYBOARD_INTERRUPT != 0
    }

    fn read(&mut self, offset: u16) -> (u8, Action) {
        match offset {
            DATA => self.read_data(),
            COMMAND => (self.read_status(), Action::NONE),
            _ => (0, Action::NONE),
        }
    }

    fn write(&mut self, offset: u16, value: u8) -> Action {
        let before = self.lines();
        self.polls = 0;
        let action = match offset {
            DATA => self.write_data(value),
            COMMAND => self.write_command(value),
            _ => Action::NONE,
        };
        Action { request: action.request, ..self.send_next(before) }
    }
}

#[cfg(test)]
#[path = "i8042_test.rs"]
mod tests;

#[cfg(test)]
#[path = "i8042_mouse_test.rs"]
mod mouse_tests;
