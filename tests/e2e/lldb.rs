//! A real LLDB against a real guest.

use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};

use crate::support::debugger::{KvmWithGdb, expect, output};
use crate::support::{guest, guest_test, no_kvm};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let missing = no_lldb();
    vec![
        lldb_test("lldb_stops_at_a_breakpoint_and_reads_and_writes_memory", missing.clone(), || {
            let output = lldb(&[
                "memory read -c 16 0x200000",
                "memory write 0x300000 0x4d",
                "memory read -c 1 0x300000",
                "breakpoint set -n fibonacci",
                "continue",
                "memory read -c 4 0x200010",
            ])?;
            expect(&output, "0x00200000: 31 ed e8 ")?;
            expect(&output, "0x00300000: 4d ")?;
            expect(&output, "Breakpoint 1: where = recursion.elf`fibonacci")?;
            expect(&output, "Process 1 resuming\nProcess 1 stopped\n")?;
            expect(&output, "0x00200010: 55 48 89 e5")
        }),
        lldb_test("lldb_reads_the_control_registers", missing.clone(), || {
            let output = lldb(&["process plugin packet monitor regs"])?;
            expect(&output, "\nCR0 0x0000000080010033\n")
        }),
        lldb_test("lldb_debugs_a_guest_by_its_symbols", missing.clone(), || {
            let output = lldb(&[
                "breakpoint set -n fibonacci -c 'n == 3'",
                "continue",
                "bt",
                "expression n",
                "breakpoint delete 1",
                "stepi",
                "register read rip rdi",
                "register write r12 0x1234",
                "register read r12",
                "finish",
            ])?;
            expect(&output, "stop reason = breakpoint 1.1")?;
            expect(&output, "`fibonacci(n=3) at recursion.c:")?;
            expect(&output, "`guest_main at recursion.c:18")?;
            expect(&output, "$0 = 3\n")?;
            expect(&output, "rip = 0x0000000000200011")?;
            expect(&output, "rdi = 0x0000000000000003")?;
            expect(&output, "r12 = 0x0000000000001234")?;
            expect(&output, "Return value: (uint64_t) $1 = 2")
        }),
        lldb_test("lldb_shows_what_is_mapped_and_gets_memory_of_its_own", missing.clone(), || {
            let output = lldb(&[
                "memory region 0x200010",
                "memory region 0x800000000000",
                "process plugin packet send _M1800,rwx",
                "process plugin packet send _M1000,rwx",
                "process plugin packet send _m3ffe000",
                "process plugin packet send _M2000,rwx",
                "process plugin packet send _M1000001,rwx",
                "process plugin packet send _m1000",
            ])?;
            expect(&output, "-0x0000000004000000) rwx")?;
            expect(&output, ") ---")?;
            let answers: Vec<&str> =
                output.lines().filter_map(|line| line.strip_prefix("response: ")).collect();
            match answers[..] == ["3ffe000", "3ffd000", "OK", "3ffe000", "E16", "E16"] {
                true => Ok(()),
                false => Err(format!("the packets were answered with {answers:?}").into()),
            }
        }),
        lldb_test("lldb_calls_functions_of_the_guest", missing.clone(), || {
            let output = lldb(&[
                "expression fibonacci(7)",
                "breakpoint set -n fibonacci -c 'n + 1 == 4'",
                "continue",
                "expression n + 1",
                "breakpoint set -n fibonacci -c 'n * 2 == 4'",
                "expression fibonacci(n + 10)",
                "continue",
                "expression n + 2",
                "breakpoint delete 1 2",
                "bt 1",
                "finish",
                "stepi",
            ])?;
            expect(&output, "(uint64_t) $0 = 13\n")?;
            expect(&output, "`fibonacci(n=3) at recursion.c:")?;
            expect(&output, " = 4\n")?;
            expect(&output, "(uint64_t) $2 = 233\n")?;
            expect(&output, " 2.1\n")?;
            expect(&output, "`fibonacci(n=2) at recursion.c:")?;
            expect(&output, "Return value: (uint64_t) $4 = 1")?;
            expect(&output, "stop reason = instruction step into")
        }),
        lldb_test("lldb_evaluates_expressions_where_its_memory_is_not_mapped", missing.clone(), || {
            let output = lldb(&[
                "breakpoint set -n fibonacci",
                "continue",
                "expression fibonacci(5)",
                // The entries for the last 16 MiB of RAM in the page directory.
                "memory write -s 8 0x190c0 0 0 0 0 0 0 0 0",
                "process plugin packet send qMemoryRegionInfo:3ffe000",
                "expression n + 1",
                "process plugin packet send _M1000,rwx",
            ])?;
            expect(&output, "(uint64_t) $0 = 5\n")?;
            expect(&output, "response: start:3ffe000;size:be02000;\n")?;
            expect(&output, " $1 = 16\n")?;
            expect(&output, "response: E1c\n")
        }),
        lldb_test("lldb_interprets_expressions_in_a_guest_with_little_memory", missing.clone(), || {
            let commands =
                ["breakpoint set -n fibonacci", "continue", "expression n + 1", "expression n + 2"];
            let output = lldb_with(&["--memory=4M"], &commands)?;
            expect(&output, " = 16\n")?;
            expect(&output, " = 17\n")
        }),
        lldb_test("lldb_shows_why_the_guest_cannot_continue", missing, || {
            let output = lldb(&["continue"])?;
            expect(&output, "kvm: the guest halted; result (RAX) 610 (0x262).")?;
            expect(&output, "stop reason = signal SIGTERM")
        }),
    ]
}

/// A test that is skipped for `reason`.
fn lldb_test(
    name: &str,
    reason: Option<String>,
    body: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    match reason {
        Some(reason) if no_kvm().is_none() => {
            Trial::test(format!("{name} (skipped: {reason})"), body).with_ignored_flag(true)
        }
        _ => guest_test(name, body),
    }
}

/// Why there is no LLDB to test with.
fn no_lldb() -> Option<String> {
    let found = Command::new("lldb").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.err().map(|error| format!("lldb: {error}"))
}

/// Lets LLDB debug the guest `recursion` with `commands` and then kill it; everything it printed.
fn lldb(commands: &[&str]) -> Result<String, Failed> {
    lldb_with(&[], commands)
}

/// The same with `arguments` for `kvm`.
fn lldb_with(arguments: &[&str], commands: &[&str]) -> Result<String, Failed> {
    let kvm = KvmWithGdb::start("recursion", arguments, b"")?;
    let mut lldb = Command::new("lldb");
    lldb.args(["--no-lldbinit", "--no-use-colors", "-o"]);
    lldb.arg(format!("target create {}", guest("recursion").display()));
    lldb.args(["-o", &format!("gdb-remote {}", kvm.address)]);
    for command in commands {
        lldb.args(["-o", command]);
    }
    let output = output(lldb.args(["-o", "process kill", "-o", "quit"]))?;
    kvm.finish()?.expect_status(14)?;
    Ok(output)
}
