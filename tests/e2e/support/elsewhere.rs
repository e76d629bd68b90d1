//! `kvm` in a root directory of its own, where only what a test puts there exists.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{Folder, Ran, guest, kvm_binary};

/// True if the tests may do everything.
pub fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout == b"0\n")
}

/// The program, with its first arguments, that changes the root directory here; or why there is none.
pub fn way_elsewhere() -> Result<&'static [&'static str], &'static str> {
    let ways: [&[&str]; 2] = [&["chroot"], &["unshare", "--map-root-user", "chroot"]];
    ways.into_iter()
        .find(|way| {
            let mut command = Command::new(way[0]);
            command.args(&way[1..]).args(["/", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        })
        .ok_or("neither chroot nor unshare --map-root-user chroot may be used")
}

/// A root directory with `kvm` and the guest `hello-serial.elf` in it, and no `/dev`.
pub struct Elsewhere {
    /// The directory.
    pub root: Folder,
}

impl Elsewhere {
    /// Makes it.
    pub fn new() -> Elsewhere {
        let root = Folder::new();
        // Not by this process: a test in another thread that starts a program at that moment would
        // hand it the copy, open for writing, and Linux runs no program that can be written to.
        let copy = |from: &Path, to: &str| {
            let status = Command::new("cp").arg(from).arg(root.file(to)).status();
            assert!(status.is_ok_and(|status| status.success()), "{} can be copied", from.display());
        };
        copy(&kvm_binary(), "kvm");
        copy(&guest("hello-serial"), "hello-serial.elf");
        Elsewhere { root }
    }

    /// Runs `/kvm` there with these arguments, by `way` and these options of `chroot`.
    pub fn run(self, way: &[&str], chroot_options: &[&str], arguments: &[&str]) -> Ran {
        let mut command = Command::new(way[0]);
        command.args(&way[1..]).args(chroot_options).arg(self.root.path()).arg("/kvm").args(arguments);
        let output = command.stdin(Stdio::null()).output().expect("kvm can be started");
        Ran {
            status: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            folder: self.root,
        }
    }
}
