//! A guest with a console, and clients that send it bytes.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use libtest_mimic::Failed;

use super::{Kvm, PATIENCE, Ran, Running, wait_until};

/// What stands before every line that is typed.
pub const PROMPT: &str = "vmm console> ";

/// A `kvm` with a console. Dropping it ends it.
pub struct Consoled {
    kvm: Running,
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
        let mut kvm = Running::start(kvm);
        kvm.end_input();
        kvm.until(&format!("kvm: the console is on {place}\n"))?;
        Ok(Consoled { path: kvm.file("console"), kvm })
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
    pub fn id(&self) -> u32 {
        self.kvm.id()
    }

    /// A file where it runs.
    pub fn file(&self, name: &str) -> PathBuf {
        self.kvm.file(name)
    }

    /// Waits for the end of the run.
    pub fn finish(self) -> Result<Ran, Failed> {
        self.kvm.finish()
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
