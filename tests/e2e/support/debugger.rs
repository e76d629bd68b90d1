//! Debuggers, and a guest that waits for one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use libtest_mimic::Failed;

use super::{Deadline, Kvm, PATIENCE, Ran, Running, free_place, guest};

/// A `kvm` that serves gdb. Dropping it ends it.
pub struct Waiting {
    kvm: Running,
    /// Where it waits.
    pub place: String,
}

impl Waiting {
    /// Starts a guest with `input` on standard input, up to where gdb is waited for.
    pub fn start(name: &str, arguments: &[&str], input: &[u8]) -> Result<Waiting, Failed> {
        Waiting::start_at(&free_place()?, name, arguments, input)
    }

    /// The same at a place of the test's choice: an address with a port, or the path of a unix socket.
    pub fn start_at(place: &str, name: &str, arguments: &[&str], input: &[u8]) -> Result<Waiting, Failed> {
        Waiting::start_kvm(Kvm::with_guest(name).args(arguments), place, arguments, input)
    }

    /// A guest's file of the test's own.
    pub fn start_file(file: &Path, arguments: &[&str]) -> Result<Waiting, Failed> {
        Waiting::start_kvm(Kvm::new().arg(file).args(arguments), &free_place()?, arguments, b"")
    }

    /// A guest that is continued from a snapshot.
    pub fn start_restored(snapshot: &Path) -> Result<Waiting, Failed> {
        Waiting::start_kvm(Kvm::new().arg("--restore").arg(snapshot), &free_place()?, &[], b"")
    }

    fn start_kvm(kvm: Kvm, place: &str, arguments: &[&str], input: &[u8]) -> Result<Waiting, Failed> {
        let kind = if place.starts_with('/') { "unix:" } else { "" };
        let kvm = kvm.arg(format!("--gdb={kind}{place}"));
        let mut kvm = Running::start(kvm);
        kvm.type_in(input)?;
        kvm.end_input();
        let told = match arguments.contains(&"--gdb-nowait") {
            true => format!("kvm: gdb can connect to {place} at any time\n"),
            false => format!("kvm: waiting for gdb on {place}\n"),
        };
        let line = kvm.line()?;
        if line != told {
            return Err(format!("kvm said {line:?}").into());
        }
        Ok(Waiting { kvm, place: place.to_owned() })
    }

    /// Lets a gdb connect and do `commands`; everything it printed.
    pub fn gdb(&self, name: &str, commands: &[&str]) -> Result<String, Failed> {
        self.gdb_with_file(Some(&guest(name)), commands)
    }

    /// The same with the file gdb is given, if any.
    pub fn gdb_with_file(&self, file: Option<&Path>, commands: &[&str]) -> Result<String, Failed> {
        let mut gdb = Command::new("gdb");
        gdb.args(["-nx", "-batch", "-ex", "set confirm off", "-ex"]);
        gdb.arg(format!("target remote {}", self.place));
        for command in commands {
            gdb.args(["-ex", command]);
        }
        let child =
            gdb.args(file).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let killer = Deadline::new(child.id());
        let output = child.wait_with_output()?;
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        if killer.stop() {
            return Err(format!("gdb did not end within {PATIENCE:?}; it said\n{said}").into());
        }
        Ok(said)
    }

    /// Connects as a client that is no debugger.
    pub fn connect(&self) -> Result<TcpStream, Failed> {
        let stream = TcpStream::connect(&self.place)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // Each packet at once, whether the last one has been acknowledged or not.
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A file where it runs.
    pub fn file(&self, name: &str) -> PathBuf {
        self.kvm.file(name)
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.kvm.id()
    }

    /// Waits for the end of the run.
    pub fn finish(self) -> Result<Ran, Failed> {
        self.kvm.finish()
    }
}

/// Sends a packet of gdb's protocol; what is answered.
pub fn ask(client: &mut TcpStream, packet: &str) -> Result<String, Failed> {
    send(client, packet)?;
    answer(client)
}

/// Sends a packet of gdb's protocol.
pub fn send(client: &mut TcpStream, packet: &str) -> Result<(), Failed> {
    let checksum = packet.bytes().fold(0u8, u8::wrapping_add);
    Ok(client.write_all(format!("${packet}#{checksum:02x}").as_bytes())?)
}

/// Waits for a packet of gdb's protocol; what is in it.
pub fn answer(client: &mut TcpStream) -> Result<String, Failed> {
    let mut answer = Vec::new();
    let mut piece = vec![0; 64 << 10];
    while !answer.ends_with(b"#") {
        // Nothing that belongs to the next packet may be taken.
        let there = client.peek(&mut piece)?;
        if there == 0 {
            return Err("kvm has hung up".into());
        }
        let end = piece[..there].iter().position(|byte| *byte == b'#').map_or(there, |end| end + 1);
        client.read_exact(&mut piece[..end])?;
        answer.extend_from_slice(&piece[..end]);
    }
    client.read_exact(&mut [0; 2])?;
    client.write_all(b"+")?;
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.trim_start_matches('+').trim_start_matches('$').trim_end_matches('#').to_owned())
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

/// `text` must have been printed exactly so often.
pub fn expect_times(said: &str, text: &str, times: usize) -> Result<(), Failed> {
    let found = said.matches(text).count();
    if found == times {
        return Ok(());
    }
    Err(format!("{text:?} expected {times} times, found {found} times; gdb said\n{said}").into())
}
