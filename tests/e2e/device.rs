//! `--device`: guests run through another device than /dev/kvm.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};

use crate::support::{Folder, HALTED_0, Kvm, exact_output, guest_test, is_root, test, test_device};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        with_another_node("a_guest_runs_through_another_node_of_the_device", |node| {
            let ran = Kvm::with_guest("hello-serial").arg("--device").arg(node).run();
            ran.expect_exactly(&exact_output(0, "Hello from the bare metal!\n", HALTED_0))?;
            ran.expect_log(&format!("host device={} kernel=", node.display()))?;
            Ok(())
        }),
        with_another_node("a_saved_guest_continues_through_another_node_of_the_device", |node| {
            let first = Kvm::with_guest("hello-serial").args(["--snapshot-at-exit", "end.kvmstate"]).run();
            let restored = |device: &Path| {
                Kvm::new().arg("--restore").arg(first.folder.file("end.kvmstate")).arg("--device").arg(device)
            };
            restored(node).run().expect_log(&format!("host device={} ", node.display()))?;
            let null = restored(Path::new("/dev/null")).run();
            null.expect_status(6)?.expect_err("/dev/null is not the device of KVM")?;
            Ok(())
        }),
        with_another_node("check_reports_another_node_of_the_device", |node| {
            let ran = Kvm::new().args(["check", "--device"]).arg(node).run();
            ran.check(ran.out.contains(&format!("yes {}", node.display())), "the row of the device")?;
            ran.expect_status(0).map(drop)
        }),
        with_another_node("a_test_runs_through_another_node_of_the_device", |node| {
            let guest = crate::support::guest("recursion");
            let run = |device: &Path| {
                Kvm::new()
                    .arg("test")
                    .arg(&guest)
                    .args(["--expect", "never printed"])
                    .arg("--device")
                    .arg(device)
                    .run()
            };
            run(Path::new("/dev/null")).expect_status(6)?;
            let ran = run(node);
            ran.expect_status(101).map(drop)
        }),
        guest_test("a_migration_destination_refuses_a_device_that_is_not_kvm", || {
            let ran = Kvm::new().args(["--migr", "--device", "/dev/null"]).run();
            ran.expect_status(6)?.expect_err("/dev/null is not the device of KVM")?;
            Ok(())
        }),
        test("a_missing_yakvm_is_reported_with_the_remedy", || {
            let folder = Folder::new();
            let device = folder.file("yakvm");
            let ran = Kvm::with_guest("hello-serial").arg("--device").arg(&device).run();
            ran.expect_status(6)?;
            ran.expect_err_in_order(&[
                "kvm: this host has no ",
                "its module is not loaded; `driver/build` of the sources builds it",
                "`sudo insmod target/driver/yakvm.ko`",
                "firmware",
                "`sudo dmesg | grep yakvm`",
                "`scripts/lab run --driver yakvm`",
            ])?;
            let checked = Kvm::new().args(["check", "--json", "--device"]).arg(&device).run();
            checked.expect_status(6)?;
            checked.check(checked.out.contains("\"device\": \"missing\""), "the device").map(drop)
        }),
        test("a_device_that_is_neither_is_reported_with_the_names_of_both", || {
            let names = "`--device` names /dev/kvm, which is the default, or /dev/yakvm\n";
            for (device, what) in [
                ("/nowhere/else", "there is no device /nowhere/else: "),
                (
                    "/dev/null",
                    "/dev/null is not the device of KVM (Inappropriate ioctl for device (os error 25)); ",
                ),
                ("/", "cannot open /: Is a directory (os error 21); "),
            ] {
                let ran = Kvm::with_guest("hello-serial").args(["--device", device]).run();
                ran.expect_status(6)?.expect_err(&format!("kvm: {what}{names}"))?;
            }
            Ok(())
        }),
        test("a_file_that_is_no_device_is_reported", || {
            let kvm = Kvm::with_guest("hello-serial").file("kvm", "");
            let device = kvm.folder.file("kvm");
            let ran = kvm.arg("--device").arg(&device).run();
            ran.expect_status(6)?;
            ran.expect_err(
                " is not the device of KVM (Inappropriate ioctl for device (os error 25)); `ls -l ",
            )?;
            Ok(())
        }),
    ]
}

/// Those of a machine with two drivers for AMD-V, of which the tests use one.
pub fn of_two_drivers() -> Vec<Trial> {
    if test_device().is_none_or(|device| device != "/dev/yakvm") {
        return Vec::new();
    }
    vec![guest_test("a_driver_whose_processor_is_in_use_names_the_other_one", || {
        for (first, second, remedy) in [
            (
                "/dev/kvm",
                "/dev/yakvm",
                "kvm_amd holds SVM while it has guests: end those that run on /dev/kvm",
            ),
            (
                "/dev/yakvm",
                "/dev/kvm",
                "yakvm holds SVM while it has guests: end those that run on /dev/yakvm",
            ),
        ] {
            let other = || Kvm::with_guest("recursion").args(["--device", second]).run();
            let waiting = Kvm::with_guest("recursion").args(["--device", first, "--gdb=unix:gdb"]);
            let mut child = waiting.start();
            // gdb is waited for with the machine complete.
            let socket = waiting.folder.file("gdb");
            for _ in 0..500 {
                if socket.exists() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let refused = other();
            let checked = Kvm::new().args(["check", "--device", second]).run();
            let checked_by_a_program = Kvm::new().args(["check", "--json", "--device", second]).run();
            let (killed, waited) = (child.kill(), child.wait());
            killed.and(waited.map(drop))?;
            refused.expect_status(6)?;
            refused.expect_err(&format!("kvm: {second} cannot create a virtual machine "))?;
            refused.expect_err(remedy)?;
            checked.expect_status(6)?;
            let device = format!("  no  {second:<10}  there, but another driver has the processor\n");
            checked.check(checked.out.starts_with(&format!("Host\n{device}")), "the device")?;
            checked.check(
                checked.out.contains(remedy) && checked.out.lines().count() < 10,
                "the remedy, once",
            )?;
            checked_by_a_program
                .check(checked_by_a_program.out.contains("\"device\": \"held\""), "the word")?;
            other().expect_status(0)?;
        }
        Ok(())
    })]
}

/// A test with another node of the tests' device. Only root can make one.
fn with_another_node(name: &str, body: impl FnOnce(&Path) -> Result<(), Failed> + Send + 'static) -> Trial {
    if !is_root() {
        let name = format!("{name} (skipped: needs root, to make a device node)");
        return Trial::test(name, || Ok(())).with_ignored_flag(true);
    }
    guest_test(name, move || {
        let folder = Folder::new();
        body(&another_node(&folder)?)
    })
}

fn another_node(folder: &Folder) -> Result<PathBuf, Failed> {
    let device = test_device().unwrap_or_else(|| "/dev/kvm".to_owned());
    let numbers = std::fs::metadata(device)?.rdev();
    let node = folder.file("node");
    let [major, minor] = [libc::major(numbers), libc::minor(numbers)].map(|number| number.to_string());
    let made = Command::new("mknod").arg(&node).args(["c", &major, &minor]).status()?;
    if made.success() { Ok(node) } else { Err(format!("mknod ended with {made}").into()) }
}
