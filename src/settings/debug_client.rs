//! The command line of `kvm debug-client`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use lexopt::{Arg, Parser};

use super::command::{ParsedCommand, with_two_dashes};
use super::error::SettingsError;
use super::values::{self, ParseResult};
use super::{DebugClientSpec, ListenAddress};

/// The first argument that selects this command.
pub(super) const COMMAND: &str = "debug-client";

/// Usage line of the command.
pub(super) const USAGE: &str = "Use: kvm debug-client ADDRESS PORT [START END]";

/// The default memory range.
const START: u64 = 0xBF000;
const LENGTH: u64 = 2000;

/// The answer to `kvm debug-client --help`.
const HELP: &str = "\
Print memory and registers of a running guest

Usage: kvm debug-client ADDRESS PORT [START END]
       kvm debug-client unix:PATH [START END]

Asks the debug server of another kvm (--debug-server) for the guest-physical memory from START up to but
without END, 0xbf000 to 0xbf7d0 by default, for the size of memory, and for the registers, and
prints them. The guest runs on. Numbers are decimal, or hexadecimal after 0x.

Options:
  --password-file FILE  Send the password in FILE, if the server has one ([debug-server] passw)
  -h, --help            Print this help and exit

Exit status: 0, or 2 if the range is not guest RAM, or 6 if the server cannot be reached or does not
answer.

A guest file named debug-client is run as `kvm ./debug-client`. docs/debug-server.md has more.
";

/// Parses the arguments after [`COMMAND`] in `args`, whose first item is the program's name.
///
/// # Errors
///
/// [`SettingsError::DebugClientArgument`] for the first unexpected argument, and
/// [`SettingsError::DebugClientMissing`] for a missing one.
pub(super) fn read(args: impl Iterator<Item = OsString>) -> Result<ParsedCommand, SettingsError> {
    let mut parser = Parser::from_iter(with_two_dashes(args));
    let (mut words, mut password_file) = (Vec::new(), None);
    while let Some(arg) = parser.next().map_err(|e| SettingsError::CommandLine { reason: e.to_string() })? {
        match arg {
            Arg::Value(value) => words.push(value.to_string_lossy().into_owned()),
            Arg::Long("password-file") => {
                let file =
                    parser.value().map_err(|_| wrong("--password-file", "needs the name of a file"))?;
                password_file = Some(PathBuf::from(file));
            }
            Arg::Long("help") | Arg::Short('h') => return Ok(ParsedCommand::Help(HELP.to_owned())),
            Arg::Long(name) => return Err(wrong(&format!("--{name}"), "is not an option of this command")),
            Arg::Short(letter) => {
                return Err(wrong(&format!("-{letter}"), "is not an option of this command"));
            }
        }
    }
    let mut words = words.iter().map(String::as_str).skip(1);
    let address = parse_address(&mut words)?;
    let (start, end) = match words.next() {
        None => (START, START + LENGTH),
        Some(start) => {
            let end = words.next().ok_or(SettingsError::DebugClientMissing { what: "END" })?;
            range(start, end)?
        }
    };
    match words.next() {
        Some(word) => Err(wrong(word, "is an unexpected argument")),
        None => Ok(ParsedCommand::DebugClient(DebugClientSpec { address, start, end, password_file })),
    }
}

fn parse_address<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<ListenAddress, SettingsError> {
    let first = words.next().ok_or(SettingsError::DebugClientMissing { what: "ADDRESS" })?;
    if let Some(path) = read_word(first, values::socket)? {
        return Ok(ListenAddress::Unix(path));
    }
    let address = read_word(first, values::address)?;
    let port = words.next().ok_or(SettingsError::DebugClientMissing { what: "PORT" })?;
    let number = |text: &str| values::port(text).map_err(|reason| format!("{reason} from 1 to 65535"));
    Ok(ListenAddress::Tcp(SocketAddr::new(address, read_word(port, number)?)))
}

fn range(start: &str, end: &str) -> Result<(u64, u64), SettingsError> {
    let (first, last) = (read_word(start, values::number)?, read_word(end, values::number)?);
    match last.checked_sub(first).map(u32::try_from) {
        Some(Ok(_)) => Ok((first, last)),
        None => Err(wrong(end, "is an END below START")),
        Some(Err(_)) => {
            Err(wrong(end, "is too far from START: at most 4294967295 bytes can be read at once"))
        }
    }
}

fn read_word<T>(word: &str, read: impl FnOnce(&str) -> ParseResult<T>) -> Result<T, SettingsError> {
    read(word).map_err(|reason| wrong(word, &reason))
}

fn wrong(argument: &str, reason: &str) -> SettingsError {
    SettingsError::DebugClientArgument { argument: argument.to_owned(), reason: reason.to_owned() }
}
