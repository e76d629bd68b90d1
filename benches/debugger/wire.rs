//! Packets of gdb's remote protocol over TCP.
//!
//! Manual: "Appendix E: gdb Remote Serial Protocol" of *Debugging with gdb*, section "Overview".

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::shared::Failure;

/// Longest time for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes read at a time, at most.
const BUFFER: usize = 64 << 10;

/// Precedes a byte that is sent with the bit [`ESCAPED`] inverted.
const ESCAPE: u8 = b'}';
const ESCAPED: u8 = 0x20;
/// Precedes the number of further repetitions of the previous byte, plus [`REPEAT_OFFSET`].
const REPEAT: u8 = b'*';
const REPEAT_OFFSET: u8 = 29;

/// A connection.
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    next: usize,
    filled: usize,
    sent: Vec<u8>,
    received: Vec<u8>,
    /// Every packet is acknowledged.
    pub acknowledge: bool,
}

impl Wire {
    /// Connects to a stub on this host.
    pub fn connect(port: u16) -> Result<Wire, Failure> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Wire {
            stream,
            buffer: vec![0; BUFFER],
            next: 0,
            filled: 0,
            sent: Vec::new(),
            received: Vec::new(),
            acknowledge: true,
        })
    }

    /// Sends `packet` followed by `data`, which may be any bytes.
    pub fn send(&mut self, packet: &[u8], data: &[u8]) -> Result<(), Failure> {
        self.sent.clear();
        self.sent.push(b'$');
        self.sent.extend_from_slice(packet);
        for byte in data {
            if [b'#', b'$', ESCAPE, REPEAT].contains(byte) {
                self.sent.extend([ESCAPE, byte ^ ESCAPED]);
            } else {
                self.sent.push(*byte);
            }
        }
        let sum = self.sent[1..].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        write!(self.sent, "#{sum:02x}")?;
        self.stream.write_all(&self.sent)?;
        Ok(())
    }

    /// Asks the stub to stop the guest.
    pub fn send_interrupt(&mut self) -> Result<(), Failure> {
        Ok(self.stream.write_all(&[3])?)
    }

    /// The next packet, decoded.
    pub fn receive(&mut self) -> Result<&[u8], Failure> {
        // Acknowledgements precede it.
        while self.byte()? != b'$' {}
        self.received.clear();
        loop {
            self.take_plain();
            match self.byte()? {
                b'#' => break,
                ESCAPE => {
                    let byte = self.byte()? ^ ESCAPED;
                    self.received.push(byte);
                }
                REPEAT => {
                    let count = self.byte()?.checked_sub(REPEAT_OFFSET).ok_or("a repeat count below 0")?;
                    let last = *self.received.last().ok_or("a repetition of nothing")?;
                    self.received.resize(self.received.len() + usize::from(count), last);
                }
                byte => self.received.push(byte),
            }
        }
        // TCP detects corruption: the checksum is not checked.
        self.byte()?;
        self.byte()?;
        if self.acknowledge {
            self.stream.write_all(b"+")?;
        }
        Ok(&self.received)
    }

    /// Takes bytes that are not escaped from the buffer, many at a time, so that the client is not the bottleneck.
    fn take_plain(&mut self) {
        let buffered = &self.buffer[self.next..self.filled];
        let end = memchr::memchr3(b'#', ESCAPE, REPEAT, buffered).unwrap_or(buffered.len());
        self.received.extend_from_slice(&buffered[..end]);
        self.next += end;
    }

    fn byte(&mut self) -> Result<u8, Failure> {
        if self.next == self.filled {
            self.filled = self.stream.read(&mut self.buffer).map_err(|error| match error.kind() {
                std::io::ErrorKind::WouldBlock => format!("no answer within {TIMEOUT:?}").into(),
                _ => Failure::from(error),
            })?;
            self.next = 0;
            if self.filled == 0 {
                return Err("it closed the connection".into());
            }
        }
        self.next += 1;
        Ok(self.buffer[self.next - 1])
    }
}
