//! A client of a program's console.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::shared::Failure;

/// Longest time to wait for anything.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// A connection to a console that shows a prompt after each command.
pub struct Monitor {
    stream: UnixStream,
    prompt: &'static str,
}

impl Monitor {
    /// Connects to the unix socket `path`.
    pub fn connect(path: &Path, prompt: &'static str) -> Result<Monitor, Failure> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let mut monitor = Monitor { stream, prompt };
        monitor.wait_for(prompt)?;
        Ok(monitor)
    }

    /// Sends `command`, and returns the answer up to the next prompt.
    pub fn ask(&mut self, command: &str) -> Result<String, Failure> {
        self.send(command)?;
        self.wait_for(self.prompt)
    }

    /// Sends `command` without waiting for an answer.
    pub fn send(&mut self, command: &str) -> Result<(), Failure> {
        Ok(self.stream.write_all(format!("{command}\n").as_bytes())?)
    }

    /// Reads up to and including `end`.
    pub fn wait_for(&mut self, end: &str) -> Result<String, Failure> {
        let (mut text, start) = (Vec::new(), Instant::now());
        let mut piece = [0; 4096];
        while start.elapsed() < TIMEOUT {
            let count = self.stream.read(&mut piece)?;
            text.extend_from_slice(&piece[..count]);
            let received = String::from_utf8_lossy(&text);
            if received.contains(end) {
                return Ok(received.into_owned());
            }
            if count == 0 {
                return Err(format!("the console disconnected before {end:?}, after {received:?}").into());
            }
        }
        Err(format!("the console did not send {end:?} within {TIMEOUT:?}").into())
    }
}
