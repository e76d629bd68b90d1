//! The sessions in docs/testing.md are what `kvm test` prints.

use libtest_mimic::{Failed, Trial};

use crate::support::{Kvm, guest, guest_test, source};

/// The start of a command that runs an example guest.
const COMMAND: &str = "$ kvm test target/guests/";
/// A line in place of some that are left out.
const LEFT_OUT: &str = "...";

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![guest_test("the_sessions_in_testing_md_are_what_kvm_test_prints", || {
        let text = std::fs::read_to_string(source("docs/testing.md"))?;
        let blocks = text.split("\n```").skip(1).step_by(2);
        let sessions: Vec<&str> = blocks.filter_map(|block| Some(block.split_once(COMMAND)?.1)).collect();
        if sessions.len() < 2 {
            return Err(format!("only {} sessions were found", sessions.len()).into());
        }
        sessions.into_iter().try_for_each(same_session)
    })]
}

/// Runs the command of a session, and compares what comes with the lines behind it.
fn same_session(session: &str) -> Result<(), Failed> {
    let (command, rest) = session.split_once('\n').ok_or("a command without output")?;
    let (name, options) = command.split_once(".elf").ok_or("the guest is no ELF file")?;
    let expected = rest.split("\n$ ").next().unwrap_or(rest);
    let ran = Kvm::new().arg("test").arg(guest(name)).args(options.split_whitespace()).run();
    let printed: Vec<String> = ran.out.lines().map(without_measurements).collect();
    let mut printed = printed.iter();
    let mut may_skip = false;
    for line in expected.lines() {
        if line == LEFT_OUT {
            may_skip = true;
            continue;
        }
        let line = without_measurements(line);
        let found = match std::mem::take(&mut may_skip) {
            true => printed.any(|printed| *printed == line),
            false => printed.next() == Some(&line),
        };
        ran.check(found, &format!("`{line}` after `{command}`"))?;
    }
    let rest = printed.find(|line| !line.is_empty());
    ran.check(may_skip || rest.is_none(), &format!("nothing after the session, not {rest:?}"))?;
    Ok(())
}

/// A line with a `_` for each number that another host or compiler may change: times, and numbers of lines.
fn without_measurements(line: &str) -> String {
    if !(line.contains('%') || line.contains("finished in")) {
        return line.trim_end().to_owned();
    }
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '.' | '/' | '%' | 's' | '-');
    let word = |word: &str| if word.chars().all(is_part) { "_".to_owned() } else { word.to_owned() };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}
