//! Serial backends, used by real programs.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};

use crate::support::pty::Terminal;
use crate::support::{
    Deadline, Folder, Kvm, TIMEOUT, example, flood, flood_size, guest_test, processor_ticks, wait_until,
};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("each_serial_port_writes_to_its_backend", each_port_has_its_backend),
        guest_test("a_pseudo_terminal_is_named_and_transfers_both_ways", pseudo_terminal),
        guest_test("a_unix_socket_without_a_client_does_not_block_the_guest", socket_without_client),
        guest_test("a_late_client_gets_earlier_output", late_client),
        guest_test("clients_connect_one_after_the_other", clients_in_turn),
        guest_test("a_slow_client_gets_all_output", slow_client),
        guest_test("a_slow_reader_of_a_pipe_gets_all_output", slow_pipe),
        guest_test("a_pipe_that_is_closed_does_not_end_the_run", closed_pipe),
        guest_test(
            "a_client_that_disconnects_without_reading_costs_no_processor_time",
            client_disconnects_without_reading,
        ),
        guest_test("a_long_message_arrives_after_standard_input_has_ended", long_message),
        guest_test("a_socket_path_in_use_is_refused", taken_paths),
        tool_test("socat_sends_a_line_and_gets_the_answer", "socat", socat),
        tool_test("nc_sends_a_line_and_gets_the_answer", "nc", nc),
        tool_test("minicom_works_as_a_terminal_of_the_guest", "minicom", minicom),
    ]
}

/// A test that also needs a program that not every host has.
fn tool_test(name: &str, tool: &str, body: fn() -> Result<(), Failed>) -> Trial {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&folders).any(|folder| folder.join(tool).is_file()) {
        return guest_test(name, body);
    }
    Trial::test(format!("{name} (skipped: {tool} is not installed)"), body).with_ignored_flag(true)
}

/// A running `kvm` with COM1 at a unix socket, and nothing on standard input.
struct OnSocket {
    child: Child,
    stderr: ChildStderr,
    socket: PathBuf,
    deadline: Deadline,
    folder: Folder,
}

impl OnSocket {
    fn start(kvm: Kvm) -> Result<OnSocket, Failed> {
        let socket = kvm.folder.file("com1.socket");
        let kvm = kvm.arg("--serial").arg(format!("1=unix:{}", socket.display()));
        let mut command = kvm.command();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().ok_or("stderr is a pipe")?;
        let deadline = Deadline::new(child.id());
        wait_until("the socket", || socket.exists())?;
        Ok(OnSocket { child, stderr, socket, deadline, folder: kvm.folder })
    }

    fn connect(&self) -> Result<UnixStream, Failed> {
        let client = UnixStream::connect(&self.socket)?;
        client.set_read_timeout(Some(TIMEOUT))?;
        Ok(client)
    }

    /// The run must end with this status, and remove the socket.
    fn end(mut self, status: i32) -> Result<Folder, Failed> {
        let ended = self.child.wait()?;
        let mut stderr = String::new();
        self.stderr.read_to_string(&mut stderr)?;
        assert!(!self.deadline.stop(), "kvm had to be killed");
        assert_eq!(ended.code(), Some(status), "{stderr}");
        assert!(!self.socket.exists(), "the socket is removed");
        Ok(self.folder)
    }
}

/// Reads from `client` until what came ends with `text`.
fn read_until(client: &mut impl Read, text: &str) -> Result<String, Failed> {
    let mut got = Vec::new();
    let mut byte = [0];
    while !got.ends_with(text.as_bytes()) {
        match client.read(&mut byte) {
            Ok(1) => got.push(byte[0]),
            end => return Err(format!("{end:?} before {text:?}: {:?}", String::from_utf8_lossy(&got)).into()),
        }
    }
    Ok(String::from_utf8_lossy(&got).into_owned())
}

fn each_port_has_its_backend() -> Result<(), Failed> {
    let kvm = Kvm::with_guest("multi-com");
    let ran = kvm.args(["--serial", "2=file:com2.txt", "--serial", "3=log", "--serial", "4=null"]).run();
    ran.expect_status(0)?.expect_out("This is COM1.\n")?.expect_log("COM3: This is COM3.")?;
    assert_eq!(ran.folder.read("com2.txt"), "This is COM2.\n");
    assert!(!ran.folder.read("console.log").contains("This is COM4."));
    let ran = Kvm::with_guest("hello-serial").args(["--serial", "1=file:no/such/folder"]).run();
    ran.expect_status(6)?.expect_err("COM1: cannot create no/such/folder")?;
    Ok(())
}

fn pseudo_terminal() -> Result<(), Failed> {
    let kvm = Kvm::with_guest("serial-echo").args(["--serial", "1=pty"]);
    let mut child = kvm.command().stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let deadline = Deadline::new(child.id());
    let mut stderr = BufReader::new(child.stderr.take().ok_or("stderr is a pipe")?);
    let mut line = String::new();
    stderr.read_line(&mut line)?;
    let name = line.strip_prefix("kvm: COM1 is ").ok_or(format!("{line:?}"))?.trim_end();
    let mut pty = File::options().read(true).write(true).open(name)?;
    pty.write_all(b"typed on a pty\n")?;
    assert_eq!(read_until(&mut pty, "\n")?, "TYPED ON A PTY\n");
    // Another program opens it.
    drop(pty);
    let mut pty = File::options().read(true).write(true).open(name)?;
    let long = "x".repeat(190) + "\n";
    for _ in 0..60 {
        pty.write_all(long.as_bytes())?;
    }
    for _ in 0..60 {
        assert_eq!(read_until(&mut pty, "\n")?, long.to_uppercase());
    }
    pty.write_all(b"\x04")?;
    assert_eq!(child.wait()?.code(), Some(0));
    assert!(!deadline.stop(), "killed");
    Ok(())
}

fn socket_without_client() -> Result<(), Failed> {
    // The run may end before the test sees the socket.
    let ran = Kvm::with_guest("hello-serial").args(["--serial", "1=unix:com1.socket"]).run();
    ran.expect_status(0)?.expect_out("")?;
    assert!(!ran.folder.file("com1.socket").exists());
    Ok(())
}

fn late_client() -> Result<(), Failed> {
    let run = OnSocket::start(Kvm::new().arg(example("serial")))?;
    std::thread::sleep(Duration::from_millis(200));
    let mut client = run.connect()?;
    assert_eq!(read_until(&mut client, "> ")?, "A command line on COM1; try help.\r\n> ");
    client.write_all(b"echo both ways\r")?;
    assert_eq!(read_until(&mut client, "\r\n> ")?, "echo both ways\r\nboth ways\r\n> ");
    client.write_all(b"quit\r")?;
    // The guest's last output arrives, too.
    assert_eq!(read_until(&mut client, "bye\r\n")?, "quit\r\nbye\r\n");
    assert_eq!(client.read(&mut [0])?, 0, "the connection ends");
    run.end(0)?;
    Ok(())
}

fn clients_in_turn() -> Result<(), Failed> {
    let run = OnSocket::start(Kvm::with_guest("serial-echo"))?;
    let mut first = run.connect()?;
    first.write_all(b"first\n")?;
    assert_eq!(read_until(&mut first, "\n")?, "FIRST\n");
    let mut second = run.connect()?;
    second.write_all(b"second\n")?;
    second.set_read_timeout(Some(Duration::from_millis(100)))?;
    assert!(second.read(&mut [0]).is_err(), "the second has to wait");
    first.write_all(b"still here\n")?;
    assert_eq!(read_until(&mut first, "\n")?, "STILL HERE\n");
    drop(first);
    second.set_read_timeout(Some(TIMEOUT))?;
    assert_eq!(read_until(&mut second, "\n")?, "SECOND\n");
    drop(second);
    run.connect()?.write_all(b"\x04")?;
    let folder = run.end(0)?;
    assert_eq!(folder.read("console.log").matches("COM1: a client connected").count(), 3);
    Ok(())
}

fn slow_client() -> Result<(), Failed> {
    let run = OnSocket::start(Kvm::new().arg(flood()))?;
    let mut client = run.connect()?;
    // The guest sends far more than a socket buffer holds.
    std::thread::sleep(Duration::from_millis(1500));
    let mut text = Vec::new();
    client.read_to_end(&mut text)?;
    assert_eq!((text.len(), text.ends_with(b"..\n")), (flood_size(), true));
    run.end(0)?;
    Ok(())
}

fn slow_pipe() -> Result<(), Failed> {
    let kvm = Kvm::new().arg(flood());
    let mut child =
        kvm.command().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let deadline = Deadline::new(child.id());
    std::thread::sleep(Duration::from_millis(500));
    let mut text = Vec::new();
    child.stdout.take().ok_or("stdout is a pipe")?.read_to_end(&mut text)?;
    assert_eq!((text.len(), child.wait()?.code()), (flood_size(), Some(0)));
    assert!(!deadline.stop(), "killed");
    Ok(())
}

fn closed_pipe() -> Result<(), Failed> {
    let kvm = Kvm::new().arg(flood());
    let mut child =
        kvm.command().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let deadline = Deadline::new(child.id());
    let stdout = child.stdout.take().ok_or("stdout is a pipe")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    assert_eq!(line, ".".repeat(63) + "\n");
    // The rest is not read; the guest's result is still reported.
    let output = child.wait_with_output()?;
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("kvm: the guest halted"));
    assert!(!deadline.stop(), "killed");
    Ok(())
}

fn client_disconnects_without_reading() -> Result<(), Failed> {
    let run = OnSocket::start(Kvm::with_guest("idle"))?;
    run.connect()?.write_all(&[b'x'; 20_000])?;
    std::thread::sleep(Duration::from_millis(300));
    let before = processor_ticks(run.child.id());
    std::thread::sleep(Duration::from_millis(500));
    let ticks = processor_ticks(run.child.id()) - before;
    assert!(ticks <= 2, "{ticks} ticks in half a second");
    let killed = Command::new("kill").arg(run.child.id().to_string()).status()?;
    assert!(killed.success());
    run.end(16)?;
    Ok(())
}

fn long_message() -> Result<(), Failed> {
    let run = OnSocket::start(Kvm::with_guest("serial-echo"))?;
    let mut client = run.connect()?;
    // The guest answers when it has read all of it.
    client.write_all("long".repeat(10_000).as_bytes())?;
    client.write_all(b"\n\x04")?;
    assert_eq!(read_until(&mut client, "\n")?, "LONG".repeat(50) + "\n");
    run.end(0)?;
    Ok(())
}

fn taken_paths() -> Result<(), Failed> {
    let kvm = Kvm::with_guest("hello-serial").args(["--serial", "1=unix:taken"]);
    std::fs::write(kvm.folder.file("taken"), "mine")?;
    let ran = kvm.run();
    ran.expect_status(6)?.expect_err("kvm: COM1: taken exists and is no socket; remove it")?;
    assert_eq!(ran.folder.read("taken"), "mine");

    let kvm = Kvm::with_guest("hello-serial").args(["--serial", "1=unix:taken"]);
    let _listener = UnixListener::bind(kvm.folder.file("taken"))?;
    let ran = kvm.run();
    ran.expect_status(6)?.expect_err("kvm: COM1: taken is in use by another program")?;
    assert!(ran.folder.file("taken").exists());
    Ok(())
}

/// Runs a program that connects its standard streams to the socket of `serial-echo`.
fn echoes_through(program: &str, arguments: &[&str], address_prefix: &str) -> Result<(), Failed> {
    let run = OnSocket::start(Kvm::with_guest("serial-echo"))?;
    let mut command = Command::new(program);
    command.args(arguments).arg(format!("{address_prefix}{}", run.socket.display()));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().ok_or("stdin is a pipe")?;
    stdin.write_all(b"first line\nsecond\n")?;
    // All output is written, but not all of it is read.
    drop(stdin);
    let answer = String::from_utf8(child.wait_with_output()?.stdout)?;
    assert_eq!(answer, "FIRST LINE\nSECOND\n");
    run.connect()?.write_all(b"\x04")?;
    run.end(0)?;
    Ok(())
}

fn socat() -> Result<(), Failed> {
    echoes_through("socat", &["-t", "1", "-"], "UNIX-CONNECT:")
}

fn nc() -> Result<(), Failed> {
    echoes_through("nc", &["-N", "-w", "1", "-U"], "")
}

fn minicom() -> Result<(), Failed> {
    let run = OnSocket::start(Kvm::new().arg(example("serial")))?;
    let mut command = Command::new("minicom");
    command.arg("-D").arg(format!("unix#{}", run.socket.display()));
    command.current_dir(run.folder.path()).env("HOME", run.folder.path()).env("LANG", "C");
    let terminal = Terminal::start(&command, 80, 25);
    terminal.wait_for_text("> ")?;
    terminal.type_keys("echo from minicom\r");
    terminal.wait_for_text("> echo from minicom\nfrom minicom\n> ")?;
    terminal.type_keys("quit\r");
    terminal.wait_for_text("bye")?;
    run.end(0)?;
    Ok(())
}
