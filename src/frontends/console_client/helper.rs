//! Completes input at the console prompt.

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use crate::control;
use crate::devices::keyboard::names;
use crate::supervisor::command_interpreter::CommandSource;

/// Knows the names of commands and keys.
pub(super) struct Commands;

/// Completions of `line`, and the offset of the text that they replace.
fn candidates(line: &str) -> (usize, Vec<String>) {
    if let Some(keys) = line.strip_prefix("sendkey ") {
        let start = line.len() - keys.rsplit([' ', '-']).next().map_or(0, str::len);
        return (start, beginning_with(&line[start..], names::names()));
    }
    let start = if line.starts_with("help ") { 5 } else { 0 };
    (start, beginning_with(&line[start..], control::names(CommandSource::Console)))
}

fn beginning_with(start: &str, names: impl Iterator<Item = &'static str>) -> Vec<String> {
    names.filter(|name| name.starts_with(start)).map(str::to_owned).collect()
}

impl Completer for Commands {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(line.get(..at).map_or((at, Vec::new()), candidates))
    }
}

impl Hinter for Commands {
    type Hint = String;
}

impl Highlighter for Commands {}
impl Validator for Commands {}
impl Helper for Commands {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_keys_are_completed() {
        assert_eq!(candidates("scr"), (0, vec!["screendump".to_owned()]));
        assert_eq!(
            candidates("help info m"),
            (5, vec!["info mem".to_owned(), "info mtree".to_owned()]),
            "a name of two words"
        );
        assert_eq!(candidates("sendkey ctrl-esc"), (13, vec!["esc".to_owned()]));
        assert_eq!(candidates("sendkey f1").1, ["f1", "f10", "f11", "f12"]);
        assert_eq!(candidates("xp 0x").1, Vec::<String>::new());
        assert!(candidates("").1.contains(&"regs".to_owned()));
        assert!(!candidates("").1.contains(&"phys".to_owned()), "it is not available in the console");
    }
}
