//! Error messages for an invalid command line or config file.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use super::table::USAGE;

/// Why [`Settings`](super::Settings) are invalid. The text is the complete message for the user.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The command line names no guest file.
    #[error(
        "No guest file is named: give the ELF file to run, as in `kvm hello.elf`. `kvm --help` lists the \
         options.\n\
         Unspecified elf file. {USAGE}"
    )]
    NoGuest,
    /// `kvm test` without a guest file.
    #[error(
        "No guest file is named: `kvm test a.elf b.elf` runs guests as tests. `kvm test --help` lists the options."
    )]
    NoTestGuest,
    /// An argument of `kvm test` that looks like a guest file.
    #[error("there is no file `{}`: arguments of `kvm test` that name no file are filters, which have no folder and no extension of a guest file.", guest.display())]
    MissingTestGuest {
        /// The file.
        guest: PathBuf,
    },
    /// An option of a run that makes no sense in a test.
    #[error(
        "--{option} makes no sense in a test, whose output is captured and which nobody watches: leave it out, or run the guest without `test`."
    )]
    NotInTests {
        /// The option.
        option: &'static str,
    },
    /// A guest file is named although the guest is received from another host.
    #[error(
        "Elf file cannot be specified together with -migr. {USAGE}\n-migr receives a running guest from \
         another kvm: leave out either -migr or `{}`.",
        guest.display()
    )]
    GuestWithMigration {
        /// The guest file.
        guest: PathBuf,
    },
    /// A port to receive a guest on without the option to receive one.
    #[error(
        "-migrport used without -migr. {USAGE}\n-migrport is the port on which -migr waits for a guest: \
         add -migr or leave out -migrport."
    )]
    MigrationPortAlone,
    /// The guest would stop where no debugger could let it go on.
    #[error(
        "--magic-break stops the guest in a debugger, and none can connect: add --gdb, --gdb-nowait, --console or --dashboard \
         (or `enable = yes` to [gdb-server] or [console] in the config file)."
    )]
    MagicBreakAlone,
    /// `--dashboard` with nothing to show it on.
    #[error(
        "--dashboard is shown on the terminal, and --display none keeps that empty: leave one of them out"
    )]
    DashboardWithoutDisplay,
    /// A CD-ROM drive beside four disks.
    #[error(
        "--cdrom is one drive too many: a machine has at most four on IDE, and there are four disks already. Leave one of \
         them out."
    )]
    TooManyDrives,
    /// `--bios` and a kind of guest file that has no firmware.
    #[error(
        "--bios starts firmware in ROM, and --boot {kind} something else; leave one of them out (a kernel is started without \
         firmware)"
    )]
    BiosWithKind {
        /// The kind.
        kind: &'static str,
    },
    /// With `--bios`, the guest file is a disk.
    #[error(
        "with --bios, {} is a disk, and there are four already, the most that a machine has on IDE; leave one out, or give \
         others as `--disk FILE,virtio`",
        guest.display()
    )]
    TooManyDisksForBios {
        /// The guest file.
        guest: PathBuf,
    },
    /// A guest would be accepted from any host on the network without authentication.
    #[error(
        "-migrport {address}: other hosts can reach this address, and could read the guest or send another \
         one: give --tls-cert, --tls-key and --tls-ca, or --migr-key, on both sides, or \
         wait on 127.0.0.1."
    )]
    MigrationUnprotected {
        /// The address.
        address: IpAddr,
    },
    /// The set of TLS files is incomplete.
    #[error("--tls-cert, --tls-key and --tls-ca belong together: give all three, or none.")]
    TlsIncomplete,
    /// Two authentication methods.
    #[error("--migr-key takes the place of --tls-cert, --tls-key and --tls-ca: leave out either it or them.")]
    TlsAndKey,
    /// A second guest file.
    #[error(
        "`{argument}` is a second guest file: only one can be run. A file for \
         the guest is given with --module, text for it with --append; the value of --gdb and its like is \
         attached with `=`.\n\
         Incorrect Format. {USAGE}"
    )]
    SecondGuest {
        /// The second file.
        argument: String,
    },
    /// An unexpected argument after `kvm check`.
    #[error(
        "`{argument}` is not expected there. A guest file named check is run as \
         `kvm ./check`.\n\
         Incorrect Format. {}",
        super::check::USAGE
    )]
    CheckArgument {
        /// The argument.
        argument: String,
    },
    /// An unexpected argument after `kvm debug-client`.
    #[error(
        "`{argument}` {reason}. A guest file named debug-client is run as `kvm \
         ./debug-client`.\n\
         Incorrect Format. {}",
        super::debug_client::USAGE
    )]
    DebugClientArgument {
        /// The argument.
        argument: String,
        /// What is wrong with it: a predicate.
        reason: String,
    },
    /// A missing argument after `kvm debug-client`.
    #[error(
        "{what} is missing. For example: kvm debug-client 127.0.0.1 5553 0x1000 0x2000\n\
         Incorrect Format. {}",
        super::debug_client::USAGE
    )]
    DebugClientMissing {
        /// What is missing.
        what: &'static str,
    },
    /// An unexpected argument after `kvm console`.
    #[error(
        "`{argument}` is not expected there. A guest file named console is run \
         as `kvm ./console`.\n\
         Incorrect Format. {}",
        super::console::USAGE
    )]
    ConsoleArgument {
        /// The argument.
        argument: String,
    },
    /// An unexpected or missing argument after `kvm check-snapshot`.
    #[error(
        "{problem}. A guest file named check-snapshot is run as `kvm \
         ./check-snapshot`.\n\
         Incorrect Format. {}",
        super::check_snapshot::USAGE
    )]
    CheckSnapshotArgument {
        /// What is wrong.
        problem: String,
    },
    /// A guest file is given together with a snapshot.
    #[error(
        "`{}` cannot be run together with --restore. {USAGE}\n--restore continues the guest in a snapshot: \
         leave out one of the two.",
        guest.display()
    )]
    GuestWithRestore {
        /// The guest file.
        guest: PathBuf,
    },
    /// An option for the start of a guest or for its machine is given together with a snapshot.
    #[error(
        "--{option} cannot be given together with --restore. {USAGE}\nThe snapshot decides that: leave \
         --{option} out."
    )]
    OptionWithRestore {
        /// The option, without dashes.
        option: &'static str,
    },
    /// An unknown option.
    #[error("There is no option `{option}`{} `kvm --help` lists the options; a value that \
         starts with a dash is attached with `=`.\n\
         Incorrect Format. {USAGE}",
        meant.map(|meant| format!(", did you mean `--{meant}`?")).unwrap_or_else(|| ".".to_owned()))]
    UnknownOption {
        /// The option as it was written, with two dashes.
        option: String,
        /// The long option that was probably intended, without dashes.
        meant: Option<&'static str>,
    },
    /// An option of another program that has no equivalent, or with a value that has none.
    #[error(
        "`{option}`, an option of {program}, is refused. {remedy} docs/from-qemu.md lists the options of QEMU \
         and Bochs."
    )]
    OtherProgram {
        /// The option as it was written, with its value.
        option: String,
        /// The name of the program.
        program: String,
        /// Sentences that say what to use instead.
        remedy: String,
    },
    /// A non-repeatable option was given twice.
    #[error(
        "{option} is given twice: leave out one of the two.\n\
         Incorrect Format. {USAGE}"
    )]
    OptionTwice {
        /// The option.
        option: String,
    },
    /// An option lacks its value.
    #[error(
        "{option} needs a value: {allowed}. A value that starts with a dash is \
         attached with `=`, as in {option}=-x.\n\
         Incorrect Format. {USAGE}"
    )]
    MissingValue {
        /// The option.
        option: String,
        /// The allowed values.
        allowed: &'static str,
    },
    /// An option that takes no value was given one.
    #[error(
        "{option} takes no value: leave out `={value}`.\n\
         Incorrect Format. {USAGE}"
    )]
    UnexpectedValue {
        /// The option.
        option: String,
        /// The value.
        value: String,
    },
    /// An unexpected argument after `kvm completions` or `kvm man`.
    #[error(
        "kvm {command}: `{argument}` is not expected there. Use: {}. A guest file named {command} is run as \
         `kvm ./{command}`.",
        format!("kvm {command} {arguments}").trim_end()
    )]
    CommandArgument {
        /// The command.
        command: &'static str,
        /// The form of its arguments.
        arguments: &'static str,
        /// The argument.
        argument: String,
    },
    /// No shell after `kvm completions`.
    #[error("kvm completions needs the name of a shell. Use: kvm completions bash|zsh|fish")]
    ShellMissing,
    /// An unexpected argument after `kvm vscode`.
    #[error(
        "`{argument}` is not expected there. A guest file named vscode is run \
         as `kvm ./vscode`.\n\
         Incorrect Format. {}",
        super::vscode::USAGE
    )]
    VscodeArgument {
        /// The argument.
        argument: String,
    },
    /// Another error in the command line.
    #[error(
        "{reason}. `kvm --help` lists the options.\n\
         Incorrect Format. {USAGE}"
    )]
    CommandLine {
        /// The error text of the command-line parser.
        reason: String,
    },
    /// An invalid value.
    #[error("{origin}: `{value}` {reason}; allowed: {allowed}")]
    Value {
        /// Where the value was given, and for what.
        origin: Box<ValueOrigin>,
        /// The value.
        value: String,
        /// What is wrong with it: a predicate, such as "is not a number".
        reason: String,
        /// The allowed values.
        allowed: &'static str,
    },
    /// Two serial ports with the same backend.
    #[error(
        "serial ports {first} and {second} cannot both be {end}: add --serial {first}=log or --serial \
         {second}=log, or set com{first} or com{second} in [serial] of the config file to log"
    )]
    SerialBackendTwice {
        /// The lower of the two ports, from 1.
        first: usize,
        /// The higher of the two ports.
        second: usize,
        /// The shared value.
        end: String,
    },
    /// The debug console and a serial port were given the same socket.
    #[error(
        "the debug console and a serial port cannot both be {end}: choose another place with --debugcon, or \
         `log` to have both in the log"
    )]
    DebugConsoleBackendTwice {
        /// The shared value.
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
    /// An invalid line in the config file.
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
    /// An unknown section.
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
        /// The section that was probably intended.
        meant: Option<&'static str>,
        /// All sections.
        sections: Vec<&'static str>,
    },
    /// A key that is unknown in its section.
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
        /// The name that was probably intended, in backquotes, with its section if that is another one.
        meant: Option<String>,
        /// All keys of the section, or all keys with their sections where there is no section.
        keys: Vec<String>,
    },
    /// A non-repeatable key was given twice.
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

/// Where a value was given, and for which option or key.
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
