//! Guests that move from one kvm to another, and what happens when something breaks on the way.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

use crate::support::{Deadline, Folder, Kvm, PATIENCE, guest_test, wait_until};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = moves();
    trials.extend(failures());
    trials
}

/// A port that nobody has at the moment.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a free port").port()
}

/// A kvm with a console at a socket, or one that waits for a guest.
struct Side {
    child: Child,
    folder: Folder,
    console: PathBuf,
    killer: Deadline,
}

impl Side {
    /// Runs `guest`, which echoes what its serial port is sent in capitals, with a console.
    fn source(guest: &str, arguments: &[&str]) -> Result<Side, Failed> {
        let mut side = Side::start(Kvm::with_guest(guest), arguments)?;
        let console = side.console.clone();
        wait_until("the console", || console.exists())?;
        side.expect_err("the console is on")?;
        Ok(side)
    }

    /// Waits for a guest on `port`.
    fn receiver(port: u16, arguments: &[&str]) -> Result<Side, Failed> {
        let place = port.to_string();
        let mut side = Side::start(Kvm::new().args(["-migr", "-migrport", &place]), arguments)?;
        side.expect_out("Waiting for network migration connections...")?;
        Ok(side)
    }

    fn start(kvm: Kvm, arguments: &[&str]) -> Result<Side, Failed> {
        let console = kvm.folder.file("console");
        let kvm = kvm.args(arguments).arg(format!("--console=unix:{}", console.display()));
        let child = kvm.start();
        let killer = Deadline::new(child.id());
        Ok(Side { child, folder: kvm.folder, console, killer })
    }

    /// Reads standard output until a line that has `text` in it.
    fn expect_out(&mut self, text: &str) -> Result<(), Failed> {
        let out = self.child.stdout.as_mut().ok_or("no standard output")?;
        expect_line(out, text)
    }

    fn expect_err(&mut self, text: &str) -> Result<(), Failed> {
        let err = self.child.stderr.as_mut().ok_or("no standard error")?;
        expect_line(err, text)
    }

    /// Sends `text` to the guest's serial port.
    fn type_in(&mut self, text: &str) -> Result<(), Failed> {
        let stdin = self.child.stdin.as_mut().ok_or("no standard input")?;
        stdin.write_all(text.as_bytes())?;
        Ok(stdin.flush()?)
    }

    /// Gives commands at the console, and leaves it; what it answered.
    fn ask(&self, commands: &[&str]) -> Result<String, Failed> {
        let mut stream = UnixStream::connect(&self.console)?;
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

    /// Waits for the end: exit status, the rest of standard output and of standard error.
    fn finish(mut self) -> Result<(Option<i32>, String, String), Failed> {
        drop(self.child.stdin.take());
        let output = self.child.wait_with_output()?;
        if self.killer.stop() {
            return Err("it did not end".into());
        }
        let log = self.folder.read("console.log");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.code(), text(&output.stdout), format!("{}\n--- log\n{log}", text(&output.stderr))))
    }

    fn kill(&mut self) -> Result<(), Failed> {
        Ok(self.child.kill()?)
    }
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

fn contains(text: &str, part: &str) -> Result<(), Failed> {
    if text.contains(part) { Ok(()) } else { Err(format!("no {part:?} in:\n{text}").into()) }
}

fn migrate(port: u16) -> String {
    format!("migrate 127.0.0.1 {port}")
}

/// Moves a guest that echoes lines, and checks that it runs there, only there, and as it was.
fn moves_with(source: &[&str], receiver: &[&str]) -> Result<(), Failed> {
    let port = free_port();
    let mut here = Side::source("serial-echo", source)?;
    here.type_in("one\r")?;
    here.expect_out("ONE")?;
    let mut there = Side::receiver(port, receiver)?;
    let said = here.ask(&[&migrate(port)])?;
    for line in [
        "-----> starting migration",
        "-----> first memory transfer completed",
        "-----> diff dirty page transfer completed",
        "-----> CPU context transfer completed",
        "-----> IO context transfer completed",
        "-----> migration complete.",
    ] {
        contains(&said, line)?;
    }
    let (status, _, err) = here.finish()?;
    if status != Some(0) {
        return Err(format!("the source ended with {status:?}: {err}").into());
    }
    contains(&err, &format!("the guest has moved to 127.0.0.1:{port} and runs on there."))?;
    there.expect_out("Migration started")?;
    there.type_in("two\r")?;
    there.expect_out("TWO")?;
    contains(&there.ask(&["status", "quit"])?, "the guest runs")?;
    let (status, _, err) = there.finish()?;
    // Every kernel these tests run on has at least one of both.
    contains(&err, "the thread that reads from the network is confined by ")?;
    if status == Some(14) { Ok(()) } else { Err(format!("the receiver ended with {status:?}: {err}").into()) }
}

fn moves() -> Vec<Trial> {
    vec![
        guest_test("a_guest_moves_to_another_kvm_and_goes_on_there", || moves_with(&[], &[])),
        guest_test("a_guest_moves_with_a_shared_key", || {
            let folder = Folder::new();
            let file = key(&folder, "key", 7)?;
            let key = ["--migr-key", file.to_str().ok_or("a path")?];
            moves_with(&key, &key)
        }),
        guest_test("a_guest_that_computes_arrives_at_the_same_result", || {
            let port = free_port();
            let whole = Kvm::with_guest("two-thousand-lines").run();
            let mut here = Side::source("two-thousand-lines", &[])?;
            let there = Side::receiver(port, &[])?;
            here.ask(&[&migrate(port)])?;
            let mut first = String::new();
            here.child.stdout.take().ok_or("no standard output")?.read_to_string(&mut first)?;
            let (_, _, err) = here.finish()?;
            contains(&err, "the guest has moved to")?;
            let (status, second, err) = there.finish()?;
            let second = second.replacen("Migration started\n", "", 1);
            if status != whole.status || first + &second != whole.out {
                return Err(format!("another end: {status:?}, {err}").into());
            }
            Ok(())
        }),
        guest_test("a_guest_can_move_on_and_back", || {
            let ports = [free_port(), free_port()];
            let here = Side::source("serial-echo", &[])?;
            let there = Side::receiver(ports[0], &[])?;
            here.ask(&[&migrate(ports[0])])?;
            here.finish()?;
            let mut back = Side::receiver(ports[1], &[])?;
            there.ask(&[&migrate(ports[1])])?;
            contains(&there.finish()?.2, "runs on there")?;
            back.type_in("again\r")?;
            back.expect_out("AGAIN")?;
            back.ask(&["quit"])?;
            back.finish().map(drop)
        }),
    ]
}

/// A file with a shared key.
fn key(folder: &Folder, name: &str, byte: u8) -> Result<PathBuf, Failed> {
    let file = folder.file(name);
    std::fs::write(&file, [byte; 32])?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

/// The guest must still run here.
fn runs_here(mut side: Side) -> Result<(), Failed> {
    side.type_in("here\r")?;
    side.expect_out("HERE")?;
    contains(&side.ask(&["status", "quit"])?, "the guest runs")?;
    side.finish().map(drop)
}

/// Stands between two sides, and hangs up on both after so many bytes from the source.
fn cutter(to: u16, after: usize) -> Result<u16, Failed> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        let mut left = after;
        // Later connections, with questions, get through.
        while let Ok((source, _)) = listener.accept() {
            let Ok(target) = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, to))) else {
                continue;
            };
            let most = std::mem::replace(&mut left, usize::MAX);
            pass(source, target, most);
        }
    });
    Ok(port)
}

fn pass(source: TcpStream, target: TcpStream, most: usize) {
    let (Ok(mut from), Ok(mut to)) = (source.try_clone(), target.try_clone()) else { return };
    let (mut back_from, mut back_to) = (target, source);
    thread::spawn(move || {
        let _ = std::io::copy(&mut back_from, &mut back_to);
        let _ = back_to.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let (mut left, mut bytes) = (most, vec![0; 64 << 10]);
        while left > 0 {
            let most = bytes.len().min(left);
            match from.read(&mut bytes[..most]) {
                Ok(count @ 1..) if to.write_all(&bytes[..count]).is_ok() => left -= count,
                _ => break,
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}

/// A tunnel, as that of ssh, which leads to `to` and ends for good when the destination confirms that it has the
/// guest: the source does not hear of that, and nobody listens at this end of it any more.
fn tunnel(to: u16) -> Result<u16, Failed> {
    const CONFIRM: u8 = 10;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || -> std::io::Result<()> {
        let (mut source, _) = listener.accept()?;
        drop(listener);
        let mut target = TcpStream::connect((Ipv4Addr::LOCALHOST, to))?;
        let (mut from, mut into) = (source.try_clone()?, target.try_clone()?);
        thread::spawn(move || std::io::copy(&mut from, &mut into));
        loop {
            let mut header = [0; 8];
            target.read_exact(&mut header)?;
            if header[0] == CONFIRM {
                source.shutdown(Shutdown::Both)?;
                return target.shutdown(Shutdown::Both);
            }
            let [.., a, b, c, d] = header;
            let mut payload = vec![0; u32::from_le_bytes([a, b, c, d]) as usize];
            target.read_exact(&mut payload)?;
            source.write_all(&header)?;
            source.write_all(&payload)?;
        }
    });
    Ok(port)
}

fn failures() -> Vec<Trial> {
    vec![
        guest_test("a_tunnel_that_ends_at_the_wrong_moment_does_not_make_two_guests_of_one", || {
            let port = free_port();
            let here = Side::source("serial-echo", &[])?;
            let mut there = Side::receiver(port, &[])?;
            let mut console = UnixStream::connect(&here.console)?;
            console.write_all(format!("{}\n", migrate(tunnel(port)?)).as_bytes())?;
            let start = Instant::now();
            let mut status = String::new();
            while !status.contains("no answer has come") && !status.contains("runs on here") {
                if start.elapsed() > PATIENCE {
                    return Err(format!("it is not in doubt: {status}").into());
                }
                status = here.ask(&["migrate status"])?;
            }
            // As long as it asks, it does not change its mind.
            thread::sleep(Duration::from_millis(600));
            contains(&here.ask(&["migrate status"])?, "it runs nowhere")?;
            there.type_in("here\r")?;
            there.expect_out("HERE")?;
            // It would wait for a question, which cannot come.
            there.kill()?;
            there.finish()?;
            here.ask(&["quit"])?;
            here.finish().map(drop)
        }),
        guest_test("a_guest_stays_where_nobody_waits_for_it", || {
            let port = free_port();
            let here = Side::source("serial-echo", &[])?;
            let said = here.ask(&[&migrate(port), "migrate status"])?;
            contains(&said, "migration failed, the guest runs on here")?;
            contains(&said, &format!("`kvm -migr -migrport {port}` has a kvm wait there"))?;
            runs_here(here)
        }),
        guest_test("a_guest_is_not_sent_to_another_host_without_encryption", || {
            let here = Side::source("serial-echo", &[])?;
            contains(
                &here.ask(&["migrate 192.0.2.1 8000"])?,
                "migration without encryption is for this host only",
            )?;
            contains(&here.ask(&["migrate 192.0.2.1 x"])?, "Invalid ip address or port")?;
            runs_here(here)
        }),
        guest_test("a_side_with_another_key_gets_no_guest", || {
            let (folder, port) = (Folder::new(), free_port());
            let (one, other) = (key(&folder, "one", 1)?, key(&folder, "other", 2)?);
            let here = Side::source("serial-echo", &["--migr-key", one.to_str().ok_or("a path")?])?;
            let mut there = Side::receiver(port, &["--migr-key", other.to_str().ok_or("a path")?])?;
            contains(&here.ask(&[&migrate(port)])?, "migration failed, the guest runs on here")?;
            there.kill()?;
            there.finish()?;
            runs_here(here)
        }),
        guest_test("wherever_the_connection_breaks_the_guest_runs_on_one_side", || {
            for after in [0, 4, 30, 300, 5000, 9000, 20_000, 50_000] {
                let port = free_port();
                let here = Side::source("serial-echo", &[])?;
                let there = Side::receiver(port, &[])?;
                let said = here.ask(&[&migrate(cutter(port, after)?)])?;
                if said.contains("the guest has moved") || said.contains("migration complete") {
                    here.finish()?;
                    runs_here(there)?;
                } else {
                    contains(&said, "the guest runs on here")?;
                    let mut there = there;
                    // One that has seen a guest begin has ended.
                    let _ = there.kill();
                    there.finish()?;
                    runs_here(here)?;
                }
            }
            Ok(())
        }),
        guest_test("a_receiver_that_dies_leaves_the_guest_at_its_source", || {
            let port = free_port();
            let here = Side::source("serial-echo", &[])?;
            let mut there = Side::receiver(port, &[])?;
            there.kill()?;
            there.finish()?;
            contains(&here.ask(&[&migrate(port)])?, "the guest runs on here")?;
            runs_here(here)
        }),
        guest_test("whoever_only_looks_or_talks_nonsense_does_not_use_the_receiver_up", || {
            let port = free_port();
            let here = Side::source("serial-echo", &[])?;
            let there = Side::receiver(port, &[])?;
            drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?);
            let mut browser = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            browser.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            let mut told = Vec::new();
            browser.set_read_timeout(Some(Duration::from_secs(20)))?;
            let start = Instant::now();
            let _ = BufReader::new(browser).read_until(0xFF, &mut told);
            contains(&String::from_utf8_lossy(&told), "does not speak the migration protocol")?;
            assert!(start.elapsed() < Duration::from_secs(15));
            contains(&here.ask(&[&migrate(port)])?, "-----> migration complete.")?;
            here.finish()?;
            runs_here(there)
        }),
    ]
}
