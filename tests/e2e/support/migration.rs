//! A guest that moves, the two processes between which it does, and somebody on the way who can interfere.

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

use super::{Folder, Kvm, PATIENCE, Ran, Running, wait_until};

/// A port that nobody has at the moment.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a free port").port()
}

/// The command that moves a guest to `port` of this host.
pub fn migrate(port: u16) -> String {
    format!("migrate 127.0.0.1 {port}")
}

/// Fails unless `part` is in `text`.
pub fn contains(text: &str, part: &str) -> Result<(), Failed> {
    if text.contains(part) { Ok(()) } else { Err(format!("no {part:?} in:\n{text}").into()) }
}

/// A file with a shared key.
pub fn key(folder: &Folder, name: &str, byte: u8) -> Result<PathBuf, Failed> {
    secret(folder, name, &[byte; 32])
}

/// A file that only its owner can read.
pub fn secret(folder: &Folder, name: &str, bytes: &[u8]) -> Result<PathBuf, Failed> {
    let file = folder.file(name);
    std::fs::write(&file, bytes)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

/// The guest, which echoes lines, must run on this side.
pub fn runs_here(side: &mut Side) -> Result<(), Failed> {
    side.type_in("here\r")?;
    side.expect_out("HERE")?;
    contains(&side.ask(&["status"])?, "the guest runs")
}

/// A kvm with a console at a socket. Dropping it ends it.
pub struct Side {
    kvm: Running,
    console: PathBuf,
}

impl Side {
    /// Runs a guest, with a console.
    pub fn source(guest: &str, arguments: &[&str]) -> Result<Side, Failed> {
        let mut side = Side::start(Kvm::with_guest(guest).args(arguments))?;
        side.expect_err("the console is on")?;
        Ok(side)
    }

    /// Waits for a guest on `port`.
    pub fn receiver(port: u16, arguments: &[&str]) -> Result<Side, Failed> {
        Side::receiver_like(Kvm::new(), port, arguments)
    }

    /// The same, started in a way of the test's own.
    pub fn receiver_like(kvm: Kvm, port: u16, arguments: &[&str]) -> Result<Side, Failed> {
        let mut side = Side::start(kvm.args(["-migr", "-migrport", &port.to_string()]).args(arguments))?;
        side.expect_out("Waiting for network migration connections...")?;
        Ok(side)
    }

    /// Starts it with a console.
    pub fn start(kvm: Kvm) -> Result<Side, Failed> {
        let console = kvm.folder.file("console");
        let kvm = kvm.arg(format!("--console=unix:{}", console.display()));
        Ok(Side { kvm: Running::start(kvm), console })
    }

    /// Reads standard output until a line that has `text` in it.
    pub fn expect_out(&mut self, text: &str) -> Result<(), Failed> {
        let heard = self.kvm.hear(|out| expect_line(out, text));
        let Err(failed) = heard else { return Ok(()) };
        // Whoever does not say what is expected may have said why.
        let _ = self.kvm.kill();
        let words = self.kvm.words();
        Err(format!("{}; standard error: {words}", failed.message().unwrap_or("")).into())
    }

    /// Waits for a line of standard error that has `text` in it.
    pub fn expect_err(&mut self, text: &str) -> Result<(), Failed> {
        self.kvm.until(text).map(drop)
    }

    /// Waits until standard output says exactly `text` next.
    pub fn expect_bytes(&mut self, text: &str) -> Result<(), Failed> {
        let mut bytes = vec![0; text.len()];
        self.kvm
            .hear(|out| out.read_exact(&mut bytes).map_err(|e| format!("{e} in place of {text:?}").into()))?;
        let found = String::from_utf8_lossy(&bytes);
        if found == text { Ok(()) } else { Err(format!("{found:?} in place of {text:?}").into()) }
    }

    /// Everything that comes on standard output to its end.
    pub fn rest(&mut self) -> Result<String, Failed> {
        let mut rest = String::new();
        self.kvm.hear(|out| Ok(out.read_to_string(&mut rest)?))?;
        Ok(rest)
    }

    /// Types `text`.
    pub fn type_in(&mut self, text: &str) -> Result<(), Failed> {
        self.kvm.type_in(text.as_bytes())
    }

    /// Gives commands at the console, and leaves it; what it answered.
    pub fn ask(&self, commands: &[&str]) -> Result<String, Failed> {
        ask_at(&self.console, commands)
    }

    /// Gives a command whose answer takes long, while others are given.
    pub fn ask_meanwhile(&self, command: &str) -> thread::JoinHandle<Result<String, String>> {
        let (console, command) = (self.console.clone(), command.to_owned());
        thread::spawn(move || {
            ask_at(&console, &[&command]).map_err(|failed| failed.message().unwrap_or("").to_owned())
        })
    }

    /// Asks until the answer has `text` in it.
    pub fn ask_until(&self, command: &str, text: &str) -> Result<(), Failed> {
        let mut last = Ok(String::new());
        wait_until(&format!("{text:?} as the answer to `{command}`"), || {
            last = self.ask(&[command]);
            last.as_ref().map_or(true, |said| said.contains(text))
        })
        .map_err(|failed| format!("{}; the last answer was {last:?}", failed.message().unwrap_or("")))?;
        last.map(drop)
    }

    /// Waits for the end; the log is behind what was said on standard error.
    pub fn finish(self) -> Result<Ran, Failed> {
        let mut ran = self.kvm.finish()?;
        let log = std::fs::read_to_string(ran.folder.file("console.log")).unwrap_or_default();
        ran.err += &format!("\n--- log\n{log}");
        Ok(ran)
    }

    /// It must have moved its guest away, and end.
    pub fn has_moved(self) -> Result<Ran, Failed> {
        let ran = self.finish()?;
        ran.expect_status(0)?.expect_err("the guest has moved to ")?;
        Ok(ran)
    }

    /// Ends it at once.
    pub fn kill(&mut self) -> Result<(), Failed> {
        self.kvm.kill()
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.kvm.id()
    }
}

fn ask_at(console: &PathBuf, commands: &[&str]) -> Result<String, Failed> {
    let mut stream = UnixStream::connect(console)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    for command in commands {
        stream.write_all(format!("{command}\n").as_bytes())?;
    }
    stream.write_all(b"exit\n")?;
    let mut said = String::new();
    // A run that is over hangs up at once.
    let _ = stream.read_to_string(&mut said);
    Ok(said)
}

fn expect_line(stream: &mut impl Read, text: &str) -> Result<(), Failed> {
    // A byte at a time: what follows the line is somebody else's.
    let mut line = Vec::new();
    let mut all = String::new();
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 {
        line.push(byte[0]);
        if byte[0] == b'\n' {
            let found = String::from_utf8_lossy(&line).into_owned();
            if found.contains(text) {
                return Ok(());
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

/// Where a connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// Before the first frame of the kind.
    Before,
    /// In its header.
    Header,
    /// In the middle of what follows that.
    Middle,
    /// Behind it: it arrives, and nothing after it, in either direction.
    Behind,
}

/// What somebody on the way does.
enum Deed {
    /// Breaks the first connection at a frame of this kind; later ones get through.
    Break(u8, Where),
    /// As a tunnel that ends before it has passed a frame of this kind: nobody is at this end of it any more.
    Tunnel(u8),
    /// Ends this process when the source lets go, and is not there any more either.
    Kill(u32),
    /// Passes one piece of so many bytes in a millisecond, at most.
    Slow(usize),
    /// Passes frames until there are pages, and then nothing until it may.
    Hold(Arc<AtomicBool>),
}

/// Somebody between two sides.
pub struct Between {
    /// Where the source connects to.
    pub port: u16,
}

impl Between {
    /// Breaks the first connection to `to` at a frame of this kind, from either side.
    pub fn breaks(to: u16, kind: u8, place: Where) -> Result<Between, Failed> {
        Between::start(to, Deed::Break(kind, place))
    }

    /// Ends for good, the destination staying where it is, before a frame of this kind gets through.
    pub fn tunnel(to: u16, kind: u8) -> Result<Between, Failed> {
        Between::start(to, Deed::Tunnel(kind))
    }

    /// Ends process `pid`, which listens on `to`, in the moment when the guest is let go.
    pub fn kills(to: u16, pid: u32) -> Result<Between, Failed> {
        Between::start(to, Deed::Kill(pid))
    }

    /// Passes at most so many bytes in a millisecond.
    pub fn slow(to: u16, bytes: usize) -> Result<Between, Failed> {
        Between::start(to, Deed::Slow(bytes))
    }

    /// Passes the first pages when it is allowed to.
    pub fn holds(to: u16, free: Arc<AtomicBool>) -> Result<Between, Failed> {
        Between::start(to, Deed::Hold(free))
    }

    fn start(to: u16, deed: Deed) -> Result<Between, Failed> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, to));
        thread::spawn(move || {
            let mut deed = Some(deed);
            while let Ok((source, _)) = listener.accept() {
                let Ok(target) = TcpStream::connect(to) else { return };
                // Like the two sides: small frames do not wait for more.
                let _ = (source.set_nodelay(true), target.set_nodelay(true));
                let gone = matches!(deed, Some(Deed::Kill(_) | Deed::Tunnel(_)));
                // Nobody interferes with the questions that come later.
                if connect(source, target, deed.take()).is_none() || gone {
                    return;
                }
            }
        });
        Ok(Between { port })
    }
}

fn connect(source: TcpStream, target: TcpStream, deed: Option<Deed>) -> Option<()> {
    let (mut back_from, mut back_to) = (target.try_clone().ok()?, source.try_clone().ok()?);
    let broken = match deed {
        Some(Deed::Break(kind, place)) => Some((kind, place)),
        Some(Deed::Tunnel(kind)) => Some((kind, Where::Before)),
        _ => None,
    };
    let back = move || {
        match broken {
            Some((kind, place)) => _ = pass_frames(&mut back_from, &mut back_to, kind, place),
            None => _ = std::io::copy(&mut back_from, &mut back_to),
        }
        let _ = back_to.shutdown(Shutdown::Write);
    };
    let (mut from, mut to) = (source, target);
    match deed {
        None => {
            thread::spawn(back);
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
            return Some(());
        }
        Some(Deed::Tunnel(kind)) => {
            thread::spawn(back);
            pass_frames(&mut from, &mut to, kind, Where::Before);
        }
        Some(Deed::Break(kind, place)) => {
            thread::spawn(back);
            pass_frames(&mut from, &mut to, kind, place);
        }
        Some(Deed::Kill(pid)) => {
            thread::spawn(back);
            pass_frames(&mut from, &mut to, kind::COMMIT, Where::Before);
            let _ = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
        Some(Deed::Slow(most)) => {
            thread::spawn(back);
            let mut bytes = vec![0; most];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                thread::sleep(Duration::from_millis(1));
                to.write_all(bytes.get(..count)?).ok()?;
            }
        }
        Some(Deed::Hold(free)) => {
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

/// Passes frames, and hangs up on both sides at the first one of `kind`. `None` if the connection has ended
/// before.
fn pass_frames(from: &mut TcpStream, to: &mut TcpStream, kind: u8, place: Where) -> Option<()> {
    let header = pass_frames_until(from, to, kind)?;
    let mut payload = vec![0; length(&header)];
    from.read_exact(&mut payload).ok()?;
    if place == Where::Behind {
        // Before the frame arrives: no answer gets through.
        let _ = from.shutdown(Shutdown::Both);
    }
    let whole = [&header[..], &payload].concat();
    let most = match place {
        Where::Before => 0,
        Where::Header => 3,
        Where::Middle => 8 + payload.len() / 2,
        Where::Behind => whole.len(),
    };
    let _ = to.write_all(&whole[..most]);
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    Some(())
}

/// Passes frames up to the first one of `kind`, whose header was read and is given back.
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
