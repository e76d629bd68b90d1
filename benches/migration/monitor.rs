//! Speaking with a program's console.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use crate::program::PATIENCE;
use crate::shared::Failure;

/// A connection to a console that shows a prompt when it has done what it was told.
pub struct Monitor {
    stream: UnixStream,
    prompt: &'static str,
}

impl Monitor {
    /// Connects to the one at the socket `path`.
    pub fn connect(path: &Path, prompt: &'static str) -> Result<Monitor, Failure> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut monitor = Monitor { stream, prompt };
        monitor.wait_for(prompt)?;
        Ok(monitor)
    }

    /// Has `command` carried out; the answer.
    pub fn ask(&mut self, command: &str) -> Result<String, Failure> {
        self.tell(command)?;
        self.wait_for(self.prompt)
    }

    /// Tells it `command`.
    pub fn tell(&mut self, command: &str) -> Result<(), Failure> {
        Ok(self.stream.write_all(format!("{command}\n").as_bytes())?)
    }

    /// Everything up to `end`, and that.
    pub fn wait_for(&mut self, end: &str) -> Result<String, Failure> {
        let (mut text, start) = (Vec::new(), Instant::now());
        let mut piece = [0; 4096];
        while start.elapsed() < PATIENCE {
            let count = self.stream.read(&mut piece)?;
            text.extend_from_slice(&piece[..count]);
            let said = String::from_utf8_lossy(&text);
            if said.contains(end) {
                return Ok(said.into_owned());
            }
            if count == 0 {
                return Err(format!("the console hung up after {said:?}, and no {end:?} came").into());
            }
        }
        Err(format!("the console never said {end:?}").into())
    }
}
