//! The command line of `kvm check-snapshot`.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser};

use super::command::{ParsedCommand, with_two_dashes};
use super::error::SettingsError;

/// The first argument that selects this command.
pub(super) const COMMAND: &str = "check-snapshot";

/// Usage line of the command.
pub(super) const USAGE: &str = "Use: kvm check-snapshot FILE";

/// The answer to `kvm check-snapshot --help`.
const HELP: &str = "\
Describe and verify a snapshot file

Usage: kvm check-snapshot FILE

Reads all of FILE and verifies its checksums; `kvm --restore FILE` reads memory only when the guest accesses
it. docs/snapshots.md describes the format.

Options:
  -h, --help  Print this help and exit

Exit status: 0 if the snapshot is intact, 4 if not.

A guest file named check-snapshot is run as `kvm ./check-snapshot`.
";

/// Parses the arguments after [`COMMAND`] in `args`, whose first item is the program's name.
///
/// # Errors
///
/// [`SettingsError::CheckSnapshotArgument`] for the first unexpected argument, or if the file is missing.
pub(super) fn read(args: impl Iterator<Item = OsString>) -> Result<ParsedCommand, SettingsError> {
    let mut parser = Parser::from_iter(with_two_dashes(args));
    let (mut command, mut file) = (true, None);
    while let Some(arg) = parser.next().map_err(|e| SettingsError::CommandLine { reason: e.to_string() })? {
        match arg {
            Arg::Value(_) if command => command = false,
            Arg::Value(name) if file.is_none() && !name.is_empty() => file = Some(PathBuf::from(name)),
            Arg::Long("help") | Arg::Short('h') => return Ok(ParsedCommand::Help(HELP.to_owned())),
            Arg::Long(name) => return Err(wrong(format!("`--{name}` is not expected there"))),
            Arg::Short(letter) => return Err(wrong(format!("`-{letter}` is not expected there"))),
            Arg::Value(value) => {
                return Err(wrong(format!("`{}` is not expected there", value.to_string_lossy())));
            }
        }
    }
    let file = file.ok_or_else(|| wrong("The name of the snapshot is missing".to_owned()))?;
    Ok(ParsedCommand::CheckSnapshot { file })
}

fn wrong(problem: String) -> SettingsError {
    SettingsError::CheckSnapshotArgument { problem }
}
