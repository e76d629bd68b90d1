//! Debuggers, and a `kvm` that serves gdb.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use libtest_mimic::Failed;

use super::{Deadline, FinishedRun, Kvm, Running, TIMEOUT, free_address, guest};

/// A running `kvm` that serves gdb. Dropping it kills the process.
pub struct KvmWithGdb {
    kvm: Running,
    /// Where it listens for gdb.
    pub address: String,
}

impl KvmWithGdb {
    /// Starts a guest with `input` on standard input, and waits until it listens for gdb.
    pub fn start(name: &str, arguments: &[&str], input: &[u8]) -> Result<KvmWithGdb, Failed> {
        KvmWithGdb::start_at(&free_address()?, name, arguments, input)
    }

    /// The same at a given address: a host with a port, or the path of a unix socket.
    pub fn start_at(
        address: &str,
        name: &str,
        arguments: &[&str],
        input: &[u8],
    ) -> Result<KvmWithGdb, Failed> {
        KvmWithGdb::start_kvm(Kvm::with_guest(name).args(arguments), address, arguments, input)
    }

    /// Starts a given guest file.
    pub fn start_file(file: &Path, arguments: &[&str]) -> Result<KvmWithGdb, Failed> {
        KvmWithGdb::start_kvm(Kvm::new().arg(file).args(arguments), &free_address()?, arguments, b"")
    }

    /// Starts a guest from a snapshot.
    pub fn start_restored(snapshot: &Path) -> Result<KvmWithGdb, Failed> {
        KvmWithGdb::start_kvm(Kvm::new().arg("--restore").arg(snapshot), &free_address()?, &[], b"")
    }

    fn start_kvm(kvm: Kvm, address: &str, arguments: &[&str], input: &[u8]) -> Result<KvmWithGdb, Failed> {
        let kind = if address.starts_with('/') { "unix:" } else { "" };
        let kvm = kvm.arg(format!("--gdb={kind}{address}"));
        let mut kvm = Running::start(kvm);
        kvm.send_input(input)?;
        kvm.end_input();
        let expected = match arguments.contains(&"--gdb-nowait") {
            true => format!("kvm: gdb can connect to {address} at any time\n"),
            false => format!("kvm: waiting for gdb on {address}\n"),
        };
        let line = kvm.line()?;
        if line != expected {
            return Err(format!("kvm printed {line:?}").into());
        }
        Ok(KvmWithGdb { kvm, address: address.to_owned() })
    }

    /// Connects a gdb that executes `commands`, and returns everything it prints.
    pub fn gdb(&self, name: &str, commands: &[&str]) -> Result<String, Failed> {
        self.gdb_with_file(Some(&guest(name)), commands)
    }

    /// The same with a given file for gdb, or none.
    pub fn gdb_with_file(&self, file: Option<&Path>, commands: &[&str]) -> Result<String, Failed> {
        let mut gdb = Command::new("gdb");
        gdb.args(["-nx", "-batch", "-ex", "set confirm off", "-ex"]);
        gdb.arg(format!("target remote {}", self.address));
        for command in commands {
            gdb.args(["-ex", command]);
        }
        let child =
            gdb.args(file).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let killer = Deadline::new(child.id());
        let output = child.wait_with_output()?;
        let printed =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        if killer.stop() {
            return Err(format!("gdb did not end within {TIMEOUT:?}; it printed\n{printed}").into());
        }
        Ok(printed)
    }

    /// Connects a plain TCP client.
    pub fn connect(&self) -> Result<TcpStream, Failed> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        // Packets are sent at once, whether the previous one is acknowledged or not.
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A file in its working directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.kvm.file(name)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.kvm.id()
    }

    /// Waits for the end of the run.
    pub fn finish(self) -> Result<FinishedRun, Failed> {
        self.kvm.finish()
    }
}

/// Sends a packet of gdb's protocol and returns the answer.
pub fn ask(client: &mut TcpStream, packet: &str) -> Result<String, Failed> {
    send(client, packet)?;
    answer(client)
}

/// Sends a packet of gdb's protocol.
pub fn send(client: &mut TcpStream, packet: &str) -> Result<(), Failed> {
    let checksum = packet.bytes().fold(0u8, u8::wrapping_add);
    Ok(client.write_all(format!("${packet}#{checksum:02x}").as_bytes())?)
}

/// Waits for a packet of gdb's protocol and returns its body.
pub fn answer(client: &mut TcpStream) -> Result<String, Failed> {
    let mut answer = Vec::new();
    let mut piece = vec![0; 64 << 10];
    while !answer.ends_with(b"#") {
        // Bytes of the next packet must stay in the socket.
        let available = client.peek(&mut piece)?;
        if available == 0 {
            return Err("kvm has closed the connection".into());
        }
        let end = piece[..available].iter().position(|byte| *byte == b'#').map_or(available, |end| end + 1);
        client.read_exact(&mut piece[..end])?;
        answer.extend_from_slice(&piece[..end]);
    }
    client.read_exact(&mut [0; 2])?;
    client.write_all(b"+")?;
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.trim_start_matches('+').trim_start_matches('$').trim_end_matches('#').to_owned())
}

/// Everything a debugger prints until it exits.
pub fn output(command: &mut Command) -> Result<String, Failed> {
    let program = InteractiveProgram::start(command)?;
    program.finish()
}

/// A program that is driven line by line through its standard streams.
pub struct InteractiveProgram {
    child: Child,
    /// Its standard input.
    pub input: ChildStdin,
    /// Its standard output.
    pub output: BufReader<ChildStdout>,
    killer: Deadline,
    printed: String,
}

impl InteractiveProgram {
    /// Starts it.
    pub fn start(command: &mut Command) -> Result<InteractiveProgram, Failed> {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let killer = Deadline::new(child.id());
        let input = child.stdin.take().ok_or("stdin is a pipe")?;
        let output = BufReader::new(child.stdout.take().ok_or("stdout is a pipe")?);
        Ok(InteractiveProgram { child, input, output, killer, printed: String::new() })
    }

    /// Reads up to a line with `text`.
    pub fn until(&mut self, text: &str) -> Result<(), Failed> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line)? == 0 {
                return Err(format!("{text:?} expected; it printed\n{}", self.printed).into());
            }
            self.printed += &line;
            if line.contains(text) {
                return Ok(());
            }
        }
    }

    /// Everything it prints until it exits.
    pub fn finish(mut self) -> Result<String, Failed> {
        drop(self.input);
        self.output.read_to_string(&mut self.printed)?;
        self.child.wait()?;
        if self.killer.stop() {
            return Err(format!("it did not end within {TIMEOUT:?}; it printed\n{}", self.printed).into());
        }
        Ok(self.printed)
    }
}

/// A debugger's `output` must have `text` in it.
pub fn expect(output: &str, text: &str) -> Result<(), Failed> {
    if output.contains(text) {
        return Ok(());
    }
    Err(format!("{text:?} expected; the debugger printed\n{output}").into())
}

/// `text` must have been printed exactly so often.
pub fn expect_times(output: &str, text: &str, times: usize) -> Result<(), Failed> {
    let found = output.matches(text).count();
    if found == times {
        return Ok(());
    }
    Err(format!("{text:?} expected {times} times, found {found} times; gdb printed\n{output}").into())
}
