//! Guests that are saved, reverted or migrated in the middle of something: interrupts that wait, timers that run,
//! sectors that are transferred.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};

use crate::support::migration::{BreakPoint, Instance, Proxy, contains, free_port, key, kind, migrate};
use crate::support::{Folder, Kvm, guest_test};

/// Bytes of the disk, of which the guest writes the first 256 KiB.
const DISK: u64 = 1 << 20;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = interrupts();
    trials.extend(disks());
    trials.extend(snapshots());
    trials
}

/// The tests of this file that do not depend on the processor.
pub fn others() -> Vec<Trial> {
    let mut trials = failures();
    trials.extend(refused());
    trials
}

/// With the interrupt controllers of `kvm`, and with those of KVM.
const IRQCHIPS: [&str; 2] = ["user", "kernel"];

fn interrupts() -> Vec<Trial> {
    IRQCHIPS.into_iter().flat_map(interrupts_by).collect()
}

fn interrupts_by(irqchip: &'static str) -> Vec<Trial> {
    let source = move || {
        let mut guest = Instance::source("in-flight", &["--keys", "serial", "--irqchip", irqchip])?;
        guest.expect_out("both wait")?;
        Ok::<Instance, Failed>(guest)
    };
    vec![
        guest_test(&format!("interrupts_that_wait_and_timers_are_migrated ({irqchip})"), move || {
            let ports = [free_port(), free_port()];
            let first = source()?;
            let mut second = Instance::destination(ports[0], &["--keys", "serial"])?;
            contains(&first.ask(&[&migrate(ports[0])])?, "migration complete")?;
            first.expect_migrated()?;
            second.send_input("?")?;
            second.expect_out("came 1 and 1")?;
            second.send_input("?")?;
            second.expect_out("ticks ")?;
            let mut third = Instance::destination(ports[1], &["--keys", "serial"])?;
            contains(&second.ask(&[&migrate(ports[1])])?, "migration complete")?;
            second.expect_migrated()?;
            still_ticks(&mut third)?;
            third.send_input("\x04")?;
            contains(&third.finish()?.err, "result (RAX) 0 ")
        }),
        guest_test(&format!("interrupts_that_wait_and_timers_are_reverted ({irqchip})"), move || {
            let mut guest = source()?;
            contains(&guest.ask(&["snapshot waiting"])?, "snapshot `waiting` at")?;
            for _ in 0..2 {
                guest.send_input("?")?;
                guest.expect_out("came 1 and 1")?;
                still_ticks(&mut guest)?;
                contains(&guest.ask(&["restore waiting"])?, "restored snapshot `waiting` at")?;
            }
            guest.send_input("?")?;
            guest.expect_out("came 1 and 1")?;
            contains(&guest.ask(&["snapshot ticking"])?, "snapshot `ticking` at")?;
            still_ticks(&mut guest)?;
            contains(&guest.ask(&["restore ticking"])?, "restored snapshot `ticking` at")?;
            still_ticks(&mut guest)?;
            guest.send_input("\x04")?;
            contains(&guest.finish()?.err, "result (RAX) 0 ")
        }),
        guest_test(&format!("interrupts_that_wait_and_timers_are_saved_in_a_file ({irqchip})"), move || {
            let folder = Folder::new();
            let (waiting, ticking) = (folder.file("waiting.kvmstate"), folder.file("ticking.kvmstate"));
            let first = source()?;
            first.ask(&[&format!("snapshot {}", waiting.display()), "quit"])?;
            let mut second = restored(&waiting, &[])?;
            second.send_input("?")?;
            second.expect_out("came 1 and 1")?;
            still_ticks(&mut second)?;
            second.ask(&[&format!("snapshot {}", ticking.display()), "quit"])?;
            let mut third = restored(&ticking, &[])?;
            still_ticks(&mut third)?;
            third.send_input("\x04")?;
            contains(&third.finish()?.err, "result (RAX) 0 ")
        }),
    ]
}

/// Both timers of the guest tick, and equally often.
fn still_ticks(guest: &mut Instance) -> Result<(), Failed> {
    let mut last = None;
    for _ in 0..200 {
        guest.send_input("?")?;
        let line = guest.line_with("ticks ")?;
        let mut counts = line.split(' ').filter_map(|word| word.trim().parse::<i64>().ok());
        let (Some(chip), Some(apic)) = (counts.next(), counts.next()) else {
            return Err(format!("no counts in {line:?}").into());
        };
        if (chip - apic).abs() > 3 {
            return Err(format!("{chip} ticks of one timer and {apic} of the other").into());
        }
        let (first_chip, first_apic) = *last.get_or_insert((chip, apic));
        if chip >= first_chip + 5 && apic >= first_apic + 5 {
            return Ok(());
        }
    }
    Err("the timers do not tick".into())
}

/// Continues the guest in `file`.
pub fn restored(file: &Path, options: &[&str]) -> Result<Instance, Failed> {
    let file = file.to_str().ok_or("a path")?;
    let mut instance =
        Instance::start(Kvm::new().args(["--restore", file, "--keys", "serial"]).args(options))?;
    instance.expect_err("the console is on")?;
    Ok(instance)
}

/// An image for a test.
pub fn image(folder: &Folder, name: &str) -> Result<PathBuf, Failed> {
    let path = folder.file(name);
    File::create(&path)?.set_len(DISK)?;
    Ok(path)
}

/// A guest that writes to `image` and reads it back.
fn churning(image: &Path, options: &[&str]) -> Result<Instance, Failed> {
    let disk = image.to_str().ok_or("a path")?;
    let mut guest =
        Instance::source("disk-churn", &[&["--keys", "serial", "--disk", disk], options].concat())?;
    guest.expect_out("writing")?;
    still_churns(&mut guest)?;
    Ok(guest)
}

/// Waits for a guest with one disk.
pub fn receiver(port: u16, image: &Path, options: &[&str]) -> Result<Instance, Failed> {
    let disk = image.to_str().ok_or("a path")?;
    Instance::destination(port, &[&["--keys", "serial", "--disk", disk], options].concat())
}

/// The guest goes on with its disk, and has read what it wrote.
pub fn still_churns(guest: &mut Instance) -> Result<(), Failed> {
    for _ in 0..2 {
        guest.send_input("?")?;
        guest.expect_out(" wrong 0")?;
    }
    Ok(())
}

/// Ends the guest: it checks all of its disk, and so does this function.
pub fn end(mut guest: Instance, image: &Path) -> Result<(), Failed> {
    guest.send_input("\x04")?;
    contains(&guest.finish()?.err, "result (RAX) 0 ")?;
    let contents = File::open(image)?;
    let mut written = 0;
    for slot in 0..64 {
        let mut bytes = vec![0; 8 * 512];
        contents.read_exact_at(&mut bytes, slot * 8 * 512)?;
        let words: Vec<u16> = bytes.chunks(2).map(|word| u16::from_le_bytes([word[0], word[1]])).collect();
        if words.iter().all(|word| *word == 0) {
            continue;
        }
        written += 1;
        let right =
            |(at, word): (usize, &u16)| *word == words[0].wrapping_add((at / 256 * 257 + at % 256) as u16);
        if !words.iter().enumerate().all(right) {
            return Err(format!("slot {slot} of the image holds parts of two writes").into());
        }
    }
    if written > 3 { Ok(()) } else { Err(format!("{written} slots of the image are written").into()) }
}

/// The command that migrates a guest and copies its disks.
pub fn with_disk(port: u16) -> String {
    format!("migrate --with-disk 127.0.0.1 {port}")
}

fn disks() -> Vec<Trial> {
    vec![
        guest_test("a_guest_is_migrated_in_mid_transfer_of_a_shared_disk", || {
            let folder = Folder::new();
            let image = image(&folder, "disk.img")?;
            let mut guest = churning(&image, &[])?;
            for _ in 0..3 {
                let port = free_port();
                let destination = receiver(port, &image, &[])?;
                contains(&guest.ask(&[&migrate(port)])?, "migration complete")?;
                guest.expect_migrated()?;
                guest = destination;
                still_churns(&mut guest)?;
            }
            end(guest, &image)
        }),
        guest_test("a_guest_is_migrated_with_its_disk", || {
            let folder = Folder::new();
            let (here, there) = (image(&folder, "here.img")?, folder.file("there.img"));
            File::options().write(true).open(&here)?.write_all_at(b"at the end", DISK - 512)?;
            let guest = churning(&here, &[])?;
            let port = free_port();
            let mut destination = receiver(port, &there, &[])?;
            let answer = guest.ask(&[&with_disk(port)])?;
            contains(&answer, "disk 0: ")?;
            contains(&answer, "migration complete")?;
            contains(&guest.expect_migrated()?.err, "of disk images and ")?;
            still_churns(&mut destination)?;
            end(destination, &there)?;
            let contents = fs::read(&there)?;
            let ends =
                contents.len() as u64 == DISK && contents[DISK as usize - 512..].starts_with(b"at the end");
            if ends { Ok(()) } else { Err("another end of the disk".into()) }
        }),
    ]
}

fn failures() -> Vec<Trial> {
    vec![
        guest_test("a_disk_kept_in_memory_is_migrated_with_its_contents_over_tls", || {
            let folder = Folder::new();
            let (here, there) = (image(&folder, "here.img")?, folder.file("there.img"));
            let file = key(&folder, "key", 7)?;
            let key = ["--migr-key", file.to_str().ok_or("a path")?];
            let snapshot = PathBuf::from(format!("{},snapshot", here.display()));
            let guest = churning(&snapshot, &key)?;
            let port = free_port();
            let mut destination = receiver(port, &there, &key)?;
            contains(&guest.ask(&[&migrate(port)])?, "in the memory of this process")?;
            contains(&guest.ask(&[&with_disk(port)])?, "migration complete")?;
            guest.expect_migrated()?;
            still_churns(&mut destination)?;
            end(destination, &there)?;
            if fs::read(&here)?.iter().all(|byte| *byte == 0) {
                Ok(())
            } else {
                Err("a changed image".into())
            }
        }),
        guest_test("a_guest_goes_on_with_its_disk_when_a_migration_fails", || {
            let folder = Folder::new();
            let image = image(&folder, "disk.img")?;
            let mut guest = churning(&image, &[])?;
            for kind in [kind::ROUND_END, kind::STATE_BEGIN, kind::READY, kind::COMMIT] {
                let port = free_port();
                let mut destination = receiver(port, &image, &[])?;
                let proxy = Proxy::breaking(port, kind, BreakPoint::Before)?;
                let answer = guest.ask(&[&migrate(proxy.port)])?;
                if answer.contains("migration complete") {
                    return Err(format!("broken before frame {kind}: {answer}").into());
                }
                guest.ask_until("status", "the guest runs")?;
                still_churns(&mut guest)?;
                destination.kill()?;
            }
            end(guest, &image)
        }),
        guest_test("a_guest_goes_on_with_its_disk_when_the_destination_is_killed", || {
            let folder = Folder::new();
            let (here, there) = (image(&folder, "here.img")?, folder.file("there.img"));
            for (image, option) in [(&here, ""), (&there, "--with-disk ")] {
                let mut guest = churning(&here, &[])?;
                let port = free_port();
                let destination = receiver(port, image, &[])?;
                let proxy = Proxy::killing(port, destination.id())?;
                let _request = guest.ask_in_background(&format!("migrate {option}127.0.0.1 {}", proxy.port));
                guest.ask_until("migrate status", "no answer was received, so the guest is paused")?;
                contains(&guest.ask(&["resume"])?, "the guest runs")?;
                still_churns(&mut guest)?;
                end(guest, &here)?;
            }
            Ok(())
        }),
        guest_test("a_destination_whose_source_is_killed_leaves_the_image_to_others", || {
            let folder = Folder::new();
            let (here, there) = (image(&folder, "here.img")?, folder.file("there.img"));
            for (image, command) in [(&here, ""), (&there, "--with-disk ")] {
                let mut guest = churning(&here, &[])?;
                let port = free_port();
                let destination = receiver(port, image, &[])?;
                let command = format!("migrate {command}127.0.0.1 {}", Proxy::slow(port, 512)?.port);
                let asked = guest.ask_in_background(&command);
                guest.ask_until("migrate status", "round 1")?;
                guest.kill()?;
                let _ = asked.join();
                let ran = destination.finish()?;
                ran.expect_status(6)?.expect_err("migration failed")?;
            }
            if there.exists() {
                return Err("an incomplete image is left".into());
            }
            // Nobody has locked it: another guest begins with it.
            end(churning(&here, &[])?, &here)
        }),
    ]
}

fn snapshots() -> Vec<Trial> {
    vec![
        guest_test(
            "a_restored_guest_is_in_the_middle_of_its_transfer_and_a_changed_image_is_reported",
            || {
                let folder = Folder::new();
                let (image, file) = (image(&folder, "disk.img")?, folder.file("a.kvmstate"));
                let copy = folder.file("copy.img");
                let guest = churning(&image, &[])?;
                let answer = guest.ask(&["pause", &format!("snapshot {}", file.display())])?;
                contains(&answer, "the contents of disk 0 are not included")?;
                // The time of the last change is copied as well.
                std::fs::copy(&image, &copy)?;
                let changed = std::fs::metadata(&image)?.modified()?;
                File::options().write(true).open(&copy)?.set_modified(changed)?;
                guest.ask(&["resume"])?;
                end(guest, &image)?;
                let disk = |image: &Path| format!("--disk={}", image.display());
                let changed = restored(&file, &[&disk(&image)])?;
                changed.ask(&["quit"])?;
                contains(&changed.finish()?.err, "disk.img was changed after the machine was saved")?;
                let mut guest = restored(&file, &[&disk(&copy)])?;
                still_churns(&mut guest)?;
                guest.send_input("\x04")?;
                let ran = guest.finish()?;
                contains(&ran.err, "result (RAX) 0 ")?;
                ran.check(!ran.err.contains("was changed after"), "no warning").map(drop)
            },
        ),
        guest_test("a_disk_that_was_written_since_a_snapshot_is_reported", || {
            let folder = Folder::new();
            let image = image(&folder, "disk.img")?;
            let mut guest = churning(&image, &[])?;
            contains(&guest.ask(&["snapshot a"])?, "the contents of disk 0 are not part of it")?;
            still_churns(&mut guest)?;
            contains(
                &guest.ask(&["restore a"])?,
                "the contents of disk 0 are not restored: the guest has written",
            )
        }),
    ]
}

fn refused() -> Vec<Trial> {
    vec![guest_test("disks_that_do_not_fit_are_refused_before_the_guest_stops", || {
        let folder = Folder::new();
        let here = image(&folder, "here.img")?;
        let copy = image(&folder, "copy.img")?;
        let small = folder.file("small.img");
        File::create(&small)?.set_len(DISK / 2)?;
        let full = folder.file("full.img");
        fs::write(&full, vec![7; DISK as usize])?;
        let mut guest = churning(&here, &[])?;
        let cases: [(&str, PathBuf, &str); 7] = [
            ("", folder.file("none.img"), "none.img does not exist at the destination"),
            ("", small, "has one of 1024 sectors here"),
            ("", copy, "copy.img at the destination is another file than the guest's"),
            ("", PathBuf::from(format!("{},ro", here.display())), "has a read-only one of 2048 sectors here"),
            (
                "--with-disk ",
                full.clone(),
                "full.img has contents, which those of the guest's disk would replace",
            ),
            ("--with-disk ", here.clone(), "here.img is in use by process "),
            ("--with-disk ", PathBuf::from("new.img,snapshot"), "`,snapshot` keeps them in memory"),
        ];
        for (option, image, reason) in cases {
            let port = free_port();
            let destination = receiver(port, &image, &[])?;
            let answer = guest.ask(&[&format!("migrate {option}127.0.0.1 {port}")])?;
            contains(&answer, reason)?;
            contains(&answer, "the guest keeps running on this host")?;
            destination.finish()?.expect_status(6)?.expect_err(reason)?;
            still_churns(&mut guest)?;
        }
        let port = free_port();
        let destination = Instance::destination(port, &[])?;
        contains(&guest.ask(&[&migrate(port)])?, "the guest has disk 0 and the destination no disk")?;
        destination.finish()?.expect_status(6)?;
        // With the user's consent the file is replaced.
        let port = free_port();
        let destination = receiver(port, &full, &["--overwrite-disks"])?;
        contains(&guest.ask(&[&with_disk(port)])?, "migration complete")?;
        guest.expect_migrated()?;
        end(destination, &full)
    })]
}
