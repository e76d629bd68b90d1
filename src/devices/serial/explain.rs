//! The registers of a serial port in words.
//!
//! PC16550D datasheet, table II.

use super::SerialPort;
use super::registers::{
    FCR_ENABLE, IER_EMPTY, IER_LINE, IER_MODEM, IER_RECEIVED, IIR_EMPTY, IIR_LINE, IIR_MODEM, IIR_RECEIVED,
    IIR_TIMEOUT, LCR_DLAB, LCR_PARITY, LCR_STOP, LCR_WORD, MCR_DTR, MCR_LOOP, MCR_OUT1, MCR_OUT2, MCR_RTS,
};
use crate::devices::explain::names_of;

/// Rate of a divisor of 1, in bits per second.
const BASE_RATE: u32 = 115_200;
/// LCR: even parity; and parity that is not computed.
const LCR_EVEN: u8 = 0x10;
const LCR_STICK: u8 = 0x20;

/// The state in words, a line each.
pub(super) fn lines(port: &SerialPort) -> Vec<String> {
    let rate = match port.divisor {
        0 => "divisor 0".to_owned(),
        divisor => format!("{} baud (divisor {divisor})", BASE_RATE / u32::from(divisor)),
    };
    let parity = match (port.lcr & LCR_PARITY != 0, port.lcr & LCR_STICK != 0, port.lcr & LCR_EVEN != 0) {
        (false, ..) => 'N',
        (_, true, true) => 'S',
        (_, true, false) => 'M',
        (_, false, true) => 'E',
        (_, false, false) => 'O',
    };
    let word = 5 + (port.lcr & LCR_WORD);
    let stop = match (port.lcr & LCR_STOP != 0, word) {
        (false, _) => "1",
        (true, 5) => "1.5",
        (true, _) => "2",
    };
    let latch = if port.lcr & LCR_DLAB != 0 { ", divisor latch open (DLAB)" } else { "" };
    let fifo = match port.fcr & FCR_ENABLE != 0 {
        true => format!("FIFO on, trigger level {}", port.trigger_level()),
        false => "FIFO off".to_owned(),
    };
    let enabled = names_of(
        u64::from(port.ier),
        &[
            (IER_RECEIVED.into(), "received data"),
            (IER_EMPTY.into(), "transmitter empty"),
            (IER_LINE.into(), "line status"),
            (IER_MODEM.into(), "modem status"),
        ],
    );
    let pending = match port.identification() {
        IIR_LINE => "line status",
        IIR_RECEIVED => "received data",
        IIR_TIMEOUT => "character time-out",
        IIR_EMPTY => "transmitter empty",
        IIR_MODEM => "modem status",
        _ => "none",
    };
    let outputs = names_of(
        u64::from(port.mcr),
        &[
            (MCR_DTR.into(), "DTR"),
            (MCR_RTS.into(), "RTS"),
            (MCR_OUT1.into(), "OUT1"),
            (MCR_OUT2.into(), "OUT2 (interrupt connected)"),
            (MCR_LOOP.into(), "loop-back"),
        ],
    );
    vec![
        format!("{rate}, {word}{parity}{stop}{latch}"),
        format!("{fifo}, {} characters received and not read", port.receiver.len()),
        format!("interrupts enabled: {enabled}; pending: {pending}"),
        format!("modem control: {outputs}"),
    ]
}
