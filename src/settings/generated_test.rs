//! The man page and the completions cover the tables they are made from.

use super::super::commands::COMMANDS;
use super::super::man::{self, EXIT_STATUSES};
use super::super::table::{GROUPS, options};
use super::*;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

fn document(args: &[&str]) -> String {
    match invoke(args) {
        Ok(Invocation::Document(text)) => text,
        other => panic!("{args:?} prints no document: {other:?}"),
    }
}

#[test]
fn completions_cover_every_option_and_every_command() {
    for (shell, begin, end) in
        [("bash", "\n        --", &[' ', '\n'][..]), ("zsh", "--", &['[', '=']), ("fish", " -l ", &[' '])]
    {
        let script = document(&["completions", shell]);
        let has = |name: &str| end.iter().any(|end| script.contains(&format!("{begin}{name}{end}")));
        for option in options() {
            assert!(has(option.long), "{shell}: --{}", option.long);
        }
        for command in COMMANDS {
            assert!(script.contains(command.name), "{shell}: {}", command.name);
            for (flag, _) in command.flags {
                assert!(script.contains(flag), "{shell}: {} --{flag}", command.name);
            }
        }
        assert!(script.contains(&format!("Install: kvm completions {shell} > ")), "{script}");
    }
}

#[test]
fn the_man_page_has_every_option_with_its_values_default_and_keys() {
    let page = document(&["man"]);
    assert!(page.starts_with(".TH KVM 1 "), "{page}");
    let plain = page.replace("\\-", "-").replace("\\fB", "").replace("\\fI", "").replace("\\fR", "");
    for group in GROUPS {
        assert!(plain.contains(&format!("\n.SS {}\n", group.name)), "{}", group.name);
    }
    for option in options() {
        let entry = plain.split(&format!("--{}", option.long)).nth(1).unwrap_or_default();
        assert!(!entry.is_empty(), "--{}", option.long);
        assert!(plain.contains(&format!("\n{}.\n", option.help)), "{}", option.help);
        assert!(plain.contains(option.allowed), "{}", option.allowed);
        for key in option.keys {
            assert!(plain.contains(&format!("[{}] {}", key.section, key.name)), "{}", key.name);
        }
    }
    for command in COMMANDS {
        assert!(
            plain.contains(&format!(".B kvm {}\n{}.\n", command.name, command.about)),
            "{}",
            command.name
        );
    }
    let requests = page.lines().filter(|line| line.starts_with(['.', '\'']));
    for line in requests {
        let request = line.split(' ').next().unwrap_or_default();
        let known = [".TH", ".SH", ".SS", ".TP", ".B", ".I", ".BR", ".RI", ".br", ".PP", ".EX", ".EE"];
        assert!(known.contains(&request), "{line}");
    }
}

#[test]
fn the_exit_statuses_of_the_man_page_are_those_of_the_readme() {
    let readme = std::fs::read_to_string(README).unwrap();
    let (_, table) = readme.split_once("| exit status | reason |\n|---|---|\n").unwrap();
    let expected: Vec<String> = EXIT_STATUSES
        .iter()
        .map(|(status, reason)| format!("| {status} | {} |", reason.replace('|', "\\|")))
        .collect();
    let found: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert_eq!(found, expected);
    assert_eq!(document(&["man"]), man::page());
}

#[test]
fn every_command_has_a_help_text_and_is_listed_in_the_help() {
    let Ok(Invocation::Help(help)) = invoke(&["--help"]) else { panic!("no help") };
    for command in COMMANDS {
        let usage = format!("       kvm {} {}", command.name, command.arguments);
        assert!(help.contains(usage.trim_end()), "{}", command.name);
        let Ok(Invocation::Help(text)) = invoke(&[command.name, "--help"]) else {
            panic!("kvm {} has no help", command.name);
        };
        let lines: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for (flag, about) in command.flags {
            assert!(lines.contains(&format!("--{flag} {about}")), "--{flag}\n{text}");
        }
        // Completions and the man page have all options without a value.
        for line in text.lines().filter_map(|line| line.strip_prefix("  --")) {
            let name = line.split("  ").next().unwrap_or_default().trim_end();
            assert!(name.contains(' ') || command.flags.iter().any(|(flag, _)| *flag == name), "--{name}");
        }
        assert!(text.contains(&format!("Usage: kvm {}", command.name)), "{text}");
        assert!(text.contains(&format!("is run as `kvm ./{}`", command.name)), "{text}");
    }
}

#[test]
fn completions_and_man_name_what_they_do_not_expect() {
    assert_eq!(
        message(&["completions", "tcsh"]),
        "kvm completions: `tcsh` is not expected there. Use: kvm completions bash|zsh|fish. A guest file named \
         completions is run as `kvm ./completions`."
    );
    assert_eq!(
        message(&["completions"]),
        "kvm completions needs the name of a shell. Use: kvm completions bash|zsh|fish"
    );
    assert!(message(&["completions", "bash", "zsh"]).contains("`zsh` is not expected there"));
    assert!(message(&["completions", "-x"]).contains("`-x` is not expected there"));
    assert!(message(&["man", "kvm"]).starts_with("kvm man: `kvm` is not expected there. Use: kvm man. "));
    assert!(message(&["man", "--raw"]).contains("`--raw` is not expected there"));
    assert_eq!(settings(&["./man"]).guest, Path::new("./man"));
}
