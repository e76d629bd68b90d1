//! The registers of the chips of a PC, read by a guest: the same transcript on `kvm` and on QEMU.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};

use crate::support::{Folder, Kvm, guest, guest_test, test};

/// What the guest prints on QEMU 7.2.
const TRANSCRIPT: &str = include_str!("../guests/chips.txt");

const QEMU: &str = "qemu-system-x86_64";

/// The images of the disk and of the CD: each sector is filled with the lowest byte of its number.
fn images(folder: &Path) -> Result<(), Failed> {
    for (name, sectors) in [("disk.img", 20_480), ("disc.iso", 400)] {
        let contents: Vec<u8> = (0..sectors).flat_map(|lba| [lba as u8; 512]).collect();
        fs::write(folder.join(name), contents)?;
    }
    Ok(())
}

/// The lines of `found` that differ from the transcript.
fn compare(found: &str) -> Result<(), Failed> {
    let (mut found, mut expected) = (found.lines(), TRANSCRIPT.lines());
    let mut differences = Vec::new();
    loop {
        match (expected.next(), found.next()) {
            (None, None) => break,
            (expected, found) if expected.map(str::trim_end) != found.map(str::trim_end) => {
                differences.push(format!("expected {expected:?}\n   found {found:?}"));
            }
            _ => {}
        }
    }
    if differences.is_empty() { Ok(()) } else { Err(differences.join("\n").into()) }
}

fn on_kvm() -> Result<(), Failed> {
    let kvm = Kvm::with_guest("chips").args(["--timeout", "100", "--disk", "disk.img,snapshot"]);
    let kvm = kvm.args(["--cdrom", "disc.iso"]);
    images(&kvm.folder.file(""))?;
    let ran = kvm.run();
    ran.expect_status(0)?;
    compare(&ran.out)
}

fn on_qemu() -> Result<(), Failed> {
    let folder = Folder::new();
    images(&folder.file(""))?;
    let output = Command::new("timeout")
        .args(["60", QEMU, "-machine", "pc", "-accel", "tcg", "-nodefaults", "-display", "none"])
        .args(["-no-reboot", "-serial", "stdio", "-kernel"])
        .arg(guest("chips"))
        .args(["-drive", "file=disk.img,format=raw,if=ide,index=0,snapshot=on"])
        .args(["-drive", "file=disc.iso,format=raw,if=ide,index=2,media=cdrom"])
        .current_dir(folder.file(""))
        .stdin(Stdio::null())
        .output()?;
    compare(&String::from_utf8_lossy(&output.stdout))
        .map_err(|failed| format!("{failed:?}\n{}", String::from_utf8_lossy(&output.stderr)).into())
}

fn has_qemu() -> bool {
    let version = Command::new(QEMU).arg("--version").stdin(Stdio::null()).output();
    version.is_ok_and(|output| output.status.success())
}

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let name = "the_registers_of_all_chips_read_as_in_the_transcript";
    let qemu = if has_qemu() {
        test(&format!("{name}_on_qemu"), on_qemu)
    } else {
        test(&format!("{name}_on_qemu (skipped: {QEMU} is not installed)"), || Ok(())).with_ignored_flag(true)
    };
    vec![guest_test(name, on_kvm), qemu]
}
