//! What the user is told when the command line or the config file cannot be meant.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use super::table::USAGE;

/// Why there are no [`Settings`](super::Settings). The text is the whole message for the user.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The command line names no guest file.
    #[error(
        "Unspecified elf file. {USAGE}\nName the guest file to run, for example: kvm hello.elf. \
         `kvm --help` lists the options."
    )]
    NoGuest,
    /// A guest file is named although the guest is to arrive from elsewhere.
    #[error(
        "Elf file cannot be specified together with -migr. {USAGE}\n-migr receives a running guest from \
         another kvm: leave out either -migr or `{}`.",
        guest.display()
    )]
    GuestWithMigration {
        /// The guest file.
        guest: PathBuf,
    },
    /// A port to receive a guest on, but nothing says that one is to be received.
    #[error(
        "-migrport used without -migr. {USAGE}\n-migrport is the port on which -migr waits for a guest: \
         add -migr or leave out -migrport."
    )]
    MigrationPortAlone,
    /// A guest would be taken from anybody on the network.
    #[error(
        "-migrport {address}: other hosts can reach this address, and whoever does could read the guest \
         or send another one: give --tls-cert, --tls-key and --tls-ca, or --migr-key, on both sides, or \
         wait on 127.0.0.1."
    )]
    MigrationUnprotected {
        /// The address.
        address: IpAddr,
    },
    /// Not all of a side's TLS files.
    #[error("--tls-cert, --tls-key and --tls-ca belong together: give all three, or none.")]
    TlsIncomplete,
    /// Two ways to prove who one is.
    #[error("--migr-key takes the place of --tls-cert, --tls-key and --tls-ca: leave out either it or them.")]
    TlsAndKey,
    /// A second guest file.
    #[error(
        "Incorrect Format. {USAGE}\n`{argument}` is a second guest file: only one can be run. A file for \
         the guest is given with --module, text for it with --append; the value of --gdb and its like is \
         attached with `=`."
    )]
    SecondGuest {
        /// The second file.
        argument: String,
    },
    /// Something after `kvm check` that is not expected there.
    #[error(
        "Incorrect Format. {}\n`{argument}` is not expected there. A guest file named check is run as \
         `kvm ./check`.",
        super::check::USAGE
    )]
    CheckArgument {
        /// The argument.
        argument: String,
    },
    /// Something after `kvm debug-client` that is not expected there.
    #[error(
        "Incorrect Format. {}\n`{argument}` {reason}. A guest file named debug-client is run as `kvm \
         ./debug-client`.",
        super::debug_client::USAGE
    )]
    DebugClientArgument {
        /// The argument.
        argument: String,
        /// What is wrong with it: a predicate.
        reason: String,
    },
    /// Something that is missing after `kvm debug-client`.
    #[error(
        "Incorrect Format. {}\n{what} is missing. For example: kvm debug-client 127.0.0.1 5553 0x1000 0x2000",
        super::debug_client::USAGE
    )]
    DebugClientMissing {
        /// What is missing.
        what: &'static str,
    },
    /// Something after `kvm console` that is not expected there.
    #[error(
        "Incorrect Format. {}\n`{argument}` is not expected there. A guest file named console is run \
         as `kvm ./console`.",
        super::console::USAGE
    )]
    ConsoleArgument {
        /// The argument.
        argument: String,
    },
    /// Something after `kvm check-snapshot` that is not expected there, or nothing.
    #[error(
        "Incorrect Format. {}\n{problem}. A guest file named check-snapshot is run as `kvm \
         ./check-snapshot`.",
        super::check_snapshot::USAGE
    )]
    CheckSnapshotArgument {
        /// What is wrong.
        problem: String,
    },
    /// A guest file is named although a snapshot is to be continued.
    #[error(
        "`{}` cannot be run together with --restore. {USAGE}\n--restore continues the guest in a snapshot: \
         leave out one of the two.",
        guest.display()
    )]
    GuestWithRestore {
        /// The guest file.
        guest: PathBuf,
    },
    /// An option about the start of a guest, or its machine, although one is to be continued.
    #[error(
        "--{option} cannot be given together with --restore. {USAGE}\nThe snapshot decides that: leave \
         --{option} out."
    )]
    OptionWithRestore {
        /// The option, without dashes.
        option: &'static str,
    },
    /// An option that there is not.
    #[error("Incorrect Format. {USAGE}\nThere is no option `{option}`{} `kvm --help` lists the options; a value that \
         starts with a dash is attached with `=`.",
        meant.map(|meant| format!(", did you mean `--{meant}`?")).unwrap_or_else(|| ".".to_owned()))]
    UnknownOption {
        /// The option as it was written, with two dashes.
        option: String,
        /// The long option that was probably meant, without dashes.
        meant: Option<&'static str>,
    },
    /// An option that can be given once was given again.
    #[error("Incorrect Format. {USAGE}\n{option} is given twice: leave out one of the two.")]
    OptionTwice {
        /// The option.
        option: String,
    },
    /// An option stands without the value it needs.
    #[error(
        "Incorrect Format. {USAGE}\n{option} needs a value: {allowed}. A value that starts with a dash is \
         attached with `=`, as in {option}=-x."
    )]
    MissingValue {
        /// The option.
        option: String,
        /// What the value can be.
        allowed: &'static str,
    },
    /// An option that takes no value stands with one.
    #[error("Incorrect Format. {USAGE}\n{option} takes no value: leave out `={value}`.")]
    UnexpectedValue {
        /// The option.
        option: String,
        /// The value.
        value: String,
    },
    /// Something after `kvm vscode` that is not expected there.
    #[error(
        "Incorrect Format. {}\n`{argument}` is not expected there. A guest file named vscode is run \
         as `kvm ./vscode`.",
        super::vscode::USAGE
    )]
    VscodeArgument {
        /// The argument.
        argument: String,
    },
    /// A command line that is wrong in another way.
    #[error("Incorrect Format. {USAGE}\n{reason}. `kvm --help` lists the options.")]
    CommandLine {
        /// What is wrong, in the words of the command-line reader.
        reason: String,
    },
    /// A value that is not allowed.
    #[error("{origin}: `{value}` {reason}; allowed: {allowed}")]
    Value {
        /// Where the value was given, and for what.
        origin: Box<ValueOrigin>,
        /// The value.
        value: String,
        /// What is wrong with it: a predicate, such as "is not a number".
        reason: String,
        /// What the value can be.
        allowed: &'static str,
    },
    /// Two serial ports with the same far end.
    #[error(
        "serial ports {first} and {second} cannot both be {end}: add --serial {first}=log or --serial \
         {second}=log, or set com{first} or com{second} in [serial] of the config file to log"
    )]
    SerialBackendTwice {
        /// The lower of the two ports, from 1.
        first: usize,
        /// The higher of the two ports.
        second: usize,
        /// What both were given.
        end: String,
    },
    /// The debug console and a serial port were given the same file or socket.
    #[error(
        "the debug console and a serial port cannot both be {end}: choose another place with --debugcon, or \
         `log` to have both in the log"
    )]
    DebugConsoleBackendTwice {
        /// What both were given.
        end: String,
    },
    /// A serial port's file is the log file.
    #[error(
        "`{}` is the log file, and a serial port would write over it: use `log` as the port's backend, or \
         another file (--logfile names the log)",
        file.display()
    )]
    SerialBackendIsLog {
        /// The file.
        file: PathBuf,
    },
    /// The config file cannot be read.
    #[error("cannot read the config file `{}`: {source}", file.display())]
    ConfigUnreadable {
        /// The file.
        file: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// A line of the config file that is none of what lines can be.
    #[error(
        "{}:{line}: `{text}` is neither `[section]` nor `key = value` nor a comment (`; ...`): {reason}",
        file.display()
    )]
    ConfigLine {
        /// The file.
        file: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// The line, shortened if it is long.
        text: String,
        /// Why not.
        reason: &'static str,
    },
    /// A section that there is not.
    #[error(
        "{}:{line}: there is no section [{section}]{}; sections: {}",
        file.display(),
        meant.map(|meant| format!(", did you mean [{meant}]?")).unwrap_or_default(),
        sections.join(", ")
    )]
    UnknownSection {
        /// The file.
        file: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// The section's name.
        section: String,
        /// The section that was probably meant.
        meant: Option<&'static str>,
        /// All sections.
        sections: Vec<&'static str>,
    },
    /// A key that its section has not.
    #[error(
        "{}:{line}: {} has no key `{key}`{}; keys: {}",
        file.display(),
        section_name(*section),
        meant.as_deref().map(|meant| format!(", did you mean {meant}?")).unwrap_or_default(),
        keys.join(", ")
    )]
    UnknownKey {
        /// The file.
        file: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// The section; none before the first section of the file.
        section: Option<&'static str>,
        /// The key's name.
        key: String,
        /// What was probably meant, in backquotes, with its section if that is another one.
        meant: Option<String>,
        /// All keys of the section, or all keys with their sections where there is no section.
        keys: Vec<String>,
    },
    /// A key that can be given once was given again.
    #[error(
        "{}:{line}: [{section}] {key} is given for the second time, after line {first}: leave out one of \
         the two",
        file.display()
    )]
    KeyTwice {
        /// The file.
        file: PathBuf,
        /// The number of the second line, from 1.
        line: usize,
        /// The number of the first line, from 1.
        first: usize,
        /// The section.
        section: &'static str,
        /// The key.
        key: &'static str,
    },
}

/// Where a value was given, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueOrigin {
    /// For an option on the command line.
    Option {
        /// The long option, without dashes.
        long: &'static str,
    },
    /// After a command such as `kvm console`.
    Argument {
        /// The command.
        command: &'static str,
    },
    /// For a key in the config file.
    Key {
        /// The file.
        file: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// The section.
        section: &'static str,
        /// The key.
        key: &'static str,
    },
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueOrigin::Option { long } => write!(f, "--{long}"),
            ValueOrigin::Argument { command } => write!(f, "kvm {command}"),
            ValueOrigin::Key { file, line, section, key } => {
                write!(f, "{}:{line}: [{section}] {key}", file.display())
            }
        }
    }
}

fn section_name(section: Option<&str>) -> String {
    section.map_or("the part before the first section".into(), |name| format!("[{name}]"))
}
