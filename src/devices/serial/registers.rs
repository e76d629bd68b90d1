//! Registers and bits of the PC16550D (datasheet, table II).

/// Receiver buffer (read), transmitter holding register (write); divisor latch low byte with DLAB.
pub const DATA: u16 = 0;
/// Interrupt enable register; divisor latch high byte with DLAB.
pub const IER: u16 = 1;
/// Interrupt identification register (read), FIFO control register (write).
pub const IIR_FCR: u16 = 2;
/// Line control register.
pub const LCR: u16 = 3;
/// Modem control register.
pub const MCR: u16 = 4;
/// Line status register.
pub const LSR: u16 = 5;
/// Modem status register.
pub const MSR: u16 = 6;
/// Scratch register.
pub const SCR: u16 = 7;

/// IER: received data available, and the character time-out.
pub const IER_RECEIVED: u8 = 0x01;
/// IER: transmitter holding register empty.
pub const IER_EMPTY: u8 = 0x02;
/// IER: receiver line status.
pub const IER_LINE: u8 = 0x04;
/// IER: modem status.
pub const IER_MODEM: u8 = 0x08;
/// The bits of IER that exist; the others read 0.
pub const IER_MASK: u8 = 0x0F;

/// IIR: no interrupt is pending.
pub const IIR_NONE: u8 = 0x01;
/// IIR: receiver line status, the highest priority.
pub const IIR_LINE: u8 = 0x06;
/// IIR: received data available.
pub const IIR_RECEIVED: u8 = 0x04;
/// IIR: character time-out, of the same priority.
pub const IIR_TIMEOUT: u8 = 0x0C;
/// IIR: transmitter holding register empty.
pub const IIR_EMPTY: u8 = 0x02;
/// IIR: modem status, the lowest priority.
pub const IIR_MODEM: u8 = 0x00;
/// IIR: both set while the FIFOs are enabled.
pub const IIR_FIFO: u8 = 0xC0;

/// FCR: FIFO enable.
pub const FCR_ENABLE: u8 = 0x01;
/// FCR: clear the receiver FIFO.
pub const FCR_CLEAR_RECEIVER: u8 = 0x02;
/// FCR: clear the transmitter FIFO.
pub const FCR_CLEAR_TRANSMITTER: u8 = 0x04;
/// FCR: DMA mode select, which changes only pins that a PC does not connect.
pub const FCR_DMA_MODE: u8 = 0x08;
/// FCR: receiver trigger level, as an index into [`TRIGGER_LEVELS`].
pub const FCR_TRIGGER_SHIFT: u32 = 6;
/// FCR: the bits that stay; those that clear a FIFO clear themselves.
pub const FCR_MASK: u8 = FCR_ENABLE | FCR_DMA_MODE | 3 << FCR_TRIGGER_SHIFT;
/// Characters in the receiver FIFO from which on data is available.
pub const TRIGGER_LEVELS: [u8; 4] = [1, 4, 8, 14];

/// LCR: word length less 5 bits.
pub const LCR_WORD: u8 = 0x03;
/// LCR: two stop bits, or one and a half after a word of 5 bits.
pub const LCR_STOP: u8 = 0x04;
/// LCR: parity enable.
pub const LCR_PARITY: u8 = 0x08;
/// LCR: divisor latch access.
pub const LCR_DLAB: u8 = 0x80;

/// MCR: data terminal ready.
pub const MCR_DTR: u8 = 0x01;
/// MCR: request to send.
pub const MCR_RTS: u8 = 0x02;
/// MCR: output 1, without a use on a PC.
pub const MCR_OUT1: u8 = 0x04;
/// MCR: output 2, which gates the interrupt line on a PC.
pub const MCR_OUT2: u8 = 0x08;
/// MCR: loop-back.
pub const MCR_LOOP: u8 = 0x10;
/// The bits of MCR that exist; the others read 0.
pub const MCR_MASK: u8 = 0x1F;

/// LSR: data ready.
pub const LSR_DATA_READY: u8 = 0x01;
/// LSR: overrun error.
pub const LSR_OVERRUN: u8 = 0x02;
/// LSR: parity error.
pub const LSR_PARITY: u8 = 0x04;
/// LSR: framing error.
pub const LSR_FRAMING: u8 = 0x08;
/// LSR: break interrupt.
pub const LSR_BREAK: u8 = 0x10;
/// LSR: transmitter holding register empty.
pub const LSR_EMPTY: u8 = 0x20;
/// LSR: transmitter empty.
pub const LSR_IDLE: u8 = 0x40;
/// LSR: an error in the receiver FIFO.
pub const LSR_FIFO_ERROR: u8 = 0x80;
/// The errors that belong to a character.
pub const CHARACTER_ERRORS: u8 = LSR_PARITY | LSR_FRAMING | LSR_BREAK;

/// MSR: clear to send.
pub const MSR_CTS: u8 = 0x10;
/// MSR: data set ready.
pub const MSR_DSR: u8 = 0x20;
/// MSR: ring indicator.
pub const MSR_RI: u8 = 0x40;
/// MSR: data carrier detect.
pub const MSR_DCD: u8 = 0x80;
/// MSR: changes of CTS, DSR and DCD since the last read; each is 4 bits below its input.
pub const MSR_CHANGES: u8 = (MSR_CTS | MSR_DSR | MSR_DCD) >> 4;
/// MSR: the ring indicator has ended since the last read.
pub const MSR_RING_ENDED: u8 = 0x04;
/// All bits of MSR that report changes.
pub const MSR_DELTAS: u8 = 0x0F;
