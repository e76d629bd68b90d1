//! Browsers and other programs that connect to a listener of `kvm`: none of what they send is carried out.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};

use crate::support::console::expect_equal;
use crate::support::debug_server::{dump_request, simple};
use crate::support::migration::{Instance, contains, expect_running, free_port, key, migrate};
use crate::support::{Folder, Kvm, Running, TIMEOUT, free_address, guest_test};

/// The tests of this file. They do not depend on the processor.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("no_listener_carries_out_what_a_web_page_sends: console", || every_attack_on("console")),
        guest_test("no_listener_carries_out_what_a_web_page_sends: gdb", || every_attack_on("gdb")),
        guest_test("no_listener_carries_out_what_a_web_page_sends: debug server", || {
            every_attack_on("debug server")
        }),
        guest_test("a_browser_does_not_start_a_guest_that_waits_for_gdb", waiting_for_gdb),
        guest_test("a_destination_survives_a_browser_and_receives_the_next_guest", || destination(&[])),
        guest_test("an_encrypted_destination_survives_a_browser_and_receives_the_next_guest", || {
            let folder = Folder::new();
            let file = key(&folder, "key", 1)?;
            destination(&["--migr-key", file.to_str().ok_or("a path")?])
        }),
    ]
}

/// What a page wants: commands for each of the protocols, which are valid on their own.
fn commands() -> Vec<u8> {
    let mut body = b"\r\nscreendump attack.txt\r\nsnapshot ./attack\nsnapshot attack\nquit\n".to_vec();
    body.extend(b"$?#3f$k#6b+$vKill;1#6e$qRcmd,71756974#b9\x03");
    body.extend(simple(2));
    body.extend(dump_request(0, 16));
    // The start of a migration: a Hello frame.
    body.extend(b"\x01\0\0\0\x20\0\0\0kvm-migr");
    body.extend([0; 24]);
    body.extend(b"\nquit\n");
    body
}

/// Requests with these commands, and the greetings of other protocols that a page can have a browser send.
fn attacks() -> Vec<Vec<u8>> {
    let commands = commands();
    let request = |line: &str, headers: &str| {
        let length = commands.len();
        let head = format!("{line}\r\n{headers}Content-Length: {length}\r\n\r\n");
        [head.as_bytes(), &commands].concat()
    };
    let long = "a".repeat(1100);
    let host = "Host: 127.0.0.1:9000\r\nOrigin: http://attack.example\r\nUser-Agent: Mozilla/5.0\r\n";
    vec![
        request("POST / HTTP/1.1", host),
        request("GET / HTTP/1.1", host),
        request("OPTIONS / HTTP/1.1", host),
        // A request line that is longer than a command may be.
        request(&format!("POST /{long} HTTP/1.1"), host),
        request(&format!("GET /{long} HTTP/1.1"), host),
        // With its own name resolved to this host, a page can choose the method and add header fields.
        request("status / HTTP/1.1", host),
        request(&format!("status /{long} HTTP/1.1"), "quit: 1\r\n"),
        request("PROPFIND / HTTP/1.1", host),
        // Header fields, if the request line gets lost.
        request("Host: localhost", ""),
        request("Origin: null", ""),
        // They count until the first command is accepted, which these are not.
        request("fly", "fly\r\nHost: localhost\r\n"),
        request("fly", "\r\n\r\nOrigin: null\r\n"),
        // Bytes that no terminal sends.
        [b"\x80\xFF\xFE\n", &commands[..]].concat(),
        [b"\0\x01\x02\n", &commands[..]].concat(),
        [&[b'x'; 5000][..], &commands].concat(),
        // TLS, and STUN as WebRTC sends it.
        [b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03", &commands[..]].concat(),
        [b"\0\x01\x01\x2C\x21\x12\xA4\x42abcdefghijkl\0\x06\x01\0", &commands[..]].concat(),
    ]
}

/// Sends an attack in pieces, and reads until the listener closes the connection. Returns what it sent.
fn send(address: &str, attack: &[u8], piece: usize) -> Result<Vec<u8>, Failed> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    for bytes in attack.chunks(piece) {
        // It may have been closed by now.
        if stream.write_all(bytes).is_err() {
            break;
        }
        if piece < attack.len() {
            thread::sleep(Duration::from_millis(1));
        }
    }
    let mut received = Vec::new();
    match stream.read_to_end(&mut received) {
        Ok(_) => Ok(received),
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
            Ok(received)
        }
        Err(error) => Err(format!("{address} keeps the connection open: {error}").into()),
    }
}

/// Sends the attacks whole and in pieces, and the same by curl where it is installed. `check` runs after each one.
fn attack(address: &str, check: impl Fn() -> Result<(), Failed>) -> Result<(), Failed> {
    for attack in attacks() {
        let start = String::from_utf8_lossy(&attack[..40]).into_owned();
        for piece in [attack.len(), 100] {
            let answer = send(address, &attack, piece)?;
            let text = String::from_utf8_lossy(&answer);
            // Nothing but a prompt, an error, or the reason.
            for sign in ["the guest runs", "saved", "snapshot `", "the run ends", "T05", "W00"] {
                if text.contains(sign) {
                    return Err(format!("{address} answered {text:?} to {start:?}").into());
                }
            }
            check().map_err(|failed| {
                format!("after {start:?} to {address}: {}", failed.message().unwrap_or_default())
            })?;
        }
    }
    let path = format!("http://{address}/{}", "a".repeat(1100));
    for url in [format!("http://{address}/"), path, format!("https://{address}/")] {
        let arguments =
            ["-sk", "--http0.9", "--max-time", "20", "--data-binary", "\nquit\nscreendump attack.txt\n$k#6b"];
        let curl = Command::new("curl").args(arguments).arg(url).stdout(Stdio::null()).status();
        if curl.is_ok_and(|status| status.code() == Some(28)) {
            return Err(format!("{address} keeps the connection of curl open").into());
        }
    }
    Ok(())
}

/// The answer of the console at `address` to `status`.
fn status(address: &str) -> Result<String, Failed> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(b"status\n")?;
    stream.shutdown(Shutdown::Write)?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.replace("vmm console> ", ""))
}

/// Sends every attack to one listener of a running guest. The guest must run on, no file may be written, and each
/// listener must serve its own clients afterwards.
fn every_attack_on(listener: &str) -> Result<(), Failed> {
    let [console, gdb, debug_server] = [free_address()?, free_address()?, free_address()?];
    let kvm = Kvm::with_guest("endless").args([
        format!("--console={console}"),
        format!("--gdb={gdb}"),
        "--gdb-nowait".to_owned(),
        format!("--debug-server={debug_server}"),
    ]);
    let mut kvm = Running::start(kvm);
    kvm.until("kvm: the console is on ")?;
    let attacked = match listener {
        "console" => &console,
        "gdb" => &gdb,
        _ => &debug_server,
    };
    attack(attacked, || expect_equal(&status(&console)?, "the guest runs\n"))?;
    for name in ["attack", "attack.txt", "attack.kvmstate"] {
        if kvm.file(name).exists() {
            return Err(format!("a page has written {name}").into());
        }
    }
    // Each listener still serves its own clients.
    let mut debugger = TcpStream::connect(&gdb)?;
    debugger.set_read_timeout(Some(TIMEOUT))?;
    debugger.write_all(b"+$?#3f")?;
    let mut answer = [0; 5];
    debugger.read_exact(&mut answer)?;
    expect_equal(&String::from_utf8_lossy(&answer), "+$T05")?;
    drop(debugger);
    let mut client = TcpStream::connect(&debug_server)?;
    client.set_read_timeout(Some(TIMEOUT))?;
    client.write_all(&dump_request(0, 4))?;
    let mut frame = [0; 8];
    client.read_exact(&mut frame)?;
    drop(client);
    let mut last = TcpStream::connect(&console)?;
    last.write_all(b"quit\n")?;
    kvm.finish()?.expect_status(14).map(drop)
}

fn waiting_for_gdb() -> Result<(), Failed> {
    let [console, gdb] = [free_address()?, free_address()?];
    let kvm = Kvm::with_guest("endless").args([format!("--console={console}"), format!("--gdb={gdb}")]);
    let mut kvm = Running::start(kvm);
    kvm.until("kvm: the console is on ")?;
    attack(&gdb, || contains(&status(&console)?, "waits for gdb"))?;
    let mut last = TcpStream::connect(&console)?;
    last.write_all(b"quit\n")?;
    kvm.finish()?.expect_status(14).map(drop)
}

/// A destination with `arguments`, which the source is given, too.
fn destination(arguments: &[&str]) -> Result<(), Failed> {
    let port = free_port();
    let mut destination = Instance::destination(port, arguments)?;
    attack(&format!("127.0.0.1:{port}"), || Ok(()))?;
    let source = Instance::source("serial-echo", arguments)?;
    contains(&source.ask(&[&migrate(port)])?, "migration complete")?;
    source.expect_migrated()?;
    expect_running(&mut destination)
}
