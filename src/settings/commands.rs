//! The table of the commands, such as `kvm check`.
//!
//! The command line, `--help`, the man page and the completions are derived from [`COMMANDS`].

use std::ffi::OsString;

use lexopt::{Arg, Parser};

use super::command::{ParsedCommand, with_two_dashes};
use super::completions::Shell;
use super::error::SettingsError;
use super::{check, check_snapshot, console, debug_client, inspect, man, test, vscode};

/// A command: the first argument, in place of a guest file.
pub(super) struct CommandSpec {
    /// The first argument that selects it.
    pub(super) name: &'static str,
    /// The form of its other arguments, without options.
    pub(super) arguments: &'static str,
    /// What it does, in one line.
    pub(super) about: &'static str,
    /// Its options without a value, except `help`: names without dashes, and what they do.
    pub(super) flags: &'static [(&'static str, &'static str)],
    /// What its arguments can be completed with.
    pub(super) operand: Operand,
    /// Parses a whole command line that begins with the program's name and this command.
    pub(super) read: fn(Vec<OsString>) -> Result<ParsedCommand, SettingsError>,
}

/// What an argument can be completed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// Nothing.
    None,
    /// Names of files.
    File,
    /// Names of directories.
    Directory,
    /// One of these words.
    Words(&'static [&'static str]),
}

/// Every command.
pub(super) static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: check::COMMAND,
        arguments: "",
        about: "Report what KVM supports on this host",
        flags: &[("json", "Print one JSON object")],
        operand: Operand::None,
        read: |args| check::read(args.into_iter()),
    },
    CommandSpec {
        name: check_snapshot::COMMAND,
        arguments: "FILE",
        about: "Describe and verify a snapshot file",
        flags: &[],
        operand: Operand::File,
        read: |args| check_snapshot::read(args.into_iter()),
    },
    CommandSpec {
        name: inspect::COMMAND,
        arguments: "FILE",
        about: "Describe a guest file without running it",
        flags: &[("json", "Print one JSON object")],
        operand: Operand::File,
        read: inspect::read,
    },
    CommandSpec {
        name: test::COMMAND,
        arguments: "GUEST... [FILTER...]",
        about: "Run guests as tests",
        flags: &[
            ("list", "List the tests instead of running them"),
            ("exact", "Filters are whole names, not parts of them"),
            ("ignored", "Run only the tests that are marked as ignored"),
            ("include-ignored", "Run them with the others"),
            ("quiet", "The same as --format terse"),
            ("nocapture", "Print the guests' output as it comes"),
            ("show-output", "Print the output of tests that pass, too"),
        ],
        operand: Operand::File,
        read: test::read,
    },
    CommandSpec {
        name: console::COMMAND,
        arguments: "[ADDRESS]",
        about: "Send commands to a running guest",
        flags: &[(
            "keep-going",
            "From a pipe, send the commands after one that failed, too; the exit status is 0 then",
        )],
        operand: Operand::None,
        read: |args| console::read(args.into_iter()),
    },
    CommandSpec {
        name: debug_client::COMMAND,
        arguments: "ADDRESS PORT [START END]",
        about: "Print memory and registers of a running guest",
        flags: &[],
        operand: Operand::None,
        read: |args| debug_client::read(args.into_iter()),
    },
    CommandSpec {
        name: vscode::COMMAND,
        arguments: "[DIR]",
        about: "Write the configuration that editors and gdb need to debug a guest",
        flags: &[("force", "Replace existing files that differ")],
        operand: Operand::Directory,
        read: |args| vscode::read(args.into_iter()),
    },
    CommandSpec {
        name: COMPLETIONS,
        arguments: "bash|zsh|fish",
        about: "Print the completions for a shell",
        flags: &[],
        operand: Operand::Words(&["bash", "zsh", "fish"]),
        read: |args| read_completions(args),
    },
    CommandSpec {
        name: MAN,
        arguments: "",
        about: "Print the man page, for man -l -",
        flags: &[],
        operand: Operand::None,
        read: |args| match operands(args, MAN, MAN_HELP)? {
            Operands::Help(text) => Ok(ParsedCommand::Help(text)),
            Operands::Given(words) => match words.into_iter().next() {
                None => Ok(ParsedCommand::Document(man::page())),
                Some(word) => Err(unexpected(MAN, &word)),
            },
        },
    },
];

const COMPLETIONS: &str = "completions";
const MAN: &str = "man";

const COMPLETIONS_HELP: &str = "\
Print the completions for a shell

Usage: kvm completions bash|zsh|fish

  bash  kvm completions bash > ~/.local/share/bash-completion/completions/kvm
  zsh   kvm completions zsh > DIR/_kvm, where DIR is in $fpath
  fish  kvm completions fish > ~/.config/fish/completions/kvm.fish

Options:
  -h, --help  Print this help and exit

A guest file named completions is run as `kvm ./completions`.
";

const MAN_HELP: &str = "\
Print the man page

Usage: kvm man

  kvm man | man -l -                                        shows it
  kvm man > ~/.local/share/man/man1/kvm.1                   installs it for `man kvm`

Options:
  -h, --help  Print this help and exit

A guest file named man is run as `kvm ./man`.
";

/// The arguments of a command without options.
enum Operands {
    Help(String),
    Given(Vec<String>),
}

fn operands(args: Vec<OsString>, command: &'static str, help: &str) -> Result<Operands, SettingsError> {
    let mut parser = Parser::from_iter(with_two_dashes(args.into_iter()));
    let mut words = Vec::new();
    while let Some(arg) = parser.next().map_err(|e| SettingsError::CommandLine { reason: e.to_string() })? {
        match arg {
            Arg::Value(value) => words.push(value.to_string_lossy().into_owned()),
            Arg::Long("help") | Arg::Short('h') => return Ok(Operands::Help(help.to_owned())),
            Arg::Long(name) => return Err(unexpected(command, &format!("--{name}"))),
            Arg::Short(letter) => return Err(unexpected(command, &format!("-{letter}"))),
        }
    }
    words.remove(0);
    Ok(Operands::Given(words))
}

fn read_completions(args: Vec<OsString>) -> Result<ParsedCommand, SettingsError> {
    match operands(args, COMPLETIONS, COMPLETIONS_HELP)? {
        Operands::Help(text) => Ok(ParsedCommand::Help(text)),
        Operands::Given(words) => match words.as_slice() {
            [shell] => match Shell::named(shell) {
                Some(shell) => Ok(ParsedCommand::Document(shell.completions())),
                None => Err(unexpected(COMPLETIONS, shell)),
            },
            [] => Err(SettingsError::ShellMissing),
            [_, second, ..] => Err(unexpected(COMPLETIONS, second)),
        },
    }
}

fn unexpected(command: &'static str, argument: &str) -> SettingsError {
    let arguments = COMMANDS.iter().find(|it| it.name == command).map_or("", |it| it.arguments);
    SettingsError::CommandArgument { command, arguments, argument: argument.to_owned() }
}
