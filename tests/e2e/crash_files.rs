//! What a crash leaves behind: the report as JSON for programs, and a core file for gdb.

use std::path::Path;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::debugger::{KvmWithGdb, expect, output};
use crate::support::{FinishedRun, Kvm, disk_guest, guest, guest_test, resets_registers};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![guest_test("a_program_reads_from_a_report_what_has_crashed_where", || {
        let ran = Kvm::with_guest("wild-pointer").args(["--report", "crash.json"]).run();
        ran.expect_status(8)?.expect_err("kvm: the report is in crash.json.\n")?;
        let report = report_of(&ran, "crash.json")?;
        has(&report, "/cause", "triple-fault")?;
        has(&report, "/exit_status", 8)?;
        let message = report["message"].as_str().unwrap_or_default();
        ran.expect_err(&format!("kvm: {message}"))?;
        if resets_registers() && report["place"].is_null() {
            return Ok(());
        }
        has(&report, "/exception/name", "#PF")?;
        has(&report, "/place/symbol/name", "guest_main")?;
        has(&report, "/registers/cr2", "0x700000000000")
    })]
}

/// Those that do not depend on the processor.
pub fn others() -> Vec<Trial> {
    vec![
        guest_test("a_guest_that_runs_out_of_time_is_reported", || {
            let ran = Kvm::with_guest("idle").args(["--timeout=50ms", "--report=late.json"]).run();
            ran.expect_status(12)?;
            let report = report_of(&ran, "late.json")?;
            has(&report, "/cause", "timeout")?;
            has(&report, "/exit_status", 12)
        }),
        guest_test("a_guest_that_ends_by_itself_leaves_no_report", || {
            let ran = Kvm::with_guest("hello-serial").arg("--report=crash.json").run();
            ran.expect_status(0)?;
            ran.check(!ran.folder.file("crash.json").exists(), "no report")?;
            Ok(())
        }),
        guest_test("a_report_replaces_an_older_one_and_no_other_file", || {
            let kvm = || Kvm::with_guest("triple-fault").arg("--report=notes");
            let first = kvm();
            std::fs::write(first.folder.file("notes"), "mine")?;
            let ran = first.run();
            let refusal = "kvm: --report: `notes` exists, and kvm has not written it; choose another name, or delete it.\n";
            ran.expect_status(2)?.expect_err(refusal)?;
            ran.check(ran.folder.read("notes") == "mine", "the file to be kept")?;
            let second = kvm();
            let older = "{\n  \"format\": \"kvm-crash-report\"\n}\n";
            std::fs::write(second.folder.file("notes"), older)?;
            let ran = second.run();
            ran.expect_status(8)?;
            has(&report_of(&ran, "notes")?, "/version", 1)
        }),
        guest_test("a_report_that_cannot_be_written_is_refused_before_the_run", || {
            let ran = Kvm::with_guest("hello-serial").arg("--report=absent/crash.json").run();
            ran.expect_status(6)?.expect_out("")?;
            ran.expect_err("kvm: cannot write `absent/crash.json`: No such file or directory")?;
            Ok(())
        }),
        guest_test("a_stopped_guest_is_reported_from_gdb", || {
            let kvm = KvmWithGdb::start("recursion", &[], b"")?;
            let file = kvm.file("stop.json");
            let command = format!("monitor report {}", file.display());
            let commands = ["break fibonacci", "continue", &command, &command, "kill"];
            let output = kvm.gdb("recursion", &commands)?;
            expect(&output, "the report is in ")?;
            let report: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
            has(&report, "/cause", "stopped")?;
            has(&report, "/exit_status", Value::Null)?;
            has(&report, "/place/symbol/name", "fibonacci")?;
            kvm.finish().map(drop)
        }),
        guest_test("gdb_moves_the_symbols_of_a_relocated_guest_by_its_core", || {
            let ran = Kvm::with_guest("crash-in-pie").arg("--core=crash.core").run();
            ran.expect_status(8)?;
            let printed = gdb(Some("crash-in-pie"), &ran.folder.file("crash.core"), &["bt"])?;
            expect(&printed, "Program terminated with signal SIGILL")?;
            expect(&printed, "#0  fall_down () at ")?;
            expect(&printed, " in guest_main (")
        }),
        guest_test("the_processors_are_the_threads_of_a_core", || {
            let run = ["--cpus=2", "--timeout=100ms", "--core=late.core"];
            let ran = Kvm::with_guest("two-counters").args(run).run();
            ran.expect_status(12)?;
            let printed = gdb(Some("two-counters"), &ran.folder.file("late.core"), &["info threads"])?;
            expect(&printed, "LWP 1 ")?;
            expect(&printed, "LWP 2 ")
        }),
        guest_test("a_core_has_memory_at_the_addresses_that_the_guest_maps", || {
            let kvm = KvmWithGdb::start("higher-half", &[], b"")?;
            let file = kvm.file("half.core");
            let core = format!("monitor core {}", file.display());
            let output = kvm.gdb("higher-half", &["break guest_main", "continue", &core, &core, "kill"])?;
            expect(&output, "the core is in ")?;
            let printed = gdb(Some("higher-half"), &file, &["bt", "x/2i $pc"])?;
            kvm.finish()?;
            expect(&printed, "#0  guest_main () at ")?;
            expect(&printed, "=> 0xffffffff80")
        }),
        guest_test("a_32_bit_guest_has_a_core_of_i386", || {
            let kvm = KvmWithGdb::start("multiboot1", &[], b"")?;
            let file = kvm.file("kernel.core");
            let core = format!("monitor dump-guest-memory {}", file.display());
            kvm.gdb("multiboot1", &["break guest_main", "continue", &core, "kill"])?;
            let printed = gdb(Some("multiboot1"), &file, &["show architecture", "bt", "print/x magic"])?;
            kvm.finish()?;
            expect(&printed, "(currently \"i386\")")?;
            expect(&printed, "#0  guest_main (magic=")?;
            expect(&printed, "$1 = 0x2badb002\n")
        }),
        guest_test("a_core_replaces_an_older_one_and_no_other_elf_file", || {
            let ran = Kvm::with_guest("triple-fault").arg("--core=crash.core").run();
            ran.expect_status(8)?;
            for (older, status) in [(ran.folder.file("crash.core"), 8), (guest("triple-fault"), 2)] {
                let kvm = Kvm::with_guest("triple-fault").arg("--core=new");
                std::fs::copy(&older, kvm.folder.file("new"))?;
                kvm.run().expect_status(status)?;
            }
            Ok(())
        }),
        guest_test("a_core_without_a_program_is_examined_alone", || {
            let run = ["--timeout=1", "--core=late.core", "--display=none"];
            let ran = Kvm::new().arg(disk_guest("boot-sector")).args(run).run();
            ran.expect_status(12)?.expect_err("examine it with `gdb -c late.core`.\n")?;
            let file = ran.folder.file("late.core");
            let printed = gdb(None, &file, &["print/x *(unsigned char *) 0x7dfe", "info registers cs"])?;
            expect(&printed, "$1 = 0x55\n")
        }),
    ]
}

fn report_of(ran: &FinishedRun, file: &str) -> Result<Value, Failed> {
    Ok(serde_json::from_str(&ran.folder.read(file))?)
}

/// The field of `report` at `pointer` must be `expected`.
fn has(report: &Value, pointer: &str, expected: impl Into<Value>) -> Result<(), Failed> {
    let expected = expected.into();
    match report.pointer(pointer) {
        Some(found) if *found == expected => Ok(()),
        found => Err(format!("{pointer}: {expected} expected, found {found:?} in {report:#}").into()),
    }
}

/// What gdb prints about a core file, with the file of a guest or without one.
fn gdb(program: Option<&str>, core: &Path, commands: &[&str]) -> Result<String, Failed> {
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-c"]).arg(core);
    for command in commands {
        gdb.args(["-ex", command]);
    }
    output(gdb.args(program.map(guest)))
}
