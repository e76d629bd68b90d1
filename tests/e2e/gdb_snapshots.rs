//! Going back to snapshots in memory while gdb looks on.

use libtest_mimic::{Failed, Trial};

use crate::gdb::{debug, gdb_test};
use crate::support::debugger::{expect, expect_times};
use crate::support::{Folder, Ran, source};

/// Debugs the guest `name` with `commands`, with the `goback` that `kvm vscode` writes.
fn debug_with_goback(name: &str, commands: &[&str]) -> Result<(String, Ran), Failed> {
    let source = format!("source {}", source("src/frontends/vscode/gdbinit").display());
    let commands: Vec<&str> = [source.as_str()].into_iter().chain(commands.iter().copied()).collect();
    debug(name, &[], &commands)
}

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        gdb_test("snapshots_bring_frames_registers_and_memory_back_and_keep_breakpoints", || {
            let commands = [
                "break fibonacci if n == 12",
                "continue",
                "monitor snapshot twelve",
                "delete",
                "break fibonacci if n == 3",
                "continue",
                "goback twelve",
                "backtrace",
                "info breakpoints",
                "continue",
                "backtrace 1",
                "goback twelve",
                "print n",
                "delete",
                "continue",
            ];
            let (said, ran) = debug_with_goback("recursion", &commands)?;
            expect(&said, "snapshot `twelve` at 0x200010 (fibonacci): ")?;
            expect_times(&said, "as in snapshot `twelve`, at 0x200010 (fibonacci): ", 2)?;
            expect(&said, "#0  fibonacci (n=n@entry=12)")?;
            expect(&said, "#3  0x0000000000200029 in fibonacci (n=n@entry=15)")?;
            expect(&said, "\tstop only if n == 3\n")?;
            expect_times(&said, "\nBreakpoint 2, fibonacci (n=n@entry=3)", 2)?;
            expect(&said, "$1 = 12")?;
            expect(&said, "kvm: the guest halted; result (RAX) 610")?;
            ran.expect_status(0).map(drop)
        }),
        gdb_test("snapshots_begin_a_run_again_that_was_over", || {
            let commands = [
                "monitor snapshot start",
                "continue",
                "monitor snapshot end",
                "goback start",
                "print $pc",
                "continue",
                "goback end",
                "continue",
            ];
            let (said, ran) = debug_with_goback("hello-serial", &commands)?;
            expect(&said, "$1 = (void (*)()) 0x200000 <_start>")?;
            expect_times(&said, "Program received signal SIGTERM", 2)?;
            // What was sent stays sent, and is sent again; from the end there is nothing to send.
            ran.expect_status(0)?
                .expect_out("Hello from the bare metal!\nHello from the bare metal!\n")
                .map(drop)
        }),
        gdb_test("snapshots_are_listed_replaced_and_forgotten_by_name", || {
            let commands = [
                "monitor snapshots",
                "monitor snapshot one",
                "stepi",
                "monitor snapshot second",
                "monitor snapshots",
                "monitor restore secnd",
                "monitor restore",
                "monitor snapshot",
                "monitor snapshot a b",
                "monitor snapshots delete one",
                "monitor restore one",
                "monitor snapshots delete",
                "monitor quit",
            ];
            let (said, ran) = debug("recursion", &[], &commands)?;
            expect_times(&said, "no snapshots\n", 2)?;
            expect(&said, "one     at 0x200000 (_start), ")?;
            expect(&said, "second  at 0x200002 (_start+0x2), ")?;
            expect(&said, "there is no snapshot `secnd` (there is `second`); `snapshots` lists all\n")?;
            expect(&said, "it needs the name of a snapshot")?;
            expect(&said, "it needs a name; use: snapshot NAME|FILE")?;
            expect(&said, "`a b` is no name for a snapshot")?;
            expect(&said, "there is no snapshot `one`")?;
            ran.expect_status(14).map(drop)
        }),
        gdb_test("snapshots_in_memory_end_when_another_guest_comes_from_a_file", || {
            let folder = Folder::new();
            let file = folder.file("a.kvmstate").display().to_string();
            let (save, restore) = (format!("monitor snapshot {file}"), format!("monitor restore {file}"));
            let commands =
                ["monitor snapshot one", &save, &restore, "monitor snapshots", "monitor restore one", "kill"];
            let (said, _) = debug("recursion", &[], &commands)?;
            expect(&said, "no snapshots\n")?;
            expect(&said, "there is no snapshot `one`")?;
            expect(&said, "a.kvmstate, at 0x200000 (_start)\ngdb still shows what it knew")
        }),
        gdb_test("snapshots_outlive_a_reset_and_watchpoints", || {
            let commands = [
                "break fibonacci if n == 13",
                "continue",
                "monitor snapshot thirteen",
                "watch *(unsigned long *) ($sp - 64)",
                "continue",
                "delete",
                "monitor reset",
                "goback thirteen",
                "backtrace 1",
                "continue",
            ];
            let (said, ran) = debug_with_goback("recursion", &commands)?;
            expect(&said, "atchpoint 2: *(unsigned long *) ($sp - 64)")?;
            expect(&said, "the machine was reset; ")?;
            expect_times(&said, "fibonacci (n=n@entry=13)", 3)?;
            expect(&said, "kvm: the guest halted; result (RAX) 610")?;
            ran.expect_status(0).map(drop)
        }),
    ]
}
