//! The command line of `kvm check`.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser};

use super::command::{ParsedCommand, with_two_dashes};
use super::error::{SettingsError, ValueOrigin};
use super::{DEFAULT_DEVICE, values};

/// The first argument that selects this command.
pub(super) const COMMAND: &str = "check";

/// Usage line of the command.
pub(super) const USAGE: &str = "Use: kvm check [--json] [--device PATH]";

/// The answer to `kvm check --help`.
const HELP: &str = "\
Report what KVM supports on this host

Usage: kvm check [--json] [--device PATH]

Runs guests of a few instructions and reports the results: which modes, instructions and debug facilities
work, and how fast. docs/hosts.md explains each row.

Options:
      --json         Print one JSON object
      --device PATH  The device, instead of /dev/kvm
  -h, --help         Print this help and exit

Exit status: 0 if guests can run here, 6 if not.

A guest file named check is run as `kvm ./check`.
";

/// Parses the arguments after [`COMMAND`] in `args`, whose first item is the program's name.
///
/// # Errors
///
/// [`SettingsError::CheckArgument`] for the first unexpected argument.
pub(super) fn read(args: impl Iterator<Item = OsString>) -> Result<ParsedCommand, SettingsError> {
    let mut parser = Parser::from_iter(with_two_dashes(args));
    let mut json = false;
    let mut device = PathBuf::from(DEFAULT_DEVICE);
    let mut command = true;
    while let Some(arg) = parser.next().map_err(|e| SettingsError::CommandLine { reason: e.to_string() })? {
        match arg {
            Arg::Value(_) if command => command = false,
            Arg::Long("json") => json = true,
            Arg::Long("device") => {
                let value =
                    parser.value().map_err(|e| SettingsError::CommandLine { reason: e.to_string() })?;
                let value = value.to_string_lossy().into_owned();
                device = values::device(&value).map_err(|reason| SettingsError::Value {
                    origin: Box::new(ValueOrigin::Option { long: "device" }),
                    value,
                    reason,
                    allowed: "the path of a device, which begins with `/`",
                })?;
            }
            Arg::Long("help") | Arg::Short('h') => return Ok(ParsedCommand::Help(HELP.to_owned())),
            Arg::Long(name) => return Err(wrong(format!("--{name}"))),
            Arg::Short(letter) => return Err(wrong(format!("-{letter}"))),
            Arg::Value(value) => return Err(wrong(value.to_string_lossy().into_owned())),
        }
    }
    Ok(ParsedCommand::Check { device, json })
}

fn wrong(argument: String) -> SettingsError {
    SettingsError::CheckArgument { argument }
}
