//! The sessions in docs/debugging.md: gdb prints what is printed there.

use std::io::Write;
use std::process::Command;

use libtest_mimic::{Failed, Trial};

use crate::gdb::gdb_test;
use crate::support::debugger::{Talk, Waiting};
use crate::support::{guest, source};

/// Behind it stands what the reader types.
const PROMPT: &str = "(gdb) ";
/// What a session that begins begins with; the others go on from the first one.
const CONNECT: &str = "target remote :1234";

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![gdb_test("the_sessions_in_debugging_md_are_what_gdb_prints", || {
        let text = std::fs::read_to_string(source("docs/debugging.md"))?;
        let blocks = text.split("\n```").skip(1).step_by(2);
        let sessions: Vec<&str> = blocks.filter(|block| block.contains(PROMPT)).collect();
        let begins = ["$ gdb -q target/guests/recursion.elf\n", CONNECT];
        if !sessions.first().is_some_and(|first| begins.iter().all(|begin| first.contains(begin))) {
            return Err("the document does not begin with a first session".into());
        }
        sessions.into_iter().try_for_each(same_session)
    })]
}

/// Types what is typed in `session`, and compares what gdb prints.
fn same_session(session: &str) -> Result<(), Failed> {
    let name = session.split_once("$ gdb -q target/guests/").and_then(|(_, rest)| rest.split_once(".elf"));
    let name = name.map_or("recursion", |(name, _)| name);
    let waiting = Waiting::start(name, &[], b"")?;
    let connect = format!("target remote {}", waiting.place);
    // Both streams in one, as on a terminal.
    let mut gdb = Command::new("sh");
    gdb.args(["-c", "exec gdb -q -nx -ex 'set pagination off' -ex 'set width 80' \"$@\" 2>&1", "sh"]);
    if !session.contains(CONNECT) {
        gdb.args(["-ex", &connect]);
    }
    let mut talk = Talk::start(gdb.arg(guest(name)).current_dir(source("")))?;
    for command in session.lines().filter_map(|line| line.strip_prefix(PROMPT)) {
        writeln!(talk.input, "{}", command.replace(CONNECT, &connect))?;
    }
    let said = talk.finish()?;
    let said = said.replace(&waiting.place, ":1234").replace("[answered Y; input not from terminal]", "y");
    // What is typed does not come from gdb, nor the ends of those lines.
    let wanted: String = session
        .lines()
        .map(|line| if line.starts_with(PROMPT) { PROMPT.to_owned() } else { format!("{line}\n") })
        .collect();
    let (said, wanted) = (prompted(&said), prompted(&wanted));
    // After that, gdb has heard all and takes its leave.
    let same = said.strip_prefix(wanted).is_some_and(|rest| rest.starts_with(PROMPT));
    if same { Ok(()) } else { Err(format!("docs/debugging.md:\n{wanted}\ngdb:\n{said}").into()) }
}

/// `text` from the first prompt on.
fn prompted(text: &str) -> &str {
    text.find(PROMPT).and_then(|start| text.get(start..)).unwrap_or_default()
}
