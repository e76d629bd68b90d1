//! The saved state of a serial port, and how that of earlier versions is read.

use serde::{Deserialize, Serialize};

use super::SerialPort;
use super::receiver::Receiver;
use super::registers::{FCR_MASK, IER_EMPTY, IER_MASK, MCR_MASK, MSR_DELTAS};
use crate::devices::{MachineTime, Payload, Snapshot, StateError};

/// Everything the guest can observe of a serial port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SerialPortState {
    divisor: u16,
    interrupt_enable: u8,
    fifo_control: u8,
    line_control: u8,
    modem_control: u8,
    modem_changes: u8,
    scratch: u8,
    receiver: Receiver,
    empty_pending: bool,
    timed_out: bool,
    now: MachineTime,
    last_activity: MachineTime,
    polled: bool,
    reads_input: bool,
}

/// Version 1, of a port whose receiver held up to 64 bytes and had neither errors nor trigger levels.
#[derive(Serialize, Deserialize)]
struct Version1 {
    divisor: [u8; 2],
    interrupt_enable: u8,
    interrupt_identification: u8,
    line_control: u8,
    line_status: u8,
    modem_control: u8,
    modem_status: u8,
    scratch: u8,
    received: Vec<u8>,
    fifo: bool,
    empty_pending: bool,
    polled: bool,
    reads_input: bool,
}

impl From<Version1> for SerialPortState {
    fn from(old: Version1) -> SerialPortState {
        let interrupt_enable = old.interrupt_enable & IER_MASK;
        SerialPortState {
            divisor: u16::from_le_bytes(old.divisor),
            interrupt_enable,
            fifo_control: u8::from(old.fifo),
            line_control: old.line_control,
            modem_control: old.modem_control & MCR_MASK,
            modem_changes: 0,
            scratch: old.scratch,
            receiver: Receiver::holding(old.fifo, &old.received),
            empty_pending: old.empty_pending && interrupt_enable & IER_EMPTY != 0,
            timed_out: false,
            now: MachineTime::default(),
            last_activity: MachineTime::default(),
            polled: old.polled,
            reads_input: old.reads_input,
        }
    }
}

impl Snapshot for SerialPort {
    const KIND: &'static str = "serial";
    const VERSION: u16 = 2;
    type State = SerialPortState;

    fn state(&self) -> SerialPortState {
        SerialPortState {
            divisor: self.divisor,
            interrupt_enable: self.ier,
            fifo_control: self.fcr,
            line_control: self.lcr,
            modem_control: self.mcr,
            modem_changes: self.modem_changes,
            scratch: self.scratch,
            receiver: self.receiver.clone(),
            empty_pending: self.empty_pending,
            timed_out: self.timed_out,
            now: self.now,
            last_activity: self.last_activity,
            polled: self.polled,
            reads_input: self.reads_input,
        }
    }

    fn set_state(&mut self, state: SerialPortState) -> Result<(), StateError> {
        let damaged = |reason: &str| StateError::Damaged { kind: Self::KIND, reason: reason.to_owned() };
        let registers = [
            (state.interrupt_enable, IER_MASK),
            (state.fifo_control, FCR_MASK),
            (state.modem_control, MCR_MASK),
            (state.modem_changes, MSR_DELTAS),
        ];
        if registers.iter().any(|(value, mask)| value & !mask != 0) {
            return Err(damaged("a register has bits that do not exist"));
        }
        if !state.receiver.is_possible() || state.receiver.has_fifo() != (state.fifo_control & 1 != 0) {
            return Err(damaged("the receiver cannot hold these characters"));
        }
        *self = SerialPort {
            divisor: state.divisor,
            ier: state.interrupt_enable,
            fcr: state.fifo_control,
            lcr: state.line_control,
            mcr: state.modem_control,
            modem_changes: state.modem_changes,
            scratch: state.scratch,
            receiver: state.receiver,
            empty_pending: state.empty_pending,
            timed_out: state.timed_out,
            now: state.now,
            last_activity: state.last_activity,
            polled: state.polled,
            reads_input: state.reads_input,
        };
        Ok(())
    }

    fn restore(&mut self, payload: &Payload) -> Result<(), StateError> {
        payload.expect_kind(Self::KIND)?;
        match payload.version {
            1 => self.set_state(payload.decode::<Version1>(Self::KIND)?.into()),
            Self::VERSION => self.set_state(payload.decode(Self::KIND)?),
            found => Err(StateError::Version { kind: Self::KIND, found, expected: Self::VERSION }),
        }
    }
}
