//! The connection to a console: a line goes there, and what comes back up to the next prompt is its
//! answer.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::console::PROMPT;
use crate::host::connection::Stream;
use crate::settings::Place;

/// How long the first prompt is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a line may take to be sent.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);
/// Most bytes read at a time.
const READ_SIZE: usize = 4096;

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// With the next prompt.
    Prompt,
    /// With the end of the connection.
    End,
}

/// A connection whose first prompt has come.
pub(super) struct Connection {
    stream: Stream,
}

impl Connection {
    /// Connects to the console at `place`.
    ///
    /// # Errors
    ///
    /// The host's; and that what answers there is no console.
    pub(super) fn open(place: &Place) -> io::Result<Connection> {
        let stream = Stream::connect(place)?;
        stream.send_at_once()?;
        stream.set_patience(PATIENCE, WRITE_PATIENCE)?;
        let mut connection = Connection { stream };
        let mut greeting = Vec::new();
        let heard = connection.hear(&mut greeting).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => {
                io::Error::other("what listens there does not answer as a console of kvm")
            }
            _ => error,
        })?;
        if heard == Heard::End {
            let said = String::from_utf8_lossy(&greeting);
            return Err(io::Error::other(format!("it hung up, and said: {}", said.trim())));
        }
        connection.stream.set_patience(Duration::from_secs(u64::from(u32::MAX)), WRITE_PATIENCE)?;
        Ok(connection)
    }

    /// Another handle to the same connection.
    pub(super) fn try_clone(&self) -> io::Result<Connection> {
        Ok(Connection { stream: self.stream.try_clone()? })
    }

    /// Sends a line.
    pub(super) fn say(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(format!("{line}\n").as_bytes())
    }

    /// Copies an answer to `out` as it comes, without the prompt at its end.
    pub(super) fn hear(&mut self, out: &mut impl Write) -> io::Result<Heard> {
        let mut ending = Ending::default();
        let mut bytes = [0; READ_SIZE];
        loop {
            let count = match self.stream.read(&mut bytes) {
                Ok(0) => {
                    out.write_all(&ending.held)?;
                    out.flush()?;
                    return Ok(Heard::End);
                }
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            out.write_all(&ending.pass(&bytes[..count]))?;
            if ending.is_prompt() {
                out.flush()?;
                return Ok(Heard::Prompt);
            }
        }
    }

    /// Copies everything to `out` that still comes.
    pub(super) fn hear_all(&mut self, out: &mut impl Write) -> io::Result<()> {
        while self.hear(out)? == Heard::Prompt {}
        Ok(())
    }

    /// Waits until there is something to hear; false if that can never be.
    pub(super) fn wait(&self) -> bool {
        self.poll(None)
    }

    /// True if there is something to hear.
    pub(super) fn has_something(&self) -> bool {
        self.poll(Some(&Timespec::default()))
    }

    fn poll(&self, limit: Option<&Timespec>) -> bool {
        let mut fds = [PollFd::new(&self.stream, PollFlags::IN)];
        loop {
            match poll(&mut fds, limit) {
                Err(rustix::io::Errno::INTR) => {}
                found => return found.is_ok_and(|count| count > 0),
            }
        }
    }
}

/// Holds back what may be the prompt at the end of an answer.
#[derive(Debug)]
struct Ending {
    held: Vec<u8>,
    /// What is held begins a line.
    at_start: bool,
}

impl Default for Ending {
    fn default() -> Ending {
        Ending { held: Vec::new(), at_start: true }
    }
}

impl Ending {
    /// Takes what has come; what is not held back.
    fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.held);
        all.extend(bytes);
        // The prompt is the whole of the last line.
        let line = all.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let begins_line = line > 0 || self.at_start;
        if begins_line && PROMPT.as_bytes().starts_with(&all[line..]) {
            self.held = all.split_off(line);
            self.at_start = true;
        } else {
            self.at_start = all.ends_with(b"\n") || all.is_empty() && self.at_start;
        }
        all
    }

    /// True if what is held back is the prompt.
    fn is_prompt(&self) -> bool {
        self.held == PROMPT.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is passed on of an answer that comes in these pieces, and whether it is complete.
    fn heard(pieces: &[&str]) -> (String, bool) {
        let mut ending = Ending::default();
        let passed: Vec<u8> = pieces.iter().flat_map(|piece| ending.pass(piece.as_bytes())).collect();
        (String::from_utf8(passed).unwrap(), ending.is_prompt())
    }

    #[test]
    fn an_answer_ends_with_the_prompt_however_it_is_cut() {
        let whole = "CR4 1\nCR3 2\nvmm console> ";
        for cut in 0..whole.len() {
            let (one, other) = whole.split_at(cut);
            assert_eq!(heard(&[one, other]), ("CR4 1\nCR3 2\n".to_owned(), true), "{cut}");
        }
        assert_eq!(heard(&[PROMPT]), (String::new(), true));
    }

    #[test]
    fn the_prompt_within_a_line_is_text() {
        assert_eq!(heard(&["at vmm console> "]), ("at vmm console> ".to_owned(), false));
        assert_eq!(heard(&["at ", "vmm console> "]), ("at vmm console> ".to_owned(), false));
        assert_eq!(heard(&["vmm console> x", "\nvmm con"]), ("vmm console> x\n".to_owned(), false));
    }
}
