//! Transports for frames: TCP, plain or inside TLS 1.3.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustls::Connection;

use super::wire::Transport;

/// Timeout for mutual authentication.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

impl Transport for TcpStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }

    fn end(&mut self) {
        // The peer may have disconnected.
        let _ = self.shutdown(Shutdown::Write);
    }
}

/// True if the peer begins a TLS handshake on `socket`. Nothing is read.
///
/// # Errors
///
/// The error of the host; [`ErrorKind::UnexpectedEof`] if the peer has disconnected.
pub fn begins_tls(socket: &TcpStream) -> io::Result<bool> {
    const HANDSHAKE_RECORD: u8 = 0x16;
    socket.set_timeout(HANDSHAKE_TIMEOUT)?;
    let mut first = [0];
    match socket.peek(&mut first)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(first[0] == HANDSHAKE_RECORD),
    }
}

/// A TLS connection with both peers authenticated.
pub struct TlsTransport {
    tls: Connection,
    socket: TcpStream,
}

impl TlsTransport {
    /// Performs the TLS handshake with mutual authentication on `socket`.
    ///
    /// # Errors
    ///
    /// The error of the host, or [`ErrorKind::InvalidData`] if the peer cannot be authenticated.
    pub fn new(tls: Connection, socket: TcpStream) -> io::Result<TlsTransport> {
        socket.set_timeout(HANDSHAKE_TIMEOUT)?;
        let mut encrypted = TlsTransport { tls, socket };
        let start = Instant::now();
        while encrypted.tls.is_handshaking() {
            encrypted.flush()?;
            if encrypted.tls.is_handshaking() {
                encrypted.receive()?;
            }
            if start.elapsed() > HANDSHAKE_TIMEOUT {
                return Err(ErrorKind::TimedOut.into());
            }
        }
        encrypted.flush()?;
        Ok(encrypted)
    }

    /// Reads received data.
    fn receive(&mut self) -> io::Result<()> {
        if self.tls.read_tls(&mut self.socket)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if let Err(error) = self.tls.process_new_packets() {
            // Send the TLS alert, if the peer still reads.
            let _ = self.flush();
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        Ok(())
    }
}

impl Read for TlsTransport {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            self.flush()?;
            self.receive()?;
        }
    }
}

impl Write for TlsTransport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.tls.writer().write(bytes)?;
        self.flush()?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

impl Transport for TlsTransport {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.socket.set_timeout(timeout)
    }

    fn end(&mut self) {
        self.tls.send_close_notify();
        // The peer may have disconnected.
        let _ = self.flush();
        self.socket.end();
    }
}
