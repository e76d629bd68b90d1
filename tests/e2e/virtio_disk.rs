//! Virtio disks: what the guest writes the host reads and the other way round, in every mode.

use std::fs::File;
use std::os::unix::fs::FileExt;

use libtest_mimic::{Failed, Trial};

use crate::support::{FinishedRun, Kvm, guest_test};

const SECTOR: usize = 512;
const TEXT: &str = "from the host\n";

/// The transcript of the guest `virtio` on an image of 10 MiB.
const TRANSCRIPT: &str = "\
capacity 20480 queue 128 line 11 read-only 0
read: status 0 interrupts 1 written 513
from the host
write: status 0 interrupts 1 written 1
flush: status 0 interrupts 1 written 1
read back: status 0 interrupts 1 written 8193
read beyond the end: status 1 interrupts 1 written 1
half a sector: status 1 interrupts 1 written 1
identity: status 0 interrupts 1 written 21
KVM VIRTIO DISK
unknown request: status 2 interrupts 1 written 1
malformed: device status 71
read after a reset: status 0 interrupts 1 written 8193
";

/// `kvm` with a guest and an image of 10 MiB, whose first sector has a text.
fn with_image(guest: &str, mode: &str) -> Kvm {
    let kvm = Kvm::with_guest(guest).args(["--timeout", "100", "--disk", &format!("disk.img,virtio{mode}")]);
    let image = File::create(kvm.folder.file("disk.img")).expect("an image can be created");
    image
        .set_len(10 << 20)
        .and_then(|()| image.write_all_at(TEXT.as_bytes(), 0))
        .expect("an image can be written");
    kvm
}

/// True if the guest has written its pattern to sectors 10 to 25.
fn has_pattern(ran: &FinishedRun) -> bool {
    let mut sectors = [0; 16 * SECTOR];
    File::open(ran.folder.file("disk.img"))
        .and_then(|image| image.read_exact_at(&mut sectors, 10 * SECTOR as u64))
        .expect("the sectors");
    (0..).zip(sectors.chunks(2)).all(|(at, bytes)| {
        let (lba, word) = (10 + at / 256, at % 256);
        bytes == ((lba * 257 + word) as u16).to_le_bytes()
    })
}

fn expect_written(ran: &FinishedRun, written: bool) -> Result<(), Failed> {
    let what = if written { "what the guest wrote" } else { "an unchanged image" };
    ran.check(has_pattern(ran) == written, what).map(drop)
}

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("a_virtio_disk_has_what_guest_and_host_wrote", || {
            let ran = with_image("virtio", "").run();
            ran.expect_status(0)?.expect_out(TRANSCRIPT)?.expect_err("result (RAX) 0 ")?;
            ran.expect_log("disk 4: 20480 sectors, virtio")?;
            ran.expect_log("disk 4: the guest's driver has a request whose descriptors do not end")?;
            ran.check(ran.folder.read("disk.img").starts_with(TEXT), "the text of the host")?;
            expect_written(&ran, true)
        }),
        guest_test("a_virtio_disk_interrupts_by_the_interrupt_controllers_of_kvm", || {
            let ran = with_image("virtio", "").args(["--irqchip", "kernel"]).run();
            ran.expect_status(0)?.expect_out(TRANSCRIPT)?.expect_err("result (RAX) 0 ")?;
            expect_written(&ran, true)
        }),
        guest_test("a_virtio_disk_works_by_its_modern_interface", || {
            let ran = with_image("virtio-disk", "").run();
            ran.expect_status(0)?.expect_out("20480 sectors\n")?;
            ran.check(ran.folder.read("disk.img").starts_with("FROM THE HOST\n"), "capital letters").map(drop)
        }),
        guest_test("a_read_only_virtio_disk_refuses_writes", || {
            let ran = with_image("virtio", ",ro").run();
            ran.expect_status(0)?;
            ran.check(ran.out.contains("read-only 1\n"), "the feature")?;
            ran.check(ran.out.contains("write: status 1 interrupts 1 written 1\n"), "an error")?;
            expect_written(&ran, false)
        }),
        guest_test("a_virtio_disk_with_snapshot_forgets_what_the_guest_wrote", || {
            let ran = with_image("virtio", ",snapshot").run();
            ran.expect_status(0)?.expect_out(TRANSCRIPT)?.expect_err("result (RAX) 0 ")?;
            expect_written(&ran, false)
        }),
        guest_test("a_reset_in_the_middle_of_a_request_leaves_a_virtio_disk_that_works", || {
            let ran = with_image("virtio", "").args(["--append", "reset"]).run();
            ran.expect_status(0)?.expect_err("result (RAX) 0 ")?;
            ran.check(ran.out.ends_with("read: status 0 interrupts 1 written 513\nwas reset\n"), "a read")?;
            ran.expect_log("machine reset number 1").map(drop)
        }),
        guest_test("a_virtio_disk_of_qemu_is_one_beside_ide_disks", || {
            let kvm = with_image("virtio-disk", "").args(["-drive", "file=b.img,if=virtio,format=raw"]);
            let kvm = kvm.file("b.img", &" ".repeat(SECTOR)).args(["-hda", "c.img"]);
            let ran = kvm.file("c.img", &" ".repeat(2 * SECTOR)).run();
            ran.expect_status(0)?.expect_out("20480 sectors\n")?;
            ran.expect_log("disk 5: 1 sectors, virtio")?.expect_log("disk 0: 2 sectors").map(drop)
        }),
        guest_test("a_fifth_virtio_disk_is_one_too_many", || {
            let kvm = with_image("virtio-disk", "");
            let ran = kvm.args(["--disk=a,virtio"; 4]).run();
            ran.expect_status(2)?.expect_err("a machine has at most 4 disks with `,virtio`").map(drop)
        }),
        guest_test("a_virtio_disk_is_listed_on_the_pci_bus", || {
            let ran = with_image("lspci", "").run();
            ran.expect_out(concat!(
                "00:00.0 0600: 8086:1237\n00:01.0 0601: 8086:7000\n00:01.1 0101: 8086:7010\n",
                "00:03.0 0100: 1af4:1001\n"
            ))?;
            Ok(())
        }),
    ]
}
