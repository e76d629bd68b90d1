//! Hosts that cannot run guests, and files that cannot be written: the messages to the user.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use libtest_mimic::{Failed, Trial};

use crate::support::{
    ChrootFolder, HALTED_0, Kvm, chroot_command, exact_output, guest_test, halted, is_root, test,
};

const NO_DEVICE: &str = "this host has no /dev/kvm: either virtualisation is switched off in the firmware \
                         (look for VT-x, AMD-V or SVM there), or the kernel module is not loaded (`sudo \
                         modprobe kvm_intel` or `sudo modprobe kvm_amd`), or this is a container or \
                         virtual machine that was not given the device (`--device /dev/kvm` for \
                         containers; nested virtualisation for virtual machines); `scripts/lab run` of \
                         the sources does without, on an emulated processor";

const NOT_ALLOWED: &str = "this user may not open /dev/kvm: join the group that owns it (`sudo usermod \
                           -aG kvm $USER`, then log in again), or run as a user that may; `scripts/lab run` \
                           of the sources does without, on an emulated processor";

const FOR_ROOT_ALONE: &str = "this user may not open /dev/yakvm: it is for root alone; use `sudo`, or `scripts/lab run \
                            --driver yakvm` of the sources, on an emulated processor";

/// The user and group `nobody`, as an option of `chroot`.
const UNPRIVILEGED: &str = "--userspec=65534:65534";

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        in_chroot("a_missing_dev_kvm_is_reported_with_the_remedy", |_| Ok((6, NO_DEVICE))),
        in_chroot("a_dev_kvm_that_is_no_kvm_device_is_reported", |chroot| {
            std::fs::create_dir(chroot.root.file("dev"))?;
            std::fs::write(chroot.root.file("dev/kvm"), "")?;
            Ok((
                6,
                "/dev/kvm is not the device of KVM (Inappropriate ioctl for device (os error 25)); \
                    `ls -l /dev/kvm` should show a character device with the numbers 10, 232",
            ))
        }),
        in_chroot("a_malformed_guest_is_reported_before_a_missing_dev_kvm", |chroot| {
            std::fs::write(chroot.root.file("hello-serial.elf"), "#!/bin/sh\n")?;
            Ok((
                4,
                "hello-serial.elf: this is a script (it starts with `#!`), not a bare-metal x86-64 guest; \
                 give the ELF file that it builds, or run the script itself",
            ))
        }),
        as_unprivileged_user("a_dev_kvm_without_permission_is_reported_with_the_remedy", |chroot| {
            std::fs::create_dir(chroot.root.file("dev"))?;
            std::fs::write(chroot.root.file("dev/kvm"), "")?;
            set_mode(&chroot.root.file("dev/kvm"), 0o600)?;
            Ok((6, NOT_ALLOWED))
        }),
        as_unprivileged_user("a_dev_yakvm_is_for_root_alone", |chroot| {
            std::fs::create_dir(chroot.root.file("dev"))?;
            std::fs::write(chroot.root.file("dev/yakvm"), "")?;
            set_mode(&chroot.root.file("dev/yakvm"), 0o600)?;
            std::fs::write(chroot.root.file("config.ini"), "[vm-spec]\ndevice = /dev/yakvm\n")?;
            Ok((6, FOR_ROOT_ALONE))
        }),
        guest_test("running_out_of_file_descriptors_is_reported", || {
            let mut refusals = 0;
            for files in 5..24 {
                let script = format!("ulimit -n {files}; exec \"$@\"");
                let ran = Kvm::with_guest("recursion").in_shell(&script).run();
                if ran.status == Some(0) {
                    continue;
                }
                refusals += 1;
                ran.expect_status(6)?.expect_err("Too many open files (os error 24)")?;
                let explained =
                    ran.err.strip_prefix("kvm: ").is_some_and(|rest| !rest.starts_with("Too many"));
                ran.check(explained && ran.err.lines().count() == 1, "a sentence that says what failed")?;
            }
            assert!(refusals > 3, "only {refusals} runs had too few files");
            Ok(())
        }),
        test("running_out_of_memory_is_reported", || {
            let script = "ulimit -v 1000000; exec \"$@\"";
            let ran = Kvm::with_guest("recursion").args(["--memory", "4G"]).in_shell(script).run();
            ran.expect_status(6)?.expect_out("")?;
            ran.expect_err("kvm: the host cannot reserve 4096 MiB of guest memory (")?;
            ran.expect_err("use a smaller --memory\n")?;
            Ok(())
        }),
        guest_test("a_default_log_that_cannot_be_written_is_only_a_warning", || {
            let kvm = Kvm::with_guest("recursion");
            std::fs::create_dir(kvm.folder.file("console.log"))?;
            let message = format!(
                "cannot write the log file `console.log` (Is a directory (os error 21)); running without \
                 a log, --logfile names another\nkvm: {}",
                halted(610)
            );
            kvm.run().expect_exactly(&exact_output(0, "", message))?;
            Ok(())
        }),
        test("a_chosen_log_that_cannot_be_written_is_an_error", || {
            let missing = Kvm::with_guest("recursion").args(["--logfile", "missing/k.log"]).run();
            missing.expect_exactly(&exact_output(
                6,
                "",
                "cannot write the log file `missing/k.log`: No such file or directory (os error 2); name \
                 another one with --logfile",
            ))?;
            let from_file = Kvm::with_guest("recursion").file("config.ini", "[log]\nfile = /\n").run();
            from_file.expect_exactly(&exact_output(
                6,
                "",
                "cannot write the log file `/`: Is a directory (os error 21); name another one with \
                 --logfile",
            ))?;
            Ok(())
        }),
        guest_test("a_serial_file_that_cannot_be_written_is_an_error", || {
            let ran = Kvm::with_guest("multi-com").args(["--serial", "2=file:missing/com2"]).run();
            ran.expect_exactly(&exact_output(
                6,
                "",
                "COM2: cannot create missing/com2 (No such file or directory (os error 2)); choose \
                 another place with --serial",
            ))?;
            Ok(())
        }),
        guest_test("a_log_on_a_full_disk_does_not_stop_the_guest", || {
            let ran = Kvm::with_guest("multi-com").args(["--logfile", "/dev/full"]).run();
            ran.expect_exactly(&exact_output(0, "This is COM1.\n", HALTED_0))?;
            Ok(())
        }),
        guest_test("a_serial_file_on_a_full_disk_does_not_stop_the_guest", || {
            let ran = Kvm::with_guest("multi-com").args(["--serial", "2=file:/dev/full"]).run();
            ran.expect_exactly(&exact_output(0, "This is COM1.\n", HALTED_0))?;
            ran.expect_log("takes no more (No space left on device (os error 28))")?;
            Ok(())
        }),
    ]
}

/// What a test expects: an exit status, and the sentence on standard error.
type Expected = Result<(i32, &'static str), Failed>;

/// A test in a root directory without `/dev`, after `prepare` has put files there.
fn in_chroot(name: &str, prepare: impl FnOnce(&ChrootFolder) -> Expected + Send + 'static) -> Trial {
    match chroot_command() {
        Ok(command) => test(name, move || run(command, &[], prepare)),
        Err(reason) => skipped(name, reason),
    }
}

/// The same as an unprivileged user.
pub fn as_unprivileged_user(
    name: &str,
    prepare: impl FnOnce(&ChrootFolder) -> Expected + Send + 'static,
) -> Trial {
    match chroot_command() {
        Ok(command) if is_root() => test(name, move || run(command, &[UNPRIVILEGED], prepare)),
        Ok(_) => skipped(name, "needs root, to become another user"),
        Err(reason) => skipped(name, reason),
    }
}

fn skipped(name: &str, reason: &str) -> Trial {
    Trial::test(format!("{name} (skipped: {reason})"), || Ok(())).with_ignored_flag(true)
}

fn run(
    command: &[&str],
    chroot_options: &[&str],
    prepare: impl FnOnce(&ChrootFolder) -> Expected,
) -> Result<(), Failed> {
    let chroot = ChrootFolder::new();
    std::fs::create_dir(chroot.root.file("log"))?;
    set_mode(&chroot.root.file("log"), 0o777)?;
    set_mode(chroot.root.path(), 0o755)?;
    let (status, sentence) = prepare(&chroot)?;
    let ran = chroot.run(command, chroot_options, &["hello-serial.elf", "--logfile", "log/kvm.log"]);
    ran.expect_exactly(&exact_output(status, "", sentence))?;
    let log = ran.folder.read("log/kvm.log");
    ran.check(log.contains(sentence), "the sentence in the log, too")?;
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> std::io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}
