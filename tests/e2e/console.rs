//! The console: commands about the machine while the guest runs, from whatever sends lines.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

use crate::support::console::{Consoled, same};
use crate::support::debugger::{Waiting, expect};
use crate::support::{Deadline, Kvm, PATIENCE, example, guest_test, kvm_binary, processor_ticks, wait_until};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = clients();
    trials.extend(guests());
    trials.extend(people());
    trials.extend(beside_gdb());
    trials.extend(places());
    trials
}

/// What `program` prints that is given `input`.
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
        true => Err(format!("{program} did not end within {PATIENCE:?}").into()),
        false => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
    }
}

fn clients() -> Vec<Trial> {
    vec![
        guest_test("the_console_accepts_any_line_ending_and_prompts_again", || {
            let consoled = Consoled::start("endless", &[])?;
            let mut client = consoled.connect()?;
            let regs = client.ask("regs")?;
            expect(&regs, "Privileged Registers (Custom command):\nCR4 0x")?;
            client.send(b"\r\n")?;
            same(&client.hear()?, "")?;
            same(&client.ask("fly\r")?, "unrecognized command: `fly` is no command; `help` lists all\n")?;
            expect(&client.ask("?")?, "\nexit ")?;
            if regs.contains('\0') {
                return Err("a zero byte was sent".into());
            }
            client.send(b"exit\n")?;
            same(&client.rest()?, "")
        }),
        guest_test("telnet_negotiation_is_ignored", || {
            let consoled = Consoled::start("endless", &[])?;
            let mut client = consoled.connect()?;
            client.send(b"\xFF\xFD\x03\xFF\xFB\x18\xFF\xFA\x18\x00xterm\xFF\xF0sta\xFF\xF1tus\r\0\r\n")?;
            same(&client.hear()?, "the guest runs\n")?;
            client.send(b"stax\x7Ftus\r\n")?;
            same(&client.hear()?, "the guest runs\n")
        }),
        guest_test("all_lines_of_a_pipe_are_answered_before_the_console_disconnects", || {
            let consoled = Consoled::start("endless", &[])?;
            let mut client = consoled.connect()?;
            client.send(&b"status\n".repeat(200))?;
            client.stream.shutdown(Shutdown::Write)?;
            let rest = client.rest()?;
            same(&rest, &"the guest runs\nvmm console> ".repeat(200))
        }),
        guest_test("an_overlong_line_is_refused_and_the_next_one_is_answered", || {
            let consoled = Consoled::start("endless", &[])?;
            let mut client = consoled.connect()?;
            client.send(&[b'x'; 100_000])?;
            same(&client.ask("")?, "a line can have 1000 bytes\n")?;
            same(&client.ask("status")?, "the guest runs\n")?;
            expect(&client.ask("\x1b[31m\u{e9}")?, "unrecognized command: `\\u{1b}[31m\u{e9}` is no command")
        }),
        guest_test("clients_that_read_nothing_or_disconnect_do_not_disturb_the_run", || {
            let consoled = Consoled::start("endless", &[])?;
            let mut patient = consoled.connect()?;
            let mut rude = Vec::new();
            for _ in 0..3 {
                let mut client = consoled.connect()?;
                client.stream.set_nonblocking(true)?;
                // As much as there is room for.
                while client.stream.write(&b"help\n".repeat(1000)).is_ok() {}
                rude.push(client);
            }
            let begin = Instant::now();
            for _ in 0..50 {
                same(&patient.ask("status")?, "the guest runs\n")?;
            }
            if begin.elapsed() > Duration::from_secs(30) {
                return Err(format!("50 answers took {:?}", begin.elapsed()).into());
            }
            let hung_up_on = |error: std::io::Error| error.kind() != std::io::ErrorKind::WouldBlock;
            wait_until("whoever reads nothing is hung up on", || {
                rude.iter_mut().all(|client| client.stream.write(b"\n").is_err_and(hung_up_on))
            })?;
            drop(rude);
            for _ in 0..20 {
                // As soon as the others are missed there is room.
                let _ = consoled.connect();
            }
            same(&patient.ask("status")?, "the guest runs\n")
        }),
        guest_test("a_client_that_sends_commands_continuously_leaves_the_guest_time_to_run", || {
            let consoled = Consoled::start("endless", &[])?;
            let mut client = consoled.connect()?;
            let begin = Instant::now();
            client.send(&b"status\n".repeat(200))?;
            for _ in 0..200 {
                same(&client.hear()?, "the guest runs\n")?;
            }
            match begin.elapsed() {
                // The guest is held for each answer, and runs for a millisecond between two.
                taken if taken < Duration::from_millis(199) => {
                    Err(format!("200 answers took only {taken:?}").into())
                }
                _ => Ok(()),
            }
        }),
        guest_test("eight_console_clients_are_served_and_the_ninth_is_rejected_with_the_reason", || {
            let consoled = Consoled::start("endless", &[])?;
            let mut clients = Vec::new();
            for _ in 0..8 {
                clients.push(consoled.connect()?);
            }
            let refused = consoled.connect().err().and_then(|failed| failed.message().map(str::to_owned));
            expect(&refused.unwrap_or_default(), "8 consoles are connected to this guest")?;
            for client in &mut clients {
                same(&client.ask("status")?, "the guest runs\n")?;
            }
            clients.pop();
            let mut last = Err("nobody has connected".into());
            wait_until("room for another client", || {
                last = consoled.connect();
                last.is_ok()
            })?;
            same(&last?.ask("status")?, "the guest runs\n")
        }),
        guest_test("a_browser_is_disconnected_before_it_can_send_a_command", || {
            let consoled = Consoled::start("endless", &[])?;
            let mut client = consoled.connect()?;
            client.send(b"POST / HTTP/1.1\r\nHost: localhost:9000\r\n\r\nquit\r\n")?;
            // What it sent after that was not read, which may look like a broken connection.
            let _ = client.stream.read_to_end(&mut Vec::new());
            same(&consoled.connect()?.ask("status")?, "the guest runs\n")
        }),
        guest_test("socat_and_nc_work_as_console_clients", || {
            let consoled = Consoled::start("endless", &[])?;
            let place = format!("UNIX-CONNECT:{}", consoled.path.display());
            let said = with_program("socat", &["-t5", "-", &place], b"status\nexit\n")?;
            same(&said, "vmm console> the guest runs\nvmm console> ")?;
            let path = consoled.path.display().to_string();
            let said = with_program("nc", &["-U", &path], b"status\nquit\n")?;
            expect(&said, "vmm console> the guest runs\nvmm console> the run ends\n")?;
            expect(&said, "\nkvm: ended by the user.\n")?;
            consoled.finish()?.expect_status(14).map(drop)
        }),
    ]
}

fn guests() -> Vec<Trial> {
    vec![
        guest_test("a_guest_is_paused_and_resumed_in_any_state", || {
            for name in ["endless", "idle"] {
                let consoled = Consoled::start(name, &[])?;
                let mut client = consoled.connect()?;
                same(&client.ask("pause")?, "the guest is paused; `resume` lets it go on\n")?;
                same(&client.ask("status")?, "the guest is paused; `resume` lets it go on\n")?;
                same(&client.ask("dis $rip 1")?, &client.ask("dis $rip 1")?)?;
                let before = processor_ticks(consoled.id());
                std::thread::sleep(Duration::from_millis(300));
                let taken = processor_ticks(consoled.id()) - before;
                if taken > 10 {
                    return Err(format!("{name}: it took {taken} ticks while it was paused").into());
                }
                same(&client.ask("resume")?, "the guest runs\n")?;
                expect(&client.ask("dis $rip 1")?, "=> 0x")?;
                same(&client.ask("quit")?, "the run ends\n")?;
                same(&client.rest()?, "\nkvm: ended by the user.\n")?;
                consoled.finish()?.expect_status(14)?;
            }
            Ok(())
        }),
        guest_test("a_paused_guest_does_not_run_and_then_runs_to_its_end", || {
            let consoled = Consoled::start("keyboard-echo", &["--serial", "1=log", "--serial", "2=stdio"])?;
            let mut client = consoled.connect()?;
            client.ask_until("dis $rip 1", "=> 0x")?;
            client.ask("pause")?;
            client.ask("type abc")?;
            client.ask("sendkey esc")?;
            std::thread::sleep(Duration::from_millis(200));
            same(&client.ask("status")?, "the guest is paused; `resume` lets it go on\n")?;
            client.send(b"resume\n")?;
            expect(&client.rest()?, "kvm: the guest halted; result (RAX) 3 (0x3).\n")?;
            let ran = consoled.finish()?;
            ran.expect_status(0)?;
            ran.check(ran.out.contains("abc"), "what was typed").map(drop)
        }),
        guest_test("a_machine_that_is_reset_starts_again_and_with_no_reboot_ends", || {
            let consoled = Consoled::start("keyboard-echo", &["--serial", "1=log", "--serial", "2=stdio"])?;
            let mut client = consoled.connect()?;
            client.ask("type a")?;
            client.ask_until("screendump screen.txt", "the screen is in")?;
            same(&client.ask("reset")?, "the machine was reset\n")?;
            client.ask("type b\\e")?;
            expect(&client.rest()?, "kvm: the guest halted")?;
            consoled.finish()?.expect_status(0)?;

            let consoled = Consoled::start("endless", &["--no-reboot"])?;
            let mut client = consoled.connect()?;
            client.send(b"reset\n")?;
            expect(&client.rest()?, "the run is over\n")?;
            consoled.finish()?.expect_status(18).map(drop)
        }),
        guest_test("the_end_of_the_run_is_reported_at_the_console", || {
            let consoled = Consoled::start("endless", &["--timeout", "0.5"])?;
            let (one, other) = (consoled.connect()?, consoled.connect()?);
            expect(&one.rest()?, "longer than --timeout allows")?;
            expect(&other.rest()?, "longer than --timeout allows")?;
            consoled.finish()?.expect_status(12).map(drop)
        }),
    ]
}

fn people() -> Vec<Trial> {
    vec![
        guest_test("the_screen_is_dumped_as_text_and_as_a_picture", || {
            let consoled =
                Consoled::run(Kvm::new().args(["--console=unix:console"]).arg(example("vga")), "console")?;
            let mut client = consoled.connect()?;
            wait_until("the text on the screen", || {
                let told = client.ask("screendump screen.txt");
                let shown = std::fs::read_to_string(consoled.file("screen.txt")).unwrap_or_default();
                told.is_err()
                    || shown.contains("Escape ends\n") && shown.matches("text on a background").count() > 5
            })?;
            same(&client.ask("screendump a picture.png")?, "the screen is in a picture.png, 128533 bytes\n")?;
            let picture = std::fs::read(consoled.file("a picture.png"))?;
            if !picture.starts_with(b"\x89PNG\r\n\x1A\n") || picture.len() != 128_533 {
                return Err("that is no picture".into());
            }
            expect(
                &client.ask("screendump /nowhere/at/all.txt")?,
                "cannot write `/nowhere/at/all.txt`: No such",
            )?;
            expect(&client.ask("screendump console.log")?, "ends in .png or .txt is wanted")
        }),
        guest_test("keys_by_name_reach_a_guest_that_reads_its_keyboard", || {
            let consoled = Consoled::start("keyboard-echo", &["--serial", "1=log", "--serial", "2=stdio"])?;
            let mut client = consoled.connect()?;
            for keys in ["h", "shift-i", "ret", "kp_1", "ctrl-alt-delete"] {
                same(&client.ask(&format!("sendkey {keys}"))?, "")?;
            }
            expect(&client.ask("sendkey hyper-a")?, "`hyper` is no key")?;
            client.send(b"sendkey esc\n")?;
            expect(&client.rest()?, "kvm: the guest halted")?;
            let ran = consoled.finish()?;
            ran.check(ran.out.contains("hI\n"), "hI and a new line").map(drop)
        }),
        guest_test("the_type_command_sends_text_to_the_serial_port", || {
            let consoled = Consoled::start("serial-echo", &[])?;
            let mut client = consoled.connect()?;
            same(&client.ask("type Hello, \\\\ there\\n")?, "")?;
            // Ctrl-D ends the guest, when it has sent back the line.
            client.send(b"type \x04\n")?;
            let _ = client.rest();
            let ran = consoled.finish()?;
            ran.expect_status(0)?.check(ran.out.contains("HELLO, \\ THERE"), "what was typed").map(drop)
        }),
    ]
}

/// A command of gdb's that gives `line` at the console of a guest.
fn at_console(line: &str, guest: &Waiting) -> String {
    format!(
        "shell echo '{line}' | {} console unix:{}",
        kvm_binary().display(),
        guest.file("console").display()
    )
}

fn beside_gdb() -> Vec<Trial> {
    vec![
        guest_test("a_guest_that_waits_for_gdb_is_inspected_and_started_from_the_console", || {
            let consoled = Consoled::start("recursion", &["--gdb=unix:gdb"])?;
            let mut client = consoled.connect()?;
            expect(&client.ask("status")?, "the guest waits for gdb at its first instruction")?;
            expect(&client.ask("dis $rip 1")?, "=> 0x")?;
            expect(&client.ask("pause")?, "the guest stands still already")?;
            client.send(b"resume\n")?;
            expect(&client.rest()?, "kvm: the guest halted; result (RAX) 610")?;
            consoled.finish()?.expect_status(0).map(drop)
        }),
        guest_test("gdb_and_the_console_see_the_same_guest", || {
            let waiting = Waiting::start("recursion", &["--console=unix:console"], b"")?;
            let console = |line: &str| at_console(line, &waiting);
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
            let said = waiting.gdb("recursion", &commands)?;
            expect(&said, "Breakpoint 1, fibonacci (n=n@entry=3)")?;
            expect(&said, "\ngdb has stopped the guest, and decides when it goes on\n")?;
            expect(&said, "\ngdb has stopped the guest; `continue` there lets it go on\n")?;
            expect(&said, "\nthe guest stands still already: gdb has stopped it\n")?;
            expect(&said, "\nbreakpoint 1 at 0x200010 (fibonacci)\n")?;
            expect(&said, "1    break 0x200010 (fibonacci) if $rdi == 2\n")?;
            expect(&said, "`pause` is not for gdb: Ctrl-C in gdb stops the guest\n")?;
            expect(&said, "breakpoint 1 at 0x200010 (fibonacci), hit 1\n")
        }),
        guest_test("a_guest_that_has_crashed_in_gdb_is_inspected_from_the_console", || {
            let waiting = Waiting::start("wild-pointer", &["--console=unix:console"], b"")?;
            let look = at_console("regs", &waiting);
            let said = waiting.gdb("wild-pointer", &["continue", &look, "kill"])?;
            expect(&said, "kvm: triple fault")?;
            expect(&said, "\nPrivileged Registers (Custom command):\n")
        }),
        guest_test("a_guest_under_gdb_is_paused_at_the_console_and_gdb_can_still_interrupt_it", || {
            let waiting = Waiting::start("endless", &["--console=unix:console"], b"")?;
            let console = waiting.file("console");
            let mut gdb = waiting.connect()?;
            gdb.write_all(b"+$c#63")?;
            std::thread::sleep(Duration::from_millis(100));
            let path = console.display().to_string();
            let said = with_program("nc", &["-U", &path], b"status\npause\nstatus\nexit\n")?;
            expect(&said, "the guest runs under a debugger\n")?;
            expect(&said, "the guest is paused; `resume` lets it go on\n")?;
            gdb.write_all(b"\x03")?;
            let mut heard = Vec::new();
            let mut byte = [0];
            while !heard.ends_with(b"02") && gdb.read(&mut byte)? > 0 {
                heard.push(byte[0]);
            }
            let said = with_program("nc", &["-U", &path], b"status\nquit\n")?;
            expect(&said, "gdb has stopped the guest")?;
            waiting.finish()?.expect_status(14).map(drop)
        }),
    ]
}

fn places() -> Vec<Trial> {
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
            let place = format!("127.0.0.1:{port}");
            let consoled = Consoled::run(Kvm::with_guest("endless").args(["-consoleport", &port]), &place)?;
            let mut stream = TcpStream::connect(&place)?;
            stream.write_all(b"status\nquit\n")?;
            let mut said = String::new();
            stream.read_to_string(&mut said)?;
            same(
                &said,
                "vmm console> the guest runs\nvmm console> the run ends\nvmm console> \nkvm: ended by the \
                 user.\n",
            )?;
            consoled.finish()?.expect_status(14).map(drop)
        }),
        guest_test("the_unix_socket_of_the_console_is_private_and_removed_after_the_run", || {
            let consoled = Consoled::start("endless", &[])?;
            let mode = std::fs::metadata(&consoled.path)?.permissions().mode() & 0o777;
            if mode != 0o600 {
                return Err(format!("the mode of the socket is {mode:o}").into());
            }
            consoled.connect()?.ask("quit")?;
            let path = consoled.path.clone();
            let ran = consoled.finish()?;
            ran.check(!path.exists(), "no socket after the run").map(drop)
        }),
        guest_test("a_run_without_a_console_opens_no_socket", || {
            let ran = Kvm::with_guest("hello-serial").run();
            ran.expect_status(0)?;
            ran.check(!ran.err.contains("console"), "no word of a console").map(drop)
        }),
    ]
}
