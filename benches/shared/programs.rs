//! The compared programs: the command line of QEMU, and the message if it is missing.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::Failure;

/// QEMU's smallest machine, which starts a kernel without a BIOS.
pub const MICROVM: &str = "microvm,isa-serial=on,pit=off,pic=off,rtc=off,acpi=off";

/// QEMU with `machine`, this much RAM and no default devices. QEMU does not support `-cpu host` on every host; no
/// measurement depends on it.
pub fn qemu(machine: &str, mebibytes: &str) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-machine", machine, "-accel", "kvm", "-cpu", "qemu64", "-m", mebibytes]).args([
        "-nodefaults",
        "-display",
        "none",
    ]);
    command
}

/// Runs `command` in `folder`, with its standard output on a pipe and nothing else connected.
#[allow(dead_code, reason = "the debugger's programs are connected otherwise")]
pub fn connect(mut command: Command, folder: &Path) -> Command {
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Starts `command`. A missing program is reported as "not installed".
pub fn spawn(command: &mut Command) -> Result<Child, Failure> {
    command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => "not installed".into(),
        _ => format!("{}: {error}", command.get_program().to_string_lossy()).into(),
    })
}
