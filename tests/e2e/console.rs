//! The console: commands while the guest runs, from any client that sends lines.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

use crate::support::console::{KvmWithConsole, expect_equal};
use crate::support::debugger::{KvmWithGdb, expect};
use crate::support::{Deadline, Kvm, TIMEOUT, example, guest_test, kvm_binary, processor_ticks, wait_until};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = clients();
    trials.extend(guests());
    trials.extend(user_interface());
    trials.extend(beside_gdb());
    trials.extend(addresses());
    trials
}

/// The standard output of `program` for `input`.
fn with_program(program: &str, arguments: &[&str], input: &[u8]) -> Result<String, Failed> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Err(format!("{program} is needed for this test: {error}").into()),
    };
    child.stdin.take().expect("stdin is a pipe").write_all(input)?;
    let killer = Deadline::new(child.id());
    let output = child.wait_with_output()?;
    match killer.stop() {
        true => Err(format!("{program} did not end within {TIMEOUT:?}").into()),
        false => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
    }
}

fn clients() -> Vec<Trial> {
    vec![
        guest_test("the_console_accepts_any_line_ending_and_prompts_again", || {
            let kvm = KvmWithConsole::start("endless", &[])?;
            let mut client = kvm.connect()?;
            let regs = client.ask("regs")?;
            expect(&regs, "Privileged Registers (Custom command):\nCR4 0x")?;
            client.send(b"\r\n")?;
            expect_equal(&client.answer()?, "")?;
            expect_equal(
                &client.ask("fly\r")?,
                "unrecognized command: `fly` is no command; `help` lists all\n",
            )?;
            expect(&client.ask("?")?, "\nexit ")?;
            if regs.contains('\0') {
                return Err("a zero byte was sent".into());
            }
            client.send(b"exit\n")?;
            expect_equal(&client.rest()?, "")
        }),
        guest_test("telnet_negotiation_is_ignored", || {
            let kvm = KvmWithConsole::start("endless", &[])?;
            let mut client = kvm.connect()?;
            client.send(b"\xFF\xFD\x03\xFF\xFB\x18\xFF\xFA\x18\x00xterm\xFF\xF0sta\xFF\xF1tus\r\0\r\n")?;
            expect_equal(&client.answer()?, "the guest runs\n")?;
            client.send(b"stax\x7Ftus\r\n")?;
            expect_equal(&client.answer()?, "the guest runs\n")
        }),
        guest_test("all_lines_of_a_pipe_are_answered_before_the_console_disconnects", || {
            let kvm = KvmWithConsole::start("endless", &[])?;
            let mut client = kvm.connect()?;
            client.send(&b"status\n".repeat(200))?;
            client.stream.shutdown(Shutdown::Write)?;
            let rest = client.rest()?;
            expect_equal(&rest, &"the guest runs\nvmm console> ".repeat(200))
        }),
        guest_test("an_overlong_line_is_refused_and_ends_the_connection", || {
            let kvm = KvmWithConsole::start("endless", &[])?;
            let mut client = kvm.connect()?;
            expect_equal(&client.ask("status")?, "the guest runs\n")?;
            expect(
                &client.ask("\x1b[31m\u{e9}")?,
                "unrecognized command: `\\u{1b}[31m\u{e9}` is no command",
            )?;
            client.send(&[&[b'x'; 100_000][..], b"\nquit\n"].concat())?;
            expect_equal(
                &client.rest()?,
                "the line is too long; at most 1000 bytes are allowed. The connection is closed.\n",
            )?;
            expect_equal(&kvm.connect()?.ask("status")?, "the guest runs\n")
        }),
        guest_test("clients_that_read_nothing_or_disconnect_do_not_disturb_the_run", || {
            let kvm = KvmWithConsole::start("endless", &[])?;
            let mut served = kvm.connect()?;
            let mut idle = Vec::new();
            for _ in 0..3 {
                let mut client = kvm.connect()?;
                client.stream.set_nonblocking(true)?;
                // Until the socket buffers are full.
                while client.stream.write(&b"help\n".repeat(1000)).is_ok() {}
                idle.push(client);
            }
            let begin = Instant::now();
            for _ in 0..50 {
                expect_equal(&served.ask("status")?, "the guest runs\n")?;
            }
            if begin.elapsed() > Duration::from_secs(30) {
                return Err(format!("50 answers took {:?}", begin.elapsed()).into());
            }
            let disconnected = |error: std::io::Error| error.kind() != std::io::ErrorKind::WouldBlock;
            wait_until("clients that read nothing are disconnected", || {
                idle.iter_mut().all(|client| client.stream.write(b"\n").is_err_and(disconnected))
            })?;
            drop(idle);
            for _ in 0..20 {
                // A slot is free as soon as the server notices that the others are gone.
                let _ = kvm.connect();
            }
            expect_equal(&served.ask("status")?, "the guest runs\n")
        }),
        guest_test("a_client_that_sends_commands_continuously_leaves_the_guest_time_to_run", || {
            let kvm = KvmWithConsole::start("endless", &[])?;
            let mut client = kvm.connect()?;
            let begin = Instant::now();
            client.send(&b"status\n".repeat(200))?;
            for _ in 0..200 {
                expect_equal(&client.answer()?, "the guest runs\n")?;
            }
            match begin.elapsed() {
                // The guest is stopped for each answer, and runs for a millisecond between two answers.
                taken if taken < Duration::from_millis(199) => {
                    Err(format!("200 answers took only {taken:?}").into())
                }
                _ => Ok(()),
            }
        }),
        guest_test("eight_console_clients_are_served_and_the_ninth_is_rejected_with_the_reason", || {
            let kvm = KvmWithConsole::start("endless", &[])?;
            let mut clients = Vec::new();
            for _ in 0..8 {
                clients.push(kvm.connect()?);
            }
            let refused = kvm.connect().err().and_then(|failed| failed.message().map(str::to_owned));
            expect(&refused.unwrap_or_default(), "8 consoles are already connected to this guest")?;
            // Clients that wait for a slot do not delay each other.
            let start = Instant::now();
            let waiting: Vec<UnixStream> =
                (0..7).map(|_| UnixStream::connect(&kvm.path)).collect::<Result<_, _>>()?;
            for mut client in waiting {
                client.set_read_timeout(Some(TIMEOUT))?;
                let mut reason = String::new();
                client.read_to_string(&mut reason)?;
                expect(&reason, "8 consoles are already connected to this guest")?;
            }
            if start.elapsed() > Duration::from_secs(2) {
                return Err(format!("seven rejections took {:?}", start.elapsed()).into());
            }
            for client in &mut clients {
                expect_equal(&client.ask("status")?, "the guest runs\n")?;
            }
            clients.pop();
            let mut last = Err("no connection yet".into());
            wait_until("a free slot", || {
                last = kvm.connect();
                last.is_ok()
            })?;
            expect_equal(&last?.ask("status")?, "the guest runs\n")
        }),
        guest_test("a_browser_is_disconnected_before_it_can_send_a_command", || {
            let kvm = KvmWithConsole::start("endless", &[])?;
            let mut client = kvm.connect()?;
            client.send(b"POST / HTTP/1.1\r\nHost: localhost:9000\r\n\r\nquit\r\n")?;
            // The rest of its input is not read, so the connection may be reset.
            let _ = client.stream.read_to_end(&mut Vec::new());
            expect_equal(&kvm.connect()?.ask("status")?, "the guest runs\n")
        }),
        guest_test("socat_and_nc_work_as_console_clients", || {
            let kvm = KvmWithConsole::start("endless", &[])?;
            let address = format!("UNIX-CONNECT:{}", kvm.path.display());
            let output = with_program("socat", &["-t5", "-", &address], b"status\nexit\n")?;
            expect_equal(&output, "vmm console> the guest runs\nvmm console> ")?;
            let path = kvm.path.display().to_string();
            let output = with_program("nc", &["-U", &path], b"status\nquit\n")?;
            expect(&output, "vmm console> the guest runs\nvmm console> the run ends\n")?;
            expect(&output, "\nkvm: ended by the user.\n")?;
            kvm.finish()?.expect_status(14).map(drop)
        }),
    ]
}

fn guests() -> Vec<Trial> {
    vec![
        guest_test("a_guest_is_paused_and_resumed_in_any_state", || {
            for name in ["endless", "idle"] {
                let kvm = KvmWithConsole::start(name, &[])?;
                let mut client = kvm.connect()?;
                expect_equal(&client.ask("pause")?, "the guest is paused; `resume` resumes it\n")?;
                expect_equal(&client.ask("status")?, "the guest is paused; `resume` resumes it\n")?;
                expect_equal(&client.ask("dis $rip 1")?, &client.ask("dis $rip 1")?)?;
                let before = processor_ticks(kvm.id());
                std::thread::sleep(Duration::from_millis(300));
                let taken = processor_ticks(kvm.id()) - before;
                if taken > 10 {
                    return Err(format!("{name}: it took {taken} ticks while it was paused").into());
                }
                expect_equal(&client.ask("resume")?, "the guest runs\n")?;
                expect(&client.ask("dis $rip 1")?, "=> 0x")?;
                expect_equal(&client.ask("quit")?, "the run ends\n")?;
                expect_equal(&client.rest()?, "\nkvm: ended by the user.\n")?;
                kvm.finish()?.expect_status(14)?;
            }
            Ok(())
        }),
        guest_test("a_paused_guest_does_not_run_and_then_runs_to_its_end", || {
            let kvm = KvmWithConsole::start("keyboard-echo", &["--serial", "1=log", "--serial", "2=stdio"])?;
            let mut client = kvm.connect()?;
            client.ask_until("dis $rip 1", "=> 0x")?;
            client.ask("pause")?;
            client.ask("type abc")?;
            client.ask("sendkey esc")?;
            std::thread::sleep(Duration::from_millis(200));
            expect_equal(&client.ask("status")?, "the guest is paused; `resume` resumes it\n")?;
            client.send(b"resume\n")?;
            expect(&client.rest()?, "kvm: the guest halted; result (RAX) 3 (0x3).\n")?;
            let ran = kvm.finish()?;
            ran.expect_status(0)?;
            ran.check(ran.out.contains("abc"), "what was typed").map(drop)
        }),
        guest_test("a_machine_that_is_reset_starts_again_and_with_no_reboot_ends", || {
            let kvm = KvmWithConsole::start("keyboard-echo", &["--serial", "1=log", "--serial", "2=stdio"])?;
            let mut client = kvm.connect()?;
            client.ask("type a")?;
            client.ask_until("screendump screen.txt", "the screen is saved in")?;
            expect_equal(&client.ask("reset")?, "the machine was reset\n")?;
            client.ask("type b\\e")?;
            expect(&client.rest()?, "kvm: the guest halted")?;
            kvm.finish()?.expect_status(0)?;

            let kvm = KvmWithConsole::start("endless", &["--no-reboot"])?;
            let mut client = kvm.connect()?;
            client.send(b"reset\n")?;
            expect(&client.rest()?, "the run is over\n")?;
            kvm.finish()?.expect_status(18).map(drop)
        }),
        guest_test("the_end_of_the_run_is_reported_at_the_console", || {
            let kvm = KvmWithConsole::start("endless", &["--timeout", "0.5"])?;
            let (one, other) = (kvm.connect()?, kvm.connect()?);
            expect(&one.rest()?, "longer than --timeout allows")?;
            expect(&other.rest()?, "longer than --timeout allows")?;
            kvm.finish()?.expect_status(12).map(drop)
        }),
    ]
}

fn user_interface() -> Vec<Trial> {
    vec![
        guest_test("the_screen_is_dumped_as_text_and_as_a_picture", || {
            let kvm = KvmWithConsole::run(
                Kvm::new().args(["--console=unix:console"]).arg(example("vga")),
                "console",
            )?;
            let mut client = kvm.connect()?;
            wait_until("the text on the screen", || {
                let answer = client.ask("screendump -f screen.txt");
                let shown = std::fs::read_to_string(kvm.file("screen.txt")).unwrap_or_default();
                answer.is_err()
                    || shown.contains("Escape ends\n") && shown.matches("text on a background").count() > 5
            })?;
            let answer = client.ask("screendump a picture.png")?;
            let picture = std::fs::read(kvm.file("a picture.png"))?;
            let length = picture.len();
            expect_equal(&answer, &format!("the screen is saved in a picture.png, {length} bytes\n"))?;
            if !picture.starts_with(b"\x89PNG\r\n\x1A\n") || !(500..16 << 10).contains(&length) {
                return Err(format!("that is no compressed picture of {length} bytes").into());
            }
            expect(
                &client.ask("screendump /nowhere/at/all.txt")?,
                "cannot write `/nowhere/at/all.txt`: No such",
            )?;
            expect(&client.ask("screendump console.log")?, "name must end in .png, .ppm or .txt")
        }),
        guest_test("keys_by_name_reach_a_guest_that_reads_its_keyboard", || {
            let kvm = KvmWithConsole::start("keyboard-echo", &["--serial", "1=log", "--serial", "2=stdio"])?;
            let mut client = kvm.connect()?;
            for keys in ["h", "shift-i", "ret", "kp_1", "ctrl-alt-delete"] {
                expect_equal(&client.ask(&format!("sendkey {keys}"))?, "")?;
            }
            expect(&client.ask("sendkey hyper-a")?, "`hyper` is no key")?;
            client.send(b"sendkey esc\n")?;
            expect(&client.rest()?, "kvm: the guest halted")?;
            let ran = kvm.finish()?;
            ran.check(ran.out.contains("hI\n"), "hI and a new line").map(drop)
        }),
        guest_test("the_type_command_sends_text_to_the_serial_port", || {
            let kvm = KvmWithConsole::start("serial-echo", &[])?;
            let mut client = kvm.connect()?;
            expect_equal(&client.ask("type Hello, \\\\ there\\n")?, "")?;
            // Ctrl-D ends the guest, when it has sent back the line.
            client.send(b"type \x04\n")?;
            let _ = client.rest();
            let ran = kvm.finish()?;
            ran.expect_status(0)?.check(ran.out.contains("HELLO, \\ THERE"), "what was typed").map(drop)
        }),
    ]
}

/// A gdb command that sends `line` to the console of a guest.
fn at_console(line: &str, guest: &KvmWithGdb) -> String {
    format!(
        "shell echo '{line}' | {} console unix:{}",
        kvm_binary().display(),
        guest.file("console").display()
    )
}

/// Executes what [`at_console`] has made without gdb, and returns its output.
fn at_once(command: &str) -> Result<String, Failed> {
    let shell = command.strip_prefix("shell ").unwrap_or(command);
    with_program("sh", &["-c", shell], b"")
}

fn beside_gdb() -> Vec<Trial> {
    vec![
        guest_test("a_guest_that_waits_for_gdb_is_inspected_and_started_from_the_console", || {
            let kvm = KvmWithConsole::start("recursion", &["--gdb=unix:gdb"])?;
            let mut client = kvm.connect()?;
            expect(&client.ask("status")?, "the guest waits for gdb at its first instruction")?;
            expect(&client.ask("dis $rip 1")?, "=> 0x")?;
            expect(&client.ask("pause")?, "the guest is already stopped")?;
            client.send(b"resume\n")?;
            expect(&client.rest()?, "kvm: the guest halted; result (RAX) 610")?;
            kvm.finish()?.expect_status(0).map(drop)
        }),
        guest_test("a_guest_is_debugged_from_the_console_without_gdb", || {
            let kvm = KvmWithConsole::start("recursion", &["--gdb=unix:gdb"])?;
            let (mut client, mut other) = (kvm.connect()?, kvm.connect()?);
            expect(&client.ask("break fibonacci if $rdi == 14")?, "breakpoint 1 at 0x200010 (fibonacci)\n")?;
            let trace = client.ask("trace guest_main \"called by %x\", *(long *)$rsp")?;
            expect(&trace, "log point 2 at 0x2000")?;
            expect_equal(&client.ask("c")?, "the guest runs\n")?;
            let stop = "breakpoint 1 at 0x200010 (fibonacci), hit 1\n=> 0x200010 <fibonacci>: push rbp";
            expect(
                &client.ask("wait")?,
                "=> 0x200010 <fibonacci>: push rbp ; target-examples/recursion.c:10\n",
            )?;
            // The notice precedes one of the answers.
            other.ask_until("status", stop)?;
            expect(&client.ask("registers")?, "RDI    000000000000000e")?;
            expect(&client.ask("x/2i $pc")?, "=> 0x200010 <fibonacci>:\tpush rbp\n")?;
            expect(&client.ask("print $rdi + 1")?, "15 (0xf)\n")?;
            expect(
                &client.ask("step 2")?,
                "=> 0x200014 <fibonacci+0x4>: push r12 ; target-examples/recursion.c:10\n",
            )?;
            let callers = client.ask("bt")?;
            expect(&callers, "#0   0x200014 (fibonacci+0x4) at target-examples/recursion.c:10\n#1   0x")?;
            expect(&callers, "(fibonacci+0x")?;
            expect(&callers, "(guest_main+0x")?;
            expect(&client.ask("set $rdi = 1")?, "$rdi is 0x1\n")?;
            expect(&client.ask("delete 1")?, "deleted: number 1\n")?;
            client.send(b"c\n")?;
            expect(&client.rest()?, "kvm: the guest halted; result (RAX) ")?;
            kvm.finish()?.expect_status(0)?.expect_log(" kvm::points: called by 200007\n").map(drop)
        }),
        guest_test("gdb_takes_the_guest_over_from_the_console_and_gives_it_back", || {
            let kvm = KvmWithGdb::start("recursion", &["--console=unix:console"], b"")?;
            let console = |line: &str| at_console(line, &kvm);
            at_once(&console("break fibonacci if $rdi == 3"))?;
            let commands = ["continue", &console("breaks"), &console("step"), "detach"];
            let output = kvm.gdb("recursion", &commands)?;
            expect(&output, "breakpoint 1 at 0x200010 (fibonacci), hit 1\n")?;
            expect(&output, "gdb is connected and decides when the guest goes on; use `stepi` in gdb")?;
            let text = at_once(&console("wait"))?;
            expect(&text, "=> 0x200010 <fibonacci>: push rbp")?;
            let text = at_once(&console("breaks"))?;
            expect(&text, "hit 2 times")?;
            at_once(&console("q"))?;
            kvm.finish()?.expect_status(14).map(drop)
        }),
        guest_test("gdb_and_the_console_see_the_same_guest", || {
            let kvm = KvmWithGdb::start("recursion", &["--console=unix:console"], b"")?;
            let console = |line: &str| at_console(line, &kvm);
            let commands = [
                "break fibonacci if n == 3",
                "continue",
                &console("status"),
                &console("dis $rip 1"),
                &console("resume"),
                &console("pause"),
                &console("break 0x200010 if $rdi == 2"),
                "monitor breaks",
                "monitor pause",
                "continue",
                "kill",
            ];
            let output = kvm.gdb("recursion", &commands)?;
            expect(&output, "Breakpoint 1, fibonacci (n=n@entry=3)")?;
            expect(&output, "\nthe guest is stopped in gdb; `continue` in gdb resumes it\n")?;
            expect(&output, "\nthe guest is stopped in gdb; `continue` in gdb resumes it\n")?;
            expect(&output, "\nthe guest is already stopped: gdb has stopped it\n")?;
            expect(&output, "\nbreakpoint 1 at 0x200010 (fibonacci)\n")?;
            expect(&output, "1    break 0x200010 (fibonacci) if $rdi == 2\n")?;
            expect(&output, "`pause` is not available in gdb: Ctrl-C in gdb stops the guest\n")?;
            expect(&output, "breakpoint 1 at 0x200010 (fibonacci), hit 1\n")
        }),
        guest_test("a_guest_that_has_crashed_in_gdb_is_inspected_from_the_console", || {
            let kvm = KvmWithGdb::start("wild-pointer", &["--console=unix:console"], b"")?;
            let regs = at_console("regs", &kvm);
            let output = kvm.gdb("wild-pointer", &["continue", &regs, "kill"])?;
            expect(&output, "kvm: triple fault")?;
            expect(&output, "\nPrivileged Registers (Custom command):\n")
        }),
        guest_test("a_guest_under_gdb_is_paused_at_the_console_and_gdb_can_still_interrupt_it", || {
            let kvm = KvmWithGdb::start("endless", &["--console=unix:console"], b"")?;
            let console = kvm.file("console");
            let mut gdb = kvm.connect()?;
            gdb.write_all(b"+$c#63")?;
            std::thread::sleep(Duration::from_millis(100));
            let path = console.display().to_string();
            let output = with_program("nc", &["-U", &path], b"status\npause\nstatus\nexit\n")?;
            expect(&output, "the guest runs under a debugger\n")?;
            expect(&output, "the guest is paused; `resume` resumes it\n")?;
            gdb.write_all(b"\x03")?;
            let mut received = Vec::new();
            let mut byte = [0];
            while !received.ends_with(b"02") && gdb.read(&mut byte)? > 0 {
                received.push(byte[0]);
            }
            let output = with_program("nc", &["-U", &path], b"status\nquit\n")?;
            expect(&output, "the guest is stopped in gdb")?;
            kvm.finish()?.expect_status(14).map(drop)
        }),
    ]
}

fn addresses() -> Vec<Trial> {
    vec![
        guest_test("a_console_port_in_use_ends_the_run_only_if_it_was_requested", || {
            // All of them may be taken already.
            let taken = TcpListener::bind("127.0.0.1:9000");
            let ran = Kvm::with_guest("hello-serial").arg("--console").run();
            ran.expect_status(0)?.expect_err("kvm: the console is on 127.0.0.1:90")?;
            ran.check(!ran.err.contains("127.0.0.1:9000\n"), "another port than 9000")?;
            let ran = Kvm::with_guest("hello-serial").args(["-consoleport", "9000"]).run();
            ran.expect_status(6)?;
            ran.expect_err("kvm: cannot take commands on 127.0.0.1:9000: Address already in use")?;
            ran.expect_err("choose another place with --console=PORT")?;
            drop(taken);
            Ok(())
        }),
        guest_test("a_console_on_a_port_is_reachable_by_tcp", || {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
            let address = format!("127.0.0.1:{port}");
            let kvm =
                KvmWithConsole::run(Kvm::with_guest("endless").args(["-consoleport", &port]), &address)?;
            let mut stream = TcpStream::connect(&address)?;
            stream.write_all(b"status\nquit\n")?;
            let mut output = String::new();
            stream.read_to_string(&mut output)?;
            expect_equal(
                &output,
                "vmm console> the guest runs\nvmm console> the run ends\nvmm console> \nkvm: ended by the \
                 user.\n",
            )?;
            kvm.finish()?.expect_status(14).map(drop)
        }),
        guest_test("the_unix_socket_of_the_console_is_private_and_removed_after_the_run", || {
            let kvm = KvmWithConsole::start("endless", &[])?;
            let mode = std::fs::metadata(&kvm.path)?.permissions().mode() & 0o777;
            if mode != 0o600 {
                return Err(format!("the mode of the socket is {mode:o}").into());
            }
            kvm.connect()?.ask("quit")?;
            let path = kvm.path.clone();
            let ran = kvm.finish()?;
            ran.check(!path.exists(), "no socket after the run").map(drop)
        }),
        guest_test("a_run_without_a_console_opens_no_socket", || {
            let ran = Kvm::with_guest("hello-serial").run();
            ran.expect_status(0)?;
            ran.check(!ran.err.contains("console"), "no word of a console").map(drop)
        }),
    ]
}
