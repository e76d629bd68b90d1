//! The measured programs, each with the command that runs a guest.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::shared::guests::Guests;
use crate::shared::kvm_binary;
use crate::shared::programs::{self, MICROVM};
use crate::shared::rounds;

/// RAM of a guest in MiB.
const RAM: &str = "64";

/// A program that runs a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// This project, with its own interrupt controllers.
    Kvm,
    /// This project, with those of KVM.
    KvmKernel,
    /// QEMU with its smallest machine, and KVM's interrupt controllers.
    QemuMicrovm,
    /// QEMU with its default machine, which has PCI and disks.
    QemuPc,
}

impl rounds::Contender for Contender {
    fn name(self) -> &'static str {
        match self {
            Contender::Kvm => "kvm",
            Contender::KvmKernel => "kvm --irqchip kernel",
            Contender::QemuMicrovm => "QEMU microvm",
            Contender::QemuPc => "QEMU pc",
        }
    }

    fn is_optional(self) -> bool {
        self != Contender::Kvm
    }
}

impl Contender {
    /// The command that runs `guest` on `cpus` processors, with the disk `disk` and standard output on a pipe.
    pub fn command(self, guests: &Guests, guest: &str, cpus: u32, disk: Option<&Path>) -> Command {
        let cpus = cpus.to_string();
        let command = match self {
            Contender::Kvm | Contender::KvmKernel => {
                let mut command = Command::new(kvm_binary());
                // The guests have a PVH entry point, too, for QEMU.
                command.args(["--memory", RAM, "--boot", "elf64"]);
                if cpus != "1" {
                    command.args(["--cpus", &cpus]);
                }
                if self == Contender::KvmKernel {
                    command.args(["--irqchip", "kernel"]);
                }
                if let Some(disk) = disk {
                    command.arg("--disk").arg(disk);
                }
                command.arg(guests.elf(guest));
                command
            }
            Contender::QemuMicrovm | Contender::QemuPc => {
                let mut command = programs::qemu(if self == Contender::QemuPc { "pc" } else { MICROVM }, RAM);
                command.args(["-smp", &cpus, "-serial", "stdio", "-no-reboot"]);
                if let Some(disk) = disk {
                    command.arg("-drive").arg(format!("file={},format=raw,if=ide", disk.display()));
                }
                command.arg("-kernel").arg(guests.elf(guest));
                command
            }
        };
        let mut command = programs::connect(command, guests.folder());
        command.stderr(Stdio::piped());
        command
    }
}
