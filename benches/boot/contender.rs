//! The measured programs, each with the command that starts a guest.

use std::process::Command;

use crate::shared::guests::Guests;
use crate::shared::kvm_binary;
use crate::shared::programs;
use crate::shared::rounds;

/// RAM of a guest in MiB.
const RAM: &str = "64";
/// SeaBIOS, as Debian's package has it; both programs start this file.
pub const SEABIOS: &str = "/usr/share/seabios/bios.bin";

/// A program and what it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// This project, with a disk and its own BIOS.
    KvmOwnBios,
    /// This project, with an ELF file, which needs no BIOS.
    KvmElf,
    /// This project, with a disk and SeaBIOS.
    KvmSeabios,
    /// QEMU's default machine, with a disk and the same SeaBIOS.
    QemuSeabios,
    /// This project, with a Multiboot kernel.
    KvmMultiboot,
    /// QEMU's default machine, whose BIOS starts the kernel.
    QemuMultiboot,
}

impl rounds::Contender for Contender {
    fn name(self) -> &'static str {
        match self {
            Contender::KvmOwnBios => "kvm, own BIOS",
            Contender::KvmElf => "kvm, ELF file",
            Contender::KvmSeabios => "kvm, SeaBIOS",
            Contender::QemuSeabios => "QEMU pc, SeaBIOS",
            Contender::KvmMultiboot => "kvm, Multiboot",
            Contender::QemuMultiboot => "QEMU pc -kernel",
        }
    }

    fn is_optional(self) -> bool {
        matches!(self, Contender::KvmSeabios | Contender::QemuSeabios | Contender::QemuMultiboot)
    }
}

impl Contender {
    /// The command, with standard output on a pipe.
    pub fn command(self, guests: &Guests) -> Command {
        let sector = guests.folder().join("boot-sector.img");
        let command = match self {
            Contender::KvmOwnBios | Contender::KvmElf | Contender::KvmMultiboot => {
                let mut command = Command::new(kvm_binary());
                command.args(["--memory", RAM]).arg(match self {
                    Contender::KvmOwnBios => sector,
                    Contender::KvmElf => guests.elf("first-byte"),
                    _ => guests.elf("multiboot"),
                });
                command
            }
            Contender::KvmSeabios => {
                let mut command = Command::new(kvm_binary());
                command.args(["--memory", RAM, "--display", "serial", "--bios", SEABIOS]).arg(sector);
                command
            }
            Contender::QemuSeabios => {
                let mut command = qemu();
                // Both machines have a screen, whose BIOS starts as well.
                command.args(["-vga", "std", "-bios", SEABIOS, "-drive"]);
                command.arg(format!("file={},format=raw,if=ide", sector.display()));
                command
            }
            Contender::QemuMultiboot => {
                let mut command = qemu();
                command.arg("-kernel").arg(guests.elf("multiboot"));
                command
            }
        };
        programs::connect(command, guests.folder())
    }
}

fn qemu() -> Command {
    let mut command = programs::qemu("pc", RAM);
    command.args(["-serial", "stdio", "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=1"]);
    command
}
