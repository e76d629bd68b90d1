//! `kvm` in a root directory that contains only what a test puts there.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{FinishedRun, Folder, guest, kvm_binary};

/// True if the tests run as root.
pub fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout == b"0\n")
}

/// The command that changes the root directory on this host, or why there is none.
pub fn chroot_command() -> Result<&'static [&'static str], &'static str> {
    let commands: [&[&str]; 2] = [&["chroot"], &["unshare", "--map-root-user", "chroot"]];
    commands
        .into_iter()
        .find(|words| {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).args(["/", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        })
        .ok_or("neither chroot nor unshare --map-root-user chroot is permitted")
}

/// A root directory with `kvm` and the guest `hello-serial.elf` in it, and no `/dev`.
pub struct ChrootFolder {
    /// The directory.
    pub root: Folder,
}

impl ChrootFolder {
    /// Creates it.
    pub fn new() -> ChrootFolder {
        let root = Folder::new();
        // `cp` writes the copy: a program that another test starts meanwhile would inherit a descriptor of this
        // process, and Linux does not execute a file that is open for writing.
        let copy = |from: &Path, to: &str| {
            let status = Command::new("cp").arg(from).arg(root.file(to)).status();
            assert!(status.is_ok_and(|status| status.success()), "{} can be copied", from.display());
        };
        copy(&kvm_binary(), "kvm");
        copy(&guest("hello-serial"), "hello-serial.elf");
        ChrootFolder { root }
    }

    /// Runs `/kvm` in it with these arguments, by `command` and these options of `chroot`.
    pub fn run(self, command: &[&str], chroot_options: &[&str], arguments: &[&str]) -> FinishedRun {
        let (program, options) = (command[0], &command[1..]);
        let mut command = Command::new(program);
        command.args(options).args(chroot_options).arg(self.root.path()).arg("/kvm").args(arguments);
        let output = command.stdin(Stdio::null()).output().expect("kvm can be started");
        FinishedRun {
            status: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            folder: self.root,
        }
    }
}
