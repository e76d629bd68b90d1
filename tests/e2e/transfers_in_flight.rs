//! Guests that are saved, reverted or migrated in the middle of a transfer: by PIO, by the bus master, and of a virtio
//! disk.

use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};

use crate::in_flight::{end, image, receiver, restored, still_churns, with_disk};
use crate::support::migration::{Instance, contains, free_port, migrate};
use crate::support::{FinishedRun, Folder, guest_test};

/// A guest that writes to a disk and reads it back without end.
#[derive(Clone, Copy)]
struct Churn {
    name: &'static str,
    guest: &'static str,
    /// What `--disk` has behind the image.
    suffix: &'static str,
    /// It stops in the middle of a transfer when it is asked to.
    stops: bool,
    /// The number of its disk.
    unit: u8,
}

const PIO: Churn = Churn { name: "pio", guest: "disk-churn", suffix: "", stops: true, unit: 0 };
const DMA: Churn = Churn { name: "dma", guest: "dma-churn", suffix: "", stops: true, unit: 0 };
const VIRTIO: Churn =
    Churn { name: "virtio", guest: "virtio-churn", suffix: ",virtio", stops: false, unit: 4 };

impl Churn {
    /// The value of `--disk`.
    fn disk(self, image: &Path, mode: &str) -> String {
        format!("{}{}{mode}", image.display(), self.suffix)
    }

    fn start(self, disk: &str) -> Result<Instance, Failed> {
        let mut guest = Instance::source(self.guest, &["--keys", "serial", "--disk", disk])?;
        guest.expect_out("writing")?;
        still_churns(&mut guest)?;
        self.stop(&mut guest)?;
        Ok(guest)
    }

    /// Stops the guest in the middle of its next transfer, if it can.
    fn stop(self, guest: &mut Instance) -> Result<(), Failed> {
        if self.stops {
            guest.send_input("h")?;
            guest.expect_out("in the middle")?;
        }
        Ok(())
    }

    /// The guest goes on from there, and has read what it wrote.
    fn goes_on(self, guest: &mut Instance) -> Result<(), Failed> {
        if self.stops {
            guest.send_input("!")?;
        }
        still_churns(guest)
    }
}

fn migrated(churn: Churn) -> Result<(), Failed> {
    let folder = Folder::new();
    let image = image(&folder, "disk.img")?;
    let mut guest = churn.start(&churn.disk(&image, ""))?;
    for _ in 0..2 {
        let port = free_port();
        let destination = receiver(port, &PathBuf::from(churn.disk(&image, "")), &[])?;
        contains(&guest.ask(&[&migrate(port)])?, "migration complete")?;
        guest.expect_migrated()?;
        guest = destination;
        churn.goes_on(&mut guest)?;
        churn.stop(&mut guest)?;
    }
    churn.goes_on(&mut guest)?;
    end(guest, &image)
}

fn migrated_with_disk(churn: Churn) -> Result<(), Failed> {
    let folder = Folder::new();
    let (here, there) = (image(&folder, "here.img")?, folder.file("there.img"));
    let guest = churn.start(&churn.disk(&here, ""))?;
    let port = free_port();
    let mut destination = receiver(port, &PathBuf::from(churn.disk(&there, "")), &[])?;
    contains(&guest.ask(&[&with_disk(port)])?, "migration complete")?;
    guest.expect_migrated()?;
    churn.goes_on(&mut destination)?;
    end(destination, &there)
}

fn saved_in_a_file(churn: Churn) -> Result<(), Failed> {
    let folder = Folder::new();
    let (image, file) = (image(&folder, "disk.img")?, folder.file("a.kvmstate"));
    let guest = churn.start(&churn.disk(&image, ""))?;
    let answer = guest.ask(&[&format!("snapshot {}", file.display()), "quit"])?;
    contains(&answer, &format!("the contents of disk {} are not included", churn.unit))?;
    guest.finish()?;
    let mut guest = restored(&file, &[&format!("--disk={}", churn.disk(&image, ""))])?;
    churn.goes_on(&mut guest)?;
    end(guest, &image)
}

/// A disk that keeps what is written in memory goes back with the guest.
fn reverted(churn: Churn) -> Result<(), Failed> {
    let folder = Folder::new();
    let image = image(&folder, "disk.img")?;
    let mut guest = churn.start(&churn.disk(&image, ",snapshot"))?;
    let commands = ["first", "second"].map(|name| (format!("snapshot {name}"), format!("restore {name}")));
    for (take, restore) in &commands {
        let answer = guest.ask(&[take])?;
        if answer.contains("of disk") {
            return Err(format!("a snapshot without the disk: {answer}").into());
        }
        for _ in 0..2 {
            churn.goes_on(&mut guest)?;
            let answer = guest.ask(&[restore])?;
            contains(&answer, "restored snapshot `")?;
            if answer.contains("of disk") {
                return Err(format!("a disk that was not restored: {answer}").into());
            }
        }
        churn.goes_on(&mut guest)?;
        churn.stop(&mut guest)?;
    }
    guest.ask(&[&commands[0].1])?;
    churn.goes_on(&mut guest)?;
    // It checks all of its disk.
    guest.send_input("\x04")?;
    contains(&guest.finish()?.err, "result (RAX) 0 ")?;
    let unchanged = std::fs::read(&image)?.iter().all(|byte| *byte == 0);
    if unchanged { Ok(()) } else { Err("a changed image".into()) }
}

/// A file does not have what a disk keeps in memory: both ways to restore it begin with the contents of the image.
fn restored_without_its_writes() -> Result<(), Failed> {
    let folder = Folder::new();
    let (image, file) = (image(&folder, "disk.img")?, folder.file("a.kvmstate"));
    let disk = PIO.disk(&image, ",snapshot");
    let mut guest = PIO.start(&disk)?;
    let lost = "disk 0 had `,snapshot` when the machine was saved: what the guest had written to it is lost";
    contains(
        &guest.ask(&[&format!("snapshot {}", file.display())])?,
        "what the guest has written to disk 0 (`,snapshot`) is not included",
    )?;
    PIO.goes_on(&mut guest)?;
    contains(&guest.ask(&[&format!("restore {}", file.display())])?, lost)?;
    let ran = ends_with_wrong_sectors(guest)?;
    let other = ends_with_wrong_sectors(restored(&file, &[&format!("--disk={disk}")])?)?;
    contains(&other.err, lost)?;
    let result = |ran: &FinishedRun| ran.err.lines().find(|line| line.contains("result")).map(str::to_owned);
    match result(&ran) == result(&other) {
        true => Ok(()),
        false => Err(format!("{:?} and {:?}", result(&ran), result(&other)).into()),
    }
}

/// The guest, which waits in the middle of a transfer, goes on and checks all of its disk.
fn ends_with_wrong_sectors(mut guest: Instance) -> Result<FinishedRun, Failed> {
    guest.send_input("!\x04")?;
    let ran = guest.finish()?;
    ran.check(!ran.err.contains("result (RAX) 0 "), "wrong sectors")?;
    Ok(ran)
}

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = vec![guest_test(
        "a_disk_kept_in_memory_has_the_contents_of_its_image_after_the_restore_of_a_file",
        restored_without_its_writes,
    )];
    for churn in [PIO, DMA, VIRTIO] {
        trials.push(guest_test(
            &format!("a_disk_kept_in_memory_is_reverted_in_mid_transfer ({})", churn.name),
            move || reverted(churn),
        ));
    }
    // By PIO they are tests of `in_flight`.
    for churn in [DMA, VIRTIO] {
        let name = churn.name;
        let mut add = |what: &str, test: fn(Churn) -> Result<(), Failed>| {
            trials.push(guest_test(&format!("{what} ({name})"), move || test(churn)));
        };
        add("a_guest_is_migrated_in_mid_transfer", migrated);
        add("a_guest_is_migrated_with_its_disk_in_mid_transfer", migrated_with_disk);
        add("a_guest_saved_in_mid_transfer_ends_it_after_a_restore", saved_in_a_file);
    }
    trials
}
