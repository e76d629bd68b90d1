//! A guest with a console, and clients that send it bytes.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use libtest_mimic::Failed;

use super::{FinishedRun, Kvm, Running, TIMEOUT, wait_until};

/// The prompt of the console.
pub const PROMPT: &str = "vmm console> ";

/// A running `kvm` with a console. Dropping it kills the process.
pub struct KvmWithConsole {
    kvm: Running,
    /// The socket.
    pub path: PathBuf,
}

impl KvmWithConsole {
    /// Starts a guest and waits until its console listens.
    pub fn start(name: &str, arguments: &[&str]) -> Result<KvmWithConsole, Failed> {
        let kvm = Kvm::with_guest(name).args(["--console=unix:console"]).args(arguments);
        KvmWithConsole::run(kvm, "console")
    }

    /// Starts `kvm` and waits until its console listens at `address`.
    pub fn run(kvm: Kvm, address: &str) -> Result<KvmWithConsole, Failed> {
        let mut kvm = Running::start(kvm);
        kvm.end_input();
        kvm.until(&format!("kvm: the console is on {address}\n"))?;
        Ok(KvmWithConsole { path: kvm.file("console"), kvm })
    }

    /// Connects, and waits for the first prompt.
    pub fn connect(&self) -> Result<Client, Failed> {
        match self.connect_at_a_stop()? {
            (client, notice) if notice.is_empty() => Ok(client),
            (_, notice) => Err(format!("the console printed {notice:?} before its prompt").into()),
        }
    }

    /// Connects right after a stop, whose notice can still be on its way: the text before the first prompt.
    pub fn connect_at_a_stop(&self) -> Result<(Client, String), Failed> {
        let mut client = Client { stream: UnixStream::connect(&self.path)? };
        client.stream.set_read_timeout(Some(TIMEOUT))?;
        let notice = client.answer()?;
        Ok((client, notice))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.kvm.id()
    }

    /// A file in its working directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.kvm.file(name)
    }

    /// Waits for the end of the run.
    pub fn finish(self) -> Result<FinishedRun, Failed> {
        self.kvm.finish()
    }
}

/// A client of the console.
pub struct Client {
    /// The connection.
    pub stream: UnixStream,
}

impl Client {
    /// Sends a line and returns the answer, up to the next prompt.
    pub fn ask(&mut self, line: &str) -> Result<String, Failed> {
        self.send(format!("{line}\n").as_bytes())?;
        self.answer()
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Reads up to the next prompt.
    pub fn answer(&mut self) -> Result<String, Failed> {
        let mut received = Vec::new();
        let mut byte = [0];
        while !received.ends_with(PROMPT.as_bytes()) {
            if self.stream.read(&mut byte)? == 0 {
                return Err(format!(
                    "the console disconnected after {:?}",
                    String::from_utf8_lossy(&received)
                )
                .into());
            }
            received.push(byte[0]);
        }
        received.truncate(received.len() - PROMPT.len());
        Ok(String::from_utf8_lossy(&received).into_owned())
    }

    /// Reads to the end of the connection.
    pub fn rest(mut self) -> Result<String, Failed> {
        let mut received = Vec::new();
        self.stream.read_to_end(&mut received)?;
        Ok(String::from_utf8_lossy(&received).into_owned())
    }

    /// Sends `line` repeatedly until the answer contains `text`.
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

/// Fails unless `found` is `expected`.
pub fn expect_equal(found: &str, expected: &str) -> Result<(), Failed> {
    if found == expected { Ok(()) } else { Err(format!("expected {expected:?}, found {found:?}").into()) }
}
