//! What carries frames: TCP, bare or inside TLS 1.3.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustls::Connection;

use super::wire::Transport;

/// How long both sides may take to prove who they are.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

impl Transport for TcpStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }

    fn end(&mut self) {
        // The other side may have hung up.
        let _ = self.shutdown(Shutdown::Write);
    }
}

/// A connection inside TLS, both of whose sides have proven who they are.
pub struct TlsTransport {
    tls: Connection,
    socket: TcpStream,
}

impl TlsTransport {
    /// Has both sides of `socket` prove who they are.
    ///
    /// # Errors
    ///
    /// What the host says, or in [`ErrorKind::InvalidData`] what is wrong with the other side.
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

    /// Takes what has arrived.
    fn receive(&mut self) -> io::Result<()> {
        if self.tls.read_tls(&mut self.socket)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if let Err(error) = self.tls.process_new_packets() {
            // The other side is told why, if it still listens.
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
        // The other side may have hung up.
        let _ = self.flush();
        self.socket.end();
    }
}
