//! Linux kernels and PVH guests: what they find when they start, and what is refused.
//!
//! The kernel of most tests is tests/guests/linux-kernel.c, as a bzImage with a 64-bit entry point, as one that has only
//! that of 32 bits, and as a vmlinux.

use std::io::{Read, Write};
use std::path::PathBuf;

use libtest_mimic::{Failed, Trial};

use crate::support::{HALTED_0, Kvm, Lane, exact_output, guest, guest_test, lane};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        guest_test("a_linux_kernel_gets_its_command_line_initrd_and_memory_map", || {
            for (file, bits, loaded, initrd) in [
                ("linux-64.bzImage", 64, 0x20_0000, 0x2F_F000),
                ("linux-32.bzImage", 32, 0x20_0000, 0x2F_F000),
                ("vmlinux.elf", 64, 0x20_0200, 0xFF_F000),
            ] {
                let ran = kernel(file).args(["--initrd", "initrd", "--", "console=ttyS0 quiet"]).run();
                let found =
                    found(bits, loaded, "console=ttyS0 quiet", &format!("{initrd:#x}, size 0x5: hello"));
                ran.expect_exactly(&exact_output(0, &found, HALTED_0))?;
                ran.expect_log("guest of kind linux (Linux kernel), recognised by its contents")?;
            }
            Ok(())
        }),
        guest_test("a_linux_kernel_starts_again_after_a_restored_snapshot", || {
            let saved = kernel("linux-64.bzImage").args(["--snapshot-at-exit", "end.kvmstate"]).run();
            saved.expect_status(0)?;
            let restored = Kvm::new().arg("--restore").arg(saved.folder.file("end.kvmstate")).run();
            restored.expect_status(0)?.expect_err("halted").map(drop)
        }),
        guest_test("a_pvh_guest_gets_its_command_line_modules_and_memory_map", || {
            let ran = Kvm::with_guest("pvh")
                .file("module", "hello")
                .args(["--memory=16", "--module=module=text of it", "--append=a b"])
                .run();
            ran.expect_exactly(&exact_output(0, PVH, HALTED_0))?;
            ran.expect_log("guest of kind pvh").map(drop)
        }),
        guest_test("a_32_bit_elf_file_with_a_pvh_note_starts_by_it", || {
            let ran = Kvm::with_guest("pvh-elf32").args(["--memory=16", "--append=32-bit"]).run();
            ran.expect_status(0)?.check(ran.out.contains("command line \"32-bit\""), "its command line")?;
            ran.expect_log("guest of kind pvh").map(drop)
        }),
        guest_test("memtest86_is_called_by_its_name", || {
            let ran = patched(0x2_6C, b"Memtest86+ v6.10\0").run();
            ran.expect_log("Memtest86+ v6.10, as a Linux kernel image").map(drop)
        }),
        guest_test("what_a_kernel_cannot_take_is_refused_with_the_remedy", refusals),
        guest_test("a_large_kernel_is_not_started_where_kvm_interprets_ring_0", || {
            let large = || patched(0x260, &(48u32 << 20).to_le_bytes());
            let ran = large().run();
            if lane() == Lane::Emulated {
                ran.expect_status(6)?
                    .expect_err("run it on a host with VT-x or AMD-V, or with `scripts/lab run`")?;
            } else {
                // Without --memory it gets more than other guests.
                ran.expect_status(0)?.check(ran.out.contains("0x100000 size 0xff00000"), "256 MiB")?;
            }
            large().args(["--boot", "linux"]).run().expect_status(0).map(drop)
        }),
    ];
    if let Some(folder) = debian() {
        let run = move || shell(&folder);
        trials.push(guest_test("debians_kernel_reaches_a_shell_and_sees_its_disk", run).with_kind("foreign"));
    }
    trials
}

const PVH: &str = "start info version 1, CR0 0x00000011, IF 0
command line \"a b\"
module \"hello\" with \"text of it\"
RSDP RSD PTR \n\
memory 0x00000000 size 0x000f0000 type 1
memory 0x000f0000 size 0x00001000 type 3
memory 0x000f1000 size 0x00f0f000 type 1
";

/// The file of one of the small kernels.
fn file(name: &str) -> PathBuf {
    guest("").with_file_name(name)
}

/// `kvm` with one of the small kernels, 16 MiB and a file called initrd.
fn kernel(name: &str) -> Kvm {
    Kvm::new().file("initrd", "hello").arg(file(name)).arg("--memory=16")
}

/// `kvm` with the kernel that has a 64-bit entry point, with other bytes at an offset.
fn patched(offset: usize, bytes: &[u8]) -> Kvm {
    let mut image = std::fs::read(file("linux-64.bzImage")).expect("the kernel was built");
    image[offset..offset + bytes.len()].copy_from_slice(bytes);
    let kvm = Kvm::new();
    std::fs::write(kvm.folder.file("kernel"), image).expect("a file can be written");
    kvm.arg("kernel")
}

/// The output of a small kernel with 16 MiB.
fn found(bits: u8, loaded: u64, command_line: &str, initrd: &str) -> String {
    format!(
        "{bits}-bit entry, cs 0x10 ds 0x18 es 0x18 ss 0x18, IF 0x0
loader 0xff, loaded at {loaded:#x}
command line \"{command_line}\"
initrd {initrd}
screen mode 0x3, columns 0x50, lines 0x19, VGA 0x1
RSDP RSD PTR \n\
memory 0x0 size 0x9fc00 type 0x1
memory 0x9fc00 size 0x400 type 0x2
memory 0xf0000 size 0x10000 type 0x2
memory 0x100000 size 0xf00000 type 0x1
"
    )
}

fn refusals() -> Result<(), Failed> {
    let refused = |kvm: Kvm, expected: &str| -> Result<(), Failed> {
        kvm.run().expect_status(4)?.expect_err(expected).map(drop)
    };
    let large_initrd = kernel("linux-64.bzImage").args(["--initrd", "large"]);
    std::fs::write(large_initrd.folder.file("large"), vec![0; 2 << 20])?;
    refused(large_initrd, "the kernel's limit 0x2fffff (initrd_addr_max); use a smaller initrd")?;
    refused(Kvm::new().arg(file("linux-64.bzImage")).arg("--memory=2"), "`--memory 3M` is enough")?;
    let long = "x".repeat(41);
    refused(kernel("linux-64.bzImage").args(["--append", &long]), "this kernel accepts 40 (cmdline_size)")?;
    refused(patched(0x236, &[0]).args(["--boot", "pvh"]), "this is a Linux kernel image (bzImage)")?;
    refused(Kvm::with_guest("pvh").args(["--boot", "linux", "--memory=1"]), "is outside the 1 MiB")?;
    let truncated = Kvm::new().arg("kernel");
    let image = std::fs::read(file("linux-64.bzImage"))?;
    std::fs::write(truncated.folder.file("kernel"), &image[..0x240])?;
    refused(truncated, "before the end of the setup header")
}

/// The folder with Debian's kernel and an initramfs, which scripts/lab makes.
fn debian() -> Option<PathBuf> {
    let folder = file("linux");
    (lane() == Lane::Amd && folder.join("vmlinuz").exists()).then_some(folder)
}

/// What the shell shows when it waits for a command. It may ask the terminal for the cursor's position behind it.
const PROMPT: &[u8] = b"/ # ";

/// Boots Debian's kernel, and uses its shell.
fn shell(folder: &std::path::Path) -> Result<(), Failed> {
    let kvm = Kvm::new();
    std::fs::File::create(kvm.folder.file("disk.img"))?.set_len(4 << 20)?;
    let kvm = kvm.arg(folder.join("vmlinuz")).arg("--initrd").arg(folder.join("initramfs.gz")).args([
        "--memory=128",
        "--disk=disk.img,virtio",
        // The kernel's many accesses to interrupt controllers and timer are exits otherwise.
        "--irqchip=kernel",
        // Otherwise it gets the input as keystrokes, because it reads the keyboard, too.
        "--keys=serial",
        "--timeout=90",
        "--",
        "console=ttyS0 quiet mitigations=off cryptomgr.notests=1 random.trust_cpu=on",
    ]);
    let mut running = kvm.start();
    let mut input = running.stdin.take().expect("stdin is a pipe");
    let mut output = running.stdout.take().expect("stdout is a pipe");
    let (mut seen, mut piece) = (Vec::new(), [0; 256]);
    let mut is_asked = false;
    // Nothing returns before the program has been waited for.
    while let Ok(length @ 1..) = output.read(&mut piece) {
        seen.extend_from_slice(&piece[..length]);
        // What comes before the prompt is lost.
        if !is_asked && seen.windows(PROMPT.len()).any(|bytes| bytes == PROMPT) {
            is_asked = true;
            // The result is not what the terminal echoes.
            let _ = input.write_all(b"echo answer $((6 * 7))\npoweroff -f\n");
        }
    }
    let seen = String::from_utf8_lossy(&seen);
    let status = running.wait()?;
    for expected in ["disk vda: 8192 sectors", "answer 42"] {
        if !seen.contains(expected) || !status.success() {
            return Err(format!("{status}, expected {expected:?} and exit status 0:\n{seen}").into());
        }
    }
    Ok(())
}
