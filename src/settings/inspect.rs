//! The command line of `kvm inspect`.

use std::ffi::OsString;

use super::command::{ParsedCommand, read_run};
use super::error::SettingsError;

/// The first argument that selects this command.
pub(super) const COMMAND: &str = "inspect";

/// The answer to `kvm inspect --help`.
const HELP: &str = "\
Describe a guest file without running it

Usage: kvm inspect FILE [--json] [OPTIONS]

Prints the kind of FILE, where everything is loaded and mapped, the state of the processor at the first instruction, and
what looks wrong. /dev/kvm is not needed. All options of `kvm FILE` are accepted; --boot, --memory, --load, --entry, --module,
--initrd and --append have an effect.

Options:
      --json  Print one JSON object
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
    let words = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
    let options = args.len();
    let mut number = 0;
    // What stands behind `--` is for the guest.
    args.retain(|arg| {
        number += 1;
        number > words || (arg != "--json" && arg != "-json")
    });
    let json = args.len() < options;
    Ok(match read_run(args)? {
        ParsedCommand::Run(run) => ParsedCommand::Inspect { run, json },
        ParsedCommand::Help(_) => ParsedCommand::Help(HELP.to_owned()),
        other => other,
    })
}
