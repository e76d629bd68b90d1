//! The command line.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser};

use super::DebugClientSpec;
use super::ListenAddress;
use super::closest::closest;
use super::commands::COMMANDS;
use super::draft::Draft;
use super::error::{SettingsError, ValueOrigin};
use super::help;
use super::spellings::{self, Note};
use super::table::{ADDRESS, OptionArgument, OptionSpec, options};
use super::test::TestCommandLine;
use super::values;

/// The request of a command line.
pub(super) enum ParsedCommand {
    /// Run a guest with these arguments.
    Run(CommandLine),
    /// Describe the guest of a run with these arguments.
    Inspect {
        /// The run.
        run: CommandLine,
        /// Print JSON instead of a table.
        json: bool,
    },
    /// Run guests as tests.
    Test(Box<TestCommandLine>),
    /// Report what KVM supports on this host.
    Check {
        /// The device of KVM.
        device: PathBuf,
        /// Print JSON instead of a table.
        json: bool,
    },
    /// Request data from a debug server.
    DebugClient(DebugClientSpec),
    /// Connect the terminal to a console.
    Console {
        /// The address of the console.
        address: ListenAddress,
        /// Send the commands of a script after one that failed.
        keep_going: bool,
    },
    /// Check that a snapshot file is complete and undamaged.
    CheckSnapshot {
        /// The file.
        file: PathBuf,
    },
    /// The answer to `--help`.
    Help(String),
    /// The answer to `--version`.
    Version(String),
    /// The output of a command that prints a text.
    Document(String),
    /// Write configuration files for editors.
    Vscode {
        /// The target folder.
        folder: PathBuf,
        /// Replace existing files.
        force: bool,
    },
}

/// A parsed command line whose values are not checked yet.
#[derive(Default)]
pub(super) struct CommandLine {
    guest: Option<OsString>,
    /// In the order given.
    values: Vec<(&'static OptionSpec, OsString)>,
    /// About options of other programs.
    notes: Vec<Note>,
}

/// Parses a command line, whose first item is the program's name.
///
/// # Errors
///
/// [`SettingsError`] for the first invalid argument.
pub(super) fn read(args: impl Iterator<Item = OsString>) -> Result<ParsedCommand, SettingsError> {
    let args: Vec<OsString> = args.collect();
    if let Some(command) = COMMANDS.iter().find(|it| args.get(1).is_some_and(|first| first == it.name)) {
        return (command.read)(args);
    }
    read_run(args)
}

/// Parses the command line of a run, without a command.
///
/// # Errors
///
/// [`SettingsError`] for the first invalid argument.
pub(super) fn read_run(args: Vec<OsString>) -> Result<ParsedCommand, SettingsError> {
    let translated = spellings::translate(args)?;
    let (args, words) = split_words(translated.args);
    let mut parser = Parser::from_iter(with_two_dashes(args.into_iter()));
    let mut command_line = CommandLine { notes: translated.notes, ..CommandLine::default() };
    while let Some(arg) = parser.next().map_err(|e| SettingsError::CommandLine { reason: e.to_string() })? {
        let option = match arg {
            Arg::Value(guest) => {
                command_line.set_guest(guest)?;
                continue;
            }
            Arg::Long(name) => long(name)?,
            Arg::Short(letter) => short(letter)?,
        };
        match option.takes {
            OptionArgument::Value(_) => {
                let value = value(&mut parser, option)?;
                command_line.add(option, value)?;
            }
            OptionArgument::Maybe(shown) => {
                let value = parser.optional_value();
                let value = value.or_else(|| address_after_blank(&mut parser, shown));
                command_line.add(option, value.unwrap_or_else(|| "yes".into()))?;
            }
            OptionArgument::Help => {
                return no_value(&mut parser, option).map(|()| ParsedCommand::Help(help::text()));
            }
            OptionArgument::Version => {
                return no_value(&mut parser, option).map(|()| ParsedCommand::Version(help::version()));
            }
        }
    }
    command_line.set_words(words)?;
    Ok(ParsedCommand::Run(command_line))
}

/// Splits the words behind `--` off.
fn split_words(mut args: Vec<OsString>) -> (Vec<OsString>, Vec<OsString>) {
    match args.iter().position(|arg| arg == "--") {
        Some(end) => {
            let words = args.split_off(end + 1);
            args.pop();
            (args, words)
        }
        None => (args, Vec::new()),
    }
}

impl CommandLine {
    /// The guest file.
    pub(super) fn guest(&self) -> Option<&Path> {
        self.guest.as_deref().map(Path::new)
    }

    /// The config file given on the command line.
    pub(super) fn config(&self) -> Option<&Path> {
        let (_, file) = self.values.iter().find(|(option, _)| option.long == "config")?;
        Some(Path::new(file))
    }

    /// True if the option with this name is given.
    pub(super) fn has(&self, long: &str) -> bool {
        self.values.iter().any(|(option, _)| option.long == long)
    }

    /// About the options of other programs.
    pub(super) fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Applies all values to the draft.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`] for the first invalid value.
    pub(super) fn apply(&self, draft: &mut Draft) -> Result<(), SettingsError> {
        for (option, value) in &self.values {
            draft.given.push(option.long);
            let result = match value.to_str() {
                Some(text) => (option.set)(draft, text),
                // The guest file and the config file may have any name. All other values must be UTF-8, as
                // in the config file.
                None if option.long == "config" => Ok(()),
                None => Err("is not UTF-8 text".to_owned()),
            };
            result.map_err(|reason| SettingsError::Value {
                origin: Box::new(ValueOrigin::Option { long: option.long }),
                value: value.to_string_lossy().into_owned(),
                reason,
                allowed: option.allowed,
            })?;
        }
        Ok(())
    }

    fn set_guest(&mut self, guest: OsString) -> Result<(), SettingsError> {
        if self.guest.is_some() {
            let argument = guest.to_string_lossy().into_owned();
            return Err(SettingsError::SecondGuest { argument });
        }
        self.guest = Some(guest);
        Ok(())
    }

    /// Takes the words behind `--`: the guest file, unless there is one before, and then the guest's command line.
    fn set_words(&mut self, words: Vec<OsString>) -> Result<(), SettingsError> {
        let mut words = words.into_iter();
        if self.guest.is_none() {
            self.guest = words.next();
        }
        let words: Vec<OsString> = words.collect();
        if words.is_empty() { Ok(()) } else { self.add(long("append")?, words.join(OsStr::new(" "))) }
    }

    fn add(&mut self, option: &'static OptionSpec, value: OsString) -> Result<(), SettingsError> {
        if !option.repeatable && self.values.iter().any(|(given, _)| given.long == option.long) {
            return Err(SettingsError::OptionTwice { option: format!("--{}", option.long) });
        }
        self.values.push((option, value));
        Ok(())
    }
}

/// The option with this name, given without dashes.
fn long(name: &str) -> Result<&'static OptionSpec, SettingsError> {
    options().find(|option| option.long == name).ok_or_else(|| SettingsError::UnknownOption {
        option: format!("--{name}"),
        meant: closest(name, options().map(|option| option.long)),
    })
}

/// The option with the short form `letter`.
fn short(letter: char) -> Result<&'static OptionSpec, SettingsError> {
    options()
        .find(|option| option.takes.short() == Some(letter))
        .ok_or_else(|| SettingsError::UnknownOption { option: format!("-{letter}"), meant: None })
}

/// The value of `option`, which `parser` has just read: attached with `=`, or the next argument.
fn value(parser: &mut Parser, option: &'static OptionSpec) -> Result<OsString, SettingsError> {
    let value = parser.optional_value().or_else(|| parser.try_raw_args()?.next_if(|next| !has_dash(next)));
    if let Some(value) = value {
        return Ok(value);
    }
    // The hint for an unknown option also helps if the argument was meant as the value.
    match parser.next() {
        Ok(Some(Arg::Long(name))) => {
            long(name)?;
        }
        Ok(Some(Arg::Short(letter))) => {
            short(letter)?;
        }
        _ => {}
    }
    Err(SettingsError::MissingValue { option: format!("--{}", option.long), allowed: option.allowed })
}

/// The value of an option whose value may be left out and is shown as `shown`, if it is the next argument. That is
/// certain only for an address with a port and for a socket: anything else can be the guest file.
fn address_after_blank(parser: &mut Parser, shown: &str) -> Option<OsString> {
    let is_address = |text: &str| text.starts_with("unix:") || values::is_address_with_port(text);
    match shown {
        ADDRESS => parser.try_raw_args()?.next_if(|next| next.to_str().is_some_and(is_address)),
        _ => None,
    }
}

/// Refuses an attached value of `option`, which takes none.
fn no_value(parser: &mut Parser, option: &'static OptionSpec) -> Result<(), SettingsError> {
    match parser.optional_value() {
        None => Ok(()),
        Some(value) => Err(SettingsError::UnexpectedValue {
            option: format!("--{}", option.long),
            value: value.to_string_lossy().into_owned(),
        }),
    }
}

/// Adds the second dash to long options written with one, as in `-logfile`.
pub(super) fn with_two_dashes(args: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
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

/// True for an argument that begins like an option; a single dash is a name.
pub(super) fn has_dash(arg: &OsStr) -> bool {
    matches!(arg.as_encoded_bytes(), [b'-', _, ..])
}
