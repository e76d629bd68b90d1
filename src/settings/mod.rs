//! What the user asked for: command line and `config.ini`, checked and put into one [`Settings`].

use std::path::PathBuf;
use std::time::Duration;

/// Everything a run depends on that the user can choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The guest file.
    pub guest: PathBuf,
    /// Guest RAM in bytes; a multiple of 1 MiB.
    pub memory: u64,
    /// Unmap page 0, enforce segment permissions, guard the boot stack.
    pub strict: bool,
    /// Command line handed to the guest.
    pub append: String,
    /// Files handed to the guest as modules, in this order.
    pub modules: Vec<ModuleSpec>,
    /// Where the guest's text goes.
    pub display: Display,
    /// Print the final VGA text screen on standard output when the run is over.
    pub dump_screen: bool,
    /// The far ends of COM1 to COM4.
    pub serial: [SerialEnd; 4],
    /// Who gets what is typed.
    pub keys: Keys,
    /// Keyboard layout used to turn characters into key presses.
    pub layout: LayoutName,
    /// The log file.
    pub log: LogSpec,
    /// End the run after this long.
    pub timeout: Option<Duration>,
    /// End the run when the guest resets the machine, instead of restarting it.
    pub no_reboot: bool,
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
pub enum Display {
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
pub enum SerialEnd {
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
pub enum Keys {
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
