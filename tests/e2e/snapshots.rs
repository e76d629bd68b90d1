//! Snapshot files: saved from gdb or at the end of a run, and restored by `kvm --restore` or in gdb.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::gdb::{debug, gdb_test};
use crate::support::debugger::{KvmWithGdb, expect};
use crate::support::{FinishedRun, Folder, Kvm, flood_size, guest, guest_test, kvm_binary, test};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = continued();
    trials.extend(in_gdb());
    trials
}

/// Those to which no processor makes a difference.
pub fn others() -> Vec<Trial> {
    let mut trials = refused();
    trials.extend(at_exit());
    trials
}

/// Stops a guest in gdb with the command `stop`, saves it in `file`, and ends the run.
fn saved_at(name: &str, arguments: &[&str], stop: &str, file: &Path) -> Result<String, Failed> {
    let save = format!("monitor snapshot {}", file.display());
    let (output, _) = debug(name, arguments, &[stop, "continue", &save, "kill"])?;
    expect(&output, &format!("saved in {}: ", file.display()))?;
    Ok(output)
}

fn restored(file: &Path, arguments: &[&str]) -> FinishedRun {
    Kvm::new().arg("--restore").arg(file).args(arguments).run()
}

fn continued() -> Vec<Trial> {
    vec![
        gdb_test("a_restored_guest_runs_identically_each_time", || {
            let folder = Folder::new();
            let file = folder.file("a.kvmstate");
            // Inserted breakpoint bytes must not be part of the snapshot.
            saved_at("recursion", &[], "break fibonacci if n == 3", &file)?;
            let expected = Kvm::with_guest("recursion").run();
            for _ in 0..2 {
                let ran = restored(&file, &[]);
                ran.expect_status(0)?;
                ran.check(ran.err == expected.err, &expected.err)?;
            }
            Ok(())
        }),
        gdb_test("output_continues_where_the_snapshot_was_taken", || {
            let folder = Folder::new();
            let file = folder.file("a.kvmstate");
            let whole = Kvm::with_guest("sse").run();
            let save = format!("monitor snapshot {}", file.display());
            let (output, first) =
                debug("sse", &[], &["break print_number", "ignore 1 3", "continue", &save, "kill"])?;
            expect(&output, "saved in ")?;
            let second = restored(&file, &[]);
            second.expect_status(0)?;
            let together = format!("{}{}", first.out, second.out);
            second.check(together == whole.out && !first.out.is_empty(), &whole.out).map(drop)
        }),
        gdb_test("queued_keys_are_delivered_after_the_restore", || {
            let folder = Folder::new();
            let file = folder.file("a.kvmstate");
            let arguments = ["--keys", "keyboard", "--serial", "1=log", "--serial", "2=stdio"];
            let kvm = KvmWithGdb::start("keyboard-echo", &arguments, b"Hi there\x1b")?;
            let save = format!("monitor snapshot {}", file.display());
            // Six times a key: H with shift, and the i.
            let commands = ["break keyboard_code", "ignore 1 5", "continue", "delete", &save, "continue"];
            let output = kvm.gdb("keyboard-echo", &commands)?;
            expect(&output, "saved in ")?;
            let whole = kvm.finish()?;
            let again = restored(&file, &arguments);
            again.expect_status(0)?;
            let matches =
                !again.out.is_empty() && again.out.ends_with("there\n") && whole.out.ends_with(&again.out);
            again.check(matches, &format!("the rest of {:?}", whole.out)).map(drop)
        }),
        gdb_test("a_saved_end_is_reported_again_after_the_restore", || {
            let folder = Folder::new();
            let file = folder.file("a.kvmstate");
            let save = format!("monitor snapshot {}", file.display());
            let (output, ran) = debug("recursion", &[], &["continue", &save, "kill"])?;
            expect(&output, "saved in ")?;
            let again = restored(&file, &[]);
            again.expect_status(0)?.expect_err("the guest halted; result (RAX) 610")?;
            drop(ran);
            // With gdb, the end can be looked at.
            let kvm = KvmWithGdb::start_restored(&file)?;
            let output = kvm.gdb("recursion", &["print $rax", "continue"])?;
            expect(&output, "$1 = 610")?;
            kvm.finish()?.expect_status(0).map(drop)
        }),
        gdb_test("a_reset_after_a_restore_does_not_need_the_guest_file", || {
            let folder = Folder::new();
            let (copy, file) = (folder.file("copy.elf"), folder.file("a.kvmstate"));
            std::fs::copy(guest("reset"), &copy)?;
            let save = format!("monitor snapshot {}", file.display());
            let kvm = KvmWithGdb::start_file(&copy, &["--append", "fast"])?;
            let output = kvm.gdb_with_file(Some(&copy), &["break guest_main", "continue", &save, "kill"])?;
            expect(&output, "saved in ")?;
            drop(kvm);
            std::fs::remove_file(&copy)?;
            let ran = restored(&file, &["--timeout", "3"]);
            ran.expect_status(12)?;
            // The command line is there again, too.
            ran.check(ran.out.matches("Reset by port 0x92").count() >= 2, "resets").map(drop)
        }),
    ]
}

fn in_gdb() -> Vec<Trial> {
    vec![
        gdb_test("gdb_restores_a_snapshot_and_its_breakpoints_stay_set", || {
            let folder = Folder::new();
            let file = folder.file("a.kvmstate");
            let (save, restore) = (
                format!("monitor snapshot {}", file.display()),
                format!("monitor restore {}", file.display()),
            );
            let commands = [
                "break fibonacci if n == 13",
                "continue",
                &save,
                "print $rsp",
                "break fibonacci if n == 5",
                "continue",
                "set var *(int *)0x300000 = 77",
                &restore,
                "maintenance flush register-cache",
                "print $rsp == $1",
                "print n",
                "x/wx 0x300000",
                "continue",
                "print n",
                "delete",
                "continue",
            ];
            let (output, ran) = debug("recursion", &[], &commands)?;
            expect(&output, &format!("the machine was restored from {}, at 0x", file.display()))?;
            expect(&output, "$2 = 1\n")?;
            expect(&output, "$3 = 13\n")?;
            expect(&output, "0x300000:\t0x00000000")?;
            expect(&output, "$4 = 5\n")?;
            ran.expect_status(0)?.expect_err("result (RAX) 610").map(drop)
        }),
        gdb_test("a_restored_guest_is_debugged_like_any_other", || {
            let folder = Folder::new();
            let file = folder.file("a.kvmstate");
            saved_at("recursion", &[], "break fibonacci if n == 13", &file)?;
            let kvm = KvmWithGdb::start_restored(&file)?;
            // gdb has no file: it reads the guest's file from the snapshot.
            let output =
                kvm.gdb_with_file(None, &["bt 2", "break fibonacci", "continue", "print n", "kill"])?;
            expect(&output, "#0  fibonacci (n=n@entry=13)")?;
            expect(&output, "$1 = 12\n")
        }),
        gdb_test("a_failed_save_or_restore_is_reported_and_the_guest_is_unchanged", || {
            let elf = guest("recursion").display().to_string();
            let commands = [
                "break fibonacci",
                "continue",
                "monitor snapshot /no/such/folder/x",
                "monitor snapshot x",
                "monitor restore /dev/null",
                &format!("monitor restore {elf}"),
                "delete",
                "continue",
            ];
            let (output, ran) = debug("recursion", &[], &commands)?;
            expect(&output, "cannot write the snapshot /no/such/folder/x: No such file or directory")?;
            expect(&output, "snapshot `x` at 0x200010 (fibonacci): ")?;
            expect(&output, "cannot open the snapshot /dev/null: this is a device or a pipe")?;
            expect(&output, &format!("{elf} is no snapshot of kvm, but an ELF file"))?;
            ran.expect_status(0)?.expect_err("result (RAX) 610").map(drop)
        }),
        gdb_test("a_snapshot_of_another_size_of_memory_is_refused_by_a_running_machine", || {
            let folder = Folder::new();
            let file = folder.file("a.kvmstate");
            saved_at("recursion", &["--memory", "16"], "break fibonacci", &file)?;
            let restore = format!("monitor restore {}", file.display());
            let (output, ran) = debug("recursion", &[], &[&restore, "continue"])?;
            expect(&output, "a machine with 16 MiB of memory, and this one has 64 MiB")?;
            ran.expect_status(0)?.expect_err("result (RAX) 610").map(drop)
        }),
        gdb_test("killing_a_run_during_a_save_leaves_the_previous_snapshot_intact", killed_while_saving),
    ]
}

/// Kills `kvm` at different moments of saving over an old snapshot of much memory.
fn killed_while_saving() -> Result<(), Failed> {
    let folder = Folder::new();
    let file = folder.file("a.kvmstate");
    saved_at("recursion", &[], "break fibonacci", &file)?;
    let old = std::fs::read(&file)?;
    let mut cut_short = 0;
    for delay in [0, 5, 20, 60, 150] {
        let kvm = KvmWithGdb::start("recursion", &["--memory", "256"], b"")?;
        let pid = kvm.id().to_string();
        let gdb = Command::new("gdb")
            .args(["-nx", "-batch", "-ex", &format!("target remote {}", kvm.address)])
            // Much to write.
            .args(["-ex", &format!("restore {} binary 0x1000000", kvm_binary().display())])
            .args(["-ex", &format!("monitor snapshot {}", file.display())])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut gdb = gdb?;
        let begun = Instant::now();
        let target = std::fs::canonicalize(folder.path())?;
        // Until it has the new file open, or is through.
        let saving = || {
            let files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok().into_iter().flatten().flatten();
            files.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|path| path.starts_with(&target))
        };
        let mut log_only = 0;
        while !saving() && gdb.try_wait()?.is_none() && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(1));
            log_only += 1;
        }
        std::thread::sleep(Duration::from_millis(delay));
        drop(kvm);
        gdb.wait()?;
        let now = std::fs::read(&file)?;
        cut_short += usize::from(now == old);
        if now != old {
            Kvm::new().arg("check-snapshot").arg(&file).run().expect_status(0)?;
            std::fs::write(&file, &old)?;
        }
        let left: Vec<_> =
            std::fs::read_dir(folder.path())?.flatten().map(|entry| entry.file_name()).collect();
        if left != ["a.kvmstate"] {
            return Err(format!("{left:?} were left after {log_only} ms and {delay} ms").into());
        }
    }
    match cut_short {
        0 => Err("no kill came before the end of saving".into()),
        _ => Ok(()),
    }
}

fn refused() -> Vec<Trial> {
    vec![
        test("files_that_are_no_snapshots_are_refused_with_the_reason", || {
            let elf = guest("recursion");
            for (file, text) in [
                (
                    elf.as_path(),
                    "is no snapshot of kvm, but an ELF file: leave out --restore to run it as a guest",
                ),
                (Path::new("/no/such/file"), "cannot open the snapshot /no/such/file: there is no such file"),
                (Path::new("/"), "cannot open the snapshot /: this is a directory"),
            ] {
                restored(file, &[]).expect_status(4)?.expect_err(text)?;
                Kvm::new().arg("check-snapshot").arg(file).run().expect_status(4)?.expect_err(text)?;
            }
            Ok(())
        }),
        test("a_guest_and_a_snapshot_together_are_refused", || {
            let ran = Kvm::with_guest("recursion").args(["--restore", "x"]).run();
            ran.expect_status(2)?.expect_err("cannot be run together with --restore").map(drop)
        }),
        gdb_test("a_damaged_snapshot_is_found_by_check_snapshot_and_refused_if_the_damage_matters", || {
            let folder = Folder::new();
            let file = folder.file("a.kvmstate");
            saved_at("recursion", &[], "break fibonacci", &file)?;
            let ran = Kvm::new().arg("check-snapshot").arg(&file).run();
            ran.expect_status(0)?;
            ran.check(ran.out.contains(": whole\n") && ran.out.contains("64 MiB"), "what is in it")?;
            let mut bytes = std::fs::read(&file)?;
            bytes.pop();
            std::fs::write(&file, &bytes)?;
            restored(&file, &[]).expect_status(4)?.expect_err("is damaged: 1 of its")?;
            bytes[100] ^= 1;
            bytes.push(0);
            std::fs::write(&file, &bytes)?;
            let text = "is damaged: the checksum of its table of sections is wrong";
            restored(&file, &[]).expect_status(4)?.expect_err(text).map(drop)
        }),
    ]
}

fn at_exit() -> Vec<Trial> {
    vec![
        guest_test("a_run_ended_by_its_timeout_continues_from_its_snapshot_without_losing_output", || {
            let folder = Folder::new();
            let file = folder.file("a.kvmstate");
            let saving = |kvm: Kvm| kvm.arg("--snapshot-at-exit").arg(&file);
            let restored = || saving(Kvm::new().arg("--restore").arg(&file));
            let mut out = String::new();
            for slice in [saving(Kvm::with_guest("serial-million")), restored()] {
                let ran = slice.args(["--timeout", "0.2"]).run();
                ran.expect_status(12)?
                    .expect_err("continue it with `kvm --restore ")?
                    .expect_err("a.kvmstate`.")?;
                out.push_str(&ran.out);
            }
            let ran = restored().run();
            ran.expect_status(0)?
                .expect_err("inspect it with `kvm --restore ")?
                .expect_err("a.kvmstate --gdb`.")?;
            let begun = out.len();
            out.push_str(&ran.out);
            let line = format!("{}\n", ".".repeat(63));
            ran.check(begun > 0 && out == line.repeat(flood_size() / 64), "all lines, each once").map(drop)
        }),
        gdb_test("a_crash_saved_at_the_end_of_the_run_can_be_examined_in_gdb", || {
            let folder = Folder::new();
            let file = folder.file("a.kvmstate");
            let crashed = Kvm::with_guest("wild-pointer").arg("--snapshot-at-exit").arg(&file).run();
            crashed.expect_status(8)?;
            let again = restored(&file, &[]);
            again.expect_status(8)?.expect_err("triple fault")?;
            let kvm = KvmWithGdb::start_restored(&file)?;
            let output = kvm.gdb("wild-pointer", &["print $rip != 0", "continue"])?;
            expect(&output, "$1 = 1")?;
            expect(&output, "triple fault")?;
            kvm.finish()?.expect_status(8).map(drop)
        }),
        guest_test("a_crash_saved_at_the_end_of_the_run_keeps_its_exception", || {
            let report = |ran: &FinishedRun| -> Result<Value, Failed> {
                let report: Value = serde_json::from_str(&ran.folder.read("crash.json"))?;
                let exception = report["exception"].clone();
                ran.check(exception["vector"] == 8, "the timer's interrupt")?;
                Ok(exception)
            };
            let options = ["--report", "crash.json", "--timeout", "20"];
            let crashed =
                Kvm::with_guest("early-tick").args(options).args(["--snapshot-at-exit", "a.kvmstate"]);
            let crashed = crashed.run();
            crashed.expect_status(8)?.expect_err("interrupt 0x8 (vector 8")?;
            // What has happened, and not how it was noticed.
            crashed.expect_log("interrupt 0x08 at 0x")?.expect_log(", without an IDT of the guest")?;
            let log = crashed.folder.read("console.log");
            crashed.check(!log.contains("hlt with interrupts off"), "no `hlt` of the guest")?;
            let kvm = Kvm::new().arg("--restore").arg(crashed.folder.file("a.kvmstate")).args(options);
            let again = kvm.run();
            again.expect_status(8)?.expect_err("interrupt 0x8 (vector 8")?;
            again.check(report(&again)? == report(&crashed)?, "the same exception").map(drop)
        }),
        gdb_test("a_guest_that_halted_in_gdb_is_halted_in_the_snapshot_of_the_killed_run", || {
            let folder = Folder::new();
            let file = folder.file("a.kvmstate");
            let path = file.display().to_string();
            let (_, ran) = debug("recursion", &["--snapshot-at-exit", &path], &["continue", "kill"])?;
            ran.expect_status(14)?.expect_err("the machine is saved in ")?;
            restored(&file, &[]).expect_status(0)?.expect_err("result (RAX) 610").map(drop)
        }),
        guest_test("an_unwritable_snapshot_path_is_reported_before_the_guest_runs", || {
            for (path, why) in
                [("/no/such/folder/x", "No such file"), ("/", "directory"), ("/dev/null", "device")]
            {
                let ran = Kvm::with_guest("hello-serial").args(["--snapshot-at-exit", path]).run();
                ran.expect_status(6)?.expect_out("")?;
                ran.expect_err(&format!("cannot write the snapshot {path}: "))?.expect_err(why)?;
            }
            Ok(())
        }),
    ]
}
