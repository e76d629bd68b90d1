//! What the user asked for: command line and `config.ini`, checked and put into one [`Settings`].
//!
//! `table` says which options there are; everything else here is derived from it. The command line
//! is stronger than the config file, which is stronger than the defaults.

mod check;
mod check_snapshot;
pub(crate) mod closest;
mod command;
mod config_file;
mod console;
mod debug_client;
mod draft;
mod error;
mod help;
mod listen_address;
mod reference;
mod table;
mod values;
mod vscode;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::{SettingsError, ValueOrigin};
pub use reference::reference;

use command::ParsedCommand;
use config_file::ConfigFile;
use draft::{Draft, ValueSource};

/// The config file that is read when `--config` names no other; it need not exist.
pub const DEFAULT_CONFIG: &str = "config.ini";

/// The TCP port of a console when nobody names another.
pub const CONSOLE_PORT: u16 = 9000;

/// The size of a guest's memory is a multiple of this, in bytes.
pub const RAM_GRANULE: u64 = 1 << 20;

/// Largest size of a guest's memory in bytes: what 46 physical address bits leave.
pub const MAX_RAM: u64 = 1 << 45;

/// What the command line asks the program to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Invocation {
    /// Run a guest.
    Run(Box<Settings>),
    /// Tell what KVM does on this host.
    Check {
        /// As one JSON object instead of a table.
        json: bool,
    },
    /// Connect somebody to the console of a guest that runs.
    Console {
        /// Where the console listens.
        address: ListenAddress,
    },
    /// Read a snapshot file and tell whether it is whole.
    CheckSnapshot {
        /// The file.
        file: PathBuf,
    },
    /// Ask another kvm's debug server.
    DebugClient(DebugClientSpec),
    /// Print this text, the answer to `--help`, and end.
    Help(String),
    /// Print this text, the answer to `--version`, and end.
    Version(String),
    /// Write the configuration that editors and gdb need to debug a guest.
    Vscode {
        /// Into this folder.
        folder: PathBuf,
        /// Replace files that are there.
        force: bool,
    },
}

/// Reads the command line `args`, whose first item is the program's name, and the config file.
///
/// The config file is the one `--config` names, else [`DEFAULT_CONFIG`] in the working directory if
/// there is one. A long option may be written with one dash or with two.
///
/// # Errors
///
/// [`SettingsError`] for the first thing in either that cannot be meant; its text is complete,
/// with the remedy.
pub fn from_args(args: impl Iterator<Item = OsString>) -> Result<Invocation, SettingsError> {
    from_args_and_config(args, Path::new(DEFAULT_CONFIG))
}

/// [`from_args`] with `default_config` in the place of [`DEFAULT_CONFIG`].
fn from_args_and_config(
    args: impl Iterator<Item = OsString>,
    default_config: &Path,
) -> Result<Invocation, SettingsError> {
    let command_line = match command::read(args)? {
        ParsedCommand::Run(command_line) => command_line,
        ParsedCommand::Check { json } => return Ok(Invocation::Check { json }),
        ParsedCommand::Console { address } => return Ok(Invocation::Console { address }),
        ParsedCommand::CheckSnapshot { file } => return Ok(Invocation::CheckSnapshot { file }),
        ParsedCommand::DebugClient(wanted) => return Ok(Invocation::DebugClient(wanted)),
        ParsedCommand::Help(text) => return Ok(Invocation::Help(text)),
        ParsedCommand::Version(text) => return Ok(Invocation::Version(text)),
        ParsedCommand::Vscode { folder, force } => return Ok(Invocation::Vscode { folder, force }),
    };
    let config = match command_line.config() {
        Some(file) => Some(ConfigFile::read(file)?),
        None => ConfigFile::read_if_there(default_config)?,
    };
    let mut draft = Draft::from_defaults()?;
    if let Some(config) = config {
        draft.source = ValueSource::File;
        config.apply(&mut draft)?;
    }
    draft.source = ValueSource::CommandLine;
    command_line.apply(&mut draft)?;
    draft.finish(command_line.guest()).map(|settings| Invocation::Run(Box::new(settings)))
}

/// Everything a run depends on that the user can choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The guest file; empty when [`Settings::migration`] or [`Settings::restore`] says that the guest
    /// comes from elsewhere.
    pub guest: PathBuf,
    /// Guest RAM in bytes; a multiple of 1 MiB.
    pub memory: u64,
    /// Unmap page 0, enforce segment permissions, guard the boot stack.
    pub strict: bool,
    /// Command line passed to the guest.
    pub append: String,
    /// Files handed to the guest as modules, in this order.
    pub modules: Vec<ModuleSpec>,
    /// Where the guest's text goes.
    pub display: DisplayMode,
    /// Print the final VGA text screen on standard output when the run is over.
    pub dump_screen: bool,
    /// The far ends of COM1 to COM4.
    pub serial: [SerialBackend; 4],
    /// The backend of the debug console at port 0xE9.
    pub debug_console: SerialBackend,
    /// Who gets what is typed.
    pub keys: KeyTarget,
    /// Keyboard layout used to turn characters into key presses.
    pub layout: LayoutName,
    /// The log file.
    pub log: LogSpec,
    /// End the run after this long.
    pub timeout: Option<Duration>,
    /// End the run when the guest resets the machine, instead of restarting it.
    pub no_reboot: bool,
    /// Serve gdb in this way.
    pub gdb: Option<GdbSpec>,
    /// What gdb is told that the guest's processor is.
    pub gdb_arch: GdbArch,
    /// The place where memory and registers can be asked for while the guest runs.
    pub debug_server: Option<ListenAddress>,
    /// Serve a console in this way.
    pub console: Option<ConsoleSpec>,
    /// Continue the machine in this snapshot file instead of starting a guest.
    pub restore: Option<PathBuf>,
    /// When the run is over, save the machine in this file.
    pub snapshot_at_exit: Option<PathBuf>,
    /// Receive a running guest here instead of loading one from a file.
    pub migration: Option<SocketAddr>,
    /// The guest is stopped for about this long at most when it moves to another host.
    pub downtime: Duration,
    /// How both sides of a migration prove who they are.
    pub security: MigrationSecurity,
}

/// How both sides of a migration prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MigrationSecurity {
    /// They do not: both are on this host.
    Plain,
    /// With certificates.
    Tls {
        /// The file with this side's certificate, and those between it and the authority.
        cert: PathBuf,
        /// The file with its private key.
        key: PathBuf,
        /// The file with the authorities that the other side's certificate may be from.
        ca: PathBuf,
    },
    /// With a secret that both have in this file.
    Key(PathBuf),
}

/// Where commands about the machine are taken while the guest runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleSpec {
    /// The place that is listened on: on this host's loopback, or a unix socket.
    pub address: ListenAddress,
    /// True if the user named the place: then it has to be that one. Otherwise the next port that is free
    /// will do.
    pub chosen: bool,
}

/// How gdb is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GdbSpec {
    /// The place that is listened on.
    pub address: ListenAddress,
    /// The guest's first instruction waits for gdb; otherwise the guest runs at once.
    pub wait: bool,
}

/// A place that other programs connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address and a TCP port, never 0.
    Tcp(SocketAddr),
    /// The path of a unix stream socket.
    Unix(PathBuf),
}

/// What a debug server is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugClientSpec {
    /// Where it listens.
    pub address: ListenAddress,
    /// First guest-physical address of the memory.
    pub start: u64,
    /// The address after the last one, at most `u32::MAX` bytes from `start`.
    pub end: u64,
}

/// What gdb takes the guest's processor for, from its connection on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GdbArch {
    /// 64-bit registers, whatever mode the guest is in.
    X86_64,
    /// The low 32 bits of the first eight registers; 32-bit code.
    I386,
    /// The same registers; 16-bit code.
    I8086,
}

impl fmt::Display for ListenAddress {
    /// `address:port` or the path, as gdb's `target remote` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A file handed to the guest as a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleSpec {
    /// The file.
    pub path: PathBuf,
    /// Its command line, possibly empty.
    pub arguments: String,
}

/// Where the guest's text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisplayMode {
    /// Serial text as it comes; the VGA screen takes over when the guest starts using it and
    /// standard output is a terminal.
    Auto,
    /// The VGA screen from the start.
    Vga,
    /// Serial text only.
    Serial,
    /// Nothing.
    None,
}

/// The far end of a serial port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SerialBackend {
    /// Standard output, and standard input when it is not typed on the keyboard.
    Stdio,
    /// Lines in the log file.
    Log,
    /// A file that is created or truncated.
    File(PathBuf),
    /// A unix stream socket that is listened on.
    Unix(PathBuf),
    /// A new pseudo-terminal; its name is told.
    Pty,
    /// Nobody.
    Null,
}

/// Who gets what is typed on standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyTarget {
    /// Whoever asks first: the keyboard controller or the serial port on `stdio`.
    Auto,
    /// Always the PS/2 keyboard.
    Keyboard,
    /// Always the serial port on `stdio`.
    Serial,
}

/// Name of a keyboard layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutName {
    /// United States.
    Us,
    /// Italian.
    It,
}

/// The log file and what goes into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSpec {
    /// The file; truncated at the start of the run.
    pub file: PathBuf,
    /// True if the user named the file: then failing to open it is an error, else only a warning.
    pub file_chosen: bool,
    /// Least severe level that is written.
    pub level: tracing::Level,
    /// Levels for single rooms, in the syntax of `tracing_subscriber::filter::Targets`, for
    /// example `kvm::devices=debug,kvm::boot=trace`; possibly empty.
    pub filter: String,
}
