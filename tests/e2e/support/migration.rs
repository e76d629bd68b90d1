//! Live migration: the source and destination processes, and a proxy that disturbs their connection.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use libtest_mimic::Failed;

use super::{FinishedRun, Folder, Kvm, Running, TIMEOUT, wait_until};

/// A port that is free at the moment.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a free port").port()
}

/// The command that migrates a guest to `port` of this host.
pub fn migrate(port: u16) -> String {
    format!("migrate 127.0.0.1 {port}")
}

/// Fails unless `part` is in `text`.
pub fn contains(text: &str, part: &str) -> Result<(), Failed> {
    if text.contains(part) { Ok(()) } else { Err(format!("no {part:?} in:\n{text}").into()) }
}

/// Writes a file with a shared key.
pub fn key(folder: &Folder, name: &str, byte: u8) -> Result<PathBuf, Failed> {
    secret(folder, name, &[byte; 32])
}

/// Writes a file that only its owner can read.
pub fn secret(folder: &Folder, name: &str, bytes: &[u8]) -> Result<PathBuf, Failed> {
    let file = folder.file(name);
    std::fs::write(&file, bytes)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

/// The guest, which echoes lines, must run in this instance.
pub fn expect_running(instance: &mut Instance) -> Result<(), Failed> {
    instance.send_input("here\r")?;
    instance.expect_out("HERE")?;
    contains(&instance.ask(&["status"])?, "the guest runs")
}

/// A running `kvm` with a console at a unix socket. Dropping it kills the process.
pub struct Instance {
    kvm: Running,
    console: PathBuf,
}

impl Instance {
    /// Runs a guest, with a console.
    pub fn source(guest: &str, arguments: &[&str]) -> Result<Instance, Failed> {
        let mut instance = Instance::start(Kvm::with_guest(guest).args(arguments))?;
        instance.expect_err("the console is on")?;
        Ok(instance)
    }

    /// Waits for an incoming migration on `port`.
    pub fn destination(port: u16, arguments: &[&str]) -> Result<Instance, Failed> {
        Instance::destination_with(Kvm::new(), port, arguments)
    }

    /// The same, for a given `kvm`.
    pub fn destination_with(kvm: Kvm, port: u16, arguments: &[&str]) -> Result<Instance, Failed> {
        let mut instance =
            Instance::start(kvm.args(["-migr", "-migrport", &port.to_string()]).args(arguments))?;
        instance.expect_out("Waiting for network migration connections...")?;
        Ok(instance)
    }

    /// Starts it with a console.
    pub fn start(kvm: Kvm) -> Result<Instance, Failed> {
        let console = kvm.folder.file("console");
        let kvm = kvm.arg(format!("--console=unix:{}", console.display()));
        Ok(Instance { kvm: Running::start(kvm), console })
    }

    /// Reads standard output up to a line that contains `text`.
    pub fn expect_out(&mut self, text: &str) -> Result<(), Failed> {
        self.line_with(text).map(drop)
    }

    /// The same, and returns the line.
    pub fn line_with(&mut self, text: &str) -> Result<String, Failed> {
        let result = self.kvm.with_stdout(|out| expect_line(out, text));
        let failed = match result {
            Ok(line) => return Ok(line),
            Err(failed) => failed,
        };
        // The reason may be on standard error.
        let _ = self.kvm.kill();
        let stderr = self.kvm.stderr();
        Err(format!("{}; standard error: {stderr}", failed.message().unwrap_or("")).into())
    }

    /// Waits for a line of standard error that contains `text`.
    pub fn expect_err(&mut self, text: &str) -> Result<(), Failed> {
        self.kvm.until(text).map(drop)
    }

    /// The next bytes of standard output must be exactly `text`.
    pub fn expect_bytes(&mut self, text: &str) -> Result<(), Failed> {
        let mut bytes = vec![0; text.len()];
        self.kvm.with_stdout(|out| {
            out.read_exact(&mut bytes).map_err(|e| format!("{e} in place of {text:?}").into())
        })?;
        let found = String::from_utf8_lossy(&bytes);
        if found == text { Ok(()) } else { Err(format!("{found:?} in place of {text:?}").into()) }
    }

    /// Reads standard output to its end.
    pub fn rest(&mut self) -> Result<String, Failed> {
        let mut rest = String::new();
        self.kvm.with_stdout(|out| Ok(out.read_to_string(&mut rest)?))?;
        Ok(rest)
    }

    /// Writes `text` to its standard input.
    pub fn send_input(&mut self, text: &str) -> Result<(), Failed> {
        self.kvm.send_input(text.as_bytes())
    }

    /// Sends commands to the console in one connection, and returns the answers.
    pub fn ask(&self, commands: &[&str]) -> Result<String, Failed> {
        ask_at(&self.console, commands)
    }

    /// Sends a command whose answer takes long from another thread.
    pub fn ask_in_background(&self, command: &str) -> thread::JoinHandle<Result<String, String>> {
        let (console, command) = (self.console.clone(), command.to_owned());
        thread::spawn(move || {
            ask_at(&console, &[&command]).map_err(|failed| failed.message().unwrap_or("").to_owned())
        })
    }

    /// Sends a command repeatedly until the answer contains `text`.
    pub fn ask_until(&self, command: &str, text: &str) -> Result<(), Failed> {
        let mut last = Ok(String::new());
        wait_until(&format!("{text:?} as the answer to `{command}`"), || {
            last = self.ask(&[command]);
            last.as_ref().map_or(true, |answer| answer.contains(text))
        })
        .map_err(|failed| format!("{}; the last answer was {last:?}", failed.message().unwrap_or("")))?;
        last.map(drop)
    }

    /// Waits for the end of the run; the log is appended to standard error.
    pub fn finish(self) -> Result<FinishedRun, Failed> {
        let mut ran = self.kvm.finish()?;
        let log = std::fs::read_to_string(ran.folder.file("console.log")).unwrap_or_default();
        ran.err += &format!("\n--- log\n{log}");
        Ok(ran)
    }

    /// The run must end because its guest has migrated.
    pub fn expect_migrated(self) -> Result<FinishedRun, Failed> {
        let ran = self.finish()?;
        ran.expect_status(0)?.expect_err("the guest has moved to ")?;
        Ok(ran)
    }

    /// Kills it.
    pub fn kill(&mut self) -> Result<(), Failed> {
        self.kvm.kill()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.kvm.id()
    }

    /// Sends it a signal, by name.
    pub fn signal(&self, name: &str) -> Result<(), Failed> {
        self.kvm.signal(name)
    }
}

fn ask_at(console: &PathBuf, commands: &[&str]) -> Result<String, Failed> {
    let mut stream = UnixStream::connect(console)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    for command in commands {
        stream.write_all(format!("{command}\n").as_bytes())?;
    }
    stream.write_all(b"exit\n")?;
    let mut answer = String::new();
    // A run that has ended closes the connection at once.
    let _ = stream.read_to_string(&mut answer);
    Ok(answer)
}

fn expect_line(stream: &mut impl Read, text: &str) -> Result<String, Failed> {
    // A byte at a time: bytes behind the line must stay in the stream.
    let mut line = Vec::new();
    let mut all = String::new();
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 {
        line.push(byte[0]);
        if byte[0] == b'\n' {
            let found = String::from_utf8_lossy(&line).into_owned();
            if found.contains(text) {
                return Ok(found);
            }
            all.push_str(&found);
            line.clear();
        }
    }
    Err(format!("no line with {text:?} but {all:?}").into())
}

/// Kinds of frames (docs/migration.md, "What is sent").
pub mod kind {
    #![allow(missing_docs)]
    pub const HELLO: u8 = 1;
    pub const WELCOME: u8 = 2;
    pub const PAGES: u8 = 3;
    pub const ROUND_END: u8 = 4;
    pub const ROUND_DONE: u8 = 5;
    pub const STATE_BEGIN: u8 = 6;
    pub const STATE: u8 = 7;
    pub const READY: u8 = 8;
    pub const COMMIT: u8 = 9;
    pub const CONFIRM: u8 = 10;
    pub const BYE: u8 = 11;
    pub const ROUND_BEGIN: u8 = 16;
}

/// BreakPoint a connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakPoint {
    /// Before the first frame of the kind.
    Before,
    /// In its header.
    Header,
    /// In the middle of what follows that.
    Middle,
    /// Behind it: it arrives, but nothing after it, in either direction.
    After,
}

/// What the proxy does with the first connection.
enum Behavior {
    /// Breaks it at a frame of this kind; later connections are passed.
    Break(u8, BreakPoint),
    /// Breaks it before a frame of this kind, and stops listening, like a tunnel that is closed.
    Tunnel(u8),
    /// Kills this process when the source sends its Commit, and stops listening.
    Kill(u32),
    /// Passes at most this number of bytes in a millisecond.
    Slow(usize),
    /// Passes frames up to the first pages, and the rest once the flag is set.
    Hold(Arc<AtomicBool>),
}

/// A proxy between the source and the destination.
pub struct Proxy {
    /// BreakPoint the source connects to.
    pub port: u16,
}

impl Proxy {
    /// Breaks the first connection to port `to` at a frame of this kind, from either side.
    pub fn breaking(to: u16, kind: u8, at: BreakPoint) -> Result<Proxy, Failed> {
        Proxy::start(to, Behavior::Break(kind, at))
    }

    /// Closes for good before a frame of this kind; the destination keeps running.
    pub fn tunnel(to: u16, kind: u8) -> Result<Proxy, Failed> {
        Proxy::start(to, Behavior::Tunnel(kind))
    }

    /// Kills process `pid`, which listens on `to`, when the source sends its Commit.
    pub fn killing(to: u16, pid: u32) -> Result<Proxy, Failed> {
        Proxy::start(to, Behavior::Kill(pid))
    }

    /// Passes at most `bytes` bytes in a millisecond.
    pub fn slow(to: u16, bytes: usize) -> Result<Proxy, Failed> {
        Proxy::start(to, Behavior::Slow(bytes))
    }

    /// Passes the first pages once `free` is set.
    pub fn holding(to: u16, free: Arc<AtomicBool>) -> Result<Proxy, Failed> {
        Proxy::start(to, Behavior::Hold(free))
    }

    fn start(to: u16, behavior: Behavior) -> Result<Proxy, Failed> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, to));
        thread::spawn(move || {
            let mut behavior = Some(behavior);
            while let Ok((source, _)) = listener.accept() {
                let Ok(target) = TcpStream::connect(to) else { return };
                // Like source and destination: small frames are sent at once.
                let _ = (source.set_nodelay(true), target.set_nodelay(true));
                let closes = matches!(behavior, Some(Behavior::Kill(_) | Behavior::Tunnel(_)));
                // Later connections are passed unchanged.
                if connect(source, target, behavior.take()).is_none() || closes {
                    return;
                }
            }
        });
        Ok(Proxy { port })
    }
}

fn connect(source: TcpStream, target: TcpStream, behavior: Option<Behavior>) -> Option<()> {
    let (mut back_from, mut back_to) = (target.try_clone().ok()?, source.try_clone().ok()?);
    let broken = match behavior {
        Some(Behavior::Break(kind, at)) => Some((kind, at)),
        Some(Behavior::Tunnel(kind)) => Some((kind, BreakPoint::Before)),
        _ => None,
    };
    let back = move || {
        match broken {
            Some((kind, at)) => _ = pass_frames(&mut back_from, &mut back_to, kind, at),
            None => _ = std::io::copy(&mut back_from, &mut back_to),
        }
        let _ = back_to.shutdown(Shutdown::Write);
    };
    let (mut from, mut to) = (source, target);
    match behavior {
        None => {
            thread::spawn(back);
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
            return Some(());
        }
        Some(Behavior::Tunnel(kind)) => {
            thread::spawn(back);
            pass_frames(&mut from, &mut to, kind, BreakPoint::Before);
        }
        Some(Behavior::Break(kind, at)) => {
            thread::spawn(back);
            pass_frames(&mut from, &mut to, kind, at);
        }
        Some(Behavior::Kill(pid)) => {
            thread::spawn(back);
            pass_frames(&mut from, &mut to, kind::COMMIT, BreakPoint::Before);
            let _ = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
        Some(Behavior::Slow(most)) => {
            thread::spawn(back);
            let mut bytes = vec![0; most];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                thread::sleep(Duration::from_millis(1));
                to.write_all(bytes.get(..count)?).ok()?;
            }
        }
        Some(Behavior::Hold(free)) => {
            thread::spawn(back);
            let header = pass_frames_until(&mut from, &mut to, kind::PAGES)?;
            while !free.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
            to.write_all(&header).ok()?;
            let _ = std::io::copy(&mut from, &mut to);
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    Some(())
}

/// Passes frames, and closes both connections at the first one of `kind`. `None` if the connection has ended
/// before.
fn pass_frames(from: &mut TcpStream, to: &mut TcpStream, kind: u8, at: BreakPoint) -> Option<()> {
    let header = pass_frames_until(from, to, kind)?;
    let mut payload = vec![0; length(&header)];
    from.read_exact(&mut payload).ok()?;
    if at == BreakPoint::After {
        // Before the frame arrives: no answer gets through.
        let _ = from.shutdown(Shutdown::Both);
    }
    let whole = [&header[..], &payload].concat();
    let most = match at {
        BreakPoint::Before => 0,
        BreakPoint::Header => 3,
        BreakPoint::Middle => 8 + payload.len() / 2,
        BreakPoint::After => whole.len(),
    };
    let _ = to.write_all(&whole[..most]);
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    Some(())
}

/// Passes frames up to the first one of `kind`, and returns the header of that one.
fn pass_frames_until(from: &mut TcpStream, to: &mut TcpStream, kind: u8) -> Option<[u8; 8]> {
    loop {
        let mut header = [0; 8];
        from.read_exact(&mut header).ok()?;
        if header[0] == kind {
            return Some(header);
        }
        let mut payload = vec![0; length(&header)];
        from.read_exact(&mut payload).ok()?;
        to.write_all(&[&header[..], &payload].concat()).ok()?;
    }
}

fn length(header: &[u8; 8]) -> usize {
    u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize
}
