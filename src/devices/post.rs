//! Port 0x80: the byte a PC's firmware shows on a diagnostics card (power-on self test).

use serde::{Deserialize, Serialize};
use tracing::debug;

use super::{Action, Device, Snapshot, StateError};

/// The port.
pub const PORT: u16 = 0x80;

/// The diagnostics card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostPort {
    last: Option<u8>,
}

impl PostPort {
    /// The code written last, if there was one.
    pub fn last(&self) -> Option<u8> {
        self.last
    }
}

impl Device for PostPort {
    fn read(&mut self, _offset: u16) -> (u8, Action) {
        (self.last.unwrap_or(0), Action::NONE)
    }

    fn write(&mut self, _offset: u16, value: u8) -> Action {
        debug!("POST code {value:#04x}");
        self.last = Some(value);
        Action::NONE
    }
}

impl Snapshot for PostPort {
    const KIND: &'static str = "post";
    const VERSION: u16 = 1;
    type State = PostPort;

    fn state(&self) -> PostPort {
        *self
    }

    fn set_state(&mut self, state: PostPort) -> Result<(), StateError> {
        *self = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_code_is_kept_and_saved() {
        let mut port = PostPort::default();
        assert_eq!(port.last(), None);
        let _ = port.write(0, 0x42);
        let mut copy = PostPort::default();
        copy.restore(&port.save()).unwrap();
        assert_eq!((copy.last(), copy.read(0).0), (Some(0x42), 0x42));
    }
}
