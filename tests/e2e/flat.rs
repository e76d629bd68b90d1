//! Flat real-mode images: the examples in target-examples/flat, and what can be done with such a guest.

use libtest_mimic::{Failed, Trial};

use crate::gdb::gdb_test;
use crate::support::debugger::{KvmWithGdb, expect};
use crate::support::migration::{Instance, contains, free_port, migrate};
use crate::support::{Folder, Kvm, exact_output, flat, guest_test, halted, source, test};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        guest_test("a_flat_image_prints_and_halts_in_1_mib", || {
            let ran = Kvm::new().arg(flat("hello")).run();
            ran.expect_exactly(&exact_output(0, "Hello, KVM!\n", halted(0)))?;
            ran.expect_log(
                "guest of kind flat (flat 16-bit image), recognised by the ending .bin, with 1 MiB",
            )?;
            // Twelve characters and the end.
            ran.expect_log("entry CS:IP 0x0:0x0 in real mode")?.expect_log(" port_writes=12 port_reads=0")?;
            Kvm::new().arg(flat("minimal")).run().expect_exactly(&exact_output(0, "", halted(0)))?;
            Ok(())
        }),
        guest_test("a_flat_image_is_loaded_and_started_where_the_user_says", || {
            let ran = Kvm::new().arg(flat("hello-at-7c00")).args(["--load", "0x7c00"]).run();
            ran.expect_exactly(&exact_output(0, "Hello, KVM!\n", halted(0)))?;
            ran.expect_log("entry CS:IP 0x0:0x7c00 in real mode, stack SS:SP 0x0:0x7c00")?;
            // Behind the instruction that loads SI, which is 0 then: the image itself is printed.
            let ran = Kvm::new().arg(flat("hello")).args(["--entry", "3", "--timeout", "20"]).run();
            ran.expect_status(0)?.check(!ran.out.starts_with("Hello"), "another start")?;
            Ok(())
        }),
        guest_test("a_flat_image_of_any_name_runs_with_boot_flat", || {
            let kvm = Kvm::new().arg("hello.com").args(["--boot", "flat"]);
            std::fs::copy(flat("hello"), kvm.folder.file("hello.com"))?;
            kvm.run().expect_exactly(&exact_output(0, "Hello, KVM!\n", halted(0)))?;
            Ok(())
        }),
        guest_test("a_flat_guest_reads_from_a_port", || {
            let kvm = Kvm::new().arg(flat("port-input")).args(["--keys", "serial"]);
            let ran = kvm.input(b"first line\n\x04").run();
            ran.expect_exactly(&exact_output(0, "FIRST LINE\n", halted(11)))?;
            Ok(())
        }),
        guest_test("a_flat_guest_calls_kvm_through_ports", || {
            let ran =
                Kvm::new().arg(flat("hypercall")).args(["--debugcon", "stdio", "--log-level", "debug"]).run();
            ran.expect_status(43)?.expect_out("printed by a hypercall\n")?.expect_log("0x21")?;
            Ok(())
        }),
        guest_test("a_flat_guest_enters_protected_mode_and_long_mode", || {
            let ran = Kvm::new().arg(flat("modes")).run();
            let lines = "16-bit real mode\n32-bit protected mode\n64-bit long mode\n";
            ran.expect_exactly(&exact_output(0, lines, halted(64)))?;
            Ok(())
        }),
        guest_test("a_flat_guest_uses_a_memory_mapped_device", || {
            let ran = Kvm::new().arg(flat("mmio")).run();
            ran.expect_exactly(&exact_output(0, "the time goes on\n", halted(10_000_000)))?;
            Ok(())
        }),
        guest_test("a_reset_loads_a_flat_image_again", || {
            let mut guest = state(&[])?;
            guest.send_input("++?")?;
            guest.expect_out("2")?;
            guest.send_input("r")?;
            guest.expect_out("!")?;
            guest.send_input("+?")?;
            guest.expect_out("1")?;
            end(guest)
        }),
        guest_test("a_flat_guest_goes_on_from_a_snapshot_and_can_be_reset_then", || {
            let folder = Folder::new();
            let file = folder.file("a.kvmstate");
            let mut guest = state(&["--load", "0x7c00", "--entry", "0x7c0:0"])?;
            guest.send_input("+++?")?;
            guest.expect_out("3")?;
            contains(&guest.ask(&[&format!("snapshot {}", file.display())])?, "saved in ")?;
            end(guest)?;
            let mut restored =
                Instance::start(Kvm::new().arg("--restore").arg(&file).args(["--keys", "serial"]))?;
            restored.send_input("+?")?;
            restored.expect_out("4")?;
            restored.send_input("r")?;
            restored.expect_out("!")?;
            restored.send_input("?")?;
            restored.expect_out("0")?;
            end(restored)
        }),
        guest_test("a_flat_guest_migrates", || {
            let port = free_port();
            let mut guest = state(&[])?;
            guest.send_input("+++?")?;
            guest.expect_out("3")?;
            let mut destination = Instance::destination(port, &["--keys", "serial"])?;
            contains(&guest.ask(&[&migrate(port)])?, "migration complete")?;
            guest.expect_migrated()?;
            destination.send_input("+?")?;
            destination.expect_out("4")?;
            end(destination)
        })
        .with_kind("migration"),
        gdb_test("gdb_debugs_a_flat_image_from_its_first_instruction", || {
            let symbols = flat("hello").with_extension("sym");
            let symbols = symbols.to_str().ok_or("a path that is text")?;
            let kvm = KvmWithGdb::start_file(&flat("hello"), &["--symbols", symbols])?;
            let commands = [
                // That of the file with the symbols is i386.
                "set architecture i8086",
                "print $eip",
                "x/i $eip",
                "monitor dis",
                "break next",
                "break done",
                "continue",
                "print (char *)$si",
                "print $eip == (int)next",
                "delete 1",
                "continue",
                "x/i $eip",
                "delete",
                "continue",
            ];
            // Without a file: gdb reads the symbols from `kvm`.
            let output = kvm.gdb_with_file(None, &commands)?;
            expect(&output, "<_start>:\tmov    $0xf,%si")?;
            expect(&output, "$1 = (void (*)()) 0x0 <_start>")?;
            expect(&output, "16-bit code, CS 0x0000 with base 0x0\n=> 0x0 <_start>: mov si, ")?;
            expect(&output, "\"Hello, KVM!\\n\"")?;
            expect(&output, "$3 = 1\n")?;
            expect(&output, "<done>:\thlt")?;
            kvm.finish()?.expect_status(0)?.expect_out("Hello, KVM!\n").map(drop)
        }),
        gdb_test("breakpoints_of_a_flat_guest_hold_across_its_modes", || {
            let symbols = flat("modes").with_extension("sym");
            let symbols = symbols.to_str().ok_or("a path that is text")?;
            let kvm = KvmWithGdb::start_file(&flat("modes"), &["--symbols", symbols])?;
            let commands = [
                "break print16",
                "break protected",
                "break print32",
                "break long_mode",
                "continue",
                "monitor dis",
                "continue",
                "monitor dis",
                "continue",
                "continue",
                "monitor dis",
                "continue",
            ];
            let output = kvm.gdb_with_file(None, &commands)?;
            expect(&output, "16-bit code, CS 0x0000 with base 0x0\n=> 0x")?;
            expect(&output, "<protected>: mov esi, ")?;
            expect(&output, "<long_mode>: mov esi, ")?;
            kvm.finish()?.expect_status(0).map(drop)
        }),
    ];
    for (mode, options) in [("parallel", "parallel"), ("serial", "serial")] {
        trials.push(guest_test(&format!("a_flat_guest_starts_other_processors ({mode})"), move || {
            let ran = Kvm::new().arg(flat("processors")).args(["--cpus", "3", "--schedule", options]).run();
            ran.expect_exactly(&exact_output(0, "3 processors run\n", halted(3)))?;
            Ok(())
        }));
    }
    trials
}

/// The tests of this file that do not depend on the processor.
pub fn others() -> Vec<Trial> {
    vec![
        test("a_file_that_could_be_anything_is_refused_with_the_option_that_runs_it", || {
            let kvm = Kvm::new().arg("hello");
            std::fs::copy(flat("hello"), kvm.folder.file("hello"))?;
            let ran = kvm.run();
            ran.expect_status(4)?.expect_err("a file of unknown kind")?.expect_err("`--boot flat`")?;
            Ok(())
        }),
        test("options_that_a_flat_image_has_no_use_for_are_refused", || {
            let ran = Kvm::new().arg(flat("hello")).args(["--append", "quiet"]).run();
            ran.expect_status(4)?.expect_err("`--append` has no effect on")?;
            Ok(())
        }),
        test("an_image_larger_than_memory_is_refused_with_the_size_it_needs", || {
            let ran = Kvm::new().arg(flat("hello")).args(["--memory", "1", "--load", "0x100000"]).run();
            ran.expect_status(4)?
                .expect_err("28 bytes at 0x100000 are outside the 1 MiB of guest memory; `--memory 2M`")?;
            Ok(())
        }),
        test("inspect_describes_a_flat_image", || {
            let ran = Kvm::new().arg("inspect").arg(flat("hello-at-7c00")).args(["--load", "0x7c00"]).run();
            ran.expect_status(0)?;
            for part in [
                "kind          flat: flat 16-bit image, recognised by the ending .bin\n",
                "memory        1 MiB\n",
                "loaded        0x7c00..0x7c1c image\n",
                "instructions  0x7c00: mov si, 0x7c0f\n",
            ] {
                ran.check(ran.out.contains(part), &format!("{part:?}"))?;
            }
            Ok(())
        }),
        test("inspect_describes_an_elf_file_or_says_what_is_wrong", || {
            let ran = Kvm::new().arg("inspect").arg(crate::support::guest("higher-half")).run();
            ran.expect_status(0)?;
            for part in [
                "kind          elf64: 64-bit ELF executable, recognised by its contents\n",
                "memory        64 MiB\n",
                "page tables\n",
                "start         entry 0x",
                "; the first instruction is in _start\n",
            ] {
                ran.check(ran.out.contains(part), &format!("{part:?}"))?;
            }
            let ran = Kvm::new().arg("inspect").arg(source("tests/bad-guests/truncated-segment")).run();
            ran.expect_status(4)?.expect_err("before the end of segment 0")?;
            Ok(())
        }),
        test("inspect_describes_a_guest_to_programs", || {
            let higher_half = crate::support::guest("higher-half");
            let ran = Kvm::new().arg("inspect").arg(higher_half).args(["--json", "--", "--json"]).run();
            ran.expect_status(0)?;
            let found: serde_json::Value = serde_json::from_str(&ran.out)?;
            let entry = found["entry"].as_str().unwrap_or_default();
            ran.check(found["kind"] == "elf64" && entry.starts_with("0xffffffff80"), "kind and entry")?;
            let mapped = found["mapped"].as_array().ok_or("no ranges")?;
            let text = mapped.iter().find(|range| range["start"] == entry).ok_or("no range of the entry")?;
            ran.check(text["contents"].as_str().is_some_and(|it| it.contains(".text")), ".text")?;
            ran.check(found["findings"] == serde_json::json!([]), "no findings")?;
            Ok(())
        }),
    ]
}

/// The guest `flat-state`, with a console, after its first line.
fn state(arguments: &[&str]) -> Result<Instance, Failed> {
    let name = if arguments.is_empty() { "flat-state" } else { "flat-state-at-7c00" };
    let kvm = Kvm::new().arg(flat(name)).args(["--keys", "serial"]).args(arguments);
    let mut guest = Instance::start(kvm)?;
    guest.expect_out("!")?;
    Ok(guest)
}

/// Ends the guest with Ctrl-D.
fn end(mut guest: Instance) -> Result<(), Failed> {
    guest.send_input("\x04")?;
    guest.finish()?.expect_status(0)?;
    Ok(())
}
