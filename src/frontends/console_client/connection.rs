//! The connection to a console: sends a line, and receives its answer, which ends with the next prompt.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::console::PROMPT;
use crate::os::connection::Stream;
use crate::settings::ListenAddress;

/// Timeout of the first prompt.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout of sfinder a line.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum number of bytes read at a time.
const READ_SIZE: usize = 4096;

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerEnd {
    /// With the next prompt.
    Prompt,
    /// With the end of the connection.
    Disconnected,
}

/// A connection that has received its first prompt.
pub(super) struct Connection {
    stream: Stream,
    finder: PromptFinder,
}

impl Connection {
    /// Connects to the console at `place`.
    ///
    /// # Errors
    ///
    /// The host's error, or that the peer is not a console.
    pub(super) fn open(place: &ListenAddress) -> io::Result<Connection> {
        let stream = Stream::connect(place)?;
        stream.set_nodelay()?;
        stream.set_timeouts(GREETING_TIMEOUT, WRITE_TIMEOUT)?;
        let mut connection = Connection { stream, finder: PromptFinder::default() };
        let mut greeting = Vec::new();
        let end = connection.receive(&mut greeting).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => {
                io::Error::other("the program that listens there is not a console of kvm")
            }
            _ => error,
        })?;
        if end == AnswerEnd::Disconnected {
            let reason = String::from_utf8_lossy(&greeting);
            return Err(io::Error::other(format!("it closed the connection with: {}", reason.trim())));
        }
        connection.stream.set_timeouts(Duration::from_secs(u64::from(u32::MAX)), WRITE_TIMEOUT)?;
        Ok(connection)
    }

    /// Another handle to the same connection.
    pub(super) fn try_clone(&self) -> io::Result<Connection> {
        Ok(Connection { stream: self.stream.try_clone()?, finder: PromptFinder::default() })
    }

    /// Sends a line.
    pub(super) fn send(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(format!("{line}\n").as_bytes())
    }

    /// Copies an answer to `out` as it arrives, without the prompt at its end.
    pub(super) fn receive(&mut self, out: &mut impl Write) -> io::Result<AnswerEnd> {
        let mut bytes = [0; READ_SIZE];
        loop {
            let (text, complete) = self.finder.next();
            out.write_all(&text)?;
            if complete {
                out.flush()?;
                return Ok(AnswerEnd::Prompt);
            }
            match self.stream.read(&mut bytes) {
                Ok(0) => {
                    out.write_all(&self.finder.rest())?;
                    out.flush()?;
                    return Ok(AnswerEnd::Disconnected);
                }
                Ok(count) => self.finder.add(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Copies all remaining output to `out`.
    pub(super) fn receive_all(&mut self, out: &mut impl Write) -> io::Result<()> {
        while self.receive(out)? == AnswerEnd::Prompt {}
        Ok(())
    }

    /// Waits until there is something to read; false if the connection has failed.
    pub(super) fn wait(&self) -> bool {
        self.poll(None)
    }

    /// True if bytes beyond the last prompt have been received.
    pub(super) fn has_buffered_bytes(&self) -> bool {
        !self.finder.held.is_empty()
    }

    /// True if there is something to read.
    pub(super) fn is_readable(&self) -> bool {
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

/// Finds the prompt in received bytes: at the start of a line, it ends an answer.
#[derive(Debug)]
struct PromptFinder {
    /// Received bytes that have not been passed on.
    held: Vec<u8>,
    /// The held bytes begin a line.
    at_start: bool,
}

impl Default for PromptFinder {
    fn default() -> PromptFinder {
        PromptFinder { held: Vec::new(), at_start: true }
    }
}

impl PromptFinder {
    /// Appends received bytes.
    fn add(&mut self, bytes: &[u8]) {
        self.held.extend(bytes);
    }

    /// The bytes that can be passed on, and whether they complete the answer.
    fn next(&mut self) -> (Vec<u8>, bool) {
        let prompt = PROMPT.as_bytes();
        let mut line = 0;
        loop {
            let rest = &self.held[line..];
            if line > 0 || self.at_start {
                if rest.starts_with(prompt) {
                    let after = self.held.split_off(line + prompt.len());
                    let mut text = std::mem::replace(&mut self.held, after);
                    text.truncate(line);
                    self.at_start = true;
                    return (text, true);
                }
                if prompt.starts_with(rest) {
                    break;
                }
            }
            match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => line += end + 1,
                None => {
                    self.at_start = false;
                    return (self.rest(), false);
                }
            }
        }
        // It may become the prompt when more bytes arrive.
        let held = self.held.split_off(line);
        self.at_start = true;
        (std::mem::replace(&mut self.held, held), false)
    }

    /// All held bytes.
    fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers in these pieces of output, and the remaining bytes.
    fn split_answers(pieces: &[&str]) -> (Vec<String>, String) {
        let (mut finder, mut answers, mut text) = (PromptFinder::default(), Vec::new(), String::new());
        for piece in pieces {
            finder.add(piece.as_bytes());
            loop {
                let (passed, complete) = finder.next();
                text.push_str(std::str::from_utf8(&passed).unwrap());
                if !complete {
                    break;
                }
                answers.push(std::mem::take(&mut text));
            }
        }
        text.push_str(std::str::from_utf8(&finder.rest()).unwrap());
        (answers, text)
    }

    #[test]
    fn answers_end_with_the_prompt_however_they_are_split() {
        let whole = "vmm console> CR4 1\nCR3 2\nvmm console> vmm console> \nkvm: the end\n";
        let answers = ["", "CR4 1\nCR3 2\n", ""].map(str::to_owned).to_vec();
        for cut in 0..whole.len() {
            let (one, other) = whole.split_at(cut);
            assert_eq!(
                split_answers(&[one, other]),
                (answers.clone(), "\nkvm: the end\n".to_owned()),
                "{cut}"
            );
        }
    }

    #[test]
    fn the_prompt_within_a_line_is_text() {
        let text = |text: &str| (Vec::new(), text.to_owned());
        assert_eq!(split_answers(&["at vmm console> "]), text("at vmm console> "));
        assert_eq!(split_answers(&["at ", "vmm console> "]), text("at vmm console> "));
        assert_eq!(split_answers(&["vmm consolex\nvmm con"]), text("vmm consolex\nvmm con"));
    }
}
