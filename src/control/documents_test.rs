//! The commands that documents name exist.

use super::super::table::{find, known_commands};
use super::*;

/// The documents of the project, by their paths.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let files = folder.chain(["README.md", "CHANGELOG.md"].map(|name| root.join(name)));
    files
        .filter(|file| file.extension().is_some_and(|kind| kind == "md"))
        .map(|file| (file.display().to_string(), std::fs::read_to_string(&file).unwrap()))
        .collect()
}

/// The commands in `text`, and who gives them.
fn commands(text: &str) -> Vec<(CommandSource, String)> {
    let (debugger, console) = (CommandSource::Debugger, CommandSource::Console);
    let in_sessions = [
        ("(gdb) monitor ", debugger),
        ("-exec monitor ", debugger),
        ("(lldb) process plugin packet monitor ", debugger),
        ("vmm console> ", console),
    ];
    let mut found = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        }
        for (prefix, source) in in_sessions {
            found.extend(line.trim_start().strip_prefix(prefix).map(|command| (source, command.to_owned())));
        }
        if in_block || line.starts_with("    ") {
            found.extend(line.trim().strip_prefix("monitor ").map(|command| (debugger, command.to_owned())));
            if let Some((command, _)) = line.split_once(" | kvm console") {
                let command = command.rsplit("echo ").next().unwrap_or(command).trim_matches(['"', '\'']);
                found.push((console, command.to_owned()));
            }
            continue;
        }
        let pieces: Vec<&str> = line.split('`').collect();
        for (at, span) in pieces.iter().enumerate().skip(1).step_by(2) {
            found.extend(span.strip_prefix("monitor ").map(|command| (debugger, command.to_owned())));
            let is_said_to_be_there =
                pieces.get(at + 1).is_some_and(|next| next.starts_with(" on the console"));
            if is_said_to_be_there || span.starts_with("info ") && line.contains("console") {
                found.push((console, (*span).to_owned()));
            }
        }
    }
    found
}

#[test]
fn every_command_that_a_document_names_exists() {
    let mut count = 0;
    for (name, text) in documents() {
        for (source, line) in commands(&text) {
            // A word that stands for any command.
            if line.starts_with("COMMAND") || line.is_empty() {
                continue;
            }
            let exists = find(&line).is_some_and(|(command, _)| command.is_for(source));
            assert!(exists, "{name} names `{line}`, which is no command of {source:?}");
            count += 1;
        }
    }
    assert!(count > 40, "only {count} commands were found");
    let text = "`monitor map` in gdb and `map` on the console\n    (gdb) monitor zap\n```\nvmm console> map\n$ echo fly | kvm console\n```\n";
    let found: Vec<String> = commands(text).into_iter().map(|(_, line)| line).collect();
    assert_eq!(found, ["map", "map", "zap", "map", "fly"]);
    assert!(found.iter().all(|line| find(line).is_none()), "commands that do not exist are found");
}

const FROM_QEMU: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/from-qemu.md");

#[test]
fn from_qemu_md_is_what_the_tables_say() {
    let tables = crate::settings::from_qemu() + &known_commands();
    if std::env::var_os("KVM_BLESS").is_some() {
        std::fs::write(FROM_QEMU, &tables).unwrap();
    }
    let text = std::fs::read_to_string(FROM_QEMU).unwrap_or_default();
    assert!(text == tables, "docs/from-qemu.md is out of date: KVM_BLESS=1 cargo test --lib from_qemu_md");
}

/// The commands that users of QEMU's monitor and of Bochs' debugger are most likely to type.
const HABITS: &[&str] = &[
    "info registers",
    "info mem",
    "info tlb",
    "info gdt",
    "info idt",
    "info tab",
    "info qtree",
    "info mtree",
    "info cpus",
    "x",
    "xp",
    "p",
    "c",
    "s",
    "stop",
    "cont",
    "savevm",
    "loadvm",
    "system_reset",
    "system_powerdown",
    "q",
    "h",
];

#[test]
fn every_command_that_users_know_is_in_the_table_of_habits() {
    let document = known_commands();
    for name in HABITS {
        assert!(find(name).is_some_and(|(command, _)| command.name == *name), "{name} is no command");
        assert!(
            document.lines().any(|row| {
                let usage =
                    row.strip_prefix("| `").and_then(|rest| rest.split('`').next()).unwrap_or_default();
                usage == *name || usage.strip_prefix(name).is_some_and(|rest| rest.starts_with(" "))
            }),
            "no row for {name}"
        );
    }
}
