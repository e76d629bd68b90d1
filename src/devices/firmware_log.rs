//! The ports at which firmware writes messages about itself; their lines go to the log.
//!
//! SeaBIOS writes to port 0x402, which reads 0xE9 where it exists (QEMU's `isa-debugcon`). The BIOS of Bochs writes to
//! 0x402 (information) and 0x403 (debug), its VGA BIOS to 0x500, and a panic to 0x400 and 0x401 as line numbers
//! (Bochs' `biosdev`). A machine without firmware has no such ports.

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::{Action, Device, Snapshot, StateError};

/// The first port.
pub const PORT: u16 = 0x400;
/// The last port of the group; another is at [`VGA_PORT`].
pub const LAST_PORT: u16 = 0x403;
/// The port of the VGA BIOS.
pub const VGA_PORT: u16 = 0x500;

/// Offset of the last of the ports that take line numbers.
const LAST_PANIC: u16 = 1;
/// What a read gives.
const PRESENT: u8 = 0xE9;
/// Longest line, in bytes; a longer one is broken.
const LONGEST: usize = 240;

/// The ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareLog {
    /// The line that has not ended yet.
    line: String,
}

impl FirmwareLog {
    fn put(&mut self, byte: u8) {
        match byte {
            b'\n' => self.end_line(),
            b'\r' | 0 => {}
            byte => {
                self.line.push(if byte.is_ascii_graphic() || byte == b' ' { byte.into() } else { '.' });
                if self.line.len() >= LONGEST {
                    self.end_line();
                }
            }
        }
    }

    fn end_line(&mut self) {
        if !self.line.is_empty() {
            info!("firmware: {}", self.line);
            self.line.clear();
        }
    }
}

impl Device for FirmwareLog {
    fn read(&mut self, _offset: u16) -> (u8, Action) {
        (PRESENT, Action::NONE)
    }

    fn write(&mut self, offset: u16, value: u8) -> Action {
        if offset > LAST_PANIC {
            self.put(value);
        }
        Action::NONE
    }

    fn write_wide(&mut self, offset: u16, size: u8, value: u32) -> Option<Action> {
        if offset <= LAST_PANIC && size == 2 {
            warn!("firmware: panic at line {value} of its source");
            return Some(Action::NONE);
        }
        None
    }
}

impl Snapshot for FirmwareLog {
    const KIND: &'static str = "firmware-log";
    const VERSION: u16 = 1;
    type State = FirmwareLog;

    fn state(&self) -> FirmwareLog {
        self.clone()
    }

    fn set_state(&mut self, state: FirmwareLog) -> Result<(), StateError> {
        if state.line.len() >= LONGEST {
            let reason = format!("a line of {} bytes", state.line.len());
            return Err(StateError::Damaged { kind: Self::KIND, reason });
        }
        *self = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_kept_until_it_ends_and_never_grows_without_bound() {
        let mut log = FirmwareLog::default();
        for byte in b"Sea\x07BIOS\r" {
            let _ = log.write(2, *byte);
        }
        let mut copy = FirmwareLog::default();
        copy.restore(&log.save()).unwrap();
        assert_eq!((copy.read(2).0, copy.line.as_str()), (0xE9, "Sea.BIOS"));
        let _ = copy.write(2, b'\n');
        assert_eq!(copy, FirmwareLog::default());
        for _ in 0..10_000 {
            let _ = copy.write(0x100, 0xFF);
            assert!(copy.line.len() < LONGEST);
        }
        assert!(copy.set_state(FirmwareLog { line: "x".repeat(LONGEST) }).is_err());
    }
}
