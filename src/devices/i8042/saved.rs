//! The controller's saved state, also that of versions without a mouse.

use serde::Deserialize;

use super::super::keyboard::Keyboard;
use super::super::mouse::Mouse;
use super::super::{Payload, Snapshot, StateError};
use super::{I8042, OutputByte, POLLS_OF_A_READER, Parameter};

/// The state of version 1, whose second port had no device.
#[derive(Deserialize)]
struct StateWithoutMouse {
    keyboard: Keyboard,
    ram: [u8; 32],
    output_port: u8,
    parameter: Parameter,
    command_written: bool,
    /// Byte, whether it is from the second port, and the timeout bit of the status.
    reply: Option<(u8, bool, bool)>,
    code: Option<u8>,
    last_read: u8,
    polls: u8,
    reads_input: bool,
}

impl From<StateWithoutMouse> for I8042 {
    fn from(old: StateWithoutMouse) -> I8042 {
        I8042 {
            keyboard: old.keyboard,
            mouse: Mouse::default(),
            ram: old.ram,
            output_port: old.output_port,
            parameter: old.parameter,
            command_written: old.command_written,
            reply: old.reply.map(|(byte, auxiliary, _)| OutputByte { byte, auxiliary }),
            code: old.code.map(|byte| OutputByte { byte, auxiliary: false }),
            last_read: old.last_read,
            polls: old.polls,
            reads_input: old.reads_input,
        }
    }
}

impl Snapshot for I8042 {
    const KIND: &'static str = "i8042";
    const VERSION: u16 = 2;
    type State = I8042;

    fn state(&self) -> I8042 {
        self.clone()
    }

    fn restore(&mut self, payload: &Payload) -> Result<(), StateError> {
        payload.expect_kind(Self::KIND)?;
        match payload.version {
            1 => self.set_state(payload.decode::<StateWithoutMouse>(Self::KIND)?.into()),
            Self::VERSION => self.set_state(payload.decode(Self::KIND)?),
            found => Err(StateError::Version { kind: Self::KIND, found, expected: Self::VERSION }),
        }
    }

    fn set_state(&mut self, state: I8042) -> Result<(), StateError> {
        let damaged = |reason| StateError::Damaged { kind: Self::KIND, reason };
        state.keyboard.check().and_then(|()| state.mouse.check()).map_err(damaged)?;
        if let Parameter::Ram(index) = state.parameter
            && usize::from(index) >= state.ram.len()
        {
            return Err(damaged(format!(
                "a write to internal RAM byte {index} of {} waits",
                state.ram.len()
            )));
        }
        if state.polls > POLLS_OF_A_READER {
            return Err(damaged(format!("{} polls of the status are counted", state.polls)));
        }
        *self = state;
        Ok(())
    }
}
