//! `kvm console`: interactive use on a terminal, and scripts.

use std::io::Write;
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};

use crate::support::console::{KvmWithConsole, expect_equal};
use crate::support::pty::Terminal;
use crate::support::{Folder, Kvm, guest_test, kvm_binary, test};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        test("a_missing_console_is_reported_with_the_option_that_enables_it", || {
            let folder = Folder::new();
            let address = format!("unix:{}", folder.file("none").display());
            let ran = Kvm::new().args(["console", &address]).run();
            ran.expect_status(6)?.expect_out("")?;
            ran.expect_err("no console listens on ")?.expect_err("start the guest with --console")?;
            let ran = Kvm::new().args(["console", "--loud"]).run();
            ran.expect_status(2)?.expect_err("Use: kvm console [ADDRESS:PORT|unix:PATH]").map(drop)
        }),
        guest_test("lines_from_a_pipe_are_commands_and_only_answers_are_printed", || {
            let kvm = KvmWithConsole::start("endless", &[])?;
            let address = format!("unix:{}", kvm.path.display());
            let ask = |input: &str| -> Result<String, Failed> {
                let ran =
                    Kvm::new().args(["console", "--keep-going", &address]).input(input.as_bytes()).run();
                ran.expect_status(0)?;
                expect_equal(&ran.err, "")?;
                Ok(ran.out)
            };
            expect_equal(&ask("status\n\npause\nstatus")?, &format!("the guest runs\n{0}{0}", PAUSED))?;
            expect_equal(&ask("exit\nstatus\n")?, "")?;
            expect_equal(&ask("fly\n")?, "unrecognized command: `fly` is no command; `help` lists all\n")?;
            let many = ask(&"xp 0 4096\n".repeat(50))?;
            if many.lines().count() != 50 * 256 || many.contains('\x1b') {
                return Err(format!("{} lines, or colours in them", many.lines().count()).into());
            }
            expect_equal(&ask("quit\n")?, "the run ends\n")?;
            kvm.finish()?.expect_status(14).map(drop)
        }),
        guest_test("a_script_stops_at_the_first_command_that_fails_and_has_a_failure_status", || {
            let kvm = KvmWithConsole::start("endless", &[])?;
            let address = format!("unix:{}", kvm.path.display());
            let run = |arguments: &[&str], input: &str| {
                Kvm::new().arg("console").args(arguments).arg(&address).input(input.as_bytes()).run()
            };
            let ran = run(&[], "status\nfly\nquit\n");
            let fly = "unrecognized command: `fly` is no command; `help` lists all\n";
            ran.expect_status(2)?.expect_out(&format!("the guest runs\n{fly}"))?;
            ran.expect_err(
                "the command `fly` failed; commands after it are not sent, except with --keep-going",
            )?;
            let ran = run(&["--keep-going"], "fly\nstatus\n");
            ran.expect_status(0)?;
            expect_equal(&ran.out, &format!("{fly}the guest runs\n"))?;
            // A line that is too long ends the connection, and a failed migration is known only at its end.
            let ran = run(&[], &format!("{}\nquit\n", "x".repeat(1001)));
            ran.expect_status(2)?.check(ran.out.contains("the line is too long"), "the reason")?;
            let ran = run(&[], "migrate 127.0.0.1 1\nquit\n");
            ran.expect_status(2)?.check(ran.out.contains("migration failed"), "the failure")?;
            run(&[], "status\n").expect_status(0)?.expect_out("the guest runs\n").map(drop)
        }),
        guest_test("a_script_that_waits_for_a_stop_gets_the_reason_once", || {
            let kvm = KvmWithConsole::start("endless", &[])?;
            let address = format!("unix:{}", kvm.path.display());
            // The notice comes before the answer or after it, so several times.
            for hit in 1..=4 {
                let breakpoint = if hit == 1 { "break 0x200002 if $rax == 3000\n" } else { "" };
                let script = format!("pause\nset $rax = 0\n{breakpoint}resume\nwait\nstatus\n");
                let ran =
                    Kvm::new().args(["console", "--keep-going", &address]).input(script.as_bytes()).run();
                let reason = |hit| format!("breakpoint 1 at 0x200002 (spin), hit {hit}\n");
                // The notice of the stop before can still be on its way when this console connects.
                let out = ran.out.replacen(&(reason(hit - 1) + "=> 0x200002"), "", 1);
                for once in [&reason(hit), "=> 0x200002"] {
                    if out.matches(once).count() != 1 {
                        return Err(format!("not once {once:?} in {:?}", ran.out).into());
                    }
                }
            }
            // A console that connects once its notice is out has not reported the stop.
            let mut client = kvm.connect().or_else(|_| kvm.connect())?;
            for (answers, shown) in [("tells where the guest is", true), ("has told it", false)] {
                client.send(b"wait\n")?;
                let answer = client.answer()?;
                let reason = "breakpoint 1 at 0x200002 (spin), hit 4\n=> 0x200002";
                if answer.starts_with(reason) != shown || answer.is_empty() == shown {
                    return Err(format!("`wait` {answers}: {answer:?}").into());
                }
            }
            client.send(b"quit\n")?;
            kvm.finish()?.expect_status(14).map(drop)
        }),
        guest_test("commands_overwrite_no_file_of_the_user_without_force", || {
            let kvm = KvmWithConsole::start("endless", &[])?;
            let mut client = kvm.connect()?;
            for (file, command) in
                [("notes.txt", "screendump"), ("photo.png", "screendump"), ("notes.kvmstate", "snapshot")]
            {
                let path = kvm.file(file);
                std::fs::write(&path, "by the user")?;
                let answer = client.ask(&format!("{command} {file}"))?;
                if !answer.contains("exists, and kvm has not written it") || !answer.contains("-f") {
                    return Err(format!("{command} {file}: {answer}").into());
                }
                expect_equal(&std::fs::read_to_string(&path)?, "by the user")?;
                // With force, and then again without it, because the file is one of kvm now.
                for force in ["-f ", ""] {
                    let answer = client.ask(&format!("{command} {force}{file}"))?;
                    if answer.contains("exists") && !(force.is_empty() && file.ends_with(".txt")) {
                        return Err(format!("{command} {force}{file}: {answer}").into());
                    }
                }
                if std::fs::read(&path)? == b"by the user" {
                    return Err(format!("{file} is not written").into());
                }
            }
            client.send(b"quit\n")?;
            kvm.finish()?.expect_status(14).map(drop)
        }),
        guest_test("a_reader_that_closes_the_pipe_ends_the_client_without_a_message", || {
            let kvm = KvmWithConsole::start("endless", &[])?;
            let address = format!("unix:{}", kvm.path.display());
            let script = "\"$0\" console \"$1\" | head -n 1; exit ${PIPESTATUS[0]}";
            let mut shell = Command::new("bash");
            shell.args(["-c", script]).arg(kvm_binary()).arg(&address);
            let mut child =
                shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
            let mut input = child.stdin.take().expect("stdin is a pipe");
            let writer = std::thread::spawn(move || input.write_all(&b"help\n".repeat(2000)));
            let output = child.wait_with_output()?;
            // The closed pipe also ends this write.
            let _ = writer.join();
            expect_equal(&String::from_utf8_lossy(&output.stderr), "")?;
            if output.status.code() == Some(0) { Ok(()) } else { Err(format!("{:?}", output.status).into()) }
        }),
        guest_test("lines_are_edited_completed_and_repeated_on_a_terminal", || {
            let kvm = KvmWithConsole::start("endless", &[])?;
            let address = format!("unix:{}", kvm.path.display());
            let terminal = Terminal::kvm(Kvm::new().args(["console", &address]), 100, 40);
            terminal.wait_for_text("`help` lists the commands")?.wait_for_text("vmm console> ")?;
            // Left, left, and the letter that was forgotten.
            terminal.type_keys("stats\x1b[Du\r");
            terminal.wait_for_text("the guest runs\n")?;
            terminal.type_keys("pau\t\r");
            terminal.wait_for_text("the guest is paused")?;
            terminal.type_keys("\x1b[A\x1b[A\r");
            terminal.wait_for("two answers", |shown| {
                let shown = shown.screen().contents();
                shown.matches("the guest is paused").count() == 2
                    && shown.trim_end().ends_with("vmm console>")
            })?;
            terminal.type_keys("unfinished\x03");
            terminal.wait_for("a new prompt", |shown| {
                shown.screen().contents().trim_end().ends_with("unfinished\nvmm console>")
            })?;
            // Two lines at once, as from a clipboard.
            terminal.type_keys("resume\rstatus\r");
            terminal.wait_for("a guest that runs again", |shown| {
                let shown = shown.screen().contents();
                shown.matches("the guest runs").count() == 3 && shown.trim_end().ends_with("vmm console>")
            })?;
            terminal.type_keys("\x04");
            terminal.end()?.expect_status(0)?.expect_restored()?;
            expect_equal(&kvm.connect()?.ask("status")?, "the guest runs\n")
        }),
        guest_test("the_end_of_the_run_ends_the_client_and_restores_the_terminal", || {
            let kvm = KvmWithConsole::start("endless", &[])?;
            let address = format!("unix:{}", kvm.path.display());
            let terminal = Terminal::kvm(Kvm::new().args(["console", &address]), 100, 40);
            terminal.wait_for_text("vmm console> ")?;
            terminal.type_keys("stat");
            terminal.wait_for_text("vmm console> stat")?;
            kvm.connect()?.ask("quit")?;
            let ended = terminal.end()?;
            ended.expect_status(0)?.expect_text("kvm: ended by the user.")?.expect_restored()?;
            kvm.finish()?.expect_status(14).map(drop)
        }),
    ]
}

const PAUSED: &str = "the guest is paused; `resume` resumes it\n";
