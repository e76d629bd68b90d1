//! Unmodified guests of others, from Debian's packages: Memtest86+, Xen and iPXE. scripts/lab fetches them.
//!
//! All but Xen need a processor that runs ring 0 itself.

use std::io::Read;
use std::path::PathBuf;

use libtest_mimic::{Failed, Trial};

use crate::support::console::KvmWithConsole;
use crate::support::{Kvm, Lane, Running, guest, guest_test, lane, test, wait_until};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        foreign_test("memtest86_shows_its_screen", "memtest86+x64.bin", memtest),
        foreign_test("xen_starts_from_a_compressed_file", "xen.gz", |file| {
            // It drops the first word. Without a dom0, it resets the machine.
            let line = ["--memory=128", "--no-reboot", "--", "xen console=com1 com1=115200"];
            let kvm = until(Kvm::new().arg(&file).args(line), "(XEN) dom0 kernel not specified")?;
            expect_log(&kvm, "compression=gzip")?;
            expect_log(&kvm, "guest of kind multiboot2 (Multiboot2 kernel), recognised by its contents")
        }),
        foreign_test("ipxe_reaches_its_prompt_by_calls_of_the_bios", "ipxe.lkrn", |file| {
            let kvm = Kvm::new().arg(&file).args(["--memory=64", "--display=serial", "--", "shell"]);
            let kvm = until(kvm, "iPXE> ")?;
            expect_log(&kvm, "guest of kind linux16")
        }),
    ]
}

/// A test with a file from a package, in a lane where it can run.
fn foreign_test(
    name: &str,
    file: &str,
    run: impl FnOnce(PathBuf) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let path = guest("").with_file_name("foreign").join(file);
    let reason = match lane() {
        Lane::Emulated if file != "xen.gz" => "KVM interprets ring 0",
        Lane::Intel => "in Bochs it takes too long",
        _ if !path.exists() => "the package is not there: scripts/lab fetches it",
        _ => return guest_test(name, move || run(path)),
    };
    test(&format!("{name} (skipped: {reason})"), || Ok(())).with_ignored_flag(true)
}

/// Memtest86+ prints to the screen alone; the title is its first line.
fn memtest(file: PathBuf) -> Result<(), Failed> {
    let arguments = ["--console=unix:console", "--memory=16", "--display=none"];
    let kvm = KvmWithConsole::run(Kvm::new().arg(&file).args(arguments), "console")?;
    let mut client = kvm.connect()?;
    let mut screen = String::new();
    wait_until("the title of Memtest86+", || {
        let saved = client.ask("screendump -f screen.txt");
        screen = std::fs::read_to_string(kvm.file("screen.txt")).unwrap_or_default();
        saved.is_err() || screen.contains("Memtest86+ v6") && screen.contains("Memory  :   16MB")
    })
    .map_err(|failed| format!("{}; the screen is:\n{screen}", failed.message().unwrap_or("")))?;
    client.send(b"quit\n")?;
    let ran = kvm.finish()?;
    ran.expect_log("Memtest86+ v6")?.expect_log("as a Linux kernel image (bzImage)").map(drop)
}

/// Runs `kvm` until its standard output has `text`.
fn until(kvm: Kvm, text: &str) -> Result<Running, Failed> {
    let mut running = Running::start(kvm);
    let mut seen = Vec::new();
    let found = running.with_stdout(|output| {
        let mut byte = [0];
        while !seen.ends_with(text.as_bytes()) && output.read(&mut byte)? == 1 {
            seen.push(byte[0]);
        }
        Ok(())
    });
    if found.is_err() || !seen.ends_with(text.as_bytes()) {
        let seen = String::from_utf8_lossy(&seen);
        return Err(format!("{text:?} did not come; standard output is:\n{seen}").into());
    }
    Ok(running)
}

/// The log of a run that goes on has this.
fn expect_log(kvm: &Running, text: &str) -> Result<(), Failed> {
    let log = std::fs::read_to_string(kvm.file("console.log"))?;
    if log.contains(text) { Ok(()) } else { Err(format!("{text:?} is not in the log:\n{log}").into()) }
}
