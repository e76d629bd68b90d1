//! The command line of `kvm vscode`.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser};

use super::command::{ParsedCommand, with_two_dashes};
use super::error::SettingsError;

/// The first argument that selects this command.
pub(super) const COMMAND: &str = "vscode";

/// Usage line of the command.
pub(super) const USAGE: &str = "Use: kvm vscode [DIR] [--force]";

/// The answer to `kvm vscode --help`.
const HELP: &str = "\
Write the configuration that editors and gdb need to debug a guest

Usage: kvm vscode [DIR] [--force]

Writes .vscode/launch.json and .gdbinit into DIR, the working directory unless another is named.
docs/editors.md describes their use.

Options:
      --force  Replace existing files that differ
  -h, --help   Print this help and exit

Exit status: 0, or 2 if a file exists already, or 6 if one cannot be written.

A guest file named vscode is run as `kvm ./vscode`.
";

/// Parses the arguments after [`COMMAND`] in `args`, whose first item is the program's name.
///
/// # Errors
///
/// [`SettingsError::VscodeArgument`] for the first unexpected argument.
pub(super) fn read(args: impl Iterator<Item = OsString>) -> Result<ParsedCommand, SettingsError> {
    let mut parser = Parser::from_iter(with_two_dashes(args));
    let (mut command, mut folder, mut force) = (true, None, false);
    while let Some(arg) = parser.next().map_err(|e| SettingsError::CommandLine { reason: e.to_string() })? {
        match arg {
            Arg::Value(_) if command => command = false,
            Arg::Value(name) if folder.is_none() && !name.is_empty() => folder = Some(PathBuf::from(name)),
            Arg::Long("force") => force = true,
            Arg::Long("help") | Arg::Short('h') => return Ok(ParsedCommand::Help(HELP.to_owned())),
            Arg::Long(name) => return Err(wrong(format!("--{name}"))),
            Arg::Short(letter) => return Err(wrong(format!("-{letter}"))),
            Arg::Value(value) => return Err(wrong(value.to_string_lossy().into_owned())),
        }
    }
    Ok(ParsedCommand::Vscode { folder: folder.unwrap_or_else(|| PathBuf::from(".")), force })
}

fn wrong(argument: String) -> SettingsError {
    SettingsError::VscodeArgument { argument }
}
