//! A serial port: the 16550A UART, built on `vm_superio::Serial`.
//!
//! Datasheet: National Semiconductor PC16550D. Offsets are those of the eight registers from the
//! port's base. What is written to the transmitter leaves at once, so the transmitter is always
//! empty; the baud rate is stored and has no effect.

use std::cell::Cell;
use std::io;

use serde::{Deserialize, Serialize};
use vm_superio::serial::{NoEvents, SerialState};
use vm_superio::{Serial, Trigger};

use super::{Action, Device, Snapshot, StateError};

/// First port of COM1 to COM4.
pub const BASE_PORTS: [u16; 4] = [0x3F8, 0x2F8, 0x3E8, 0x2E8];

/// Receiver buffer, transmitter holding register, divisor latch low byte.
const DATA: u16 = 0;
/// Interrupt enable register, divisor latch high byte.
const IER: u16 = 1;
/// Interrupt identification register when read, FIFO control register when written.
const IIR_FCR: u16 = 2;
/// Line control register.
const LCR: u16 = 3;
/// Modem control register.
const MCR: u16 = 4;
/// Line status register.
const LSR: u16 = 5;

/// IER: received data available.
const IER_RECEIVED: u8 = 0x01;
/// IER: transmitter holding register empty.
const IER_EMPTY: u8 = 0x02;
/// IIR: both set when the FIFOs are enabled.
const IIR_FIFO: u8 = 0xC0;
/// FCR: FIFO enable.
const FCR_ENABLE: u8 = 0x01;
/// FCR: clear the receiver FIFO.
const FCR_CLEAR_RECEIVER: u8 = 0x02;
/// LCR: divisor latch access.
const LCR_DLAB: u8 = 0x80;
/// MCR: output 2, which gates the interrupt line on a PC.
const MCR_OUT2: u8 = 0x08;
/// MCR: loopback.
const MCR_LOOP: u8 = 0x10;
/// LSR: data ready.
const LSR_DATA_READY: u8 = 0x01;

/// Depth of the receiver FIFO, in bytes.
const FIFO_DEPTH: usize = 16;
/// Most bytes `vm_superio` keeps for the receiver.
const BUFFER_SIZE: usize = 64;

/// Takes the place of an interrupt line: the port works its level out itself.
struct NoLine;

impl Trigger for NoLine {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes the byte that leaves the transmitter.
#[derive(Default)]
struct Transmitter {
    byte: Cell<Option<u8>>,
}

impl io::Write for Transmitter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.byte.set(bytes.last().copied());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One serial port.
pub struct SerialPort {
    uart: Serial<NoLine, NoEvents, Transmitter>,
    /// Copies of registers the interrupt line depends on.
    ier: u8,
    lcr: u8,
    mcr: u8,
    fifo: bool,
    /// The transmitter's interrupt is pending: raised by an empty transmitter, ended by reading IIR.
    empty_pending: bool,
    /// The guest polled for received data and has done nothing else since.
    polled: bool,
    reads_input: bool,
}

impl Default for SerialPort {
    fn default() -> SerialPort {
        SerialPort {
            uart: Serial::new(NoLine, Transmitter::default()),
            ier: 0,
            lcr: 0,
            mcr: 0,
            fifo: false,
            empty_pending: false,
            polled: false,
            reads_input: false,
        }
    }
}

impl std::fmt::Debug for SerialPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SerialPort").field("state", &self.state()).finish()
    }
}

impl SerialPort {
    /// How many more bytes the receiver can take now.
    pub fn room(&self) -> usize {
        let depth = if self.fifo { FIFO_DEPTH } else { 1 };
        if self.mcr & MCR_LOOP != 0 { 0 } else { depth.saturating_sub(self.waiting()) }
    }

    /// A byte arrives on the line. It is dropped if there is no [`Self::room`].
    pub fn receive(&mut self, byte: u8) -> Action {
        if self.room() > 0 {
            // Cannot fail: there is room, and the trigger never fails.
            let _ = self.uart.enqueue_raw_bytes(&[byte]);
            self.polled = false;
        }
        Action::line(self.line())
    }

    /// True once the guest waits for input here: it enabled the receiver's interrupt, or polled for
    /// data twice running without sending anything in between (which is how output alone polls).
    pub fn reads_input(&self) -> bool {
        self.reads_input
    }

    /// True if a byte write to the base port sends that byte and does nothing else the guest could
    /// notice: such writes may be coalesced.
    pub fn sends_quietly(&self) -> bool {
        self.lcr & LCR_DLAB == 0 && self.mcr & MCR_LOOP == 0 && self.ier & IER_EMPTY == 0
    }

    /// Level of the interrupt line.
    pub fn line(&self) -> bool {
        let received = self.ier & IER_RECEIVED != 0 && self.waiting() > 0;
        let empty = self.ier & IER_EMPTY != 0 && self.empty_pending;
        self.mcr & MCR_OUT2 != 0 && (received || empty)
    }

    fn waiting(&self) -> usize {
        BUFFER_SIZE - self.uart.fifo_capacity()
    }

    fn clear_receiver(&mut self) {
        let mut state = self.uart.state();
        state.in_buffer.clear();
        state.line_status &= !LSR_DATA_READY;
        self.replace_uart(&state);
    }

    fn replace_uart(&mut self, state: &SerialState) {
        // Cannot fail: the buffer is within bounds and the trigger never fails.
        if let Ok(uart) = Serial::from_state(state, NoLine, NoEvents, Transmitter::default()) {
            self.uart = uart;
        }
    }
}

impl Device for SerialPort {
    fn read(&mut self, offset: u16) -> (u8, Action) {
        let mut value = self.uart.read(offset as u8);
        match offset {
            IIR_FCR => {
                if !self.fifo {
                    value &= !IIR_FIFO;
                }
                self.empty_pending = false;
            }
            LSR => {
                self.reads_input |= self.polled && value & LSR_DATA_READY == 0;
                self.polled = true;
            }
            DATA => self.polled = false,
            _ => {}
        }
        (value, Action::line(self.line()))
    }

    fn line(&self) -> bool {
        self.line()
    }

    fn write(&mut self, offset: u16, value: u8) -> Action {
        // Cannot fail: neither the transmitter nor the trigger ever does.
        let _ = self.uart.write(offset as u8, value);
        let divisor = self.lcr & LCR_DLAB != 0;
        match offset {
            DATA if !divisor => {
                self.polled = false;
                self.empty_pending = true;
            }
            IER if !divisor => {
                self.ier = value & 0x0F;
                self.empty_pending |= value & IER_EMPTY != 0;
                self.reads_input |= value & IER_RECEIVED != 0;
            }
            IIR_FCR => {
                let enable = value & FCR_ENABLE != 0;
                // Switching between FIFO and single-byte operation clears the receiver, too.
                if enable != self.fifo || value & FCR_CLEAR_RECEIVER != 0 {
                    self.clear_receiver();
                }
                self.fifo = enable;
            }
            LCR => self.lcr = value,
            MCR => self.mcr = value,
            _ => {}
        }
        Action { output: self.uart.writer_mut().byte.take(), ..Action::line(self.line()) }
    }
}

/// Everything the guest can observe of a serial port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SerialPortState {
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

impl Snapshot for SerialPort {
    const KIND: &'static str = "serial";
    const VERSION: u16 = 1;
    type State = SerialPortState;

    fn state(&self) -> SerialPortState {
        let uart = self.uart.state();
        SerialPortState {
            divisor: [uart.baud_divisor_low, uart.baud_divisor_high],
            interrupt_enable: uart.interrupt_enable,
            interrupt_identification: uart.interrupt_identification,
            line_control: uart.line_control,
            line_status: uart.line_status,
            modem_control: uart.modem_control,
            modem_status: uart.modem_status,
            scratch: uart.scratch,
            received: uart.in_buffer,
            fifo: self.fifo,
            empty_pending: self.empty_pending,
            polled: self.polled,
            reads_input: self.reads_input,
        }
    }

    fn set_state(&mut self, state: SerialPortState) -> Result<(), StateError> {
        if state.received.len() > BUFFER_SIZE {
            return Err(StateError::Damaged {
                kind: Self::KIND,
                reason: format!("{} received bytes; at most {BUFFER_SIZE} fit", state.received.len()),
            });
        }
        self.replace_uart(&SerialState {
            baud_divisor_low: state.divisor[0],
            baud_divisor_high: state.divisor[1],
            interrupt_enable: state.interrupt_enable,
            interrupt_identification: state.interrupt_identification,
            line_control: state.line_control,
            line_status: state.line_status,
            modem_control: state.modem_control,
            modem_status: state.modem_status,
            scratch: state.scratch,
            in_buffer: state.received,
        });
        self.ier = state.interrupt_enable;
        self.lcr = state.line_control;
        self.mcr = state.modem_control;
        self.fifo = state.fifo;
        self.empty_pending = state.empty_pending;
        self.polled = state.polled;
        self.reads_input = state.reads_input;
        Ok(())
    }
}

#[cfg(test)]
#[path = "serial_test.rs"]
mod tests;
