//! The command line.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::builder::ValueParser;
use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::closest::closest;
use super::draft::Draft;
use super::error::{Origin, SettingsError};
use super::table::{GUEST, OPTIONS, Opt, Takes};

/// Stands at the end of `--help`.
const EXAMPLES: &str = "\
Examples:
  kvm hello.elf                            run a guest with 64 MiB of RAM
  kvm kernel.elf --memory 1G --append \"root=ram quiet\" --module initrd.img
  kvm kernel.elf --display none --serial 1=file:out.txt --timeout 10
  kvm kernel.elf --strict --log-level debug --logfile kernel.log
  kvm kernel.elf --gdb                     then, in gdb: target remote localhost:1234

Every option but the one-shot ones has a key in config.ini; the command line wins.";

/// What the command line asks for.
pub(super) enum Request {
    /// Run a guest as it says.
    Run(CommandLine),
    /// The answer to `--help`.
    Help(String),
    /// The answer to `--version`.
    Version(String),
}

/// A command line whose form is right; its values are not checked yet.
pub(super) struct CommandLine {
    matches: ArgMatches,
}

/// Reads the form of a command line, whose first item is the program's name.
pub(super) fn read(args: impl Iterator<Item = OsString>) -> Result<Request, SettingsError> {
    match command().try_get_matches_from(with_two_dashes(args)) {
        Ok(matches) => Ok(Request::Run(CommandLine { matches })),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp => Ok(Request::Help(error.render().to_string())),
            ErrorKind::DisplayVersion => Ok(Request::Version(error.render().to_string())),
            _ => Err(explain(&error)),
        },
    }
}

impl CommandLine {
    /// The guest file.
    pub(super) fn guest(&self) -> Option<&Path> {
        self.values(GUEST).next().map(Path::new)
    }

    /// The config file that is named.
    pub(super) fn config(&self) -> Option<&Path> {
        self.values("config").next().map(Path::new)
    }

    /// Sets everything that is given.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`] for the first value that is not allowed.
    pub(super) fn apply(&self, draft: &mut Draft) -> Result<(), SettingsError> {
        for option in OPTIONS.iter().filter(|option| is_value(option.takes)) {
            for value in self.values(option.long) {
                let result = match value.to_str() {
                    Some(text) => (option.set)(draft, text),
                    // The guest file and the config file may have any name; everything else may come
                    // from the config file too, which is UTF-8.
                    None if option.long == "config" => Ok(()),
                    None => Err("is not UTF-8 text".to_owned()),
                };
                result.map_err(|reason| SettingsError::Value {
                    origin: Box::new(Origin::Option { long: option.long }),
                    value: value.to_string_lossy().into_owned(),
                    reason,
                    allowed: option.allowed,
                })?;
            }
        }
        Ok(())
    }

    fn values<'a>(&'a self, id: &str) -> impl Iterator<Item = &'a OsStr> {
        self.matches.get_raw(id).into_iter().flatten()
    }
}

fn is_value(takes: Takes) -> bool {
    matches!(takes, Takes::Value(_) | Takes::Maybe(_))
}

fn command() -> Command {
    Command::new("kvm")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Run a bare-metal x86-64 guest on Linux KVM")
        .override_usage("kvm <GUEST> [OPTIONS]")
        .after_help(EXAMPLES)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(Arg::new(GUEST).help("The guest: an ELF executable").value_parser(ValueParser::os_string()))
        .args(OPTIONS.iter().enumerate().map(|(at, option)| argument(option).display_order(at)))
}

/// An option as clap sees it. Clap is not told the default: it could not tell it from a value that the
/// user gave, which is stronger than the config file.
fn argument(option: &'static Opt) -> Arg {
    let arg = Arg::new(option.long).long(option.long).help_heading(option.group);
    let arg = match option.default {
        Some(default) if !matches!(default, "" | "no" | "none") => {
            arg.help(format!("{} [{default}]", option.help))
        }
        _ => arg.help(option.help),
    };
    let action = if option.repeatable { ArgAction::Append } else { ArgAction::Set };
    match option.takes {
        Takes::Value(name) => arg.action(action).value_name(name).value_parser(ValueParser::os_string()),
        Takes::Maybe(name) => arg
            .action(action)
            .value_name(name)
            .value_parser(ValueParser::os_string())
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("yes"),
        Takes::Help => arg.action(ArgAction::Help).short('h'),
        Takes::Version => arg.action(ArgAction::Version).short('V'),
    }
}

/// Gives long options that are written with one dash, as in `-logfile`, their second dash.
fn with_two_dashes(args: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut options_ended = false;
    args.enumerate().map(move |(at, arg)| {
        options_ended |= arg == "--";
        if at > 0 && !options_ended && is_long_with_one_dash(&arg) {
            let mut with_two = OsString::from("-");
            with_two.push(arg);
            with_two
        } else {
            arg
        }
    })
}

fn is_long_with_one_dash(arg: &OsStr) -> bool {
    matches!(arg.as_encoded_bytes(), [b'-', first, second, ..]
        if first.is_ascii_alphabetic() && *second != b'=')
}

/// Puts what is wrong with the form into the project's own words, which name the remedy.
fn explain(error: &clap::Error) -> SettingsError {
    let text = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    // For an option this is its usage, such as `--logfile <FILE>`.
    let argument = text(ContextKind::InvalidArg);
    let name = argument.split([' ', '[', '=']).next().unwrap_or_default().to_owned();
    let option = OPTIONS.iter().find(|option| name.strip_prefix("--") == Some(option.long));
    match (error.kind(), option) {
        (ErrorKind::UnknownArgument, _) if !argument.starts_with('-') => {
            SettingsError::SecondGuest { argument }
        }
        (ErrorKind::UnknownArgument, _) => {
            let meant = closest(argument.trim_start_matches('-'), OPTIONS.iter().map(|option| option.long));
            SettingsError::UnknownOption { option: argument, meant }
        }
        (ErrorKind::ArgumentConflict, Some(_)) => SettingsError::OptionTwice { option: name },
        (ErrorKind::InvalidValue, Some(option)) if text(ContextKind::InvalidValue).is_empty() => {
            SettingsError::MissingValue { option: name, allowed: option.allowed }
        }
        _ => {
            let text = error.render().to_string();
            let line = text.lines().next().unwrap_or_default();
            let reason = line.strip_prefix("error: ").unwrap_or(line);
            SettingsError::CommandLine { reason: format!("{reason}. `kvm --help` lists the options.") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_one_that_clap_accepts() {
        command().debug_assert();
    }
}
