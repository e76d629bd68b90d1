//! A connection that carries frames, and how it fails.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use super::frame::{FrameError, FrameKind, HEADER, MAX_PAYLOAD, Message, header};

/// How long a side that says nothing is waited for: one that is busy says so much sooner
/// ([`KEEP_ALIVE`]).
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// How often a side that is busy says so.
pub const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// How long one frame may take to arrive, or to be taken, once it has begun, however slowly.
const FRAME_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a side that only says that it is busy is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the other side has to hang up after the last frame.
const LINGER: Duration = Duration::from_millis(500);

/// What sides need that are to trust each other.
pub const TRUST: &str = "both sides need the same --migr-key, or certificates that the other trusts";

/// What carries bytes to the other side and back, in order.
pub trait Transport: Read + Write + Send {
    /// Has reading and writing fail after so long without a byte.
    ///
    /// # Errors
    ///
    /// Those of the host.
    fn set_timeout(&self, timeout: Duration) -> io::Result<()>;

    /// Nothing more will be written; what has been written arrives. What can be done of this is done.
    fn end(&mut self);
}

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The other side has hung up, or the network has.
    #[error("the connection has ended")]
    Closed,
    /// The other side says nothing.
    #[error("the other side has said nothing for {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// It sent something that cannot be meant.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// It gives up, and says why.
    #[error("the other host aborted the migration: {0}")]
    Peer(String),
    /// It does not take this side for one that it trusts, or is none itself.
    #[error("{0}; {TRUST}")]
    Untrusted(io::Error),
    /// The host's words.
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
            // Only a connection inside TLS fails so ([`super::transport::TlsTransport`]).
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
    /// Frames over `stream`.
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
    /// [`WireError`]; what the other side said before it hung up, if it did.
    pub fn send(&mut self, message: &Message<'_>) -> Result<(), WireError> {
        self.send_frame(&message.frame())
    }

    /// Sends a frame that [`super::frame::finish`] has finished.
    ///
    /// # Errors
    ///
    /// Those of [`Self::send`].
    pub fn send_frame(&mut self, frame: &[u8]) -> Result<(), WireError> {
        let sent = write_within(&mut *self.stream, frame, FRAME_TIMEOUT);
        let Err(error) = sent else { return Ok(()) };
        let error = WireError::from(error);
        // Whoever hangs up says why, and that may be here already.
        if matches!(error, WireError::Closed)
            && let Err(told @ WireError::Peer(_)) = self.pending_error()
        {
            return Err(told);
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

    /// The next message that says anything.
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
        // The first byte may take as long as anything may.
        self.stream.read_exact(&mut bytes[..1])?;
        let start = Instant::now();
        read_within(&mut *self.stream, &mut bytes[1..], start)?;
        let (kind, length) = header(bytes)?;
        debug_assert!(length <= MAX_PAYLOAD);
        self.payload.resize(length, 0);
        read_within(&mut *self.stream, &mut self.payload, start)?;
        Ok(kind)
    }

    /// Tells the other side why this one gives up, and hangs up.
    pub fn abort(mut self, why: &str) {
        // It may be gone already.
        if self.send(&Message::Error(why.to_owned())).is_ok() {
            self.close();
        }
    }

    /// Hangs up in such a way that the last frame arrives: what the other side still sends is read.
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

/// A side that takes a byte now and then is not waited for: the guest may stand still meanwhile.
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

    /// A side that takes one byte now and then.
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
    fn a_side_that_takes_a_frame_byte_by_byte_is_not_waited_for() {
        write_within(&mut Slow, &[0; 2], TIMEOUT).unwrap();
        let error = write_within(&mut Slow, &[0; 1000], Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
