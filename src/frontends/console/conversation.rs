//! One client of the console, from its first prompt to its disconnection.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::PROMPT;
use super::lines::{LONGEST, Line, Lines};
use crate::supervisor::command_interpreter::{CommandReply, CommandSource};
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
    /// The run is over, including its last command.
    RunOver,
}

/// The result of a line.
enum Reply {
    /// An answer; then the next line is accepted.
    Text(String),
    /// The same, followed by further lines of progress until the command is complete.
    Progress(String, Receiver<String>),
    /// No further line is accepted.
    End(Ended),
}

/// Answers a client until it disconnects or the run is over.
pub(super) fn serve(stream: &mut (impl Read + Write), caller: &RequestSender) -> Ended {
    answer_lines(stream, caller).unwrap_or_else(|error| {
        debug!("console: {error}");
        Ended::Disconnected
    })
}

fn answer_lines(stream: &mut (impl Read + Write), caller: &RequestSender) -> io::Result<Ended> {
    stream.write_all(PROMPT.as_bytes())?;
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
            let Some(line) = lines.take(byte) else { continue };
            thread::sleep(PACE.saturating_sub(asked.elapsed()));
            match reply(&line, caller) {
                Reply::Text(text) => stream.write_all(format!("{text}{PROMPT}").as_bytes())?,
                Reply::Progress(text, progress) => {
                    stream.write_all(text.as_bytes())?;
                    for line in progress {
                        stream.write_all(format!("{line}\n").as_bytes())?;
                    }
                    stream.write_all(PROMPT.as_bytes())?;
                }
                Reply::End(ended) => return Ok(ended),
            }
            asked = Instant::now();
        }
    }
}

fn reply(line: &Line, caller: &RequestSender) -> Reply {
    let line = match line {
        Line::Text(line) => line.trim(),
        Line::TooLong => {
            return Reply::Text(format!("the line is too long; at most {LONGEST} bytes are allowed\n"));
        }
    };
    match line {
        "" => Reply::Text(String::new()),
        "exit" => Reply::End(Ended::Disconnected),
        // A web page can make a browser send arbitrary data to this host, after a line such as this.
        line if line.ends_with(" HTTP/1.1") || line.ends_with(" HTTP/1.0") => {
            warn!("console: the connection of a browser is closed");
            Reply::End(Ended::Disconnected)
        }
        line => match caller.run_command(CommandSource::Console, line) {
            Ok(CommandReply { text, progress: None, .. }) => Reply::Text(text),
            Ok(CommandReply { text, progress: Some(progress), .. }) => Reply::Progress(text, progress),
            Err(RunOver) => Reply::End(Ended::RunOver),
        },
    }
}
