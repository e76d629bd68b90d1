//! The measured programs, each with the command that runs a guest.

use std::process::Command;

use crate::shared::guests::Guests;
use crate::shared::kvm_binary;
use crate::shared::programs::{self, MICROVM};
use crate::shared::rounds;

/// A program that runs a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// This project.
    Kvm,
    /// The smallest KVM program: an exit and a `write` for each byte.
    Bare,
    /// The same with coalesced port I/O, and one `write` for many bytes.
    BareCoalesced,
    /// QEMU with its smallest machine, which starts a kernel without a BIOS.
    QemuMicrovm,
    /// QEMU with its default machine.
    QemuPc,
}

impl rounds::Contender for Contender {
    fn name(self) -> &'static str {
        match self {
            Contender::Kvm => "kvm",
            Contender::Bare => "bare loop",
            Contender::BareCoalesced => "bare loop, coalesced",
            Contender::QemuMicrovm => "QEMU microvm",
            Contender::QemuPc => "QEMU pc",
        }
    }

    fn is_optional(self) -> bool {
        matches!(self, Contender::QemuMicrovm | Contender::QemuPc)
    }
}

impl Contender {
    /// The exit status of a successful run.
    pub fn good_status(self) -> i32 {
        // QEMU's debug exit device has odd exit statuses only.
        if rounds::Contender::is_optional(self) { 1 } else { 0 }
    }

    /// The command that runs `guest` with `mebibytes` of RAM, and standard output on a pipe.
    pub fn command(self, guests: &Guests, guest: &str, mebibytes: u32) -> Command {
        let memory = mebibytes.to_string();
        let command = match self {
            Contender::Kvm => {
                let mut command = Command::new(kvm_binary());
                command.arg("--memory").arg(memory).arg(guests.elf(guest));
                command
            }
            Contender::Bare | Contender::BareCoalesced => {
                let how: &[&str] =
                    if self == Contender::Bare { &["-o", "direct"] } else { &["-c", "-o", "buffer"] };
                let mut command = Command::new(guests.bare_loop());
                command.arg("-m").arg(memory).args(how).arg(guests.elf(guest));
                command
            }
            Contender::QemuMicrovm => qemu(MICROVM, guests, guest, &memory),
            Contender::QemuPc => qemu("pc", guests, guest, &memory),
        };
        programs::connect(command, guests.folder())
    }
}

fn qemu(machine: &str, guests: &Guests, guest: &str, memory: &str) -> Command {
    let mut command = programs::qemu(machine, memory);
    command
        .args(["-serial", "stdio", "-no-reboot"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-kernel"])
        .arg(guests.elf(&format!("{guest}.qemu")));
    command
}
