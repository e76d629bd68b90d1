//! What carries frames: TCP, bare or inside TLS 1.3.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustls::Connection;

use super::wire::Transport;

/// How long both sides may take to prove who they are.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

impl Transport for TcpStream {
    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))?;
        self.set_write_timeout(Some(patience))
    }

    fn end(&mut self) {
        // The other side may have hung up.
        let _ = self.shutdown(Shutdown::Write);
    }
}

/// A connection inside TLS, both of whose sides have proven who they are.
pub struct Encrypted {
    tls: Connection,
    socket: TcpStream,
}

impl Encrypted {
    /// Has both sides of `socket` prove who they are.
    ///
    /// # Errors
    ///
    /// What the host says, or in [`ErrorKind::InvalidData`] what is wrong with the other side.
    pub fn new(tls: Connection, socket: TcpStream) -> io::Result<Encrypted> {
        socket.set_patience(HANDSHAKE_PATIENCE)?;
        let mut encrypted = Encrypted { tls, socket };
        let start = Instant::now();
        while encrypted.tls.is_handshaking() {
            encrypted.flush()?;
            if encrypted.tls.is_handshaking() {
                encrypted.receive()?;
            }
            if start.elapsed() > HANDSHAKE_PATIENCE {
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

impl Read for Encrypted {
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

impl Write for Encrypted {
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

impl Transport for Encrypted {
    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.socket.set_patience(patience)
    }

    fn end(&mut self) {
        self.tls.send_close_notify();
        // The other side may have hung up.
        let _ = self.flush();
        self.socket.end();
    }
}
