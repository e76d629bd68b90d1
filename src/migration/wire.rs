//! A connection that carries frames, and its errors.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use super::frame::{FrameError, FrameKind, HEADER, MAX_PAYLOAD, Message, header};

/// Timeout for a peer that sends nothing. A busy peer sends keep-alives much more often ([`KEEP_ALIVE`]).
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Interval between the keep-alives of a busy peer.
pub const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Timeout for one frame from its first byte, when sent or received.
const FRAME_TIMEOUT: Duration = Duration::from_secs(30);

/// Timeout for a peer that sends only keep-alives.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the peer may take to disconnect after the last frame.
const LINGER: Duration = Duration::from_millis(500);

/// Requirement for peers to trust each other.
pub const TRUST: &str = "both sides need the same --migr-key, or certificates that the other trusts";

/// How the reason of an abort ends if the guest does not go on at the source either.
pub const RUN_ENDS: &str = "; the run ends there";

/// A reliable, ordered byte stream to the peer.
pub trait Transport: Read + Write + Send {
    /// Sets the timeout after which reads and writes without progress fail.
    ///
    /// # Errors
    ///
    /// Those of the host.
    fn set_timeout(&self, timeout: Duration) -> io::Result<()>;

    /// Ends the outgoing direction; data already written still arrives. Errors are ignored.
    fn end(&mut self);
}

/// Why a connection is unusable.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The peer or the network has closed the connection.
    #[error("the connection has ended")]
    Closed,
    /// The peer sends nothing.
    #[error("the peer has sent nothing for {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// The peer sent an invalid frame.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// The peer aborts, with this reason.
    #[error("the other host aborted the migration: {0}")]
    Peer(String),
    /// One of the peers does not trust the other.
    #[error("{0}; {TRUST}")]
    Untrusted(io::Error),
    /// The error of the host.
    #[error("the connection fails: {0}")]
    Io(io::Error),
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> WireError {
        match error.kind() {
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe => WireError::Closed,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => WireError::TimedOut(TIMEOUT),
            // Only a connection inside TLS fails this way ([`super::transport::TlsTransport`]).
            ErrorKind::InvalidData => WireError::Untrusted(error),
            _ => WireError::Io(error),
        }
    }
}

/// A connection that carries frames.
pub struct Wire {
    stream: Box<dyn Transport>,
    payload: Vec<u8>,
}

impl Wire {
    /// Creates a connection that sends frames over `stream`.
    ///
    /// # Errors
    ///
    /// [`WireError::Io`].
    pub fn new(stream: Box<dyn Transport>) -> Result<Wire, WireError> {
        stream.set_timeout(TIMEOUT)?;
        Ok(Wire { stream, payload: Vec::new() })
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// [`WireError`]. If the peer sent its reason before it disconnected, the error holds that reason.
    pub fn send(&mut self, message: &Message<'_>) -> Result<(), WireError> {
        self.send_frame(&message.frame())
    }

    /// Sends a frame completed by [`super::frame::finish`].
    ///
    /// # Errors
    ///
    /// Those of [`Self::send`].
    pub fn send_frame(&mut self, frame: &[u8]) -> Result<(), WireError> {
        let sent = write_within(&mut *self.stream, frame, FRAME_TIMEOUT);
        let Err(error) = sent else { return Ok(()) };
        let error = WireError::from(error);
        // The peer sends a reason before it disconnects, and that may already have arrived.
        if matches!(error, WireError::Closed)
            && let Err(reason @ WireError::Peer(_)) = self.pending_error()
        {
            return Err(reason);
        }
        Err(error)
    }

    fn pending_error(&mut self) -> Result<(), WireError> {
        self.stream.set_timeout(LINGER)?;
        for _ in 0..4 {
            self.receive()?;
        }
        Ok(())
    }

    /// Receives the next message other than a keep-alive.
    ///
    /// # Errors
    ///
    /// [`WireError`]; [`WireError::Peer`] for [`Message::Error`].
    pub fn receive(&mut self) -> Result<Message<'_>, WireError> {
        let start = Instant::now();
        let kind = loop {
            let kind = self.receive_frame()?;
            if kind != FrameKind::KeepAlive {
                break kind;
            }
            if start.elapsed() > BUSY_TIMEOUT {
                return Err(WireError::TimedOut(BUSY_TIMEOUT));
            }
        };
        match Message::read(kind, &self.payload)? {
            Message::Error(text) => Err(WireError::Peer(text)),
            message => Ok(message),
        }
    }

    fn receive_frame(&mut self) -> Result<FrameKind, WireError> {
        let mut bytes = [0; HEADER];
        // The first byte may take the full timeout.
        self.stream.read_exact(&mut bytes[..1])?;
        let start = Instant::now();
        read_within(&mut *self.stream, &mut bytes[1..], start)?;
        let (kind, length) = header(bytes)?;
        debug_assert!(length <= MAX_PAYLOAD);
        self.payload.resize(length, 0);
        read_within(&mut *self.stream, &mut self.payload, start)?;
        Ok(kind)
    }

    /// Sends the reason for the abort to the peer and disconnects.
    pub fn abort(mut self, why: &str) {
        // The peer may already have disconnected.
        if self.send(&Message::Error(why.to_owned())).is_ok() {
            self.close();
        }
    }

    /// Disconnects so that the last frame arrives: data that the peer still sends is read and discarded.
    pub fn close(mut self) {
        self.stream.end();
        if self.stream.set_timeout(LINGER).is_err() {
            return;
        }
        let start = Instant::now();
        self.payload.resize(MAX_PAYLOAD, 0);
        while start.elapsed() < LINGER && matches!(self.stream.read(&mut self.payload), Ok(1..)) {}
    }
}

/// Enforces a total timeout, since a peer that accepts single bytes would otherwise keep the guest stopped.
fn write_within(stream: &mut dyn Transport, mut bytes: &[u8], timeout: Duration) -> io::Result<()> {
    let start = Instant::now();
    while !bytes.is_empty() {
        if start.elapsed() > timeout {
            return Err(ErrorKind::TimedOut.into());
        }
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    stream.flush()
}

fn read_within(stream: &mut dyn Transport, mut bytes: &mut [u8], start: Instant) -> Result<(), WireError> {
    while !bytes.is_empty() {
        match stream.read(bytes) {
            Ok(0) => return Err(WireError::Closed),
            Ok(count) => bytes = &mut bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        if start.elapsed() > FRAME_TIMEOUT {
            return Err(WireError::TimedOut(FRAME_TIMEOUT));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer that accepts one byte at a time.
    struct Slow;

    impl Read for Slow {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
    }

    impl Write for Slow {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            std::thread::sleep(Duration::from_millis(2));
            Ok(1)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Transport for Slow {
        fn set_timeout(&self, _: Duration) -> io::Result<()> {
            Ok(())
        }

        fn end(&mut self) {}
    }

    #[test]
    fn a_frame_sent_byte_by_byte_times_out() {
        write_within(&mut Slow, &[0; 2], TIMEOUT).unwrap();
        let error = write_within(&mut Slow, &[0; 1000], Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
