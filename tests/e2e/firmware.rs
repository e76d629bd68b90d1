//! Firmware in ROM: one of ours that looks around, and Debian's, which boot a disk.

use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};

use crate::support::migration::{Instance, contains, free_port, migrate};
use crate::support::{FinishedRun, Folder, Kvm, disk_guest, guest_test, test};

pub const SEABIOS: &str = "/usr/share/seabios/bios.bin";
pub const BOCHS: &str = "/usr/share/bochs/BIOS-bochs-legacy";
const VGA_BIOS: &str = "/usr/share/vgabios/vgabios.bin";

/// What `firmware-probe` sends before it waits.
const BEFORE: &str = "\
firmware of ours
ROM after a write: 77
ROM while RAM is written: 77
RAM: 42
write-protected RAM: 42
ROM again: 77
configuration: QEMU
waiting
";

/// What it sends then: RAM under ROM has kept its contents, and so has all RAM at the reset.
const AFTER: &str = "\
RAM after it was hidden: 42
ROM after a reset: 77
";

/// `kvm` with the firmware `firmware-probe`.
fn probe() -> Kvm {
    Kvm::new().arg("--bios").arg(disk_guest("firmware-probe"))
}

/// A test with Debian's firmware in the file `bios`.
fn firmware_test(
    name: &str,
    bios: &'static str,
    run: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    match Path::new(bios).exists() {
        true => guest_test(name, run),
        false => {
            test(&format!("{name} (skipped: {bios} is not installed)"), || Ok(())).with_ignored_flag(true)
        }
    }
}

/// `kvm` with Debian's firmware and a disk of ours.
fn from_disk(bios: &str, options: &[&str]) -> Kvm {
    let kvm = Kvm::new().args(["--bios", bios, "--timeout", "150", "--display", "serial"]);
    let disk = kvm.folder.file("disk.img");
    fs::copy(disk_guest("boot-probe"), disk).expect("a disk can be made");
    kvm.args(options)
}

/// The boot sector has run and read its second sector.
fn expect_booted(ran: &FinishedRun) -> Result<(), Failed> {
    ran.expect_status(33)?;
    ran.check(ran.out.contains("boot sector of ours\n"), "the text of the boot sector").map(drop)
}

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("firmware_finds_rom_shadow_ram_and_a_reset_vector", || {
            let ran = probe().args(["--timeout", "100"]).input(b"x").run();
            ran.expect_status(33)?.expect_out(&format!("{BEFORE}{AFTER}"))?;
            ran.expect_log("0xffff0000..0x100000000 firmware")?.expect_log("machine reset number 1").map(drop)
        }),
        guest_test("ram_under_rom_is_in_a_snapshot", || {
            let saved = probe().args(["--timeout", "3", "--snapshot-at-exit", "a.kvmstate"]).run();
            saved.expect_out(BEFORE)?;
            let state = saved.folder.file("a.kvmstate");
            let ran = Kvm::new().args(["--restore"]).arg(state).args(["--timeout", "100"]).input(b"x").run();
            ran.expect_status(33)?.expect_out(AFTER).map(drop)
        }),
        guest_test("firmware_migrates_with_the_ram_under_its_rom", || {
            let port = free_port();
            let mut source = Instance::start(probe())?;
            source.expect_out("waiting")?;
            let mut destination = Instance::destination(port, &["--keys", "serial"])?;
            contains(&source.ask(&[&migrate(port)])?, "migration complete")?;
            source.expect_migrated()?;
            destination.send_input("x")?;
            destination.expect_out("RAM after it was hidden: 42")?;
            destination.expect_out("ROM after a reset: 77")?;
            let end = destination.finish()?;
            if end.status == Some(33) { Ok(()) } else { Err(format!("{:?}: {}", end.status, end.err).into()) }
        }),
        firmware_test("the_bios_of_bochs_is_saved_moved_and_resumes_after_a_warm_reset", BOCHS, || {
            let kvm = Kvm::new().args(["--bios", BOCHS, "--vga-bios", "none", "--keys", "serial", "--disk"]);
            let folder = Folder::new();
            let disk = folder.file("disk.img");
            fs::copy(disk_guest("warm-reset"), &disk)?;
            let mut source = Instance::start(kvm.arg(&disk))?;
            source.expect_out("waiting")?;
            let file = folder.file("saved.kvmstate");
            contains(&source.ask(&[&format!("snapshot {}", file.display())])?, "saved in ")?;
            let port = free_port();
            let mut destination =
                Instance::destination(port, &["--keys", "serial", "--disk", disk.to_str().ok_or("a path")?])?;
            contains(&source.ask(&[&migrate(port)])?, "migration complete")?;
            source.expect_migrated()?;
            // Reason 0Ah: go on at the address at 40:67, without an end of interrupt; the firmware has taken it back.
            destination.send_input("\n")?;
            destination.expect_out("resumed, with the reason 0")?;
            let end = destination.finish()?;
            if end.status != Some(33) {
                return Err(format!("{:?}: {}", end.status, end.err).into());
            }
            // Reason 05h is the same with one.
            let restored = Kvm::new().args(["--keys", "serial", "--timeout", "60", "--restore"]).arg(&file);
            let restored = restored.arg("--disk").arg(&disk).input(b"\x05").run();
            restored.expect_status(33)?.expect_out("resumed, with the reason 0\n").map(drop)
        }),
        firmware_test("seabios_starts_again_after_a_warm_reset", SEABIOS, || {
            let kvm =
                Kvm::new().args(["--bios", SEABIOS, "--keys", "serial", "--timeout", "100", "disk.img"]);
            fs::copy(disk_guest("warm-reset"), kvm.folder.file("disk.img"))?;
            let ran = kvm.args(["--display", "serial"]).input(b"\n").run();
            // As in QEMU: the reset makes ROM visible, which knows of no earlier start.
            ran.expect_status(33)?.expect_out("waiting\nbooted again, with the reason 0\n").map(drop)
        }),
        firmware_test("seabios_boots_a_disk", SEABIOS, || {
            // Without a VGA BIOS, SeaBIOS would write to COM1 at times of its own, in the midst of the text.
            let ran = from_disk(SEABIOS, &["disk.img"]).run();
            expect_booted(&ran)?;
            ran.expect_log("firmware: Booting from Hard Disk...")?
                .expect_log("disk 0: 2048 sectors")
                .map(drop)
        }),
        firmware_test("the_bios_of_bochs_boots_a_disk_and_writes_to_the_screen", BOCHS, || {
            let options = ["--vga-bios", VGA_BIOS, "--guest", "disk.img", "--dump-screen"];
            let ran = from_disk(BOCHS, &options).run();
            expect_booted(&ran)?;
            ran.check(ran.out.contains("ata0 master: KVM HARD DISK"), "the disk on the screen").map(drop)
        }),
    ]
}

/// Tests that are the same on every processor.
pub fn others() -> Vec<Trial> {
    vec![test("an_image_that_is_no_firmware_is_refused_with_the_reason", || {
        let ran = Kvm::new().args(["--bios", "a.bin"]).file("a.bin", &" ".repeat(1000)).run();
        ran.expect_status(4)?.expect_err("1000 bytes are no firmware: its size is a multiple of 64 KiB")?;
        let ran = Kvm::new().args(["--bios", "a.bin"]).file("a.bin", &" ".repeat(65536)).run();
        ran.expect_status(4)?.expect_err("there is no reset vector: the last 16 bytes are all 0x20")?;
        let ran = probe().args(["--vga-bios", "v.bin"]).file("v.bin", "text").run();
        ran.expect_status(4)?.expect_err("this is no option ROM")?;
        probe().args(["--append", "quiet"]).run().expect_status(4)?.expect_err("firmware boots a disk")?;
        let ran = probe().args(["--boot", "flat"]).run();
        ran.expect_status(2)?.expect_err("--bios starts firmware in ROM, and --boot flat something else")?;
        let disks = ["a", "b", "c", "d"].into_iter().flat_map(|disk| ["--disk", disk]);
        let ran = probe().args(disks).arg("e").run();
        ran.expect_status(2)?.expect_err("with --bios, e is a disk, and there are four already").map(drop)
    })]
}
