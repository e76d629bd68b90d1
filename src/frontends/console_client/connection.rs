//! The connection to a console: sends a line, and receives its answer, which ends with the next prompt.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::console::PROMPT;
use super::super::console::lines::{FAILED, REQUEST_STATUS};
use crate::os::connection::Stream;
use crate::settings::ListenAddress;

/// Timeout of the first prompt.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout of sending a line.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Timeout for more of what the console sends by itself.
const NOTICE_TIMEOUT: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// Maximum number of bytes read at a time.
const READ_SIZE: usize = 4096;

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerEnd {
    /// With the next prompt.
    Prompt,
    /// With the next prompt, after a command that failed.
    Failed,
    /// With the end of the connection.
    Disconnected,
    /// With the end of the connection, because the console rejected the line.
    Rejected,
}

impl AnswerEnd {
    /// True if the connection has ended.
    pub(super) fn is_disconnected(self) -> bool {
        matches!(self, AnswerEnd::Disconnected | AnswerEnd::Rejected)
    }
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
        if end.is_disconnected() {
            let reason = String::from_utf8_lossy(&greeting);
            return Err(io::Error::other(format!("it closed the connection with: {}", reason.trim())));
        }
        connection.stream.write_all(&REQUEST_STATUS)?;
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
            let (text, end) = self.finder.next();
            out.write_all(&text)?;
            if let Some(end) = end {
                out.flush()?;
                return Ok(end);
            }
            match self.stream.read(&mut bytes) {
                Ok(0) => {
                    let rest = self.finder.rest();
                    let (rest, end) = match rest.strip_suffix(&FAILED) {
                        Some(rest) => (rest, AnswerEnd::Rejected),
                        None => (rest.as_slice(), AnswerEnd::Disconnected),
                    };
                    out.write_all(rest)?;
                    out.flush()?;
                    return Ok(end);
                }
                Ok(count) => self.finder.add(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Copies to `out` what the console sends by itself behind a prompt: why the guest has stopped, or the last
    /// words before the connection ends.
    pub(super) fn receive_notice(&mut self, out: &mut impl Write) -> io::Result<AnswerEnd> {
        out.write_all(&self.finder.rest())?;
        let mut bytes = [0; READ_SIZE];
        while self.poll(Some(&NOTICE_TIMEOUT)) {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(AnswerEnd::Disconnected),
                Ok(count) => out.write_all(&bytes[..count])?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            out.flush()?;
        }
        out.flush()?;
        Ok(AnswerEnd::Prompt)
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

    /// The bytes that can be passed on, and how they end the answer if they complete it.
    fn next(&mut self) -> (Vec<u8>, Option<AnswerEnd>) {
        let failed = [&FAILED, PROMPT.as_bytes()].concat();
        let ends = [(PROMPT.as_bytes(), AnswerEnd::Prompt), (failed.as_slice(), AnswerEnd::Failed)];
        let mut line = 0;
        loop {
            let rest = &self.held[line..];
            if line > 0 || self.at_start {
                if let Some((prompt, end)) = ends.iter().find(|(prompt, _)| rest.starts_with(prompt)) {
                    let after = self.held.split_off(line + prompt.len());
                    let mut text = std::mem::replace(&mut self.held, after);
                    text.truncate(line);
                    self.at_start = true;
                    return (text, Some(*end));
                }
                if ends.iter().any(|(prompt, _)| prompt.starts_with(rest)) {
                    break;
                }
            }
            match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => line += end + 1,
                None => {
                    self.at_start = false;
                    return (self.rest(), None);
                }
            }
        }
        // It may become the prompt when more bytes arrive.
        let held = self.held.split_off(line);
        self.at_start = true;
        (std::mem::replace(&mut self.held, held), None)
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
    fn split_answers(pieces: &[impl AsRef<[u8]>]) -> (Vec<String>, String) {
        let (mut finder, mut answers, mut text) = (PromptFinder::default(), Vec::new(), String::new());
        for piece in pieces {
            finder.add(piece.as_ref());
            loop {
                let (passed, end) = finder.next();
                text.push_str(std::str::from_utf8(&passed).unwrap());
                let Some(end) = end else { break };
                if end == AnswerEnd::Failed {
                    text.push('!');
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
    fn a_command_that_failed_is_recognised_however_its_answer_is_split() {
        let whole =
            [b"vmm console> no\n", &FAILED[..], b"vmm console> ", &FAILED, b"vmm console> end"].concat();
        for cut in 0..whole.len() {
            let (one, other) = whole.split_at(cut);
            let answers = ["", "no\n!", "!"].map(str::to_owned).to_vec();
            assert_eq!(split_answers(&[one, other]), (answers, "end".to_owned()), "{cut}");
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
