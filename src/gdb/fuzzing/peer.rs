//! The client: sends bytes in pieces, mostly waits for answers as debuggers do, and looks at them.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::fuzzing::Random;
use crate::gdb::packet::{PacketScanner, Scanned};
use crate::gdb::target::PACKET;
use crate::machine::inputs::{Input, Inputs};

/// Most that is sent at once: the server reads no more.
const PIECE: usize = 16 << 10;
/// How long an answer is waited for. While the guest runs there may be none.
const ANSWER: Duration = Duration::from_millis(10);
/// How long answers are waited for in a whole session.
const SESSION: Duration = Duration::from_millis(300);
/// How long a guest runs on that the client has changed; it may never end.
const CHANGED: Duration = Duration::from_millis(20);
/// How long after the end of the session the server counts as hung.
const HUNG: Duration = Duration::from_secs(20);

/// A client.
pub(crate) struct Peer {
    pub(crate) stream: UnixStream,
    pub(crate) inputs: Inputs,
    /// It may have changed the guest.
    pub(crate) changes: bool,
}

/// The server has hung up.
struct HungUp;

impl Peer {
    /// Sends `session` and disconnects; then waits until `ended` reports that the guest has ended, too.
    pub(crate) fn play(self, session: &[u8], ended: &Receiver<()>) {
        let Peer { stream, inputs, changes } = self;
        // That it has hung up before the end is its right.
        let _ = Talk::new(stream, session).hold();
        if changes && ended.recv_timeout(CHANGED) == Err(RecvTimeoutError::Timeout) {
            inputs.push(Input::TimedOut);
        } else if changes {
            return;
        }
        // The peer has disconnected if the server has panicked.
        if ended.recv_timeout(HUNG) == Err(RecvTimeoutError::Timeout) {
            eprintln!("the server or its guest hangs after {}", session.escape_ascii());
            std::process::abort();
        }
    }
}

struct Talk<'a> {
    stream: UnixStream,
    random: Random,
    session: &'a [u8],
    answers: PacketScanner,
    answer: Vec<u8>,
    patience: Duration,
}

impl<'a> Talk<'a> {
    fn new(stream: UnixStream, session: &'a [u8]) -> Talk<'a> {
        stream.set_write_timeout(Some(HUNG)).expect("sockets have time-outs");
        let (random, answers) = (Random::of(session), PacketScanner::new(2 * PACKET));
        Talk { stream, random, session, answers, answer: vec![0; 4 * PACKET], patience: SESSION }
    }

    fn hold(mut self) -> Result<(), HungUp> {
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
                // Some send on without an answer.
                if self.random.below(8) > 0 {
                    self.listen()?;
                }
            }
        }
        Ok(())
    }

    /// Sends `bytes`, at once or in pieces.
    fn send(&mut self, bytes: &[u8]) -> Result<(), HungUp> {
        let whole = self.random.below(2) == 0;
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = rest.len().min(PIECE);
            let count = if whole { most } else { 1 + self.random.below(most) };
            self.stream.write_all(&rest[..count]).map_err(|_| HungUp)?;
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Waits for an answer, not for ever.
    fn listen(&mut self) -> Result<(), HungUp> {
        let start = Instant::now();
        let at_most = ANSWER.min(self.patience);
        while let Some(left) = at_most.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
            self.stream.set_read_timeout(Some(left)).expect("sockets have time-outs");
            match self.stream.read(&mut self.answer) {
                Ok(0) => return Err(HungUp),
                Ok(count) if self.look_at(count) => break,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(_) => return Err(HungUp),
            }
        }
        self.patience = self.patience.saturating_sub(start.elapsed());
        Ok(())
    }

    /// True if there is an answer in what was received: something else than text for the user.
    fn look_at(&mut self, count: usize) -> bool {
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
