//! The client: sends bytes in pieces, usually waits for answers as debuggers do, and checks them.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::fuzzing::Random;
use crate::gdb::packet::{PacketScanner, Scanned};
use crate::gdb::target::PACKET;
use crate::machine::inputs::{Input, Inputs};

/// Maximum number of bytes sent at once: the server reads no more.
const PIECE: usize = 16 << 10;
/// Timeout of an answer. While the guest runs there may be none.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(10);
/// Timeout of all answers of a session together.
const SESSION_TIMEOUT: Duration = Duration::from_millis(300);
/// How long a guest that the client has changed runs on; it may never end.
const CHANGED_GUEST_TIMEOUT: Duration = Duration::from_millis(20);
/// How long after the end of the session the server counts as hung.
const HANG_TIMEOUT: Duration = Duration::from_secs(20);

/// A client.
pub(crate) struct Peer {
    pub(crate) stream: UnixStream,
    pub(crate) inputs: Inputs,
    /// The session may change the guest.
    pub(crate) changes: bool,
}

/// The server has disconnected.
struct Disconnected;

impl Peer {
    /// Sends `session` and disconnects; then waits until `ended` reports that the guest has ended, too.
    pub(crate) fn play(self, session: &[u8], ended: &Receiver<()>) {
        let Peer { stream, inputs, changes } = self;
        // The server may disconnect before the end.
        let _ = Playback::new(stream, session).run();
        if changes && ended.recv_timeout(CHANGED_GUEST_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            inputs.push(Input::TimedOut);
        } else if changes {
            return;
        }
        // The peer has disconnected if the server has panicked.
        if ended.recv_timeout(HANG_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            eprintln!("the server or its guest hangs after {}", session.escape_ascii());
            std::process::abort();
        }
    }
}

struct Playback<'a> {
    stream: UnixStream,
    random: Random,
    session: &'a [u8],
    answers: PacketScanner,
    answer: Vec<u8>,
    time_left: Duration,
}

impl<'a> Playback<'a> {
    fn new(stream: UnixStream, session: &'a [u8]) -> Playback<'a> {
        stream.set_write_timeout(Some(HANG_TIMEOUT)).expect("sockets have timeouts");
        let (random, answers) = (Random::of(session), PacketScanner::new(2 * PACKET));
        Playback { stream, random, session, answers, answer: vec![0; 4 * PACKET], time_left: SESSION_TIMEOUT }
    }

    fn run(mut self) -> Result<(), Disconnected> {
        let mut rest = self.session;
        let mut scanner = PacketScanner::new(rest.len());
        let mut turn = 0;
        while turn < rest.len() {
            let (piece, count) = scanner.take(&rest[turn..]);
            let interrupt = piece == Scanned::Loose && rest[turn] == 3;
            turn += count;
            if piece == Scanned::Last || interrupt || turn == rest.len() {
                let (now, later) = rest.split_at(turn);
                self.send(now)?;
                (rest, turn) = (later, 0);
                // Some clients send the next packet without waiting.
                if self.random.below(8) > 0 {
                    self.wait_for_answer()?;
                }
            }
        }
        Ok(())
    }

    /// Sends `bytes`, at once or in pieces.
    fn send(&mut self, bytes: &[u8]) -> Result<(), Disconnected> {
        let whole = self.random.below(2) == 0;
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = rest.len().min(PIECE);
            let count = if whole { most } else { 1 + self.random.below(most) };
            self.stream.write_all(&rest[..count]).map_err(|_| Disconnected)?;
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Waits for an answer, up to the timeout.
    fn wait_for_answer(&mut self) -> Result<(), Disconnected> {
        let start = Instant::now();
        let at_most = ANSWER_TIMEOUT.min(self.time_left);
        while let Some(left) = at_most.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
            self.stream.set_read_timeout(Some(left)).expect("sockets have timeouts");
            match self.stream.read(&mut self.answer) {
                Ok(0) => return Err(Disconnected),
                Ok(count) if self.check_answer(count) => break,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(_) => return Err(Disconnected),
            }
        }
        self.time_left = self.time_left.saturating_sub(start.elapsed());
        Ok(())
    }

    /// Checks the packets received; true if one of them is an answer and not console output.
    fn check_answer(&mut self, count: usize) -> bool {
        let (mut rest, mut answered) = (&self.answer[..count], false);
        while !rest.is_empty() {
            let (piece, count) = self.answers.take(rest);
            match piece {
                Scanned::Inside => {}
                Scanned::Loose => assert!(matches!(rest[0], b'+' | b'-'), "{:#x} is sent", rest[0]),
                Scanned::TooLong => panic!("a packet without an end is sent"),
                Scanned::Last => {
                    let body = self.answers.body().expect("a packet with a wrong checksum is sent");
                    answered |= body == b"OK" || !body.starts_with(b"O");
                }
            }
            rest = &rest[count..];
        }
        answered
    }
}
