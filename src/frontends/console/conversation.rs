//! One client of the console, from its first prompt to its disconnection.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::PROMPT;
use super::lines::{FAILED, InvalidInput, Lines};
use crate::migration::progress::is_failure;
use crate::os::foreign_protocol::ForeignProtocol;
use crate::supervisor::command_interpreter::{CommandReply, CommandSource};
use crate::supervisor::notice::Notice;
use crate::supervisor::request_queue::{RequestSender, RunOver};

/// Maximum number of bytes read at a time.
const READ_SIZE: usize = 4096;
/// Minimum time between two commands of a client: a client that sends commands continuously must not keep the
/// guest from running.
const PACE: Duration = Duration::from_millis(1);

/// Why a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The client has disconnected, or must be disconnected.
    Disconnected,
    /// The client sent what no client of a console sends, and was notified.
    Rejected,
    /// The run is over, including its last command.
    RunOver,
}

/// The result of a line.
enum Reply {
    /// An answer; then the next line is accepted.
    Text {
        text: String,
        /// Further lines until the command is complete.
        progress: Option<Receiver<Notice>>,
        failed: bool,
    },
    /// No further line is accepted.
    End(Ended),
    /// The line is not from a client of a console.
    Foreign(ForeignProtocol),
}

/// Why a client is disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Rejection {
    #[error("{0}")]
    Input(#[from] InvalidInput),
    #[error("this is a console, and the input is {0}")]
    Protocol(ForeignProtocol),
}

/// Whose turn it is to write to a client: the thread that answers it, or the one that passes on notices.
pub(super) type Turn = Arc<Mutex<Written>>;

/// What was written last.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// The client shows a prompt, behind which a notice needs a line of its own.
    pub(super) at_prompt: bool,
    /// The number of the last stop that a notice has reported.
    noticed: u64,
    /// The numbers of later stops that answers have reported.
    answered: BTreeSet<u64>,
}

impl Written {
    /// False if a notice of this stop need not be written, because the answer to `wait` has reported it. Notices come
    /// in the order of the stops.
    pub(super) fn is_due_as_notice(&mut self, stop: Option<u64>) -> bool {
        let Some(stop) = stop else { return true };
        let due = !self.answered.contains(&stop);
        self.noticed = stop;
        self.answered = self.answered.split_off(&(stop + 1));
        due
    }

    /// False if an answer that reports this stop need not be written, because it has been reported.
    fn is_due_as_answer(&mut self, stop: Option<u64>) -> bool {
        stop.is_none_or(|stop| stop > self.noticed && self.answered.insert(stop))
    }
}

fn lock(turn: &Turn) -> MutexGuard<'_, Written> {
    turn.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Answers a client until it disconnects or the run is over.
pub(super) fn serve(stream: &mut (impl Read + Write), caller: &RequestSender, turn: &Turn) -> Ended {
    answer_lines(stream, caller, turn).unwrap_or_else(|error| {
        debug!("console: {error}");
        Ended::Disconnected
    })
}

fn answer_lines(stream: &mut (impl Read + Write), caller: &RequestSender, turn: &Turn) -> io::Result<Ended> {
    {
        let mut written = lock(turn);
        stream.write_all(PROMPT.as_bytes())?;
        written.at_prompt = true;
    }
    let (mut lines, mut bytes) = (Lines::default(), [0; READ_SIZE]);
    let mut asked = Instant::now();
    loop {
        let count = match stream.read(&mut bytes) {
            Ok(0) => return Ok(Ended::Disconnected),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        for &byte in &bytes[..count] {
            let line = match lines.take(byte) {
                Ok(Some(line)) => line,
                Ok(None) => continue,
                Err(error) => return reject(stream, error.into(), lines.wants_status()),
            };
            thread::sleep(PACE.saturating_sub(asked.elapsed()));
            // A stop that a command causes is reported behind its answer.
            let mut written = lock(turn);
            written.at_prompt = false;
            match reply(&line, lines.is_trusted(), caller) {
                Reply::Text { text, progress, mut failed } => {
                    if !failed && !line.trim().is_empty() {
                        lines.trust();
                    }
                    let mut answer = text.into_bytes();
                    if let Some(progress) = progress {
                        drop(written);
                        for notice in progress {
                            failed = is_failure(&notice.text);
                            let mut written = lock(turn);
                            if written.is_due_as_answer(notice.stop) {
                                answer.extend(format!("{}\n", notice.text).as_bytes());
                            }
                            stream.write_all(&answer)?;
                            answer.clear();
                        }
                        written = lock(turn);
                    }
                    if failed && lines.wants_status() {
                        answer.extend(FAILED);
                    }
                    answer.extend(PROMPT.as_bytes());
                    stream.write_all(&answer)?;
                }
                Reply::End(ended) => return Ok(ended),
                Reply::Foreign(protocol) => {
                    return reject(stream, Rejection::Protocol(protocol), lines.wants_status());
                }
            }
            written.at_prompt = true;
            asked = Instant::now();
        }
    }
}

/// Reports to the client why its connection ends.
fn reject(stream: &mut impl Write, why: Rejection, wants_status: bool) -> io::Result<Ended> {
    warn!("console: a client is disconnected: {why}");
    let mut answer = format!("{why}. The connection is closed.\n").into_bytes();
    if wants_status {
        answer.extend(FAILED);
    }
    stream.write_all(&answer)?;
    Ok(Ended::Rejected)
}

/// Carries out the command on `line`. Unless the client is `trusted`, the line is first checked for another protocol: a
/// web page can make a browser send arbitrary lines to this host, but only after the first lines of a request.
fn reply(line: &str, trusted: bool, caller: &RequestSender) -> Reply {
    let line = line.trim();
    if !trusted && let Some(protocol) = ForeignProtocol::in_line(line) {
        return Reply::Foreign(protocol);
    }
    match line {
        "" => Reply::Text { text: String::new(), progress: None, failed: false },
        "exit" => Reply::End(Ended::Disconnected),
        line => match caller.run_command(CommandSource::Console, line) {
            Ok(CommandReply { text, progress, failed }) => Reply::Text { text, progress, failed },
            Err(RunOver) => Reply::End(Ended::RunOver),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_reported_once_whichever_thread_comes_first() {
        let mut written = Written::default();
        assert!(written.is_due_as_notice(Some(1)) && !written.is_due_as_answer(Some(1)));
        assert!(written.is_due_as_answer(Some(2)) && !written.is_due_as_notice(Some(2)));
        assert!(!written.is_due_as_answer(Some(2)), "`wait` again");
        // What reports no stop is always written.
        assert!(written.is_due_as_notice(None) && written.is_due_as_notice(None));
        assert!(written.is_due_as_answer(None) && written.is_due_as_answer(None));
    }

    #[test]
    fn a_late_notice_of_a_stop_before_the_answered_one_is_written() {
        let mut written = Written::default();
        assert!(written.is_due_as_answer(Some(2)));
        assert!(written.is_due_as_notice(Some(1)));
        assert!(!written.is_due_as_notice(Some(2)) && written.is_due_as_notice(Some(3)));
        assert!(written.answered.is_empty(), "only later stops are remembered");
    }
}
