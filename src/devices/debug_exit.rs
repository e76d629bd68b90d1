//! The debug exit port: a guest ends its run with a value of its choice.
//!
//! Same meaning as the device that QEMU calls `isa-debug-exit`: writing `value` ends the run with process exit
//! status `(value << 1) | 1`, so the status is always odd.

use super::snapshot::Stateless;
use super::{Action, Device, MachineRequest};

/// First of the four ports of the device.
pub const PORT: u16 = 0xF4;
/// Last of them.
pub const LAST_PORT: u16 = PORT + 3;

/// The debug exit port.
#[derive(Clone, Copy, Debug, Default)]
pub struct DebugExit;

impl Device for DebugExit {
    fn read(&mut self, _offset: u16) -> (u8, Action) {
        (0, Action::NONE)
    }

    fn write(&mut self, _offset: u16, value: u8) -> Action {
        Action::request(MachineRequest::Exit(u32::from(value)))
    }

    fn write_wide(&mut self, _offset: u16, _size: u8, value: u32) -> Option<Action> {
        Some(Action::request(MachineRequest::Exit(value)))
    }
}

impl Stateless for DebugExit {
    const NAME: &'static str = "debug-exit";
}

/// Process exit status for a value the guest wrote: the low eight bits of `(value << 1) | 1`.
pub fn status(value: u32) -> u8 {
    (value << 1) as u8 | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_odd() {
        assert_eq!((status(0), status(0x10), status(0x7F), status(0x80)), (1, 33, 255, 1));
        assert_eq!(DebugExit.write(0, 3).request, Some(MachineRequest::Exit(3)));
    }
}
