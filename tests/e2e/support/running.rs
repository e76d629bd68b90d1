//! A `kvm` in the background, while a test does something with it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command};
use std::sync::mpsc::{self, Receiver};

use libtest_mimic::Failed;

use super::{Deadline, Folder, Kvm, PATIENCE, Ran};

/// A `kvm` that runs. Dropping it ends it.
pub struct Running {
    process: Process,
    /// Lines of standard error, as they come.
    lines: Receiver<String>,
    /// Those that were waited for.
    said: String,
    folder: Folder,
}

/// A process that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts it. Its standard input stays open, and whatever it says on standard error is taken at once.
    pub fn start(kvm: Kvm) -> Running {
        let mut child = kvm.start();
        let lines = lines(child.stderr.take().expect("stderr is a pipe"));
        Running { process: Process(child), lines, said: String::new(), folder: kvm.folder }
    }

    /// The next line of standard error.
    pub fn line(&mut self) -> Result<String, Failed> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                self.said += &line;
                Ok(line)
            }
            Err(end) => Err(format!("{end}; kvm said {:?}", self.said).into()),
        }
    }

    /// Waits for a line of standard error with `text` in it; the line.
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

    /// Everything that it says on standard error, to its end.
    pub fn words(&mut self) -> &str {
        self.said.extend(self.lines.iter());
        &self.said
    }

    /// What `read` makes of its standard output. A run whose output takes too long is ended.
    pub fn hear<T>(&mut self, read: impl FnOnce(&mut ChildStdout) -> Result<T, Failed>) -> Result<T, Failed> {
        let killer = Deadline::new(self.id());
        let heard = read(self.process.0.stdout.as_mut().expect("stdout is a pipe"));
        if killer.stop() {
            return Err(format!("what was to come on standard output did not within {PATIENCE:?}").into());
        }
        heard
    }

    /// Types `bytes`.
    pub fn type_in(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        let input = self.process.0.stdin.as_mut().ok_or("standard input has ended")?;
        Ok(input.write_all(bytes)?)
    }

    /// Ends its standard input.
    pub fn end_input(&mut self) {
        self.process.0.stdin = None;
    }

    /// A file in the folder it runs in.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.file(name)
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.process.0.id()
    }

    /// Sends a signal: `TERM`, say.
    pub fn signal(&self, name: &str) -> Result<(), Failed> {
        let status = Command::new("kill").args(["-s", name, &self.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(format!("kill -s {name}: {status}").into()) }
    }

    /// Ends it at once.
    pub fn kill(&mut self) -> Result<(), Failed> {
        Ok(self.process.0.kill()?)
    }

    /// Waits for the end of the run. Standard output holds what has not been heard before.
    pub fn finish(mut self) -> Result<Ran, Failed> {
        self.end_input();
        let killer = Deadline::new(self.id());
        let mut out = Vec::new();
        let heard = self.process.0.stdout.as_mut().expect("stdout is a pipe").read_to_end(&mut out);
        let ended = self.process.0.wait();
        self.words();
        if killer.stop() {
            return Err(format!("kvm did not end within {PATIENCE:?}; it said {:?}", self.said).into());
        }
        heard?;
        Ok(Ran {
            status: ended?.code(),
            out: String::from_utf8_lossy(&out).into_owned(),
            err: self.said,
            folder: self.folder,
        })
    }
}

/// Reads lines in the background, so that nobody has to wait until they are read.
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
