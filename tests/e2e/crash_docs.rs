//! The sessions in docs/crash-report.md, and the trace in docs/events.md, are what the programs print.

use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::gdb::gdb_test;
use crate::support::debugger::output;
use crate::support::{Folder, Kvm, guest, guest_test, kvm_binary, source};

/// How a line of a session begins: they are indented.
const LINE: &str = "    ";
/// How a command begins.
const COMMAND: &str = "$ ";
/// Where the sessions have their guests.
const GUESTS: &str = "target/guests/";

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        gdb_test("the_sessions_in_crash_report_md_are_what_the_programs_print", sessions),
        guest_test("the_trace_in_events_md_is_what_the_log_has", trace),
    ]
}

/// Executes the commands of all sessions in one folder.
fn sessions() -> Result<(), Failed> {
    let text = fs::read_to_string(source("docs/crash-report.md"))?;
    let folder = Folder::new();
    let (mut commands, mut lines) = (0, text.lines().peekable());
    while let Some(line) = lines.next() {
        let Some(command) = line.strip_prefix(LINE).and_then(|line| line.strip_prefix(COMMAND)) else {
            continue;
        };
        let mut expected = Vec::new();
        while let Some(line) =
            lines.next_if(|line| line.strip_prefix(LINE).is_some_and(|line| !line.starts_with(COMMAND)))
        {
            expected.push(&line[LINE.len()..]);
        }
        let printed = match command.strip_prefix("jq -r ") {
            Some(arguments) => picked(arguments, &folder)?,
            None => executed(command, folder.path())?,
        };
        in_order(&printed, &expected).map_err(|failed| {
            format!("docs/crash-report.md: `{command}`: {}", failed.message().unwrap_or_default())
        })?;
        commands += 1;
    }
    if commands < 4 { Err(format!("only {commands} commands were found").into()) } else { Ok(()) }
}

/// What a command of a shell prints. Guests are named by what they are built as, in the session by short names.
fn executed(command: &str, folder: &Path) -> Result<String, Failed> {
    let guests =
        guest("recursion").parent().ok_or("the guests are in no folder")?.display().to_string() + "/";
    let binary = kvm_binary().display().to_string();
    let command = command.replace(GUESTS, &guests);
    let command = match command.strip_prefix("kvm ") {
        Some(arguments) => format!("{binary} {arguments}"),
        None => command,
    };
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{{ {command}; }} 2>&1 || true")]).current_dir(folder);
    Ok(output(&mut shell)?.replace(&guests, GUESTS))
}

/// What `jq -r '.a.b, .c' FILE` prints.
fn picked(arguments: &str, folder: &Folder) -> Result<String, Failed> {
    let (fields, file) = arguments.trim_start_matches('\'').split_once("' ").ok_or("no file for jq")?;
    let document: Value = serde_json::from_str(&folder.read(file))?;
    let pick = |field: &str| {
        let found = document.pointer(&field.trim().replace('.', "/"));
        found.and_then(Value::as_str).unwrap_or("null").to_owned() + "\n"
    };
    Ok(fields.split(',').map(pick).collect())
}

/// Fails unless the lines `expected` are in `printed` in this order. One that ends with dots is the beginning of a line.
fn in_order(printed: &str, expected: &[&str]) -> Result<(), Failed> {
    let mut lines = printed.lines();
    for wanted in expected {
        let is_wanted = |line: &str| match wanted.strip_suffix("...") {
            Some(begin) => line.starts_with(begin),
            None => line == *wanted,
        };
        if !lines.any(is_wanted) {
            return Err(format!("{wanted:?} is not in its place in\n{printed}").into());
        }
    }
    Ok(())
}

fn trace() -> Result<(), Failed> {
    let text = fs::read_to_string(source("docs/events.md"))?;
    let (_, arguments) = text.split_once("`kvm target/guests/handled.elf ").ok_or("no command")?;
    let arguments: Vec<&str> = arguments.split('`').next().unwrap_or_default().split(' ').collect();
    let ran = Kvm::with_guest("handled").args(arguments).run();
    // What is behind the time.
    let lines = |text: &str| -> Vec<String> {
        let begin = "INFO kvm::trace: ";
        text.lines().filter_map(|line| Some(line.split_once(begin)?.1.to_owned())).collect()
    };
    let (expected, found) = (lines(&text), lines(&ran.folder.read("console.log")));
    match expected == found && found.len() > 3 {
        true => Ok(()),
        false => Err(format!("docs/events.md has {expected:#?}, the log {found:#?}").into()),
    }
}
