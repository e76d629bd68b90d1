//! A guest with a console, and clients that send it bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;
use std::thread::JoinHandle;

use libtest_mimic::Failed;

use super::{Deadline, Kvm, PATIENCE, Ran, wait_until};

/// What stands before every line that is typed.
pub const PROMPT: &str = "vmm console> ";

/// A `kvm` with a console. Dropping it ends it.
pub struct Consoled {
    child: Option<Child>,
    err: Option<JoinHandle<String>>,
    kvm: Option<Kvm>,
    /// The socket.
    pub path: PathBuf,
}

impl Consoled {
    /// Starts a guest up to where its console listens; `arguments` are more arguments.
    pub fn start(name: &str, arguments: &[&str]) -> Result<Consoled, Failed> {
        let kvm = Kvm::with_guest(name).args(["--console=unix:console"]).args(arguments);
        Consoled::run(kvm, "console")
    }

    /// Starts `kvm` up to where its console listens, which must be at `place`.
    pub fn run(kvm: Kvm, place: &str) -> Result<Consoled, Failed> {
        let path = kvm.folder.file("console");
        let mut consoled = Consoled { child: Some(kvm.start()), err: None, kvm: Some(kvm), path };
        let child = consoled.child.as_mut().ok_or("it was not started")?;
        drop(child.stdin.take());
        let mut err = BufReader::new(child.stderr.take().ok_or("stderr is no pipe")?);
        let mut said = String::new();
        while !said.contains(&format!("kvm: the console is on {place}\n")) {
            if err.read_line(&mut said)? == 0 {
                return Err(format!("kvm said {said:?}").into());
            }
        }
        consoled.err = Some(std::thread::spawn(move || {
            let _ = err.read_to_string(&mut said);
            said
        }));
        Ok(consoled)
    }

    /// Connects, and waits for the first prompt.
    pub fn connect(&self) -> Result<Client, Failed> {
        let mut client = Client { stream: UnixStream::connect(&self.path)? };
        client.stream.set_read_timeout(Some(PATIENCE))?;
        match client.hear()?.as_str() {
            "" => Ok(client),
            other => Err(format!("the console greets with {other:?}").into()),
        }
    }

    /// The number of its process.
    pub fn id(&self) -> Result<u32, Failed> {
        Ok(self.child.as_ref().ok_or("it has ended")?.id())
    }

    /// Where it runs.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }

    /// Waits for the end of the run.
    pub fn finish(mut self) -> Result<Ran, Failed> {
        let (Some(child), Some(err), Some(kvm)) = (self.child.take(), self.err.take(), self.kvm.take())
        else {
            return Err("its end was waited for already".into());
        };
        let killer = Deadline::new(child.id());
        let output = child.wait_with_output()?;
        if killer.stop() {
            return Err(format!("kvm did not end within {PATIENCE:?}").into());
        }
        Ok(Ran {
            status: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: err.join().unwrap_or_default(),
            folder: kvm.folder,
        })
    }
}

impl Drop for Consoled {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Fails only when it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Somebody at the console.
pub struct Client {
    /// The connection.
    pub stream: UnixStream,
}

impl Client {
    /// Sends a line; the answer, up to the next prompt.
    pub fn ask(&mut self, line: &str) -> Result<String, Failed> {
        self.send(format!("{line}\n").as_bytes())?;
        self.hear()
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// What comes up to the next prompt, which must come.
    pub fn hear(&mut self) -> Result<String, Failed> {
        let mut heard = Vec::new();
        let mut byte = [0];
        while !heard.ends_with(PROMPT.as_bytes()) {
            if self.stream.read(&mut byte)? == 0 {
                return Err(format!("hung up after {:?}", String::from_utf8_lossy(&heard)).into());
            }
            heard.push(byte[0]);
        }
        heard.truncate(heard.len() - PROMPT.len());
        Ok(String::from_utf8_lossy(&heard).into_owned())
    }

    /// What comes up to the end of the connection.
    pub fn rest(mut self) -> Result<String, Failed> {
        let mut heard = Vec::new();
        self.stream.read_to_end(&mut heard)?;
        Ok(String::from_utf8_lossy(&heard).into_owned())
    }

    /// Asks `line` until the answer holds `text`.
    pub fn ask_until(&mut self, line: &str, text: &str) -> Result<(), Failed> {
        let mut last = Ok(String::new());
        wait_until(&format!("{text:?} as the answer to `{line}`"), || {
            last = self.ask(line);
            last.as_ref().map_or(true, |answer| answer.contains(text))
        })
        .map_err(|failed| format!("{}; the last answer was {last:?}", failed.message().unwrap_or("")))?;
        last.map(drop)
    }
}

/// Fails unless `said` is `wanted`.
pub fn same(said: &str, wanted: &str) -> Result<(), Failed> {
    if said == wanted { Ok(()) } else { Err(format!("{said:?} was said, and not {wanted:?}").into()) }
}
