//! Disks that the machine's own BIOS starts: its services, its boot sector, and what is said if there is none.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use libtest_mimic::{Failed, Trial};

use crate::gdb::gdb_test;
use crate::support::console::KvmWithConsole;
use crate::support::debugger::{KvmWithGdb, expect};
use crate::support::pty::Terminal;
use crate::support::{FinishedRun, Folder, Kvm, disk_guest, guest_test};

/// What the guest `bios` prints: name of the service, AX, BX, CX, DX, and CF.
const TRANSCRIPT: &str = "\
10/0F mode          5003 0000 0000 0000 0
10/03 cursor        0300 0000 0D0E 0114 0
10/1A adapter       1A1A 0008 0000 0000 0
11 equipment        0826 0000 0000 0000 0
12 memory           027F 0000 0000 0000 0
13/00 reset         0000 0000 0000 0080 0
13/08 parameters    0000 0000 133F 0F01 0
13/08 no such drive 0100 0000 0000 0001 1
13/15 type          0300 0000 0000 4EC0 0
13/41 extensions    0100 AA55 0001 0080 0
13/43 write         0000 0000 0000 0080 0
13/42 read          0000 0000 0000 0080 0
1234 ABCD 0000 0080 0
13/44 verify        0000 0000 0000 0080 0
13/02 read          0001 9000 0015 0080 0
1234 9000 0015 0080 0
13/42 beyond the end0400 0000 0000 0080 1
13/01 status        0400 0000 0000 0080 1
14/03 serial status 60B0 0000 0000 0001 0
15/24 A20           0001 0000 0000 0000 0
15/88 memory        FC00 0000 0000 0000 0
15/E801 memory      3C00 0300 3C00 0300 0
15/C0 configuration 0000 E6F5 0000 0000 0
15/53 no APM        8600 0000 0000 0000 1
15/86 wait          0000 0000 0000 03E8 0
16/05 store         0500 0000 1E61 0000 0
16/01 look          1E61 0000 0000 0000 0
16/00 take          1E61 0000 0000 0000 0
16/12 shift         0000 0000 0000 0000 0
17 printer          0900 0000 0000 0000 0
1A/01 set ticks     0100 0000 0018 00AE 0
1A/00 midnight      0001 0000 0000 0000 0
1A/04 date          0000 0000 2026 1129 0
1A/B1 no PCI BIOS   B101 0000 0000 0000 1
done
";

/// What `boot-sector` shows before it waits for a key.
const BOOT_SECTOR: &str = "\
Hello from the boot sector of drive 0080
Memory: start, length, type
00000000 0009FC00 1
0009FC00 00000400 2
000F0000 00010000 2
00100000 03F00000 1
Press a key.
";

/// A boot sector that leaves its keys to the BIOS for six ticks of the timer, a third of a second, and then prints them up
/// to Enter: in the order of its instructions.
const SLOW_READER: &[u8] = &[
    0x31, 0xC0, // xor %ax, %ax
    0x8E, 0xD8, // mov %ax, %ds
    0xFB, // sti
    0x8B, 0x1E, 0x6C, 0x04, // mov 0x46c, %bx
    0x83, 0xC3, 0x06, // add $6, %bx
    0xF4, // 1: hlt
    0x39, 0x1E, 0x6C, 0x04, // cmp %bx, 0x46c
    0x72, 0xF9, // jb 1b
    0xB4, 0x00, // 2: mov $0, %ah
    0xCD, 0x16, // int $0x16
    0xB4, 0x0E, // mov $0xe, %ah
    0x31, 0xDB, // xor %bx, %bx
    0xCD, 0x10, // int $0x10
    0x3C, 0x0D, // cmp $'\r', %al
    0x75, 0xF2, // jne 2b
    0xFA, // cli
    0xF4, // hlt
];

/// `kvm` with a copy of a disk of the guests in its folder, as `disk.img` of `size` bytes, not named yet.
fn with_disk(name: &str, size: u64) -> Result<Kvm, Failed> {
    let kvm = Kvm::new().args(["--timeout", "60"]);
    let image = kvm.folder.file("disk.img");
    fs::copy(disk_guest(name), &image)?;
    File::options().write(true).open(&image)?.set_len(size)?;
    Ok(kvm)
}

/// The lines of COM1.
fn lines(ran: &FinishedRun) -> String {
    ran.out.replace("\r\n", "\n")
}

fn expect_services(ran: &FinishedRun) -> Result<(), Failed> {
    ran.expect_status(0)?;
    ran.check(lines(ran) == TRANSCRIPT, TRANSCRIPT)?;
    let mut sector = [0; 512];
    File::open(ran.folder.file("disk.img"))?.read_exact_at(&mut sector, 20 * 512)?;
    ran.check(sector[..2] == [0x34, 0x12] && sector[510..] == [0xCD, 0xAB], "the sector on the disk")
        .map(drop)
}

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("every_service_of_the_bios_answers_a_disk", || {
            expect_services(&with_disk("bios", 10 << 20)?.args(["disk.img", "--rtc", "1795910400"]).run())
        }),
        guest_test("every_service_of_the_bios_answers_a_virtio_disk_with_irqchip_kernel", || {
            let options = ["--disk", "disk.img,virtio", "--irqchip", "kernel", "--rtc", "1795910400"];
            expect_services(&with_disk("bios", 10 << 20)?.args(options).run())
        }),
        guest_test("a_boot_sector_reads_a_sector_the_memory_map_and_a_key", || {
            let ran = with_disk("boot-sector", 1024)?.arg("disk.img").input(b"k").run();
            ran.expect_status(0)?.expect_err("result (RAX) 9579 ")?;
            ran.check(lines(&ran) == format!("{BOOT_SECTOR}Key 256B\n"), BOOT_SECTOR)?;
            ran.expect_log("guest of kind disk (disk image), recognised by its contents")?;
            ran.expect_log("disk 0: 2 sectors").map(drop)
        }),
        guest_test("a_boot_sector_uses_the_screen_and_waits_for_a_key_on_a_terminal", || {
            let terminal = Terminal::kvm(with_disk("boot-sector", 1024)?.arg("disk.img"), 80, 25);
            terminal.wait_for_text("Press a key.")?;
            terminal.type_keys("\x1b[A");
            terminal.end()?.expect_status(0)?.expect_text("result (RAX) 18432 ").map(drop)
        }),
        guest_test("keys_wait_while_the_buffer_of_the_bios_is_full", || {
            let kvm = Kvm::new().args(["--timeout", "60", "disk.img"]);
            let mut sector = SLOW_READER.to_vec();
            sector.resize(510, 0);
            sector.extend([0x55, 0xAA]);
            fs::write(kvm.folder.file("disk.img"), sector)?;
            let typed = "The 15 keys of its buffer + 40 others, Typed with SHIFT (and without)\r";
            let ran = kvm.input(typed.as_bytes()).run();
            ran.expect_status(0)?;
            ran.check(lines(&ran).trim_end() == typed.trim_end(), typed).map(drop)
        }),
        guest_test("what_is_missing_is_said_if_no_disk_can_be_booted", || {
            let kvm = Kvm::new().args(["--disk", "empty", "--disk", "other"]);
            for name in ["empty", "other"] {
                File::create(kvm.folder.file(name))?.set_len(1 << 20)?;
            }
            let ran = kvm.run();
            ran.expect_status(4)?
                .expect_err("the BIOS stopped: no bootable disk: no first sector of disks 0x80, 0x81")?;
            ran.check(ran.out.starts_with("no bootable disk: "), "the reason on COM1").map(drop)
        }),
        guest_test("a_guest_is_saved_and_restored_while_it_waits_for_a_key", || {
            let kvm = with_disk("boot-sector", 1024)?.args(["disk.img", "--console=unix:console"]);
            let waiting = KvmWithConsole::run(kvm, "console")?;
            let mut console = waiting.connect()?;
            // The full stop of "Press a key."; after it the guest waits.
            console.ask_until("x/s 0xb8000 + 160 * 6 + 22", ".")?;
            let saved = console.ask("snapshot saved.kvmstate")?;
            expect(&saved, "saved in ")?;
            console.send(b"quit\n")?;
            let ended = waiting.finish()?;
            let (snapshot, disk) = (ended.folder.file("saved.kvmstate"), ended.folder.file("disk.img"));
            let restore = || Kvm::new().args(["--timeout", "60", "--restore"]).arg(&snapshot).input(b"k");
            let go_on = |restored: FinishedRun| {
                restored.expect_status(0)?.expect_err("result (RAX) 9579 ")?;
                restored.check(lines(&restored).ends_with("Key 256B\n"), "the rest of the output").map(drop)
            };
            // The disk is found where it was, or where the user says.
            go_on(restore().run())?;
            let moved = ended.folder.file("moved.img");
            fs::rename(&disk, &moved)?;
            let lost = restore().run();
            lost.expect_status(6)?.expect_err("the guest was started from this disk: ")?;
            lost.expect_err("name it with `--disk FILE` if it has been moved")?;
            go_on(restore().arg("--disk").arg(&moved).run())
        }),
        gdb_test("a_breakpoint_at_0x7c00_stops_in_front_of_the_boot_sector", || {
            let folder = Folder::new();
            let disk = folder.file("boot-sector.img");
            fs::copy(disk_guest("boot-sector"), &disk)?;
            let kvm = KvmWithGdb::start_file(&disk, &["--gdb-arch", "i8086"])?;
            let commands = [
                "print/x $cs * 16 + $eip",
                "break *0x7c00",
                "continue",
                "print/x $cs * 16 + $eip",
                "monitor dis",
                "print/x $dl",
                "stepi",
                "print/x $eip",
                "kill",
            ];
            let output = kvm.gdb_with_file(None, &commands)?;
            expect(&output, "$1 = 0xffff0\n")?;
            expect(&output, "$2 = 0x7c00\n")?;
            expect(&output, "=> 0x7c00: jmp far ")?;
            expect(&output, "$3 = 0x80\n")?;
            expect(&output, "$4 = 0x7c05\n")?;
            kvm.finish().map(drop)
        }),
    ]
}
