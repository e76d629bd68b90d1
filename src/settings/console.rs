//! The command line of `kvm console`.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};

use lexopt::{Arg, Parser};

use super::command::{ParsedCommand, with_two_dashes};
use super::error::{SettingsError, ValueOrigin};
use super::values::{self, ParseResult};
use super::{CONSOLE_PORT, ListenAddress};

/// The first argument that selects this command.
pub(super) const COMMAND: &str = "console";

/// Usage line of the command.
pub(super) const USAGE: &str = "Use: kvm console [ADDRESS:PORT|unix:PATH] [--keep-going]";

/// The allowed addresses.
const ALLOWED: &str = "ADDRESS:PORT, ADDRESS, PORT, unix:PATH (at most 107 bytes)";

/// The answer to `kvm console --help`.
const HELP: &str = "\
Send commands to a running guest

Usage: kvm console [ADDRESS:PORT|unix:PATH] [--keep-going]

Connects to the console of a guest that was started with --console: 127.0.0.1:9000 by
default. `help` there lists the commands. On a terminal lines can be edited and come back with the arrow
keys; from a pipe, each line is a command, up to the first one that fails. See docs/console.md.

Options:
  --keep-going  From a pipe, send the commands after one that failed, too; the exit status is 0 then
  -h, --help    Print this help and exit

Examples:
  echo regs | kvm console | grep CR3
  kvm console unix:guest.sock <commands.txt

Exit status: 0, 2 if a command from a pipe failed, or 6 if the connection is refused or lost.

A guest file named console is run as `kvm ./console`.
";

/// Parses the arguments after [`COMMAND`] in `args`, whose first item is the program's name.
///
/// # Errors
///
/// [`SettingsError::ConsoleArgument`] for the first unexpected argument, and [`SettingsError::Value`] for an
/// invalid address.
pub(super) fn read(args: impl Iterator<Item = OsString>) -> Result<ParsedCommand, SettingsError> {
    let mut parser = Parser::from_iter(with_two_dashes(args));
    let (mut command, mut address, mut keep_going) = (true, None, false);
    while let Some(arg) = parser.next().map_err(|e| SettingsError::CommandLine { reason: e.to_string() })? {
        match arg {
            Arg::Value(_) if command => command = false,
            Arg::Value(text) if address.is_none() => {
                let text = text.to_string_lossy();
                address = Some(parse_address(&text).map_err(|reason| SettingsError::Value {
                    origin: Box::new(ValueOrigin::Argument { command: COMMAND }),
                    value: text.into_owned(),
                    reason,
                    allowed: ALLOWED,
                })?);
            }
            Arg::Long("keep-going") => keep_going = true,
            Arg::Long("help") | Arg::Short('h') => return Ok(ParsedCommand::Help(HELP.to_owned())),
            Arg::Long(name) => return Err(wrong(format!("--{name}"))),
            Arg::Short(letter) => return Err(wrong(format!("-{letter}"))),
            Arg::Value(value) => return Err(wrong(value.to_string_lossy().into_owned())),
        }
    }
    let default = || ListenAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, CONSOLE_PORT)));
    Ok(ParsedCommand::Console { address: address.unwrap_or_else(default), keep_going })
}

fn parse_address(text: &str) -> ParseResult<ListenAddress> {
    if let Some(path) = values::socket(text)? {
        return Ok(ListenAddress::Unix(path));
    }
    let (address, port) = values::address_and_port(text)?;
    let address = address.unwrap_or(Ipv4Addr::LOCALHOST.into());
    Ok(ListenAddress::Tcp(SocketAddr::new(address, port.unwrap_or(CONSOLE_PORT))))
}

fn wrong(argument: String) -> SettingsError {
    SettingsError::ConsoleArgument { argument }
}
