//! Debuggers, and a guest that waits for one.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use libtest_mimic::Failed;

use super::{Deadline, Folder, PATIENCE, guest, kvm_binary};

/// A `kvm` that serves gdb. Dropping it ends it.
pub struct Waiting {
    child: Child,
    /// Where it waits.
    pub place: String,
}

impl Waiting {
    /// Starts it with the guest `recursion`.
    pub fn start() -> Result<Waiting, Failed> {
        // Free a moment ago; nobody else is likely to take it.
        let place = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let folder = Folder::new();
        let mut child = Command::new(kvm_binary())
            .arg(guest("recursion"))
            .arg(format!("--gdb={place}"))
            .args(["--timeout", &PATIENCE.as_secs().to_string(), "--logfile"])
            .arg(folder.file("console.log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stderr.take().ok_or("stderr is a pipe")?).read_line(&mut line)?;
        let waiting = Waiting { child, place };
        if line == format!("kvm: waiting for gdb on {}\n", waiting.place) {
            return Ok(waiting);
        }
        Err(format!("kvm said {line:?}").into())
    }

    /// The debugger must have ended the run.
    pub fn finish(mut self) -> Result<(), Failed> {
        match self.child.wait()?.code() {
            Some(14) => Ok(()),
            status => Err(format!("kvm ended with {status:?} instead of being killed by gdb").into()),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything a debugger says to its end.
pub fn output(command: &mut Command) -> Result<String, Failed> {
    let talk = Talk::start(command)?;
    talk.finish()
}

/// A program that is talked to line by line.
pub struct Talk {
    child: Child,
    /// What it hears.
    pub input: ChildStdin,
    /// What it says.
    pub output: BufReader<ChildStdout>,
    killer: Deadline,
    said: String,
}

impl Talk {
    /// Starts it.
    pub fn start(command: &mut Command) -> Result<Talk, Failed> {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let killer = Deadline::new(child.id());
        let input = child.stdin.take().ok_or("stdin is a pipe")?;
        let output = BufReader::new(child.stdout.take().ok_or("stdout is a pipe")?);
        Ok(Talk { child, input, output, killer, said: String::new() })
    }

    /// Reads up to a line with `text`.
    pub fn until(&mut self, text: &str) -> Result<(), Failed> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line)? == 0 {
                return Err(format!("{text:?} expected; it said\n{}", self.said).into());
            }
            self.said += &line;
            if line.contains(text) {
                return Ok(());
            }
        }
    }

    /// Everything it has said, to its end.
    pub fn finish(mut self) -> Result<String, Failed> {
        drop(self.input);
        self.output.read_to_string(&mut self.said)?;
        self.child.wait()?;
        if self.killer.stop() {
            return Err(format!("it did not end within {PATIENCE:?}; it said\n{}", self.said).into());
        }
        Ok(self.said)
    }
}

/// What a debugger `said` must have `text` in it.
pub fn expect(said: &str, text: &str) -> Result<(), Failed> {
    if said.contains(text) {
        return Ok(());
    }
    Err(format!("{text:?} expected; the debugger said\n{said}").into())
}
