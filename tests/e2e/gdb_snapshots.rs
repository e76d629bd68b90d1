//! Restoring in-memory snapshots under gdb.

use libtest_mimic::{Failed, Trial};

use crate::gdb::{debug, gdb_test};
use crate::support::debugger::{expect, expect_times};
use crate::support::{FinishedRun, Folder};

/// Debugs the guest `name` with `commands`, with the `goback` that `kvm vscode` writes.
fn debug_with_goback(name: &str, commands: &[&str]) -> Result<(String, FinishedRun), Failed> {
    let folder = Folder::new();
    let script = folder.file("gdbinit");
    std::fs::write(&script, include_str!("../../src/frontends/vscode/gdbinit"))?;
    let source = format!("source {}", script.display());
    let commands: Vec<&str> = [source.as_str()].into_iter().chain(commands.iter().copied()).collect();
    debug(name, &[], &commands)
}

/// Steps a guest ten instructions, saves it in memory and in a file, and prints its next ten instructions three
/// times: without a restore, restored from memory, and restored from the file.
const FUTURES: &str = "\
define future
  echo FUTURE\\n
  set $left = 10
  while $left > 0
    stepi
    printf \"STEP %lx %lx %lx %lx %lx %x %x\\n\", $rip, $rsp, $rax, $rcx, $rdx, $eflags, $cs
    set $left = $left - 1
  end
end
define again
  monitor restore $arg0
  maintenance flush register-cache
  maintenance flush dcache
  future
end
define futures
  stepi 10
  monitor snapshot here
  monitor snapshot FILE
  future
  again here
  again FILE
end
";

/// The number of such positions in one run of guests in all modes and in handlers.
const POSITIONS: &[(&str, usize)] =
    &[("three-modes", 8), ("real-interrupts", 1), ("protected-interrupts", 1)];

/// The next instructions of the guest `name` are the same after each restore, at each of `positions` positions.
fn same_futures(name: &str, positions: usize) -> Result<(), Failed> {
    let folder = Folder::new();
    let script = folder.file("futures.gdb");
    let file = folder.file("a.kvmstate");
    std::fs::write(&script, FUTURES.replace("FILE", &file.display().to_string()))?;
    let source = format!("source {}", script.display());
    let mut commands = vec![source.as_str()];
    commands.extend(std::iter::repeat_n("futures", positions));
    commands.push("kill");
    let (output, _) = debug(name, &[], &commands)?;
    let steps = |future: &str| -> Vec<String> {
        future.lines().filter(|line| line.starts_with("STEP ")).map(str::to_owned).collect()
    };
    let futures: Vec<Vec<String>> = output.split("FUTURE\n").skip(1).map(steps).collect();
    let all = futures.len() == 3 * positions && futures.iter().all(|future| future.len() == 10);
    let same = futures.chunks(3).all(|three| three.iter().all(|future| *future == three[0]));
    let moves = futures.iter().all(|future| future.first() != future.last());
    match all && same && moves {
        true => Ok(()),
        false => Err(format!("{name}: {positions} times three times the same; gdb printed\n{output}").into()),
    }
}

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        gdb_test("snapshots_restore_frames_registers_and_memory_and_keep_breakpoints", || {
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
            let (output, ran) = debug_with_goback("recursion", &commands)?;
            expect(&output, "snapshot `twelve` at 0x200010 (fibonacci): ")?;
            expect_times(&output, "restored snapshot `twelve` at 0x200010 (fibonacci): ", 2)?;
            expect(&output, "#0  fibonacci (n=n@entry=12)")?;
            expect(&output, "#3  0x0000000000200029 in fibonacci (n=n@entry=15)")?;
            expect(&output, "\tstop only if n == 3\n")?;
            expect_times(&output, "\nBreakpoint 2, fibonacci (n=n@entry=3)", 2)?;
            expect(&output, "$1 = 12")?;
            expect(&output, "kvm: the guest halted; result (RAX) 610")?;
            ran.expect_status(0).map(drop)
        }),
        gdb_test("snapshots_continue_a_run_that_has_ended", || {
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
            let (output, ran) = debug_with_goback("hello-serial", &commands)?;
            expect(&output, "$1 = (void (*)()) 0x200000 <_start>")?;
            expect_times(&output, "Program received signal SIGTERM", 2)?;
            // What was sent stays sent, and is sent again; from the end there is nothing to send.
            ran.expect_status(0)?
                .expect_out("Hello from the bare metal!\nHello from the bare metal!\n")
                .map(drop)
        }),
        gdb_test("snapshots_are_listed_replaced_and_deleted_by_name", || {
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
            let (output, ran) = debug("recursion", &[], &commands)?;
            expect_times(&output, "no snapshots\n", 2)?;
            expect(&output, "one     at 0x200000 (_start), ")?;
            expect(&output, "second  at 0x200002 (_start+0x2), ")?;
            expect(&output, "there is no snapshot `secnd` (there is `second`); `snapshots` lists all\n")?;
            expect(&output, "the name of a snapshot is missing")?;
            expect(&output, "a name is missing; use: snapshot [-f] NAME|FILE")?;
            expect(&output, "`a b` is no name for a snapshot")?;
            expect(&output, "there is no snapshot `one`")?;
            ran.expect_status(14).map(drop)
        }),
        gdb_test("restored_snapshots_run_identically_in_every_mode_and_in_interrupt_handlers", || {
            POSITIONS.iter().try_for_each(|(name, positions)| same_futures(name, *positions))
        }),
        gdb_test("in_memory_snapshots_are_discarded_when_another_guest_is_restored_from_a_file", || {
            let folder = Folder::new();
            let file = folder.file("a.kvmstate").display().to_string();
            let (save, restore) = (format!("monitor snapshot {file}"), format!("monitor restore {file}"));
            let commands =
                ["monitor snapshot one", &save, &restore, "monitor snapshots", "monitor restore one", "kill"];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(&output, "no snapshots\n")?;
            expect(&output, "there is no snapshot `one`")?;
            expect(&output, "a.kvmstate, at 0x200000 (_start)\ngdb still shows old registers")
        }),
        gdb_test("snapshots_survive_a_reset_and_watchpoints", || {
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
            let (output, ran) = debug_with_goback("recursion", &commands)?;
            expect(&output, "atchpoint 2: *(unsigned long *) ($sp - 64)")?;
            expect(&output, "the machine was reset; ")?;
            expect_times(&output, "fibonacci (n=n@entry=13)", 3)?;
            expect(&output, "kvm: the guest halted; result (RAX) 610")?;
            ran.expect_status(0).map(drop)
        }),
    ]
}
