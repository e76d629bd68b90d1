//! One chip per file, each a plain register machine.
//!
//! A chip knows neither KVM nor threads nor terminals. It is given an access and returns what it
//! wants done as an [`Action`]; the machine carries that out. Given the same accesses and inputs it
//! always ends in the same state, and it can save and restore that state ([`Snapshot`]).

pub mod bus;
pub mod debug_exit;
pub mod i8042;
pub mod keyboard;
pub mod lapic;
pub mod post;
pub mod reset;
pub mod scancodes;
pub mod serial;
pub mod snapshot;
pub mod vga;

pub use snapshot::{Payload, Snapshot, StateError};

/// What a chip wants the machine to do after an access or an input.
///
/// The default is nothing at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "the machine has to carry the action out"]
pub struct Action {
    /// New level of the chip's interrupt line, if the access may have changed it.
    pub line: Option<bool>,
    /// A byte that leaves the machine (serial transmitter, debug console).
    pub output: Option<u8>,
    /// Something the whole machine has to do.
    pub request: Option<Request>,
}

/// Something a chip asks of the whole machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Restart the machine as its reset line would.
    Reset,
    /// End the run; the guest wrote this value to the debug exit port.
    Exit(u32),
}

impl Action {
    /// Nothing to do.
    pub const NONE: Action = Action { line: None, output: None, request: None };

    /// The chip's interrupt line is now at `level`.
    pub fn line(level: bool) -> Action {
        Action { line: Some(level), ..Action::NONE }
    }

    /// The chip sends `byte` to the outside.
    pub fn output(byte: u8) -> Action {
        Action { output: Some(byte), ..Action::NONE }
    }

    /// The chip asks `request` of the machine.
    pub fn request(request: Request) -> Action {
        Action { request: Some(request), ..Action::NONE }
    }
}

/// A chip reached by byte-wide port accesses.
///
/// `offset` counts from the first port of the range the chip is attached to. The bus splits wider
/// accesses into bytes, lowest first, as an ISA bus does.
pub trait PortDevice {
    /// The guest reads one byte.
    fn read(&mut self, offset: u16) -> (u8, Action);

    /// The guest writes one byte.
    fn write(&mut self, offset: u16, value: u8) -> Action;
}
