//! Bochs' I/O interface to its debugger at port 0x8A00: a guest stops itself in the debugger.
//!
//! Words written to the port are commands, which have no effect before [`ENABLE`]. The port reads 0x8A00 while
//! the interface is enabled, else 0. The machine has it with `--magic-break` only. Commands that watch memory or
//! trace are accepted without effect; the log names each kind once.
//!
//! Manual: "I/O Interface to Bochs Debugger" (iodebug) in the Bochs developers guide.

use serde::{Deserialize, Serialize};
use tracing::info;

use super::{Action, Device, MachineRequest, Snapshot, StateError};

/// The port for commands. The two behind it take the data of commands.
pub const PORT: u16 = 0x8A00;
/// Last port of the device.
pub const LAST_PORT: u16 = PORT + 2;

/// Enables the interface.
pub const ENABLE: u16 = 0x8A00;
/// Stops the guest in the debugger.
pub const STOP: u16 = 0x8AE0;
/// Disables the interface.
pub const DISABLE: u16 = 0x8AFF;

/// The interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebuggerPort {
    enabled: bool,
    /// The kinds of commands without effect that the log has named, a bit each.
    named: u8,
}

impl DebuggerPort {
    fn command(&mut self, command: u16) -> Action {
        match command {
            ENABLE => self.enabled = true,
            _ if !self.enabled => {}
            STOP => return Action::request(MachineRequest::Stop),
            DISABLE => self.enabled = false,
            0x8A01 | 0x8A02 | 0x8A80 => self.without_effect(0, command, "memory ranges are not watched"),
            0x8AE2..=0x8AE5 => self.without_effect(1, command, "instructions are not traced"),
            _ => self.without_effect(2, command, "there is no such command"),
        }
        Action::NONE
    }

    /// Logs the first command of a kind.
    fn without_effect(&mut self, kind: u8, command: u16, reason: &str) {
        if self.named >> kind & 1 == 0 {
            self.named |= 1 << kind;
            info!("port {PORT:#06x}: command {command:#06x} has no effect: {reason} (logged once)");
        }
    }
}

impl Device for DebuggerPort {
    fn read(&mut self, offset: u16) -> (u8, Action) {
        let value = if self.enabled { ENABLE } else { 0 };
        (value.to_le_bytes().get(usize::from(offset)).copied().unwrap_or(0), Action::NONE)
    }

    fn write_wide(&mut self, offset: u16, size: u8, value: u32) -> Option<Action> {
        Some(match (offset, size) {
            (0, 2) => self.command(value as u16),
            _ => Action::NONE,
        })
    }
}

impl Snapshot for DebuggerPort {
    const KIND: &'static str = "debugger-port";
    const VERSION: u16 = 1;
    type State = DebuggerPort;

    fn state(&self) -> DebuggerPort {
        *self
    }

    fn set_state(&mut self, state: DebuggerPort) -> Result<(), StateError> {
        *self = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(port: &mut DebuggerPort, value: u16) -> Option<MachineRequest> {
        port.write_wide(0, 2, value.into()).unwrap().request
    }

    fn read(port: &mut DebuggerPort) -> u16 {
        u16::from_le_bytes([0, 1].map(|offset| port.read(offset).0))
    }

    #[test]
    fn only_an_enabled_port_stops_the_guest() {
        let mut port = DebuggerPort::default();
        assert_eq!((word(&mut port, STOP), read(&mut port)), (None, 0));
        assert_eq!((word(&mut port, ENABLE), read(&mut port)), (None, 0x8A00));
        for without_effect in [0x8A01, 0x8A02, 0x8A80, 0x8AE2, 0x8AE3, 0x8AE4, 0x8AE5, 0x1234] {
            assert_eq!((word(&mut port, without_effect), read(&mut port)), (None, 0x8A00));
        }
        assert_eq!(word(&mut port, STOP), Some(MachineRequest::Stop));
        assert_eq!((word(&mut port, DISABLE), word(&mut port, STOP), read(&mut port)), (None, None, 0));
    }

    #[test]
    fn only_words_at_the_first_port_are_commands() {
        let mut port = DebuggerPort::default();
        let _ = port.write(0, 0);
        let _ = port.write(1, 0x8A);
        let _ = port.write_wide(0, 4, ENABLE.into());
        let _ = port.write_wide(1, 2, ENABLE.into());
        assert_eq!(port, DebuggerPort::default());
    }

    #[test]
    fn an_enabled_port_is_restored_enabled() {
        let (mut port, mut copy) = (DebuggerPort::default(), DebuggerPort::default());
        let _ = (word(&mut port, ENABLE), word(&mut port, 0x8AE3));
        copy.restore(&port.save()).unwrap();
        assert_eq!((copy, read(&mut copy)), (port, 0x8A00));
    }
}
