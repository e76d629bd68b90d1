//! Diskettes and CDs that the machine's own BIOS starts: ours, and Debian's GRUB if scripts/grub-images has made disks
//! with it.

use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};

use crate::firmware::{BOCHS, SEABIOS};
use crate::support::pty::Terminal;
use crate::support::{FinishedRun, Kvm, Lane, disk_guest, guest_test, lane, test};

const SECTOR: usize = 2048;
/// What the guest `floppy` shows.
const DISKETTE: &str = "\
FAT12 diskette
SECOND.BIN: cylinders, heads, sectors and type of the drive: 80 02 18 04
";
/// What the kernel shows that GRUB loads.
const KERNEL: &str = "section names found, guest_main found\n";

/// A CD whose boot image, at sector 20, has this media type, and of which `loaded` sectors of 512 bytes are loaded.
fn cd(media: u8, loaded: u16, image: &[u8]) -> Vec<u8> {
    let mut cd = vec![0; 20 * SECTOR];
    cd[16 * SECTOR..][..7].copy_from_slice(b"\x01CD001\x01");
    cd[17 * SECTOR..][..30].copy_from_slice(b"\0CD001\x01EL TORITO SPECIFICATION");
    cd[17 * SECTOR + 0x47] = 19;
    let catalog = &mut cd[19 * SECTOR..];
    catalog[..2].copy_from_slice(&[1, 0]);
    catalog[28..32].copy_from_slice(&[0xAA, 0x55, 0x55, 0xAA]);
    catalog[32..34].copy_from_slice(&[0x88, media]);
    catalog[38..40].copy_from_slice(&loaded.to_le_bytes());
    catalog[40] = 20;
    cd.extend(image);
    cd.resize(cd.len().next_multiple_of(SECTOR), 0);
    cd
}

/// `kvm` with files of these contents in its folder.
fn with_files(files: &[(&str, &[u8])]) -> Result<Kvm, Failed> {
    let kvm = Kvm::new();
    for (name, contents) in files {
        fs::write(kvm.folder.file(name), contents)?;
    }
    Ok(kvm)
}

/// The same, for a guest that ends by itself.
fn machine_with(files: &[(&str, &[u8])]) -> Result<Kvm, Failed> {
    Ok(with_files(files)?.args(["--timeout", "100"]))
}

fn lines(ran: &FinishedRun) -> String {
    ran.out.replace("\r\n", "\n")
}

/// The guest `boot-sector` was started from `drive` and has got its key.
fn expect_boot_sector(ran: &FinishedRun, drive: &str) -> Result<(), Failed> {
    ran.expect_status(0)?;
    let out = lines(ran);
    ran.check(out.starts_with(&format!("Hello from the boot sector of drive {drive}\n")), "the drive")?;
    ran.check(out.ends_with("Key 256B\n"), "the key that its second sector waits for").map(drop)
}

/// A test with a disk or a CD of scripts/grub-images. A `slow` one takes minutes on hosts that interpret ring 0.
fn grub_test(
    name: &str,
    file: &'static str,
    slow: bool,
    run: impl FnOnce(Kvm) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let image = disk_guest(&format!("grub/{file}")).with_file_name(file);
    let skipped = match lane() {
        _ if !image.exists() => "scripts/grub-images makes its disk",
        Lane::Intel => "in Bochs, a boot loader that polls the keyboard never gives the processor up",
        Lane::Emulated if slow => "GRUB 2 takes minutes here",
        _ => {
            return guest_test(name, move || {
                let kvm = Kvm::new().args(["--timeout", "100"]);
                fs::copy(image, kvm.folder.file(file))?;
                run(kvm)
            });
        }
    };
    test(&format!("{name} (skipped: {skipped})"), || Ok(())).with_ignored_flag(true)
}

/// The same, started by firmware from a Debian package. Firmware takes seconds on hosts that interpret ring 0, and its
/// loader for CDs and GRUB 2 more.
fn firmware_grub_test(name: &str, bios: &'static str, file: &'static str) -> Trial {
    if !Path::new(bios).exists() {
        let name = format!("{name} (skipped: {bios} is not installed)");
        return test(&name, || Ok(())).with_ignored_flag(true);
    }
    let drive = if file.ends_with(".iso") { "--cdrom" } else { "--disk" };
    grub_test(name, file, true, move |kvm| {
        let ran = kvm.args(["--display", "serial", "--bios", bios, drive]).arg(file).run();
        let text = "command line [from GRUB 2]";
        ran.expect_status(0)?.check(ran.out.contains(text), text)?;
        ran.check(lines(&ran).ends_with(KERNEL), KERNEL).map(drop)
    })
}

fn expect_kernel(ran: &FinishedRun, loader: &str, command_line: &str) -> Result<(), Failed> {
    ran.expect_status(0)?.expect_err("result (RAX) 732803074 (0x2badb002)")?;
    let out = lines(ran);
    ran.check(out.contains(loader), loader)?;
    ran.check(out.contains(command_line), command_line)?;
    ran.check(out.ends_with(KERNEL), KERNEL).map(drop)
}

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("a_diskette_starts_a_file_of_its_fat_file_system", || {
            let diskette = fs::read(disk_guest("floppy"))?;
            let ran = machine_with(&[("floppy.img", &diskette)])?.arg("floppy.img").run();
            ran.expect_status(0)?.expect_err("result (RAX) 4 ")?;
            ran.check(lines(&ran) == DISKETTE, DISKETTE)?;
            // A virtio disk of that size is a hard disk, which has no type.
            let kvm = machine_with(&[("floppy.img", &diskette)])?;
            let ran = kvm.args(["--disk", "floppy.img,virtio,snapshot"]).run();
            ran.check(!lines(&ran).contains("80 02 18 04"), "a hard disk").map(drop)
        }),
        guest_test("a_cd_emulates_a_diskette", || {
            let cd = cd(2, 1, &fs::read(disk_guest("floppy"))?);
            let ran = machine_with(&[("disc.iso", &cd)])?.args(["--cdrom", "disc.iso"]).run();
            ran.expect_status(0)?.expect_err("result (RAX) 4 ")?;
            ran.check(lines(&ran) == DISKETTE, DISKETTE)?;
            ran.expect_log("guest of kind cdrom (CD image), chosen by --boot").map(drop)
        }),
        guest_test("a_cd_emulates_a_hard_disk_in_front_of_the_real_one", || {
            let disk = fs::read(disk_guest("boot-sector"))?;
            let kvm = machine_with(&[("disc.iso", &cd(4, 1, &disk)), ("disk.img", &[0; 1 << 16])])?;
            let ran = kvm.args(["disc.iso", "--disk", "disk.img"]).input(b"k").run();
            ran.expect_log("guest of kind cdrom (CD image), recognised by its contents")?;
            expect_boot_sector(&ran, "0080")
        }),
        guest_test("a_cd_without_emulation_is_read_in_its_own_sectors", || {
            let disk = fs::read(disk_guest("boot-sector"))?;
            let mut cd = cd(0, 1, &disk);
            // The guest reads sector 1 of its drive behind its first 512 bytes.
            cd[SECTOR..][..512].copy_from_slice(&disk[512..]);
            expect_boot_sector(&machine_with(&[("a.iso", &cd)])?.arg("a.iso").input(b"k").run(), "00E0")
        }),
        guest_test("a_cd_is_started_when_no_disk_can_be", || {
            let cd = cd(2, 1, &fs::read(disk_guest("floppy"))?);
            let kvm = machine_with(&[("disc.iso", &cd), ("empty.img", &[0; 1 << 16])])?;
            let ran = kvm.args(["--disk", "empty.img", "--cdrom", "disc.iso"]).run();
            ran.check(lines(&ran) == DISKETTE, DISKETTE)?;
            let damaged = machine_with(&[("disc.iso", &vec![0; 30 * SECTOR]), ("empty.img", &[0; 1 << 16])])?;
            let ran = damaged.args(["--disk", "empty.img", "--cdrom", "disc.iso"]).run();
            ran.expect_status(4)?
                .expect_err("no bootable disk: the CD cannot be started: it has no volume descriptor")?;
            Ok(())
        }),
        firmware_grub_test("seabios_starts_grub_2_on_a_disk", SEABIOS, "grub.img"),
        firmware_grub_test("seabios_starts_grub_2_on_a_cd", SEABIOS, "grub.iso"),
        firmware_grub_test("the_bios_of_bochs_starts_grub_2_on_a_disk", BOCHS, "grub.img"),
        firmware_grub_test("the_bios_of_bochs_starts_grub_2_on_a_cd", BOCHS, "grub.iso"),
        grub_test("grub_0_97_on_a_diskette_loads_a_kernel_by_typed_commands", "legacy.img", false, |kvm| {
            let terminal = Terminal::kvm(kvm.arg("legacy.img"), 80, 25);
            terminal.wait_for_text("grub>")?;
            terminal.type_keys("kernel (fd0)400+200 typed\r");
            terminal.wait_for_text("Multiboot-elf")?;
            terminal.type_keys("boot\r");
            let ended = terminal.end()?;
            ended.expect_status(0)?.expect_text("result (RAX) 732803074").map(drop)
        }),
        grub_test("grub_0_97_on_a_cd_starts_the_kernel_of_its_menu", "legacy.iso", false, |kvm| {
            expect_kernel(
                &kvm.arg("legacy.iso").run(),
                "loader [GNU GRUB 0.97]",
                "/boot/kernel.elf from GRUB 0.97]",
            )
        }),
        grub_test("grub_2_lists_the_disks_at_its_prompt", "rescue.img", false, |kvm| {
            let terminal = Terminal::kvm(kvm.arg("rescue.img"), 80, 25);
            terminal.wait_for_text("grub rescue>")?;
            terminal.type_keys("ls\r");
            terminal.wait_for_text("(hd0)").map(drop)
        }),
        grub_test("grub_2_on_a_disk_starts_the_kernel_of_its_menu", "grub.img", true, |kvm| {
            expect_kernel(&kvm.arg("grub.img").run(), "loader [GRUB 2", "command line [from GRUB 2]")
        }),
        grub_test("grub_2_on_a_cd_starts_the_kernel_of_its_menu", "grub.iso", true, |kvm| {
            expect_kernel(&kvm.arg("grub.iso").run(), "loader [GRUB 2", "command line [from GRUB 2]")
        }),
    ]
}

/// Tests that are the same on every processor.
pub fn others() -> Vec<Trial> {
    vec![
        test("a_cd_that_cannot_be_started_is_refused_with_the_reason", || {
            let right = cd(0, 4, &[0; SECTOR]);
            let changed = |at: usize, value: u8| {
                let mut cd = right.clone();
                cd[at] = value;
                cd
            };
            for (at, value, message) in [
                (17 * SECTOR + 7, b'X', "it has no boot record (\"EL TORITO SPECIFICATION\" in sector 17)"),
                (17 * SECTOR + 0x48, 1, "its boot catalog is in sectors 0x113 to 0x113, and it has 0x15"),
                (19 * SECTOR, 2, "its boot catalog in sector 0x13 does not begin with 01"),
                (19 * SECTOR + 4, 1, "the checksum of its boot catalog in sector 0x13 is 0x0001, not 0"),
                (19 * SECTOR + 32, 0, "has no bootable entry for a PC's BIOS, none at all"),
                (19 * SECTOR + 33, 7, "media type 7"),
                (19 * SECTOR + 33, 2, "its boot image is in sectors 0x14 to 0x2e3"),
                (19 * SECTOR + 41, 1, "its boot image is in sectors 0x114 to 0x114"),
            ] {
                for arguments in [&["a.iso"][..], &["inspect", "a.iso"]] {
                    let ran = with_files(&[("a.iso", &changed(at, value))])?.args(arguments).run();
                    ran.expect_status(4)?.expect_err("a.iso is a CD image that cannot be started: ")?;
                    ran.expect_err(message)?;
                }
            }
            Ok(())
        }),
        test("a_cd_is_described_with_its_boot_image", || {
            let cd = cd(2, 1, &[0; 720 * SECTOR]);
            let ran = with_files(&[("a.iso", &cd)])?.args(["inspect", "a.iso"]).run();
            ran.expect_status(0)?;
            let expected =
                "boot image    as a diskette of 1440 KiB, from sector 0x14, loaded at 0x7c00..0x7e00\n";
            ran.check(ran.out.contains(expected), expected).map(drop)
        }),
        test("a_machine_has_one_cd", || {
            let disc = cd(0, 4, &[0; SECTOR]);
            let kvm = with_files(&[("a.iso", &disc), ("b.iso", &disc)])?;
            let ran = kvm.args(["a.iso", "--cdrom", "b.iso"]).run();
            ran.expect_status(2)?
                .expect_err("a.iso would be the second CD, beside that of --cdrom, b.iso")?;
            Ok(())
        }),
    ]
}
