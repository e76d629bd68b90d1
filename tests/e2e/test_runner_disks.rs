//! Disks in tests: what a test writes is dropped when it is over, and tests can use one image at a time.

use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};

use crate::support::{FinishedRun, Kvm, disk_guest, guest_test};

/// The tests to which the processor makes no difference.
pub fn others() -> Vec<Trial> {
    vec![
        guest_test("tests_leave_a_disk_that_is_their_guest_as_it_is", || {
            let kvm = with_disk("disk.img")?.args(["disk.img", "disk.img", "--jobs", "2"]);
            let disk = kvm.folder.file("disk.img");
            // Nor need it be writable.
            fs::set_permissions(&disk, std::os::unix::fs::PermissionsExt::from_mode(0o444))?;
            let ran = kvm.run();
            ran.expect_status(0)?.check(ran.out.contains("test result: ok. 2 passed"), "two tests")?;
            expect_unchanged(&ran, &disk)
        }),
        guest_test("tests_leave_a_disk_that_is_given_as_an_option_as_it_is", || {
            let kvm = with_disk("disk.img")?.args(["disk.img", "--disk", "disk.img"]);
            let ran = kvm.run();
            ran.expect_status(0)?;
            expect_unchanged(&ran, &ran.folder.file("disk.img"))?;
            // A user who has protected the disk sees the guest fail.
            let ran = with_disk("disk.img")?.args(["disk.img", "--disk", "disk.img,ro"]).run();
            ran.expect_status(101)?;
            ran.check(ran.out.contains("with 0x11 at the debug exit port"), "the failure").map(drop)
        }),
        guest_test("disks_are_tests_of_the_firmware_that_is_given", || {
            let kvm = with_disk("one.img")?.args(["one.img", "two.img"]);
            fs::copy(disk_guest("disk-writes"), kvm.folder.file("two.img"))?;
            let kvm =
                kvm.arg("--bios").arg(disk_guest("firmware-probe")).args(["--expect", "firmware of ours"]);
            let ran = kvm.run();
            ran.expect_status(0)?;
            for line in ["test one ... ok\n", "test two ... ok\n"] {
                ran.check(ran.out.contains(line), line)?;
            }
            Ok(())
        }),
        guest_test("outside_of_tests_a_guest_writes_to_its_disk", || {
            let kvm = Kvm::new().arg("disk.img");
            let disk = kvm.folder.file("disk.img");
            fs::copy(disk_guest("disk-writes"), &disk)?;
            let ran = kvm.run();
            ran.expect_status(33)?;
            ran.check(fs::read(&disk)? != fs::read(disk_guest("disk-writes"))?, "a changed disk").map(drop)
        }),
    ]
}

/// `kvm test` in a folder with the guest `disk-writes` in a file of this name.
fn with_disk(name: &str) -> Result<Kvm, Failed> {
    let kvm = Kvm::new().arg("test");
    fs::copy(disk_guest("disk-writes"), kvm.folder.file(name))?;
    Ok(kvm)
}

fn expect_unchanged(ran: &FinishedRun, disk: &Path) -> Result<(), Failed> {
    ran.check(fs::read(disk)? == fs::read(disk_guest("disk-writes"))?, "an unchanged disk").map(drop)
}
