//! User settings: command line and `config.ini`, checked and combined into one [`Settings`].
//!
//! `table` defines the options; everything else here is derived from it. The command line takes precedence
//! over the config file, which takes precedence over the defaults.

mod boot_spec;
mod check;
mod check_snapshot;
pub(crate) mod closest;
mod command;
mod commands;
mod completions;
mod config_file;
mod console;
mod crash_files;
mod debug_client;
mod draft;
mod error;
mod help;
mod inspect;
mod listen_address;
mod log_spec;
mod machine_modes;
mod man;
mod reference;
mod spellings;
mod summary;
mod table;
mod test;
mod values;
mod vga_mode;
mod vscode;

#[cfg(test)]
#[path = "settings_test.rs"]
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use boot_spec::{
    BOOT_KINDS, BootKind, BootKindSpec, BootSpec, EntryAddress, SymbolFileSpec, VgaBiosSpec, table_of_kinds,
};
pub use crash_files::CrashFiles;
pub use error::{SettingsError, ValueOrigin};
pub use log_spec::{LogFormat, LogSpec, TraceSpec};
pub use machine_modes::{ClockMode, IrqchipMode, LayoutName, Schedule};
pub use reference::reference;
pub use spellings::{Note, reference as from_qemu};
pub use test::{IgnoredTests, TestCriteria, TestFormat, TestSelection, TestSpec};
pub use vga_mode::{PictureMode, VgaMode};

use command::{CommandLine, ParsedCommand};
use config_file::ConfigFile;
use draft::{Draft, ValueSource};

/// The config file that is read when `--config` names no other; it need not exist.
pub const DEFAULT_CONFIG: &str = "config.ini";

/// The device that guests run through unless `--device` names another.
pub const DEFAULT_DEVICE: &str = "/dev/kvm";

/// The default TCP port of a console.
pub const CONSOLE_PORT: u16 = 9000;

/// The size of a guest's memory is a multiple of this, in bytes.
pub const RAM_GRANULE: u64 = 1 << 20;

/// Maximum size of a guest's memory, in bytes, with 46 physical address bits.
pub const MAX_RAM: u64 = 1 << 45;

/// The program mode that the command line selects.
#[derive(Clone, Debug, PartialEq)]
pub enum Invocation {
    /// Run a guest.
    Run(Box<Settings>),
    /// Describe the guest file that such a run would start.
    Inspect {
        /// The run.
        run: Box<Settings>,
        /// As one JSON object instead of a table.
        json: bool,
    },
    /// Run guests as tests.
    Test {
        /// How each guest is run; the guest file in it is the first one.
        run: Box<Settings>,
        /// The tests.
        spec: Box<TestSpec>,
    },
    /// Report what KVM supports on this host.
    Check {
        /// The device of KVM.
        device: PathBuf,
        /// As one JSON object instead of a table.
        json: bool,
    },
    /// Connect the terminal to the console of a running guest.
    Console {
        /// The address of the console.
        address: ListenAddress,
        /// Send the commands of a script after one that failed.
        keep_going: bool,
    },
    /// Read a snapshot file and check that it is complete and undamaged.
    CheckSnapshot {
        /// The file.
        file: PathBuf,
    },
    /// Request data from the debug server of another `kvm`.
    DebugClient(DebugClientSpec),
    /// Print this text, the answer to `--help`, and exit.
    Help(String),
    /// Print this text, the answer to `--version`, and exit.
    Version(String),
    /// Print this text, the man page or the completions for a shell, and exit.
    Document(String),
    /// Write the configuration that editors and gdb need to debug a guest.
    Vscode {
        /// The target folder.
        folder: PathBuf,
        /// Replace existing files.
        force: bool,
    },
}

/// Parses the command line `args`, whose first item is the program's name, and the config file.
///
/// The config file is the one `--config` names, else [`DEFAULT_CONFIG`] in the working directory if
/// there is one. A long option may be written with one dash or with two.
///
/// # Errors
///
/// [`SettingsError`] for the first error in either. Its text is complete, with the remedy.
pub fn from_args(args: impl Iterator<Item = OsString>) -> Result<Invocation, SettingsError> {
    from_args_and_config(args, Path::new(DEFAULT_CONFIG))
}

/// As [`from_args`], with `default_config` instead of [`DEFAULT_CONFIG`].
fn from_args_and_config(
    args: impl Iterator<Item = OsString>,
    default_config: &Path,
) -> Result<Invocation, SettingsError> {
    let command_line = match command::read(args)? {
        ParsedCommand::Run(command_line) => command_line,
        ParsedCommand::Inspect { run, json } => {
            let run = Box::new(finish(&run, default_config)?);
            return Ok(Invocation::Inspect { run, json });
        }
        ParsedCommand::Test(test) => {
            let run = finish(&test.run, default_config)?;
            let (run, spec) = test.finish(run)?;
            return Ok(Invocation::Test { run: Box::new(run), spec: Box::new(spec) });
        }
        ParsedCommand::Check { device, json } => return Ok(Invocation::Check { device, json }),
        ParsedCommand::Console { address, keep_going } => {
            return Ok(Invocation::Console { address, keep_going });
        }
        ParsedCommand::CheckSnapshot { file } => return Ok(Invocation::CheckSnapshot { file }),
        ParsedCommand::DebugClient(wanted) => return Ok(Invocation::DebugClient(wanted)),
        ParsedCommand::Help(text) => return Ok(Invocation::Help(text)),
        ParsedCommand::Version(text) => return Ok(Invocation::Version(text)),
        ParsedCommand::Document(text) => return Ok(Invocation::Document(text)),
        ParsedCommand::Vscode { folder, force } => return Ok(Invocation::Vscode { folder, force }),
    };
    finish(&command_line, default_config).map(|settings| Invocation::Run(Box::new(settings)))
}

/// Combines the options of a run with the config file.
fn finish(command_line: &CommandLine, default_config: &Path) -> Result<Settings, SettingsError> {
    let config = match command_line.config() {
        Some(file) => Some(ConfigFile::read(file)?),
        None => ConfigFile::read_if_there(default_config)?,
    };
    let mut draft = Draft::from_defaults()?;
    if let Some(config) = config {
        draft.source = ValueSource::File;
        draft.settings.config = Some(config.path().to_owned());
        config.apply(&mut draft)?;
    }
    draft.source = ValueSource::CommandLine;
    command_line.apply(&mut draft)?;
    draft.settings.notes = command_line.notes().to_vec();
    draft.finish(command_line.guest())
}

/// All user settings of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The guest file; empty if [`Settings::migration`] or [`Settings::restore`] provides the guest.
    pub guest: PathBuf,
    /// The config file that was read.
    pub config: Option<PathBuf>,
    /// The device of KVM that the guest runs through.
    pub device: PathBuf,
    /// Guest RAM in bytes; a multiple of 1 MiB.
    pub memory: u64,
    /// True if that is the default, which some kinds of guest have another one for.
    pub memory_is_default: bool,
    /// How the guest file is loaded and started.
    pub boot: BootSpec,
    /// Enforce the permissions of segments.
    pub strict: bool,
    /// Map page 0, and the page below the boot stack.
    pub no_guards: bool,
    /// Command line passed to the guest.
    pub append: String,
    /// Files handed to the guest as modules, in this order.
    pub modules: Vec<ModuleSpec>,
    /// The disk images, at most [`MOST_DISKS`] and [`MOST_VIRTIO_DISKS`].
    pub disks: Vec<DiskSpec>,
    /// How the guest file is opened if it is a disk image.
    pub guest_disk: DiskMode,
    /// The image of the CD; it takes one of the places of [`MOST_DISKS`] drives.
    pub cdrom: Option<DiskSpec>,
    /// Where the guest's text goes.
    pub display: DisplayMode,
    /// Whether the terminal shows the dashboard.
    pub dashboard: DashboardMode,
    /// Print the final VGA text screen on standard output when the run is over.
    pub dump_screen: bool,
    /// The backends of COM1 to COM4.
    pub serial: [SerialBackend; 4],
    /// The backend of the debug console at port 0xE9.
    pub debug_console: SerialBackend,
    /// Whether the guest gets the terminal's mouse.
    pub mouse: MouseMode,
    /// Where keyboard input goes.
    pub keys: KeyTarget,
    /// Keyboard layout used to turn characters into key presses.
    pub layout: LayoutName,
    /// The log file.
    pub log: LogSpec,
    /// Number of CPUs, from 1 to [`MOST_CPUS`].
    pub cpus: u8,
    /// How several CPUs run.
    pub schedule: Schedule,
    /// When the machine's clock runs.
    pub clock: ClockMode,
    /// Whose interrupt controllers and interval timer a guest gets that is started.
    pub irqchip: IrqchipMode,
    /// Its display adapter.
    pub vga: VgaMode,
    /// How a terminal shows its pictures.
    pub pictures: PictureMode,
    /// The time of day at power-on, in seconds since 1970 UTC; `None` for the host's.
    pub rtc: Option<i64>,
    /// End the run after this long.
    pub timeout: Option<Duration>,
    /// The IDE function has the ports of its primary channel in its base address registers, as some guests expect.
    pub flat_ide_bars: bool,
    /// End the run when the guest resets the machine, instead of restarting it.
    pub no_reboot: bool,
    /// How to serve gdb.
    pub gdb: Option<GdbSpec>,
    /// The guest stops at its magic breakpoints.
    pub magic_break: bool,
    /// A triple fault is looked for in a second run where the host has reset the registers.
    pub explain: bool,
    /// What a crash leaves behind.
    pub crash_files: CrashFiles,
    /// The architecture reported to gdb; `None` for that of the kind of guest.
    pub gdb_arch: Option<GdbArch>,
    /// The debug server, which sends memory and registers while the guest runs.
    pub debug_server: Option<ListenAddress>,
    /// The password that clients of the debug server must send.
    pub debug_server_password: Option<Password>,
    /// How to serve a console.
    pub console: Option<ConsoleSpec>,
    /// Continue the machine in this snapshot file instead of starting a guest.
    pub restore: Option<PathBuf>,
    /// Save the machine in this file when the run is over.
    pub snapshot_at_exit: Option<PathBuf>,
    /// Receive a running guest here instead of loading one from a file.
    pub migration: Option<SocketAddr>,
    /// Contents of disks that are received replace those of existing images.
    pub overwrite_disks: bool,
    /// Target for the maximum downtime of a migration.
    pub downtime: Duration,
    /// How the migration peers authenticate.
    pub security: MigrationSecurity,
    /// About the options of QEMU and Bochs on the command line, for the log.
    pub notes: Vec<Note>,
}

/// How the migration peers authenticate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MigrationSecurity {
    /// No authentication: both are on this host.
    Plain,
    /// TLS certificates.
    Tls {
        /// The file with the local certificate, and any intermediate certificates.
        cert: PathBuf,
        /// The file with its private key.
        key: PathBuf,
        /// The file with the authorities that may have issued the peer's certificate.
        ca: PathBuf,
    },
    /// A secret shared by both peers, in this file.
    Key(PathBuf),
}

/// How to serve the console, which takes commands while the guest runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleSpec {
    /// The listen address: on this host's loopback, or a unix socket.
    pub address: ListenAddress,
    /// True if the user set the address: then no other is used. Otherwise the next free port is used if it
    /// is taken.
    pub chosen: bool,
}

/// How gdb is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GdbSpec {
    /// The listen address.
    pub address: ListenAddress,
    /// The guest waits for gdb before its first instruction; otherwise it starts at once.
    pub wait: bool,
}

/// A listen address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address and a TCP port, never 0.
    Tcp(SocketAddr),
    /// The path of a unix stream socket.
    Unix(PathBuf),
}

/// A request of `kvm debug-client` to a debug server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugClientSpec {
    /// The address of the debug server.
    pub address: ListenAddress,
    /// First guest-physical address of the memory.
    pub start: u64,
    /// End of the memory (exclusive), at most `u32::MAX` bytes from `start`.
    pub end: u64,
    /// The file with the password of the debug server.
    pub password_file: Option<PathBuf>,
}

/// A password, which is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl Password {
    /// Maximum length in bytes.
    pub const LONGEST: usize = 52;
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// The guest's architecture as reported to gdb when it connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GdbArch {
    /// 64-bit registers, whatever mode the guest is in.
    X86_64,
    /// The same as a Linux process has them, with `orig_rax`: gdb's `record full` and reverse commands need it.
    X86_64Linux,
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

/// Where the guest's output goes.
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

/// Whether the terminal shows the dashboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DashboardMode {
    /// It does not.
    Off,
    /// It does, and the guest runs.
    Running,
    /// It does, and the guest is paused at its first instruction.
    Paused,
}

/// Most disks of a machine on IDE: two on each channel.
pub const MOST_DISKS: usize = 4;
/// Most disks of a machine with the virtio interface.
pub const MOST_VIRTIO_DISKS: usize = 4;

/// Which of the [`MOST_DISKS`] drives is the CD-ROM drive: the first one of the secondary channel, as on QEMU.
pub const CDROM_UNIT: usize = 2;

/// A disk image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSpec {
    /// Its file.
    pub path: PathBuf,
    /// What becomes of the guest's writes.
    pub mode: DiskMode,
    /// How the guest accesses it.
    pub interface: DiskInterface,
}

/// How the guest accesses a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskInterface {
    /// As a drive of an IDE channel.
    Ide,
    /// As a CD-ROM drive of an IDE channel.
    Cdrom,
    /// As a PCI device with the virtio interface.
    Virtio,
}

/// What becomes of the guest's writes to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskMode {
    /// They are written to the image.
    ReadWrite,
    /// They are refused.
    ReadOnly,
    /// They are kept in memory until the end of the run.
    Snapshot,
}

/// The backend of a serial port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SerialBackend {
    /// Standard output, and standard input unless it is keyboard input.
    Stdio,
    /// Lines in the log file.
    Log,
    /// A file that is created or truncated; several ports may share it.
    File(PathBuf),
    /// A unix stream socket that is listened on.
    Unix(PathBuf),
    /// A new pseudo-terminal; its name is printed.
    Pty,
    /// No backend.
    Null,
}

/// Where standard input goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyTarget {
    /// The first to request input: the keyboard controller or the serial port on `stdio`.
    Auto,
    /// Always the PS/2 keyboard.
    Keyboard,
    /// Always the serial port on `stdio`.
    Serial,
}

/// Whether the guest gets the mouse of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MouseMode {
    /// While the guest's screen is shown and the guest has enabled its mouse.
    Auto,
    /// Never: the terminal selects text with it.
    Off,
}

/// Most CPUs of a machine.
pub const MOST_CPUS: u8 = 64;
