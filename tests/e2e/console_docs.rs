//! The sessions in docs/console.md, docs/views.md and docs/events.md are what the console prints.

use std::io::Read;

use libtest_mimic::{Failed, Trial};

use crate::support::console::{KvmWithConsole, PROMPT, expect_equal};
use crate::support::{guest_test, source, wait_until};

/// The start of the command that runs the guest of the sessions after it.
const GUEST: &str = "$ kvm target/guests/";
/// The start of a command line that sends one command to the guest of the session before it.
const PIPED: &str = "$ echo ";

/// The command of a session whose answers are times.
const MEASURED: &str = "exits time on";

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let documents = [
        ("the_sessions_in_console_md_are_what_the_console_prints", "docs/console.md"),
        ("the_sessions_in_views_md_are_what_the_console_prints", "docs/views.md"),
        ("the_sessions_in_events_md_are_what_the_console_prints", "docs/events.md"),
    ];
    let trial = |(name, document)| guest_test(name, move || sessions_of(document));
    documents.map(trial).into()
}

/// Has the guests of a document answer as it says.
fn sessions_of(document: &str) -> Result<(), Failed> {
    let text = std::fs::read_to_string(source(document))?;
    let (mut guest, mut sessions) = (None, 0);
    for block in text.split("\n```").skip(1).step_by(2) {
        // The others are sessions of gdb.
        if let Some((_, command)) = block.split_once(GUEST).filter(|_| !block.contains("(gdb)")) {
            guest = Some(Guest::start(command.lines().next().unwrap_or_default())?);
        }
        if block.contains(PROMPT) && !block.contains(MEASURED) {
            guest.as_ref().ok_or("no guest runs in the first session")?.same_session(block)?;
            sessions += 1;
        }
        if let Some((_, piped)) = block.split_once(PIPED) {
            guest.as_ref().ok_or("no guest runs for a command from a pipe")?.same_answer(piped)?;
            sessions += 1;
        }
    }
    if sessions < 2 { Err(format!("only {sessions} sessions were found").into()) } else { Ok(()) }
}

/// The guest of a session.
struct Guest(KvmWithConsole);

impl Guest {
    /// Runs the guest as a document does, with `command` after [`GUEST`], but with its sockets in the test's folder.
    fn start(command: &str) -> Result<Guest, Failed> {
        let command = command.split('#').next().unwrap_or_default();
        let (name, options) = command.split_once(".elf").ok_or("the guest is no ELF file")?;
        let options: Vec<String> = options
            .split_whitespace()
            .filter(|option| *option != "--console")
            .map(|option| option.replace("--gdb", "--gdb=unix:gdb"))
            .collect();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        Ok(Guest(KvmWithConsole::start(name, &options)?))
    }

    /// Sends the commands of `session`, and compares what the console prints.
    fn same_session(&self, session: &str) -> Result<(), Failed> {
        let mut client = self.0.connect()?;
        for part in session.split(&format!("\n{}", PROMPT.trim_end())).skip(1) {
            let (command, answer) = part.split_once('\n').unwrap_or((part, ""));
            let answer = if answer.is_empty() { String::new() } else { format!("{answer}\n") };
            let found = match command.trim() {
                // The guest stops by itself, and the console reports it.
                "" => {
                    let mut notice = vec![0; if answer.is_empty() { 0 } else { 1 + answer.len() }];
                    client.stream.read_exact(&mut notice)?;
                    String::from_utf8_lossy(&notice).trim_start().to_owned()
                }
                // The guest may not have come so far yet, and rates are those of this run.
                command @ ("exits" | "events 4") => {
                    let mut found = String::new();
                    let _ = wait_until(command, || {
                        found = client.ask(command).unwrap_or_default();
                        shape(&found) == shape(&answer)
                    });
                    expect_equal(&shape(&found), &shape(&answer))
                        .map_err(|failed| named(command, &failed))?;
                    continue;
                }
                command => client.ask(command)?,
            };
            expect_equal(&found, &answer).map_err(|failed| named(command, &failed))?;
        }
        Ok(())
    }

    /// Sends the command of a pipe, and looks for the lines that the document has of its answer.
    fn same_answer(&self, piped: &str) -> Result<(), Failed> {
        let (line, shown) = piped.split_once('\n').unwrap_or((piped, ""));
        let command = line.split(" |").next().unwrap_or_default().trim_matches('\'');
        let answer = self.0.connect()?.ask(command)?;
        if line.contains("| jq ") {
            // What jq selects is somewhere in the document.
            serde_json::from_str::<serde_json::Value>(&answer)?;
            let is_there = |line: &str| answer.contains(&format!("\"{line}\""));
            return match !shown.is_empty() && shown.lines().all(is_there) {
                true => Ok(()),
                false => Err(format!("`{command}` answers {answer:?}, without {shown:?}").into()),
            };
        }
        match !shown.is_empty() && shown.lines().all(|line| answer.lines().any(|found| found == line)) {
            true => Ok(()),
            false => Err(format!("docs/console.md: `{command}` answers {answer:?}, not {shown:?}").into()),
        }
    }
}

/// An answer of `exits` without its figures; any other as it is.
fn shape(answer: &str) -> String {
    if !answer.contains("exits; rates of") {
        return answer.to_owned();
    }
    let word = |word: &str| match !word.starts_with("0x") && word.starts_with(|c: char| c.is_ascii_digit()) {
        true => "#".to_owned(),
        false => word.to_owned(),
    };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ") + "\n";
    answer.lines().map(line).collect()
}

fn named(command: &str, failed: &Failed) -> Failed {
    format!("docs/console.md: `{command}`: {}", failed.message().unwrap_or_default()).into()
}
