//! Disk images: what the guest writes the host reads and the other way round, in every mode.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use libtest_mimic::{Failed, Trial};

use crate::support::{FinishedRun, Kvm, guest_test, test};

const SECTOR: usize = 512;
const TEXT: &str = "from the host\n";

/// The transcript of the guest `disk` on an image of 10 MiB.
const TRANSCRIPT: &str = "\
in reset 0x80, signature 0x01 0x01 0x01 0x00 0x00 0x00 0x50, second device 0x00
identify: status 0x50 error 0x00 interrupts 1
sectors 20480, cylinders 20, heads 16, sectors of a track 63, model KVM HARD DIS
polled read: status 0x50 error 0x00 interrupts 0
from the host
write: status 0x50 error 0x00 interrupts 3
read: status 0x50 error 0x00 interrupts 3
read by cylinder, head and sector: status 0x50 error 0x00 interrupts 2
set multiple: status 0x50 error 0x00 interrupts 1
write multiple: status 0x50 error 0x00 interrupts 3
read multiple: status 0x50 error 0x00 interrupts 3
write with 48 bits: status 0x50 error 0x00 interrupts 1
read with 48 bits: status 0x50 error 0x00 interrupts 1
read beyond the end: status 0x51 error 0x10 interrupts 1
flush: status 0x50 error 0x00 interrupts 1
unknown command: status 0x51 error 0x04 interrupts 1
";

/// `kvm` with the guest `disk` and an image of `size` bytes, whose first sector has a text.
fn with_image(guest: &str, size: u64, mode: &str) -> Kvm {
    let kvm = Kvm::with_guest(guest).args(["--timeout", "100", "--disk", &format!("disk.img{mode}")]);
    let image = File::create(kvm.folder.file("disk.img")).expect("an image can be created");
    image
        .set_len(size)
        .and_then(|()| image.write_all_at(TEXT.as_bytes(), 0))
        .expect("an image can be written");
    kvm
}

/// True if the guest has written its pattern to sector `lba`.
fn has_pattern(image: &Path, lba: u64) -> bool {
    let mut sector = [0; SECTOR];
    File::open(image)
        .and_then(|image| image.read_exact_at(&mut sector, lba * SECTOR as u64))
        .expect("a sector");
    (0..).zip(sector.chunks(2)).all(|(word, bytes)| bytes == ((lba * 257 + word) as u16).to_le_bytes())
}

fn expect_contents(ran: &FinishedRun, sectors: &[u64]) -> Result<(), Failed> {
    let image = ran.folder.file("disk.img");
    for lba in sectors {
        ran.check(has_pattern(&image, *lba), &format!("the pattern in sector {lba}"))?;
    }
    Ok(())
}

/// The transcript of the guest `disk-dma`. The bus master's interrupt bit is 0x04, its error bit 0x02, and 0x01 says that
/// it has not reached the end of its table.
const DMA_TRANSCRIPT: &str = "\
bus master at 0xc000
read the text: status 0x50 error 0x00 interrupts 1 bus master 0x04
from the host
write: status 0x50 error 0x00 interrupts 1 bus master 0x04
read: status 0x50 error 0x00 interrupts 1 bus master 0x04
read with a long table: status 0x50 error 0x00 interrupts 1 bus master 0x05
read with a short table: status 0x58 error 0x00 interrupts 0 bus master 0x00
read to where nothing is: status 0x58 error 0x00 interrupts 0 bus master 0x02
read beyond the end: status 0x51 error 0x10 interrupts 1 bus master 0x05
";

/// The transcript of the guest `cdrom`.
const CD_TRANSCRIPT: &str = "\
identify device: status 0x51 error 0x04 interrupts 1
signature 0xeb14, model KVM CD-ROM
ready: status 0x50 error 0x00 interrupts 1
capacity: status 0x50 error 0x00 interrupts 2
18 sectors
read: status 0x50 error 0x00 interrupts 3
volume CD001 OF_THE_HOST
read by DMA: status 0x50 error 0x00 interrupts 1
read beyond the end: status 0x51 error 0x50 interrupts 1
sense: status 0x50 error 0x00 interrupts 2
0x0521
";

/// `kvm` with the guest `cdrom` and an image with a volume descriptor, whose last sector is not all there.
fn with_cd(option: &str) -> Result<Kvm, Failed> {
    const CD_SECTOR: usize = 2048;
    let mut image = vec![0; 17 * CD_SECTOR + 100];
    image[16 * CD_SECTOR..][..7].copy_from_slice(b"\x01CD001\x01");
    image[16 * CD_SECTOR + 40..][..32].copy_from_slice(format!("{:32}", "OF_THE_HOST").as_bytes());
    let kvm = Kvm::with_guest("cdrom").args(["--timeout", "100", option, "disc.iso"]);
    fs::write(kvm.folder.file("disc.iso"), image)?;
    Ok(kvm)
}

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("a_guest_and_the_host_read_what_the_other_wrote_to_the_disk", || {
            let ran = with_image("disk", 10 << 20, "").run();
            ran.expect_status(0)?.expect_out(TRANSCRIPT)?.expect_err("result (RAX) 0 ")?;
            expect_contents(&ran, &[10, 11, 12, 20, 21, 22, 23, 24, 30])?;
            ran.check(ran.folder.read("disk.img").starts_with(TEXT), "the text of the host").map(drop)
        }),
        guest_test("a_disk_interrupts_a_guest_with_irqchip_kernel", || {
            let ran = with_image("disk", 10 << 20, "").args(["--irqchip", "kernel"]).run();
            ran.expect_status(0)?.expect_out(TRANSCRIPT)?.expect_err("result (RAX) 0 ").map(drop)
        }),
        guest_test("a_disk_beyond_28_bits_of_sectors_is_sparse", || {
            let ran = with_image("disk", 200 << 30, "").run();
            ran.expect_status(0)?.expect_err("result (RAX) 0 ")?;
            ran.check(ran.out.contains("sectors 419430400, cylinders 16383, "), "the size")?;
            expect_contents(&ran, &[10, (1 << 28) + 1])
        }),
        guest_test("a_snapshot_disk_forgets_what_the_guest_wrote", || {
            let ran = with_image("disk", 10 << 20, ",snapshot").run();
            ran.expect_status(0)?.expect_out(TRANSCRIPT)?.expect_err("result (RAX) 0 ")?;
            ran.check(!has_pattern(&ran.folder.file("disk.img"), 10), "an unchanged image").map(drop)
        }),
        guest_test("a_read_only_disk_refuses_writes", || {
            let ran = with_image("disk", 10 << 20, ",ro").run();
            ran.expect_status(0)?;
            ran.check(ran.out.contains("write: status 0x51 error 0x44 interrupts 1\n"), "a write error")?;
            ran.check(!has_pattern(&ran.folder.file("disk.img"), 10), "an unchanged image").map(drop)
        }),
        guest_test("a_guest_and_the_host_read_what_the_other_wrote_by_dma", || {
            let ran = with_image("disk-dma", 10 << 20, "").run();
            ran.expect_status(0)?.expect_out(DMA_TRANSCRIPT)?.expect_err("result (RAX) 0 ")?;
            expect_contents(&ran, &[10, 11, 17, 25])?;
            ran.check(!has_pattern(&ran.folder.file("disk.img"), 26), "no other sectors").map(drop)
        }),
        guest_test("a_guest_reads_the_volume_descriptor_of_a_cd", || {
            let ran = with_cd("--cdrom")?.run();
            ran.expect_status(0)?.expect_out(CD_TRANSCRIPT)?.expect_err("result (RAX) 0 ")?;
            ran.expect_log("disk 2: 72 sectors, CD")?;
            // The spelling of QEMU, and a disk beside it.
            let kvm = with_cd("-cdrom")?.args(["--disk", "disk.img"]);
            File::create(kvm.folder.file("disk.img"))?.set_len(1 << 20)?;
            kvm.run()
                .expect_status(0)?
                .expect_out(CD_TRANSCRIPT)?
                .expect_log("disk 0: 2048 sectors")
                .map(drop)
        }),
        test("a_cd_beside_four_disks_is_refused", || {
            let disks = ["--disk", "a", "--disk", "b", "--disk", "c", "--disk", "d", "--cdrom", "e"];
            let ran = Kvm::with_guest("cdrom").args(disks).run();
            ran.expect_status(2)?
                .expect_err("a machine has at most four on IDE, and there are four disks already")
                .map(drop)
        }),
        guest_test("a_guest_that_polls_copies_a_sector", || {
            let ran = with_image("disk-copy", 1 << 20, "").run();
            ran.expect_status(0)?.expect_out("2048 sectors\n")?;
            let image = fs::read(ran.folder.file("disk.img"))?;
            ran.check(image[2047 * SECTOR..].starts_with(TEXT.as_bytes()), "the copy").map(drop)
        }),
        guest_test("a_disk_of_qemu_is_the_same_disk", || {
            let kvm =
                with_image("disk-copy", 1 << 20, "").args(["-drive", "file=b.img,format=raw,readonly=on"]);
            let ran = kvm.file("b.img", &" ".repeat(SECTOR)).run();
            ran.expect_status(0)?.expect_log("disk 1: 1 sectors, read only").map(drop)
        }),
        test("a_disk_that_another_process_writes_is_refused", || {
            let kvm = with_image("disk", 1 << 20, "");
            let image = File::open(kvm.folder.file("disk.img"))?;
            rustix::fs::flock(&image, rustix::fs::FlockOperation::LockExclusive)?;
            let ran = kvm.run();
            let process = format!("the disk image disk.img is in use by process {}.", std::process::id());
            ran.expect_status(6)?.expect_err(&process).map(drop)
        }),
        test("a_disk_image_that_cannot_be_used_is_refused_with_the_remedy", || {
            let ran = Kvm::with_guest("disk").args(["--disk", "disk.img"]).run();
            ran.expect_status(6)?.expect_err("`truncate -s 64M disk.img` creates an empty one")?;
            let ran = with_image("disk", 1000, "").run();
            ran.expect_status(6)?.expect_err("`truncate -s %512 disk.img`").map(drop)
        }),
    ]
}
