//! `kvm vscode`: the files that it writes, and that debuggers work with them.

use std::io::{BufRead, Read, Write};
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::debugger::{InteractiveProgram, KvmWithGdb, expect, output};
use crate::support::{Folder, Kvm, guest, guest_test, no_kvm, test};

const LAUNCH: &str = ".vscode/launch.json";
const GDBINIT: &str = ".gdbinit";

/// The address of the gdb server in the files.
const ADDRESS: &str = "127.0.0.1:1234";

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = files();
    trials.extend(debuggers());
    trials
}

fn files() -> Vec<Trial> {
    vec![
        test("vscode_writes_two_files_and_prints_the_next_steps", || {
            let ran = Kvm::new().arg("vscode").run();
            ran.expect_status(0)?;
            ran.check(
                ran.out.starts_with("./.vscode/launch.json: written\n./.gdbinit: written\n"),
                "two files",
            )?;
            let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/editors.md"))?;
            ran.check(page.contains(&format!("$ kvm vscode\n{}```", ran.out)), "what docs/editors.md shows")?;
            let launch = launch(&ran.folder)?;
            let types: Vec<_> = list(&launch, "configurations").iter().map(|one| text(one, "type")).collect();
            ran.check(types == [Some("cppdbg"), Some("gdb")], &format!("two configurations, not {types:?}"))?;
            ran.check(ran.folder.read(GDBINIT).contains("target remote"), "a .gdbinit that connects")?;
            ran.check(!ran.folder.file("console.log").exists(), "no log").map(drop)
        }),
        test("vscode_writes_into_the_folder_it_is_given", || {
            let kvm = Kvm::new();
            std::fs::create_dir(kvm.folder.file("over there"))?;
            let ran = kvm.args(["vscode", "over there"]).run();
            ran.expect_status(0)?;
            ran.check(ran.folder.file("over there/.gdbinit").is_file(), "a .gdbinit over there")?;
            ran.check(!ran.folder.file(GDBINIT).exists(), "no .gdbinit here").map(drop)
        }),
        test("vscode_replaces_an_existing_file_only_with_force", || {
            let ran = Kvm::new().file(GDBINIT, "mine\n").arg("vscode").run();
            ran.expect_status(2)?.expect_err("kvm: ./.gdbinit exists with other contents")?;
            ran.expect_err("Replace it with --force")?.expect_file(GDBINIT, "mine\n")?;
            ran.check(!ran.folder.file(".vscode").exists(), "nothing written")?;
            let ran = Kvm::new().file(GDBINIT, "mine\n").args(["vscode", "--force"]).run();
            ran.expect_status(0)?;
            ran.check(ran.out.contains("./.gdbinit: replaced\n"), "that a file was replaced")?;
            ran.check(ran.folder.read(GDBINIT).contains("target remote"), "another .gdbinit").map(drop)
        }),
        test("vscode_can_be_run_twice", || {
            let ran = Kvm::new().in_shell("\"$@\" >first && exec \"$@\"").arg("vscode").run();
            ran.expect_status(0)?;
            let both = "./.vscode/launch.json: unchanged\n./.gdbinit: unchanged\n";
            ran.check(ran.out.starts_with(both), "nothing to do").map(drop)
        }),
        test("vscode_names_the_file_that_it_cannot_write", || {
            Kvm::new()
                .args(["vscode", "nowhere"])
                .run()
                .expect_status(2)?
                .expect_err("kvm: nowhere is no folder; create it, or name another: kvm vscode DIR")?;
            let ran = Kvm::new().file(".vscode", "a file\n").arg("vscode").run();
            ran.expect_status(6)?.expect_err("kvm: cannot write ./.vscode/launch.json: ")?;
            ran.check(!ran.folder.file(GDBINIT).exists(), "no .gdbinit either").map(drop)
        }),
        guest_test("vscode_files_have_the_address_of_the_gdb_server", || {
            let ran = Kvm::with_guest("recursion").args(["--gdb", "--timeout", "0.1"]).run();
            // Whether the port is free or not.
            ran.expect_err(&format!("gdb on {ADDRESS}"))?;
            let folder = written()?;
            for file in [LAUNCH, GDBINIT] {
                ran.check(folder.read(file).contains(ADDRESS), &format!("{ADDRESS} in {file}"))?;
            }
            Ok(())
        }),
    ]
}

fn debuggers() -> Vec<Trial> {
    vec![
        gdb_test("vscode_gdbinit_connects", "mi", || {
            let (folder, kvm) = (written()?, KvmWithGdb::start("recursion", &[], b"")?);
            let gdbinit = folder.read(GDBINIT).replace(ADDRESS, &kvm.address);
            std::fs::write(folder.file(GDBINIT), gdbinit)?;
            let output = output(
                Command::new("gdb")
                    .args(["-nx", "-batch", "-x"])
                    .arg(folder.file(GDBINIT))
                    .arg(guest("recursion"))
                    .args(["-ex", "help kvm-source", "-ex", "help kvm-instructions", "-ex", "kvm"])
                    .args(["-ex", "break fibonacci", "-ex", "continue", "-ex", "k"]),
            )?;
            expect(&output, "Show the source beside the prompt")?;
            expect(&output, "Show registers and instructions")?;
            expect(&output, "\nBreakpoint 1, fibonacci (n=n@entry=15)")?;
            kvm.finish()?.expect_status(14).map(drop)
        }),
        gdb_test("vscode_extension_debugs_a_guest", "mi", || {
            // What the C/C++ extension sends, in its order.
            let (folder, kvm) = (written()?, KvmWithGdb::start("recursion", &[], b"")?);
            let launch = launch(&folder)?;
            let cppdbg = &list(&launch, "configurations")[0];
            if text(cppdbg, "miDebuggerServerAddress") != Some(ADDRESS) {
                return Err("cppdbg connects to another address".into());
            }
            let mut gdb = Command::new(text(cppdbg, "miDebuggerPath").ok_or("no debugger")?);
            gdb.args(["-nx", "--interpreter=mi"]);
            let mut script = String::new();
            for (number, command) in list(cppdbg, "setupCommands").iter().enumerate() {
                let setup = text(command, "text").ok_or("a setup command without text")?;
                script += &match setup.strip_prefix('-') {
                    Some(_) => format!("100{number}{setup}\n"),
                    None => format!("100{number}-interpreter-exec console \"{setup}\"\n"),
                };
            }
            let setups = list(cppdbg, "setupCommands").len();
            script += &format!("1-file-exec-and-symbols {}\n", guest("recursion").display());
            script += &format!("2-target-select remote {}\n", kvm.address);
            script += "3-break-insert fibonacci\n4-exec-continue\n";
            let mut mi = InteractiveProgram::start(&mut gdb)?;
            mi.input.write_all(script.as_bytes())?;
            mi.until("reason=\"breakpoint-hit\"")?;
            mi.input.write_all(b"5-stack-list-frames\n")?;
            mi.until("5^done")?;
            mi.input.write_all(b"6-exec-next\n")?;
            mi.until("reason=\"end-stepping-range\"")?;
            mi.input.write_all(b"7-interpreter-exec console kill\n8-gdb-exit\n")?;
            let output = mi.finish()?;
            for setup in 0..setups {
                expect(&output, &format!("100{setup}^done"))?;
            }
            expect(&output, "func=\"guest_main\"")?;
            kvm.finish()?.expect_status(14).map(drop)
        }),
        gdb_test("vscode_dap_debugs_a_guest", "dap", || {
            let (folder, kvm) = (written()?, KvmWithGdb::start("recursion", &[], b"")?);
            let launch = launch(&folder)?;
            let dap = &list(&launch, "configurations")[1];
            if (text(dap, "target"), text(dap, "request")) != (Some(ADDRESS), Some("attach")) {
                return Err("gdb connects to another address".into());
            }
            let program = guest("recursion").display().to_string();
            let attach = format!(r#"{{"program":"{program}","target":"{}"}}"#, kvm.address);
            let mut gdb = Dap::start()?;
            gdb.request("initialize", r#"{"adapterID":"gdb"}"#)?;
            gdb.until("initialize", |message| is_response(message, "initialize"))?;
            gdb.request("attach", &attach)?;
            gdb.request("setFunctionBreakpoints", r#"{"breakpoints":[{"name":"fibonacci"}]}"#)?;
            gdb.request("configurationDone", "{}")?;
            // Some versions answer the first only after the second.
            let mut answered = 0;
            gdb.until("attach and configurationDone", |message| {
                answered += u32::from(is_response(message, "attach"));
                answered += u32::from(is_response(message, "configurationDone"));
                answered == 2
            })?;
            gdb.request("continue", r#"{"threadId":1}"#)?;
            gdb.until("a stop at the breakpoint", |message| {
                let reason = message.get("body").and_then(|body| text(body, "reason"));
                text(message, "event") == Some("stopped") && reason.is_some_and(|r| r.contains("breakpoint"))
            })?;
            gdb.request("disconnect", r#"{"terminateDebuggee":true}"#)?;
            gdb.until("disconnect", |message| is_response(message, "disconnect"))?;
            drop(gdb);
            kvm.finish()?.expect_status(14).map(drop)
        }),
    ]
}

/// A folder with both files.
fn written() -> Result<Folder, Failed> {
    let ran = Kvm::new().arg("vscode").run();
    ran.expect_status(0)?;
    Ok(ran.folder)
}

fn launch(folder: &Folder) -> Result<Value, Failed> {
    serde_json::from_str(&folder.read(LAUNCH)).map_err(|error| format!("{LAUNCH} is no JSON: {error}").into())
}

/// The member `name` of an object, if it is a text.
fn text<'v>(object: &'v Value, name: &str) -> Option<&'v str> {
    object.get(name)?.as_str()
}

/// The items of the list `name` of an object; none if it is no list.
fn list<'v>(object: &'v Value, name: &str) -> &'v [Value] {
    object.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A test that needs a gdb with this interpreter, too.
fn gdb_test(
    name: &str,
    interpreter: &str,
    body: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-q", &format!("--interpreter={interpreter}")]).stdin(Stdio::null());
    let reason = match gdb.output() {
        Err(error) => Some(format!("gdb: {error}")),
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("unrecognized") => {
            Some(format!("this gdb has no interpreter `{interpreter}`"))
        }
        Ok(_) => None,
    };
    match reason {
        Some(reason) if no_kvm().is_none() => {
            Trial::test(format!("{name} (skipped: {reason})"), body).with_ignored_flag(true)
        }
        _ => guest_test(name, body),
    }
}

/// A gdb that is spoken to as editors do (Debug Adapter Protocol, "Base Protocol").
struct Dap {
    program: InteractiveProgram,
    requests: u32,
}

impl Dap {
    fn start() -> Result<Dap, Failed> {
        let program =
            InteractiveProgram::start(Command::new("gdb").args(["-nx", "-q", "--interpreter=dap"]))?;
        Ok(Dap { program, requests: 0 })
    }

    fn request(&mut self, command: &str, arguments: &str) -> Result<(), Failed> {
        self.requests += 1;
        let number = self.requests;
        let body =
            format!(r#"{{"seq":{number},"type":"request","command":"{command}","arguments":{arguments}}}"#);
        write!(self.program.input, "Content-Length: {}\r\n\r\n{body}", body.len())?;
        Ok(self.program.input.flush()?)
    }

    /// Reads messages up to one that `accept` accepts; a refused request is a failure.
    fn until(&mut self, what: &str, mut accept: impl FnMut(&Value) -> bool) -> Result<(), Failed> {
        loop {
            let message = self.message().map_err(|error| format!("{what} expected: {error}"))?;
            if message.get("success") == Some(&Value::Bool(false)) {
                return Err(format!("{what} expected; gdb refuses: {message:?}").into());
            }
            if accept(&message) {
                return Ok(());
            }
        }
    }

    fn message(&mut self) -> Result<Value, String> {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if self.program.output.read_line(&mut line).map_err(|error| error.to_string())? == 0 {
                return Err("gdb has ended".to_owned());
            }
            if let Some(number) = line.strip_prefix("Content-Length:") {
                length = number.trim().parse().map_err(|_| line.clone())?;
            }
            if line.trim_end().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.program.output.read_exact(&mut body).map_err(|error| error.to_string())?;
        serde_json::from_str(&String::from_utf8_lossy(&body)).map_err(|error| error.to_string())
    }
}

fn is_response(message: &Value, command: &str) -> bool {
    text(message, "type") == Some("response") && text(message, "command") == Some(command)
}
