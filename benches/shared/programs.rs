//! Programs that run beside each other: how QEMU is called, and what is told if there is none.

use std::io::ErrorKind;
use std::process::{Child, Command};

use super::Failure;

/// QEMU's smallest machine, which starts a kernel without a BIOS.
pub const MICROVM: &str = "microvm,isa-serial=on,pit=off,pic=off,rtc=off,acpi=off";

/// QEMU as `machine` with so many MiB of RAM and nothing that it has by itself. `-cpu host` is what QEMU
/// itself cannot do on every host; nothing measured depends on it.
pub fn qemu(machine: &str, mebibytes: &str) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-machine", machine, "-accel", "kvm", "-cpu", "qemu64", "-m", mebibytes]).args([
        "-nodefaults",
        "-display",
        "none",
    ]);
    command
}

/// Starts `command`; one that is not there is no failure of anything.
pub fn spawn(command: &mut Command) -> Result<Child, Failure> {
    command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => "not installed".into(),
        _ => format!("{}: {error}", command.get_program().to_string_lossy()).into(),
    })
}
