//! Views of the machine: page tables as QEMU shows them.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::console::{Client, KvmWithConsole};
use crate::support::debugger::expect;
use crate::support::{Kvm, guest, guest_test};

const QEMU: &str = "qemu-system-x86_64";

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let compared = "page_tables_are_shown_as_qemu_shows_them";
    let has_qemu = Command::new(QEMU).arg("--version").stdin(Stdio::null()).output().is_ok();
    vec![
        match has_qemu {
            true => guest_test(compared, same_as_qemu),
            false => {
                let name = format!("{compared} (skipped: {QEMU} is not installed)");
                Trial::test(name, || Ok(())).with_ignored_flag(true)
            }
        },
        guest_test("maps_and_their_changes_are_shown_while_a_guest_builds_its_tables", maps_of_a_guest),
    ]
}

/// A guest that has built its page tables and runs in a loop.
pub fn with_page_tables() -> Result<(KvmWithConsole, Client), Failed> {
    let disk = format!("{},snapshot", guest("page-tables").with_extension("img").display());
    let kvm = KvmWithConsole::run(Kvm::new().args(["--console=unix:console", "--disk", &disk]), "console")?;
    let mut client = kvm.connect()?;
    // From the start to long mode takes a moment.
    client.ask_until("regs", "EFER 0x0000000000000500")?;
    client.ask("stop")?;
    Ok((kvm, client))
}

/// What QEMU's monitor answers about the same guest, once it has come to long mode.
fn on_qemu() -> Result<String, Failed> {
    let mut output = String::new();
    for seconds in [2, 8, 30] {
        let image = guest("page-tables").with_extension("img");
        let mut qemu = Command::new("timeout")
            .args(["60", QEMU, "-accel", "tcg", "-display", "none", "-serial", "none", "-monitor", "stdio"])
            .args(["-m", "64", "-snapshot", "-drive"])
            // The other tests use the image, too.
            .arg(format!("file.filename={},file.locking=off,format=raw", image.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut input = qemu.stdin.take().ok_or("QEMU has no standard input")?;
        sleep(Duration::from_secs(seconds));
        writeln!(input, "info registers\ninfo mem\ninfo tlb\nquit")?;
        drop(input);
        output = String::from_utf8_lossy(&qemu.wait_with_output()?.stdout).into_owned();
        if output.contains("EFER=0000000000000500") {
            return Ok(output);
        }
    }
    Err(format!("the guest has not come to long mode on QEMU:\n{output}").into())
}

/// The lines of an answer that begin with two addresses with `between` between them, without what follows column `length`.
fn rows(answer: &str, between: &str, length: usize) -> Vec<String> {
    let is_row = |line: &&str| {
        line.len() >= length
            && line.as_bytes()[..16].iter().all(u8::is_ascii_hexdigit)
            && line[16..].starts_with(between)
    };
    answer.lines().map(str::trim_end).filter(is_row).map(|line| line[..length].to_owned()).collect()
}

fn same_as_qemu() -> Result<(), Failed> {
    let (_kvm, mut client) = with_page_tables()?;
    let qemu = on_qemu()?;
    // `info mem` has a letter more here.
    for (command, between, length) in [("info mem", "-", 54), ("info tlb", ": ", 44)] {
        let (found, expected) = (rows(&client.ask(command)?, between, length), rows(&qemu, between, length));
        if found != expected || found.len() < 8 {
            return Err(format!("{command}: {found:#?}\nand on QEMU {expected:#?}").into());
        }
    }
    Ok(())
}

fn maps_of_a_guest() -> Result<(), Failed> {
    let (kvm, mut client) = with_page_tables()?;
    let maps = client.ask("maps")?;
    for part in [
        "4-level paging, without NX, CR3 0x10000\n",
        "0000000000007000-0000000000007fff -> 000000007000     4K 4K rwx--\n",
        "0000000000008000-0000000000008fff -> 000000008000     4K 4K rwxu-\n",
        "0000000000400000-00000000005fffff -> 000000400000     2M 2M rwx-g PCD PWT\n",
        "00000000001ff000-00000000001fffff -> 0000fee00000     4K 4K rwx-- PCD PWT  lapic\n",
        "ffff800000a07000-ffff800000a08fff -> 000000007000     8K 4K rwx--\n",
    ] {
        expect(&maps, part)?;
    }
    expect(&client.ask("maps diff")?, "nothing has changed\n")?;
    let maps: Value = serde_json::from_str(&client.ask("maps --json 0xffff800000a07000")?)?;
    let range = &maps["ranges"][0];
    let found = [&range["start"], &range["last"], &range["physical"]];
    if found != ["0xffff800000a07000", "0xffff800000a08fff", "0x7000"] || range["page_size"] != 4096 {
        return Err(format!("not as the text says: {range:#}").into());
    }
    client.send(b"quit\n")?;
    kvm.finish()?.expect_status(14).map(drop)
}
