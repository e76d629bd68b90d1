//! What looks wrong with guests: `lint` while they run, and `kvm inspect` before.

use std::fs;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::console::KvmWithConsole;
use crate::support::debugger::expect;
use crate::support::{Kvm, guest, guest_test, test};
use crate::views::with_page_tables;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("lint_names_what_a_careless_guest_has_set_up_and_the_remedies", findings),
        guest_test("lint_finds_mistakes_in_descriptor_tables_task_state_and_stack_pointer", tables),
        guest_test("lint_finds_pages_that_allow_too_much", pages),
        test("inspect_warns_of_code_that_interrupts_break", red_zone),
        test("inspect_warns_of_a_disk_that_nothing_can_be_booted_from", boot_sector),
        test("inspect_warns_of_a_first_instruction_among_data", entry_in_data),
        test("inspect_notes_writable_code_vector_registers_and_missing_symbols", notes),
    ]
}

/// What `lint` says about a guest, once the answer to `command` has `text` in it.
fn lint(name: &str, command: &str, text: &str) -> Result<String, Failed> {
    let kvm = KvmWithConsole::start(name, &[])?;
    let mut client = kvm.connect()?;
    client.ask_until(command, text)?;
    let lint = client.ask("lint")?;
    client.send(b"quit\n")?;
    kvm.finish()?.expect_status(14)?;
    Ok(lint)
}

fn findings() -> Result<(), Failed> {
    // The last thing that it sets up before it waits.
    let lint = lint("careless", "device pic", "masked 0, 3, 4, 5, 6, 7;")?;
    for part in [
        "the stack `kernel_stack` (0x",
        " has no guard page: an overflow overwrites 0x",
        "the gate for #GP: nothing is mapped at the handler's address 0x123\n",
        " has no gate for #PF: it ends in a triple fault; set one\n",
        "`leaf` at 0x",
        " uses memory below RSP (the red zone), which an interrupt in ring 0 overwrites: build with -mno-red-zone\n",
        "the handler of vector 0x20, 0x",
        " (on_tick), changes xmm1 at 0x",
        "note: 64 MiB are mapped to themselves, writable, executable and open to ring 3, as the boot tables have it; \
         `--strict` maps segments with the rights that the file asks for\n",
    ] {
        expect(&lint, part)?;
    }
    Ok(())
}

fn tables() -> Result<(), Failed> {
    let lint = lint("careless-tables", "tss", "selector 0x20")?;
    for part in [
        "the limit 0x36 cuts the last descriptor off; load 8 times the number of descriptors, minus 1\n",
        "there are segments for ring 3, and the stack for ring 0 in the task state segment at 0x",
        " is not set; write RSP0\n",
        "IST1 and IST2 of the task state segment are one stack, 0x",
        ": the second event overwrites the first; use two\n",
        ", no multiple of 8: every push and pop is split; align it to 16 bytes\n",
    ] {
        expect(&lint, part)?;
    }
    Ok(())
}

fn pages() -> Result<(), Failed> {
    let (kvm, mut client) = with_page_tables()?;
    expect(
        &client.ask("lint")?,
        "the pages 0x7000-0x7fff are writable and executable: clear W for code, set NX for data\n",
    )?;
    client.send(b"quit\n")?;
    kvm.finish()?.expect_status(14)?;
    // The boot tables let ring 3 in everywhere, and all code can be written unless `--strict` is given.
    let open = " of the upper half are open to ring 3: clear U\n";
    let writable = ") are writable and executable: clear W for code, set NX for data\n";
    for (arguments, is_writable) in
        [(&["--gdb=unix:gdb"][..], true), (&["--gdb=unix:gdb", "--strict"], false)]
    {
        let kvm = KvmWithConsole::start("higher-half", arguments)?;
        let mut client = kvm.connect()?;
        let lint = client.ask("lint")?;
        if !lint.contains(open) || lint.contains(writable) != is_writable {
            return Err(format!("{arguments:?}: {lint}").into());
        }
        client.send(b"quit\n")?;
        kvm.finish()?.expect_status(14)?;
    }
    Ok(())
}

/// `kvm inspect` of a file with these contents, with these arguments: the names of the findings.
fn inspect(contents: &[u8], arguments: &[&str]) -> Result<Vec<String>, Failed> {
    let kvm = Kvm::new().args(["inspect", "--json", "guest.elf"]).args(arguments);
    fs::write(kvm.folder.file("guest.elf"), contents)?;
    let ran = kvm.run();
    ran.expect_status(0)?;
    let found: Value = serde_json::from_str(&ran.out)?;
    let findings = found["findings"].as_array().ok_or("no findings")?;
    Ok(findings.iter().filter_map(|finding| finding["name"].as_str().map(str::to_owned)).collect())
}

fn names_of(name: &str) -> Result<Vec<String>, Failed> {
    inspect(&fs::read(guest(name))?, &[])
}

/// Fails unless these are the findings.
fn expect_names(found: Vec<String>, expected: &[&str]) -> Result<(), Failed> {
    if found == expected { Ok(()) } else { Err(format!("{found:?} in place of {expected:?}").into()) }
}

fn red_zone() -> Result<(), Failed> {
    let ran = Kvm::new().arg("inspect").arg(guest("red-zone")).run();
    let warning = "looks wrong   code at 0x200020 (leaf) uses memory below RSP (the red zone), which an interrupt in ring 0 \
         overwrites: build with -mno-red-zone\n";
    ran.expect_status(0)?.check(ran.out.contains(warning), "the warning")?;
    expect_names(names_of("timer")?, &[])
}

fn boot_sector() -> Result<(), Failed> {
    let mut disk = vec![0; 1 << 20];
    expect_names(inspect(&disk, &["--boot=disk"])?, &["boot-sector"])?;
    // With a signature and without code.
    disk[510..512].copy_from_slice(&[0x55, 0xAA]);
    expect_names(inspect(&disk, &[])?, &["boot-sector"])?;
    disk[0] = 0xF4;
    expect_names(inspect(&disk, &[])?, &[])
}

fn entry_in_data() -> Result<(), Failed> {
    let mut file = fs::read(guest("hello-serial"))?;
    expect_names(inspect(&file, &[])?, &[])?;
    // The second segment holds `.rodata` at 0x201000: it becomes executable, and the entry point is there.
    file[64 + 56 + 4] = 5;
    file[24..32].copy_from_slice(&0x20_1000_u64.to_le_bytes());
    expect_names(inspect(&file, &[])?, &["entry-in-data"])
}

fn notes() -> Result<(), Failed> {
    expect_names(names_of("vmlinux")?, &["writable-code"])?;
    expect_names(names_of("sse")?, &["vector-registers"])?;
    // A section of another name is no debug information.
    let mut file = fs::read(guest("sse"))?;
    let name = b".debug_line\0";
    let at = file.windows(name.len()).position(|window| window == name).ok_or("no debug information")?;
    file[at + 1] = b'x';
    expect_names(inspect(&file, &[])?, &["no-debug-info", "vector-registers"])?;
    // Without section headers (e_shoff and e_shnum) there are no symbols.
    file[40..48].fill(0);
    file[60..62].fill(0);
    expect_names(inspect(&file, &[])?, &["no-symbols", "vector-registers"])
}
