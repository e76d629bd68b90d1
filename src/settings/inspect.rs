//! The command line of `kvm inspect`.

use std::ffi::OsString;

use super::command::{ParsedCommand, read_run};
use super::error::SettingsError;

/// The first argument that selects this command.
pub(super) const COMMAND: &str = "inspect";

/// The answer to `kvm inspect --help`.
const HELP: &str = "\
Describe a guest file without running it

Usage: kvm inspect FILE [OPTIONS]

Prints the kind of FILE, where everything is loaded, the state of the processor at the first instruction, and what looks
wrong. /dev/kvm is not needed. All options of `kvm FILE` are accepted; --boot, --memory, --load, --entry, --module,
--initrd and --append have an effect.

Options:
  -h, --help  Print this help and exit

Exit status: 0 if the guest can be started, 4 if not.

A guest file named inspect is run as `kvm ./inspect`.
";

/// Parses the arguments after [`COMMAND`] in `args`, whose first item is the program's name.
///
/// # Errors
///
/// [`SettingsError`] for the first invalid argument.
pub(super) fn read(mut args: Vec<OsString>) -> Result<ParsedCommand, SettingsError> {
    args.remove(1);
    Ok(match read_run(args)? {
        ParsedCommand::Run(command_line) => ParsedCommand::Inspect(command_line),
        ParsedCommand::Help(_) => ParsedCommand::Help(HELP.to_owned()),
        other => other,
    })
}
