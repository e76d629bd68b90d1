//! A `kvm` that runs in the background of a test.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command};
use std::sync::mpsc::{self, Receiver};

use libtest_mimic::Failed;

use super::{Deadline, FinishedRun, Folder, Kvm, TIMEOUT};

/// A running `kvm`. Dropping it kills the process.
pub struct Running {
    process: Process,
    /// Lines of standard error, as they arrive.
    lines: Receiver<String>,
    /// The lines received so far.
    stderr: String,
    folder: Folder,
}

/// A process that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if the process has exited already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts it. Its standard input stays open; a thread reads standard error continuously.
    pub fn start(kvm: Kvm) -> Running {
        let mut child = kvm.start();
        let lines = lines(child.stderr.take().expect("stderr is a pipe"));
        Running { process: Process(child), lines, stderr: String::new(), folder: kvm.folder }
    }

    /// The next line of standard error.
    pub fn line(&mut self) -> Result<String, Failed> {
        match self.lines.recv_timeout(TIMEOUT) {
            Ok(line) => {
                self.stderr += &line;
                Ok(line)
            }
            Err(end) => Err(format!("{end}; kvm printed {:?}", self.stderr).into()),
        }
    }

    /// Waits for a line of standard error that contains `text`, and returns it.
    pub fn until(&mut self, text: &str) -> Result<String, Failed> {
        loop {
            let line = self
                .line()
                .map_err(|failed| format!("no line with {text:?}: {}", failed.message().unwrap_or("")))?;
            if line.contains(text) {
                return Ok(line);
            }
        }
    }

    /// Reads standard error to its end, and returns all of it.
    pub fn stderr(&mut self) -> &str {
        self.stderr.extend(self.lines.iter());
        &self.stderr
    }

    /// Passes standard output to `read`. Kills a run whose output takes longer than [`TIMEOUT`].
    pub fn with_stdout<T>(
        &mut self,
        read: impl FnOnce(&mut ChildStdout) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let killer = Deadline::new(self.id());
        let result = read(self.process.0.stdout.as_mut().expect("stdout is a pipe"));
        if killer.stop() {
            return Err(format!("the expected standard output did not arrive within {TIMEOUT:?}").into());
        }
        result
    }

    /// Writes `bytes` to its standard input.
    pub fn send_input(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        let input = self.process.0.stdin.as_mut().ok_or("standard input has ended")?;
        Ok(input.write_all(bytes)?)
    }

    /// Closes its standard input.
    pub fn end_input(&mut self) {
        self.process.0.stdin = None;
    }

    /// A file in its working directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.file(name)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.0.id()
    }

    /// Sends a signal: `TERM`, say.
    pub fn signal(&self, name: &str) -> Result<(), Failed> {
        let status = Command::new("kill").args(["-s", name, &self.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(format!("kill -s {name}: {status}").into()) }
    }

    /// Kills it.
    pub fn kill(&mut self) -> Result<(), Failed> {
        Ok(self.process.0.kill()?)
    }

    /// Waits for the end of the run. Standard output is what has not been read before.
    pub fn finish(mut self) -> Result<FinishedRun, Failed> {
        self.end_input();
        let killer = Deadline::new(self.id());
        let mut out = Vec::new();
        let read = self.process.0.stdout.as_mut().expect("stdout is a pipe").read_to_end(&mut out);
        let ended = self.process.0.wait();
        self.stderr();
        if killer.stop() {
            return Err(format!("kvm did not end within {TIMEOUT:?}; it printed {:?}", self.stderr).into());
        }
        read?;
        Ok(FinishedRun {
            status: ended?.code(),
            out: String::from_utf8_lossy(&out).into_owned(),
            err: self.stderr,
            folder: self.folder,
        })
    }
}

/// Reads lines in the background, so that the process never blocks on a full pipe.
fn lines(stream: ChildStderr) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    lines
}
