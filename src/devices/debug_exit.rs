//! The debug exit port: a guest ends its run with a value of its choice.
//!
//! Same meaning as the device other emulators call `isa-debug-exit`: writing `value` ends the run
//! with process exit status `(value << 1) | 1`, so the status is always odd.

use super::{Action, Request};

/// First of the four ports at which the device is found.
pub const PORT: u16 = 0xF4;
/// Last of them.
pub const LAST_PORT: u16 = PORT + 3;

/// What a write of 1, 2 or 4 bytes asks for: `value` is zero-extended.
pub fn write(value: u32) -> Action {
    Action::request(Request::Exit(value))
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
        assert_eq!(write(3).request, Some(Request::Exit(3)));
    }
}
