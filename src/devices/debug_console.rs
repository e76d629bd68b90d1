//! The debug console at port 0xE9: each byte written leaves the machine, without any setup.
//!
//! As in Bochs and QEMU (`isa-debugcon`), the port reads back its own number, by which guests detect it.

use super::snapshot::Stateless;
use super::{Action, Device};

/// The port.
pub const PORT: u16 = 0xE9;

/// What a read gives.
const PRESENT: u8 = 0xE9;

/// The debug console.
#[derive(Clone, Copy, Debug, Default)]
pub struct DebugConsole;

impl Device for DebugConsole {
    fn read(&mut self, _offset: u16) -> (u8, Action) {
        (PRESENT, Action::NONE)
    }

    fn write(&mut self, _offset: u16, value: u8) -> Action {
        Action::output(value)
    }
}

impl Stateless for DebugConsole {
    const NAME: &'static str = "debug-console";
}
