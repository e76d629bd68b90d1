//! Going back to snapshots in memory while gdb looks on.

use libtest_mimic::{Failed, Trial};

use crate::gdb::{debug, gdb_test};
use crate::support::debugger::{expect, expect_times};
use crate::support::{Folder, Ran};

/// Debugs the guest `name` with `commands`, with the `goback` that `kvm vscode` writes.
fn debug_with_goback(name: &str, commands: &[&str]) -> Result<(String, Ran), Failed> {
    let folder = Folder::new();
    let script = folder.file("gdbinit");
    std::fs::write(&script, include_str!("../../src/frontends/vscode/gdbinit"))?;
    let source = format!("source {}", script.display());
    let commands: Vec<&str> = [source.as_str()].into_iter().chain(commands.iter().copied()).collect();
    debug(name, &[], &commands)
}

/// Takes a guest ten instructions further, saves it in memory and in a file, and tells its next ten
/// instructions: by going on, from memory, and from the file.
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

/// How often that is done in one run, with guests that are in all kinds of modes and handlers.
const PLACES: &[(&str, usize)] = &[("three-modes", 8), ("real-interrupts", 1), ("protected-interrupts", 1)];

/// The next instructions of the guest `name` are the same after each snapshot at each of `places`.
fn same_futures(name: &str, places: usize) -> Result<(), Failed> {
    let folder = Folder::new();
    let script = folder.file("futures.gdb");
    let file = folder.file("a.kvmstate");
    std::fs::write(&script, FUTURES.replace("FILE", &file.display().to_string()))?;
    let source = format!("source {}", script.display());
    let mut commands = vec![source.as_str()];
    commands.extend(std::iter::repeat_n("futures", places));
    commands.push("kill");
    let (said, _) = debug(name, &[], &commands)?;
    let told = |future: &str| -> Vec<String> {
        future.lines().filter(|line| line.starts_with("STEP ")).map(str::to_owned).collect()
    };
    let futures: Vec<Vec<String>> = said.split("FUTURE\n").skip(1).map(told).collect();
    let all = futures.len() == 3 * places && futures.iter().all(|future| future.len() == 10);
    let same = futures.chunks(3).all(|three| three.iter().all(|future| *future == three[0]));
    let moves = futures.iter().all(|future| future.first() != future.last());
    match all && same && moves {
        true => Ok(()),
        false => Err(format!("{name}: {places} times three times the same; gdb said\n{said}").into()),
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
            let (said, ran) = debug_with_goback("hello-serial", &commands)?;
            expect(&said, "$1 = (void (*)()) 0x200000 <_start>")?;
            expect_times(&said, "Program received signal SIGTERM", 2)?;
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
        gdb_test("restored_snapshots_run_identically_in_every_mode_and_in_interrupt_handlers", || {
            PLACES.iter().try_for_each(|(name, places)| same_futures(name, *places))
        }),
        gdb_test("in_memory_snapshots_are_discarded_when_another_guest_is_restored_from_a_file", || {
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
            let (said, ran) = debug_with_goback("recursion", &commands)?;
            expect(&said, "atchpoint 2: *(unsigned long *) ($sp - 64)")?;
            expect(&said, "the machine was reset; ")?;
            expect_times(&said, "fibonacci (n=n@entry=13)", 3)?;
            expect(&said, "kvm: the guest halted; result (RAX) 610")?;
            ran.expect_status(0).map(drop)
        }),
    ]
}
