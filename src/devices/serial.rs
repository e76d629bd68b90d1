//! A serial port: the 16550A UART.
//!
//! National Semiconductor PC16550D datasheet; offsets are those of the eight registers from the port's base.
//! The machine differs from the chip in these points:
//!
//! - The transmitter takes no time: what is written is sent at once, so it is always empty, and its FIFO never
//!   holds anything. The baud rate only sets the length of the character time-out.
//! - A host's bytes arrive as fast as the guest reads them ([`SerialPort::room`]), so only loop-back and a
//!   caller that ignores `room` overrun the receiver.
//! - At power-on LCR is 8N1, OUT2 is set and the divisor is that of 9600 baud, as firmware leaves a port.
//! - Sent words have 8 bits outside loop-back, whatever LCR says. Received words have the length of LCR.
//! - A connected line: CTS, DSR and DCD are on.

mod explain;
mod receiver;
mod registers;
mod saved;

use std::time::Duration;

pub use receiver::{FIFO_DEPTH, ReceivedCharacter, Receiver};
use registers::*;
pub use saved::SerialPortState;

use super::{Action, Device, MachineTime};

/// First port of COM1 to COM4.
pub const BASE_PORTS: [u16; 4] = [0x3F8, 0x2F8, 0x3E8, 0x2E8];

/// The divisor at power-on: 9600 baud.
const DIVISOR: u16 = 12;
/// Duration of half a bit with divisor 1 (115200 baud), in nanoseconds.
const HALF_BIT_NANOS: u64 = 4340;
/// Characters after whose time a FIFO that was not read raises an interrupt.
const TIMEOUT_CHARACTERS: u64 = 4;
/// The modem's lines outside loop-back.
const CONNECTED: u8 = MSR_CTS | MSR_DSR | MSR_DCD;

/// One serial port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerialPort {
    divisor: u16,
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    /// MSR: changes of the modem's lines since MSR was read.
    modem_changes: u8,
    scratch: u8,
    receiver: Receiver,
    /// The transmitter's interrupt is pending: raised by an empty transmitter, ended by reading IIR.
    empty_pending: bool,
    /// The character time-out's interrupt is pending: ended by reading a character.
    timed_out: bool,
    now: MachineTime,
    /// When a character was last received or read.
    last_activity: MachineTime,
    /// The guest polled for received data and has done nothing else since.
    polled: bool,
    reads_input: bool,
}

impl Default for SerialPort {
    fn default() -> SerialPort {
        SerialPort {
            divisor: DIVISOR,
            ier: 0,
            fcr: 0,
            // Words of 8 bits.
            lcr: LCR_WORD,
            mcr: MCR_OUT2,
            modem_changes: 0,
            scratch: 0,
            receiver: Receiver::default(),
            empty_pending: false,
            timed_out: false,
            now: MachineTime::default(),
            last_activity: MachineTime::default(),
            polled: false,
            reads_input: false,
        }
    }
}

impl SerialPort {
    /// How many more bytes the receiver can take now.
    pub fn room(&self) -> usize {
        if self.mcr & MCR_LOOP != 0 { 0 } else { self.receiver.room() }
    }

    /// What has arrived on the line and was not read, the first byte first. In loop-back nothing is known to be from the
    /// line.
    pub fn unread(&self) -> impl Iterator<Item = u8> {
        let is_connected = self.mcr & MCR_LOOP == 0;
        self.receiver.waiting().filter(move |_| is_connected).map(|character| character.data)
    }

    /// A byte arrives on the line. It is dropped if there is no [`Self::room`].
    pub fn receive(&mut self, byte: u8) -> Action {
        if self.room() == 0 {
            return Action::line(self.line());
        }
        self.receive_character(ReceivedCharacter { data: byte, errors: 0 })
    }

    /// A character arrives on the line, room or not. In loop-back the line is disconnected.
    pub fn receive_character(&mut self, character: ReceivedCharacter) -> Action {
        let before = self.next_deadline();
        if self.mcr & MCR_LOOP == 0 {
            self.take_in(character);
            self.polled = false;
        }
        self.action(before)
    }

    /// True once the guest waits for input here: it enabled the receiver's interrupt, or polled for
    /// data twice running without sending anything in between (which is how output alone polls).
    pub fn reads_input(&self) -> bool {
        self.reads_input
    }

    /// True while the guest has the receiver's interrupt enabled: a driver uses the port, and does not only look whether
    /// it is there.
    pub fn interrupts_for_input(&self) -> bool {
        self.ier & IER_RECEIVED != 0
    }

    /// True if a byte write to the base port sends that byte and does nothing else the guest could
    /// notice: such writes may be coalesced.
    #[inline]
    pub fn sends_quietly(&self) -> bool {
        self.lcr & LCR_DLAB == 0 && self.mcr & MCR_LOOP == 0 && self.ier & IER_EMPTY == 0
    }

    /// Level of the interrupt line. Loop-back disconnects OUT2, which gates it.
    #[inline]
    pub fn line(&self) -> bool {
        self.mcr & (MCR_OUT2 | MCR_LOOP) == MCR_OUT2 && self.identification() != IIR_NONE
    }

    /// The pending interrupt of the highest priority among those that IER enables, as in IIR.
    fn identification(&self) -> u8 {
        let enabled = |source: u8| self.ier & source != 0;
        if enabled(IER_LINE) && self.receiver.has_error() {
            IIR_LINE
        } else if enabled(IER_RECEIVED) && self.timed_out {
            IIR_TIMEOUT
        } else if enabled(IER_RECEIVED) && self.receiver.len() >= self.trigger_level() {
            IIR_RECEIVED
        } else if enabled(IER_EMPTY) && self.empty_pending {
            IIR_EMPTY
        } else if enabled(IER_MODEM) && self.modem_changes != 0 {
            IIR_MODEM
        } else {
            IIR_NONE
        }
    }

    /// Number of characters from which on received data is available.
    fn trigger_level(&self) -> usize {
        if !self.receiver.has_fifo() {
            return 1;
        }
        usize::from(TRIGGER_LEVELS[usize::from(self.fcr >> FCR_TRIGGER_SHIFT)])
    }

    /// Duration of four characters with their start, parity and stop bits.
    fn timeout(&self) -> Duration {
        let word = u64::from(self.lcr & LCR_WORD) + 5;
        let parity = u64::from(self.lcr & LCR_PARITY != 0);
        let half_stops = match (self.lcr & LCR_STOP != 0, word) {
            (false, _) => 2,
            (true, 5) => 3,
            (true, _) => 4,
        };
        let half_bits = 2 * (1 + word + parity) + half_stops;
        let divisor = u64::from(self.divisor.max(1));
        Duration::from_nanos(TIMEOUT_CHARACTERS * half_bits * divisor * HALF_BIT_NANOS)
    }

    /// The modem's lines: in loop-back they are the modem control outputs.
    fn modem_lines(&self) -> u8 {
        if self.mcr & MCR_LOOP == 0 {
            return CONNECTED;
        }
        let connections = [(MCR_RTS, MSR_CTS), (MCR_DTR, MSR_DSR), (MCR_OUT1, MSR_RI), (MCR_OUT2, MSR_DCD)];
        connections.into_iter().filter(|(output, _)| self.mcr & output != 0).map(|(_, input)| input).sum()
    }

    /// A word of LCR's length reaches the receiver.
    fn take_in(&mut self, character: ReceivedCharacter) {
        let unused_bits = 3 - (self.lcr & LCR_WORD);
        self.receiver.push(ReceivedCharacter { data: character.data & (0xFF >> unused_bits), ..character });
        self.last_activity = self.now;
    }

    #[inline]
    fn transmit(&mut self, byte: u8) -> Action {
        self.polled = false;
        // The full register ends the interrupt, the empty one raises it again.
        self.empty_pending = false;
        if self.mcr & MCR_LOOP == 0 {
            let line = (self.ier & IER_EMPTY != 0).then(|| self.line());
            self.empty_pending = true;
            return Action { output: Some(byte), line, ..Action::NONE };
        }
        let before = self.next_deadline();
        self.take_in(ReceivedCharacter { data: byte, errors: 0 });
        self.empty_pending = true;
        self.action(before)
    }

    fn read_data(&mut self) -> (u8, Action) {
        let before = self.next_deadline();
        self.polled = false;
        self.timed_out = false;
        self.last_activity = self.now;
        let byte = self.receiver.pop();
        (byte, self.action(before))
    }

    fn write_fifo_control(&mut self, value: u8) {
        let enable = value & FCR_ENABLE != 0;
        let change = enable != self.receiver.has_fifo();
        if change || value & FCR_CLEAR_RECEIVER != 0 {
            self.receiver.clear();
            self.timed_out = false;
        }
        if change || value & FCR_CLEAR_TRANSMITTER != 0 {
            self.empty_pending = true;
        }
        self.receiver.enable_fifo(enable);
        // The other bits are programmed only while the FIFOs are enabled.
        self.fcr = if enable { value & FCR_MASK } else { 0 };
    }

    fn write_interrupt_enable(&mut self, value: u8) {
        // Enabling the transmitter's interrupt raises it, because the transmitter is empty. The datasheet does
        // not say so; drivers rely on it.
        if (self.ier ^ value) & IER_EMPTY != 0 {
            self.empty_pending = value & IER_EMPTY != 0;
        }
        self.ier = value & IER_MASK;
        self.reads_input |= value & IER_RECEIVED != 0;
    }

    fn write_modem_control(&mut self, value: u8) {
        let before = self.modem_lines();
        self.mcr = value & MCR_MASK;
        let now = self.modem_lines();
        self.modem_changes |= ((before ^ now) >> 4) & MSR_CHANGES;
        if before & !now & MSR_RI != 0 {
            self.modem_changes |= MSR_RING_ENDED;
        }
    }

    /// The effect of an access on line and deadline; `before` is the deadline before it.
    fn action(&self, before: Option<MachineTime>) -> Action {
        Action { deadline: self.next_deadline() != before, ..Action::line(self.line()) }
    }
}

impl Device for SerialPort {
    fn explain(&self) -> Vec<String> {
        explain::lines(self)
    }

    fn read(&mut self, offset: u16) -> (u8, Action) {
        let divisor = self.lcr & LCR_DLAB != 0;
        let value = match offset {
            DATA if divisor => self.divisor as u8,
            DATA => return self.read_data(),
            IER if divisor => (self.divisor >> 8) as u8,
            IER => self.ier,
            IIR_FCR => {
                let identification = self.identification();
                if identification == IIR_EMPTY {
                    self.empty_pending = false;
                }
                identification | if self.receiver.has_fifo() { IIR_FIFO } else { 0 }
            }
            LCR => self.lcr,
            MCR => self.mcr,
            LSR => {
                let status = self.receiver.take_status();
                self.reads_input |= self.polled && status & LSR_DATA_READY == 0;
                self.polled = true;
                status | LSR_EMPTY | LSR_IDLE
            }
            MSR => self.modem_lines() | std::mem::take(&mut self.modem_changes),
            _ => self.scratch,
        };
        (value, Action::line(self.line()))
    }

    #[inline]
    fn write(&mut self, offset: u16, value: u8) -> Action {
        let divisor = self.lcr & LCR_DLAB != 0;
        if offset == DATA && !divisor {
            return self.transmit(value);
        }
        let before = self.next_deadline();
        match offset {
            DATA => self.divisor = self.divisor & 0xFF00 | u16::from(value),
            IER if divisor => self.divisor = self.divisor & 0xFF | u16::from(value) << 8,
            IER => self.write_interrupt_enable(value),
            IIR_FCR => self.write_fifo_control(value),
            LCR => self.lcr = value,
            MCR => self.write_modem_control(value),
            SCR => self.scratch = value,
            // The status registers are read only.
            _ => {}
        }
        self.action(before)
    }

    fn line(&self) -> bool {
        self.line()
    }

    fn may_interrupt(&self) -> bool {
        self.mcr & (MCR_OUT2 | MCR_LOOP) == MCR_OUT2 && self.ier & (IER_RECEIVED | IER_LINE) != 0
    }

    /// The character time-out: the FIFO holds a character, and none was received or read for the time of four.
    fn next_deadline(&self) -> Option<MachineTime> {
        let waits = self.ier & IER_RECEIVED != 0
            && self.receiver.has_fifo()
            && !self.receiver.is_empty()
            && !self.timed_out;
        waits.then(|| self.last_activity.after(self.timeout()))
    }

    fn advance(&mut self, now: MachineTime) -> Action {
        self.now = now;
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return Action::NONE;
        }
        self.timed_out = true;
        Action { deadline: true, ..Action::line(self.line()) }
    }
}

#[cfg(test)]
#[path = "serial_test.rs"]
mod tests;

#[cfg(test)]
#[path = "serial/datasheet_test.rs"]
mod datasheet;
