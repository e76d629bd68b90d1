//! A command: its name, its description and the function that executes it.

use std::fmt;

use serde::Serialize;

use super::error::CommandError;
use crate::supervisor::command_interpreter::CommandSource;
use crate::supervisor::stopped_machine::StoppedMachine;

/// A command.
pub(super) struct Command {
    /// One word or two.
    pub(super) name: &'static str,
    /// Its arguments, in the notation of manuals; empty if it has none.
    pub(super) arguments: &'static str,
    /// What it does, in one line.
    pub(super) help: &'static str,
    /// Where it is available.
    pub(super) availability: Availability,
    /// Whose users know it, for docs/from-qemu.md.
    pub(super) known_from: KnownFrom,
    /// Executes it: takes the arguments and returns whole lines.
    pub(super) run: Run,
}

/// The programs whose users know a command by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KnownFrom {
    /// None: it is a command of `kvm` alone.
    Nowhere,
    /// The monitor of QEMU.
    Qemu,
    /// The debugger of Bochs.
    Bochs,
    /// Both.
    Both,
}

/// The function that executes a command.
pub(super) type Run = fn(&mut dyn StoppedMachine, &str) -> Result<String, CommandError>;

/// Where a command is available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Availability {
    /// In every front end.
    All,
    /// In one front end only; with the alternative for the others.
    Only(CommandSource, &'static str),
}

/// A command that is available in every front end.
pub(super) const fn command(
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    run: Run,
) -> Command {
    let (availability, known_from) = (Availability::All, KnownFrom::Nowhere);
    Command { name, arguments, help, availability, known_from, run }
}

impl Command {
    /// Restricts the command to one front end; `alternative` is the message for users of the others.
    pub(super) const fn only(self, front: CommandSource, alternative: &'static str) -> Command {
        Command { availability: Availability::Only(front, alternative), ..self }
    }

    /// Lists the command in docs/from-qemu.md as one that QEMU's monitor or Bochs' debugger has, too.
    pub(super) const fn known_from(self, known_from: KnownFrom) -> Command {
        Command { known_from, ..self }
    }

    /// True if a format may follow the name: `x/8xb`.
    pub(super) fn takes_format(&self) -> bool {
        self.arguments.starts_with("[/FMT]")
    }

    /// True if `front` has the command.
    pub(super) fn is_for(&self, front: CommandSource) -> bool {
        !matches!(self.availability, Availability::Only(only, _) if only != front)
    }

    /// The name and the arguments.
    pub(super) fn usage(&self) -> String {
        format!("{} {}", self.name, self.arguments).trim_end().to_owned()
    }
}

/// The option of commands that show a view.
const JSON: &str = "--json";

/// Takes `--json` off the beginning or the end of `arguments`; true if it was there.
pub(super) fn split_json(arguments: &str) -> (bool, &str) {
    let arguments = arguments.trim();
    let before = |rest: &str| rest.is_empty() || rest.ends_with(char::is_whitespace);
    let behind = |rest: &str| rest.is_empty() || rest.starts_with(char::is_whitespace);
    match (arguments.strip_prefix(JSON), arguments.strip_suffix(JSON)) {
        (Some(rest), _) if behind(rest) => (true, rest.trim_start()),
        (_, Some(rest)) if before(rest) => (true, rest.trim_end()),
        _ => (false, arguments),
    }
}

/// `view` as text, or with `json` as a JSON value.
pub(super) fn shown<V: fmt::Display + Serialize>(view: &V, json: bool) -> String {
    if json { to_json(view) } else { view.to_string() }
}

/// `view` as a JSON value.
pub(super) fn to_json(view: &impl Serialize) -> String {
    serde_json::to_string_pretty(view).expect("keys are strings, and memory does not fail") + "\n"
}

/// For commands without further arguments: true if `arguments` are `--json`.
pub(super) fn only_json(arguments: &str) -> Result<bool, CommandError> {
    let (json, rest) = split_json(arguments);
    no_more(rest)?;
    Ok(json)
}

/// The error for an invalid argument. [`CommandError::with_usage`] adds the usage of the command.
pub(super) fn invalid(problem: impl Into<String>) -> CommandError {
    CommandError::Arguments { problem: problem.into(), usage: String::new() }
}

/// Checks that no argument is left in `rest`.
pub(super) fn no_more(rest: &str) -> Result<(), CommandError> {
    if rest.is_empty() { Ok(()) } else { Err(invalid(format!("unexpected argument `{rest}`"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_asked_for_in_front_of_the_arguments_or_behind_them() {
        for (arguments, split) in [
            ("", (false, "")),
            ("--json", (true, "")),
            ("--json  0x1000", (true, "0x1000")),
            ("diff --json", (true, "diff")),
            ("x--json", (false, "x--json")),
            ("--jsonx", (false, "--jsonx")),
            ("1 --json 2", (false, "1 --json 2")),
        ] {
            assert_eq!(split_json(arguments), split, "{arguments}");
        }
    }
}
