//! Files that are no guests: each is refused with a message before anything runs.

use std::process::Command;

use libtest_mimic::{Failed, Trial};

use crate::support::{FinishedRun, Kvm, exact_output, guest, guest_test, source, test};

/// The tests of this file: one for each bad guest, and some for what is no file at all.
pub fn trials() -> Vec<Trial> {
    let expected = source("tests/bad-guests/expected.txt");
    let expected = std::fs::read_to_string(&expected)
        .unwrap_or_else(|e| panic!("{}: {e}; KVM_SOURCES names the sources", expected.display()));
    let mut trials: Vec<Trial> = expected
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, fragment)| {
            let (name, fragment) = (name.to_owned(), fragment.to_owned());
            test(&format!("bad_guest_{name}"), move || refused(&name, &fragment))
        })
        .collect();
    trials.extend([
        test("a_guest_that_is_missing", || {
            let ran = Kvm::new().arg("missing.elf").run();
            let message = "The selected executable does not exist: there is no file `missing.elf`; check its \
                        name and the directory";
            refused_with(&ran, message)
        }),
        test("an_image_without_anything_in_it", || {
            let ran = Kvm::new().file("blank.img", &"\0".repeat(1 << 20)).arg("blank.img").run();
            ran.expect_status(4)?.expect_err("blank.img: this is a blank file (all zeros), ").map(drop)
        }),
        test("a_guest_that_is_a_directory", || {
            let ran = Kvm::new().arg("/").run();
            refused_with(&ran, "/: this is a directory; name a file in it")
        }),
        test("a_guest_below_a_file", || {
            let ran = Kvm::new().file("notes", "").arg("notes/guest.elf").run();
            refused_with(&ran, "notes/guest.elf: Not a directory (os error 20)")
        }),
        test("a_guest_that_is_a_fifo_is_refused_without_blocking", || {
            let kvm = Kvm::new().arg("fifo");
            Command::new("mkfifo").arg(kvm.folder.file("fifo")).status()?;
            refused_with(&kvm.run(), "fifo: this is a device or a pipe; name a regular file")
        }),
        test("a_guest_that_is_a_device", || {
            let ran = Kvm::new().arg("/dev/zero").run();
            refused_with(&ran, "/dev/zero: this is a device or a pipe; name a regular file")
        }),
        test("a_guest_name_that_is_no_text", || {
            use std::os::unix::ffi::OsStrExt;
            let ran = Kvm::new().arg(std::ffi::OsStr::from_bytes(b"\xFF\x1b[31m")).run();
            let message = "The selected executable does not exist: there is no file `\u{FFFD}\\u{1b}[31m`; \
                        check its name and the directory";
            refused_with(&ran, message)
        }),
        test("a_module_that_is_missing", || {
            let ran = Kvm::with_guest("hello-serial").args(["--module", "missing.img=a"]).run();
            refused_with(&ran, "there is no file `missing.img`; check its name and the directory")
        }),
        test("a_module_that_is_a_fifo_is_refused_without_blocking", || {
            let kvm = Kvm::with_guest("hello-serial").args(["--module", "fifo"]);
            Command::new("mkfifo").arg(kvm.folder.file("fifo")).status()?;
            refused_with(&kvm.run(), "fifo: this is a device or a pipe; name a regular file")
        }),
        guest_test("a_module_that_does_not_fit_is_refused_with_the_memory_size_it_needs", || {
            let run = |memory: &str| {
                let kvm = Kvm::with_guest("hello-serial").args(["--module", "large", "--memory", memory]);
                std::fs::File::create(kvm.folder.file("large"))?.set_len(8 << 20)?;
                Ok::<FinishedRun, Failed>(kvm.run())
            };
            let ran = run("4")?;
            let message =
                "kvm: no room in 4 MiB of guest memory for module large (8388608 bytes); `--memory ";
            ran.expect_status(4)?.expect_out("")?.expect_err(message)?;
            let enough = ran.err.strip_prefix(message).and_then(|rest| rest.strip_suffix("` is enough\n"));
            run(enough.ok_or("a size that is enough")?)?.expect_status(0)?;
            Ok(())
        }),
        test("a_module_larger_than_the_largest_machine_is_refused", || {
            let kvm = Kvm::with_guest("hello-serial").args(["--module", "large"]);
            std::fs::File::create(kvm.folder.file("large"))?.set_len(1 << 40)?;
            let message = "no room in 64 MiB of guest memory for module large (1099511627776 bytes); there \
                        is no room below 3 GiB in any machine: use smaller modules, or segments that are \
                        nearer to each other";
            refused_with(&kvm.run(), message)
        }),
        test("a_snapshot_in_place_of_a_guest_names_the_option_that_continues_it", || {
            let snapshot = source("tests/snapshots/version-0.1.0.kvmstate");
            let ran = Kvm::new().arg(&snapshot).run();
            let path = snapshot.display();
            let message = format!(
                "{path}: this is a snapshot, not a guest file; to continue it: `kvm --restore {path}`"
            );
            refused_with(&ran, &message)
        }),
        unreadable(),
    ]);
    trials
}

fn refused(name: &str, fragment: &str) -> Result<(), Failed> {
    let path = source("tests/bad-guests").join(name);
    let ran = Kvm::new().arg(&path).run();
    ran.expect_status(4)?.expect_out("")?.expect_err(fragment)?;
    let lines: Vec<&str> = ran.err.lines().collect();
    ran.check(
        lines.len() == 1 && lines[0].starts_with(&format!("kvm: {}: ", path.display())),
        "one line that begins with the file's name",
    )?;
    ran.check(!ran.err.trim_end().contains(char::is_control), "no control characters")?;
    ran.expect_log(&format!("ERROR kvm::app: {}", ran.err.trim_end().trim_start_matches("kvm: ")))?;
    let log = ran.folder.read("console.log");
    ran.check(!log.contains("entry 0x"), "no guest in the log")?;
    Ok(())
}

fn refused_with(ran: &FinishedRun, sentence: &str) -> Result<(), Failed> {
    ran.expect_exactly(&exact_output(4, "", sentence)).map(|_| ())
}

/// A guest that may not be read; the superuser may read everything.
fn unreadable() -> Trial {
    let name = "a_guest_that_may_not_be_read";
    if crate::support::is_root() {
        return crate::host::as_unprivileged_user(name, |chroot| {
            let file = chroot.root.file("hello-serial.elf");
            std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
            Ok((
                4,
                "hello-serial.elf: this user may not read it; `chmod a+r` allows it, as does running as its owner",
            ))
        });
    }
    test(name, || {
        let kvm = Kvm::new().arg("secret.elf");
        std::fs::copy(guest("hello-serial"), kvm.folder.file("secret.elf"))?;
        let none = std::os::unix::fs::PermissionsExt::from_mode(0o0);
        std::fs::set_permissions(kvm.folder.file("secret.elf"), none)?;
        let remedy = "`chmod a+r` allows it, as does running as its owner";
        refused_with(&kvm.run(), &format!("secret.elf: this user may not read it; {remedy}"))
    })
}
