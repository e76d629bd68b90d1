//! The sessions in docs/debugging.md and docs/events.md are what gdb prints.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use libtest_mimic::{Failed, Trial};

use crate::gdb::gdb_test;
use crate::support::debugger::{InteractiveProgram, KvmWithGdb};
use crate::support::{guest, source};

/// The prompt, before each command.
const PROMPT: &str = "(gdb) ";
/// The command that connects in the first session; later sessions continue from it.
const CONNECT: &str = "target remote :1234";

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        gdb_test("the_sessions_in_debugging_md_are_what_gdb_prints", || {
            let text = std::fs::read_to_string(source("docs/debugging.md"))?;
            let blocks = text.split("\n```").skip(1).step_by(2);
            let sessions: Vec<&str> = blocks.filter(|block| block.contains(PROMPT)).collect();
            let begins = ["$ gdb -q target/guests/recursion.elf\n", CONNECT];
            if !sessions.first().is_some_and(|first| begins.iter().all(|begin| first.contains(begin))) {
                return Err("the document does not begin with a first session".into());
            }
            sessions.into_iter().try_for_each(same_session)
        }),
        gdb_test("the_session_in_events_md_is_what_gdb_prints", || {
            let text = std::fs::read_to_string(source("docs/events.md"))?;
            let mut blocks = text.split("\n```").skip(1).step_by(2);
            same_session(blocks.find(|block| block.contains(PROMPT)).ok_or("there is no session")?)
        }),
    ]
}

/// Executes the commands of `session`, and compares what gdb prints.
fn same_session(session: &str) -> Result<(), Failed> {
    let guests = guest("recursion").parent().ok_or("the guests are in no folder")?.to_owned();
    let file = session.split_once("$ gdb -q target/guests/").and_then(|(_, rest)| rest.lines().next());
    let kvm = match session.lines().find_map(|line| line.strip_prefix("$ kvm ")) {
        Some(arguments) => {
            // The paths are relative to the sources, those of the guests to where they were built.
            let absolute = |word: &str| word.replace("target/guests/", &format!("{}/", guests.display()));
            let arguments: Vec<String> =
                arguments.split(' ').filter(|word| !["--gdb", "&"].contains(word)).map(absolute).collect();
            let options: Vec<&str> = arguments[1..].iter().map(String::as_str).collect();
            KvmWithGdb::start_file(Path::new(&arguments[0]), &options)?
        }
        None => {
            let options: &[&str] = if file == Some("magic-break.elf") { &["--magic-break"] } else { &[] };
            KvmWithGdb::start(
                file.and_then(|file| file.strip_suffix(".elf")).unwrap_or("recursion"),
                options,
                b"",
            )?
        }
    };
    let connect = format!("target remote {}", kvm.address);
    // Both streams in one, as on a terminal.
    let mut gdb = Command::new("sh");
    gdb.args(["-c", "exec gdb -q -nx -ex 'set pagination off' -ex 'set width 80' \"$@\" 2>&1", "sh"]);
    if !session.contains(CONNECT) {
        gdb.args(["-ex", &connect]);
    }
    if !session.contains("$ gdb -q\n") {
        gdb.arg(guests.join(file.unwrap_or("recursion.elf")));
    }
    let mut gdb = InteractiveProgram::start(gdb.current_dir(source("")))?;
    for command in session.lines().filter_map(|line| line.strip_prefix(PROMPT)) {
        writeln!(gdb.input, "{}", command.replace(CONNECT, &connect))?;
    }
    let output = gdb.finish()?;
    let output = output.replace(&kvm.address, ":1234").replace("[answered Y; input not from terminal]", "y");
    // gdb echoes neither the commands nor the ends of their lines.
    let expected: String = session
        .lines()
        .map(|line| if line.starts_with(PROMPT) { PROMPT.to_owned() } else { format!("{line}\n") })
        .collect();
    let (output, expected) = (prompted(&output), prompted(&expected));
    // After the last command gdb exits.
    let same = output.strip_prefix(expected).is_some_and(|rest| rest.starts_with(PROMPT));
    if same { Ok(()) } else { Err(format!("the document:\n{expected}\ngdb:\n{output}").into()) }
}

/// `text` from the first prompt on.
fn prompted(text: &str) -> &str {
    text.find(PROMPT).and_then(|start| text.get(start..)).unwrap_or_default()
}
