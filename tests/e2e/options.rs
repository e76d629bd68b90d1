//! The command line and `config.ini` together, and the log that they configure.

use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

use crate::support::{
    FinishedRun, HALTED_0, Kvm, Lane, exact_output, guest, guest_test, lane, low_memory_map, source, test,
};

const HELLO: &str = "Hello from the bare metal!\n";

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = command_line();
    trials.extend(config_file());
    trials.extend(log());
    trials
}

fn command_line() -> Vec<Trial> {
    vec![
        test("without_a_guest_the_legacy_message_is_printed", || {
            let message = "No guest file is named: give the ELF file to run, as in `kvm hello.elf`. `kvm --help` \
                        lists the options.\nUnspecified elf file. Use: kvm <elf file> [OPTIONS]";
            Kvm::new().run().expect_exactly(&exact_output(2, "", message))?;
            Kvm::new().arg("").run().expect_exactly(&exact_output(2, "", message))?;
            Ok(())
        }),
        test("a_second_guest_is_refused", || {
            let message = "`two.elf` is a second guest \
                        file: only one can be run. A file for the guest is given with --module, text for \
                        it with --append; the value of --gdb and its like is attached with `=`.\nIncorrect Format. \
                        Use: kvm <elf file> [OPTIONS]";
            Kvm::new().args(["one.elf", "two.elf"]).run().expect_exactly(&exact_output(2, "", message))?;
            Ok(())
        }),
        test("an_unknown_option_is_refused_with_the_closest_one", || {
            let message = "There is no option `--logfil`, \
                        did you mean `--logfile`? `kvm --help` lists the options; a value that starts \
                        with a dash is attached with `=`.\nIncorrect Format. Use: kvm <elf file> [OPTIONS]";
            Kvm::new().args(["a.elf", "-logfil", "x"]).run().expect_exactly(&exact_output(2, "", message))?;
            Ok(())
        }),
        test("an_option_given_twice_is_refused", || {
            let message = "--logfile is given twice: leave \
                        out one of the two.\nIncorrect Format. Use: kvm <elf file> [OPTIONS]";
            Kvm::new()
                .args(["a.elf", "-logfile", "x", "--logfile", "y"])
                .run()
                .expect_exactly(&exact_output(2, "", message))?;
            Ok(())
        }),
        test("logfile_without_a_name_is_refused", || {
            let message = "--logfile needs a value: the \
                        path of a file or of a FIFO. A value that starts with a dash is attached with \
                        `=`, as in --logfile=-x.\nIncorrect Format. Use: kvm <elf file> [OPTIONS]";
            Kvm::new().args(["a.elf", "-logfile"]).run().expect_exactly(&exact_output(2, "", message))?;
            Ok(())
        }),
        guest_test("logfile_can_stand_anywhere", || {
            let elf = guest("hello-serial");
            let elf = elf.to_str().ok_or("a path that is text")?;
            for arguments in [
                &[elf, "-logfile", "k.log"][..],
                &["-logfile", "k.log", elf],
                &[elf, "--logfile", "k.log", "--memory", "8"],
                &["--memory", "8", "-logfile=k.log", elf],
                &["--logfile=k.log", "--", elf],
            ] {
                let ran = Kvm::new().args(arguments).run();
                ran.expect_exactly(&exact_output(0, HELLO, HALTED_0))?;
                let log = ran.folder.read("k.log");
                ran.check(log.contains("Program result (keycode): 0\n"), "the end in k.log")?;
                ran.check(!ran.folder.file("console.log").exists(), "no console.log")?;
            }
            Ok(())
        }),
        test("help_lists_every_option_and_needs_no_guest", || {
            let (long, short) = (Kvm::new().arg("--help").run(), Kvm::new().args(["-h"]).run());
            long.expect_status(0)?.check(long.err.is_empty(), "nothing on standard error")?;
            long.check(
                long.out.starts_with(
                    "Run a bare-metal x86-64 guest on Linux KVM\n\nUsage: kvm <GUEST> [OPTIONS]\n",
                ),
                "what it is and how it is called",
            )?;
            long.check(
                long.out.contains("RAM of the guest, in MiB unless K, M or G follows [64]"),
                "defaults",
            )?;
            short.check(short.out == long.out, "the same from -h")?;
            long.check(!long.folder.file("console.log").exists(), "no log")?;
            Ok(())
        }),
        test("help_fits_a_terminal_of_a_hundred_columns", || {
            let ran = Kvm::new().arg("--help").run();
            let wide: Vec<&str> = ran.out.lines().filter(|line| line.chars().count() > 120).collect();
            ran.check(wide.is_empty(), &format!("no line like {wide:#?}"))?;
            Ok(())
        }),
        test("version_is_one_line", || {
            for option in ["--version", "-V"] {
                let ran = Kvm::new().arg(option).run();
                ran.expect_status(0)?.expect_out(concat!("kvm ", env!("CARGO_PKG_VERSION"), "\n"))?;
            }
            Ok(())
        }),
    ]
}

/// The output of `start-info` with `memory` bytes and this command line.
fn info(memory: u64, append: &str) -> String {
    let map = low_memory_map(memory);
    format!("start info version 1\nmemory map:\n{map}command line: {append}\nmodules: 0\n")
}

fn config_file() -> Vec<Trial> {
    const SMALL: &str = "[vm-spec]\nmemsize = 8\n[guest]\nappend = from the file\n";
    vec![
        guest_test("config_ini_is_found_in_the_working_directory", || {
            let ran = Kvm::with_guest("start-info").file("config.ini", SMALL).run();
            ran.expect_exactly(&exact_output(0, &info(8 << 20, "from the file"), HALTED_0))?;
            Ok(())
        }),
        guest_test("the_command_line_overrides_config_ini", || {
            let ran = Kvm::with_guest("start-info").file("config.ini", SMALL).args(["--memory", "16"]).run();
            ran.expect_exactly(&exact_output(0, &info(16 << 20, "from the file"), HALTED_0))?;
            Ok(())
        }),
        guest_test("config_names_another_file_and_config_ini_is_not_read", || {
            let ran = Kvm::with_guest("start-info")
                .file("config.ini", "not even an INI file")
                .file("mine.ini", SMALL)
                .args(["--config", "mine.ini"])
                .run();
            ran.expect_exactly(&exact_output(0, &info(8 << 20, "from the file"), HALTED_0))?;
            Ok(())
        }),
        guest_test("a_config_file_of_the_old_form_still_works", || {
            let old = "; settings\n[vm-spec]\nmemsize=10\n\n[debug-server]\nenable=no\nport=5553 ; the \
                       port\n\n[gdb-server]\nenable=no\naddress=127.0.0.1\nport=1234\n";
            let ran = Kvm::with_guest("start-info").file("config.ini", old).run();
            ran.expect_exactly(&exact_output(0, &info(10 << 20, ""), HALTED_0))?;
            Ok(())
        }),
        guest_test("the_shipped_config_file_changes_nothing", || {
            let shipped = std::fs::read_to_string(source("config.ini"))?;
            for guest in ["start-info", "multi-com", "post-and-e9", "unclaimed-ports"] {
                let without = Kvm::with_guest(guest).run();
                let with = Kvm::with_guest(guest).file("config.ini", &shipped).run();
                with.expect_status(0)?.expect_out(&without.out)?;
                with.check(with.err == without.err, &format!("{:?} on standard error", without.err))?;
                with.check(untimed(&with) == untimed(&without), "the same log")?;
            }
            Ok(())
        }),
        guest_test("the_shipped_config_file_works_where_the_log_cannot_be_written", || {
            let shipped = std::fs::read_to_string(source("config.ini"))?;
            let kvm = Kvm::with_guest("hello-serial").file("config.ini", &shipped);
            std::fs::create_dir(kvm.folder.file("console.log"))?;
            kvm.run().expect_status(0)?.expect_out(HELLO)?.expect_err("running without a log")?;
            Ok(())
        }),
        test("a_misspelt_section_is_refused_with_the_closest_one", || {
            let message = "config.ini:1: there is no section [vmspec], did you mean [vm-spec]?";
            expect_config_error("[vmspec]\nmemsize = 8\n", message)
        }),
        test("a_misspelt_key_is_refused_with_the_closest_one", || {
            expect_config_error(
                "[vm-spec]\nmemsiz = 8\n",
                "config.ini:2: [vm-spec] has no key `memsiz`, did you mean",
            )
        }),
        test("a_key_in_the_wrong_section_is_refused_with_the_right_one", || {
            let message = "config.ini:2: [log] has no key `memsize`, did you mean `memsize` in [vm-spec]?";
            expect_config_error("[log]\nmemsize = 8\n", message)
        }),
        test("a_key_given_twice_is_refused", || {
            let message = "config.ini:3: [vm-spec] memsize is given for the second time, after line 2";
            expect_config_error("[vm-spec]\nmemsize = 8\nmemsize = 9\n", message)
        }),
        test("a_line_without_a_key_is_refused", || {
            expect_config_error("[vm-spec\n", "config.ini:1: `[vm-spec` is neither `[section]` nor")
        }),
        test("a_config_file_that_is_a_directory_is_refused", || {
            let ran = Kvm::new().args(["a.elf", "--config", "/"]).run();
            ran.expect_exactly(&exact_output(
                2,
                "",
                "cannot read the config file `/`: Is a directory (os error 21)",
            ))?;
            Ok(())
        }),
    ]
}

fn expect_config_error(text: &str, message: &str) -> Result<(), Failed> {
    let ran = Kvm::new().file("config.ini", text).arg("a.elf").run();
    ran.expect_status(2)?.expect_out("")?.expect_err(&format!("kvm: {message}"))?;
    ran.check(!ran.folder.file("console.log").exists(), "no log").map(|_| ())
}

/// The lines of the log without their times, sorted: two threads write them.
fn untimed(ran: &FinishedRun) -> Vec<String> {
    let log = ran.folder.read("console.log");
    let mut lines: Vec<String> = log
        .lines()
        // The totals count kicks and have the time of the run.
        .filter(|line| !line.contains("kvm::app: totals "))
        .map(|line| line.trim_start().split_once(' ').map_or(line, |(_, rest)| rest))
        // The settings begin with the config file.
        .map(|line| match line.split_once("settings config=") {
            Some((start, rest)) => {
                format!("{start}settings {}", rest.split_once(' ').map_or("", |(_, rest)| rest))
            }
            None => line.to_owned(),
        })
        .collect();
    lines.sort();
    lines
}

fn log() -> Vec<Trial> {
    vec![
        guest_test("the_log_level_decides_what_is_logged", || {
            for (level, warns, informs, debugs) in [
                ("error", false, false, false),
                ("warn", true, false, false),
                ("info", true, true, false),
                ("debug", true, true, true),
            ] {
                let ran = Kvm::with_guest("multi-com").args(["--log-level", level]).run();
                let log = ran.folder.read("console.log");
                ran.check(log.contains(" INFO ") == informs, &format!("{level}: INFO {informs}"))?;
                let ran = Kvm::with_guest("unclaimed-ports").args(["--log-level", level]).run();
                let log = ran.folder.read("console.log");
                ran.check(log.contains(" WARN ") == warns, &format!("{level}: WARN {warns}"))?;
                let ran = Kvm::with_guest("post-and-e9").args(["--log-level", level]).run();
                let log = ran.folder.read("console.log");
                ran.check(log.contains(" DEBUG ") == debugs, &format!("{level}: DEBUG {debugs}"))?;
            }
            Ok(())
        }),
        guest_test("the_log_filter_selects_single_modules", || {
            let ran = Kvm::with_guest("multi-com").args(["--log-filter", "kvm::serial=off"]).run();
            ran.check(ran.logged_lines("COM2").is_empty(), "no serial lines")?;
            ran.expect_log("Program result")?;
            let ran = Kvm::with_guest("unclaimed-ports")
                .args(["--log-level", "error", "--log-filter", "kvm::devices::unassigned=warn"])
                .run();
            let log = ran.folder.read("console.log");
            ran.check(
                log.lines().all(|line| line.contains(" WARN kvm::devices::unassigned: ")),
                "only those",
            )?;
            ran.check(log.lines().count() == 4, "four of them")?;
            Ok(())
        }),
        guest_test("a_log_that_is_a_fifo_reaches_its_reader_completely", || {
            let ran = Kvm::with_guest("two-thousand-lines")
                .args(["--logfile", "fifo"])
                .in_shell("mkfifo fifo; cat fifo >read & \"$@\"; status=$?; wait; exit $status")
                .run();
            ran.expect_status(0)?;
            let read = ran.folder.read("read");
            let lines = read.lines().filter(|line| line.contains(" INFO kvm::serial: COM2: line ")).count();
            ran.check(lines == 2000, &format!("2000 lines from the FIFO, not {lines}"))?;
            let mut end = read.lines().rev();
            ran.check(
                end.next().is_some_and(|line| line.contains(" totals seconds=")),
                "the totals at the end",
            )?;
            ran.check(end.next().is_some_and(|line| line.ends_with(HALTED_0)), "the end before them")?;
            Ok(())
        }),
        guest_test("a_log_that_is_a_fifo_without_a_reader_does_not_block_the_run", || {
            let started = Instant::now();
            let ran = Kvm::with_guest("two-thousand-lines")
                .args(["--logfile", "fifo"])
                .in_shell("mkfifo fifo; exec \"$@\"")
                .run();
            ran.expect_exactly(&exact_output(0, "", HALTED_0))?;
            let took = started.elapsed();
            // On an emulated processor the guest itself takes some seconds.
            let at_once = Duration::from_secs(if matches!(lane(), Lane::Amd | Lane::Intel) { 30 } else { 5 });
            ran.check(took < at_once, &format!("an end at once, not after {took:?}"))?;
            Ok(())
        }),
        guest_test("a_run_truncates_the_log_of_the_previous_run", || {
            let kvm = Kvm::with_guest("hello-serial").file("console.log", "old\n");
            let ran = kvm.run();
            ran.check(!ran.folder.read("console.log").contains("old"), "nothing old in the log")?;
            Ok(())
        }),
        guest_test("display_none_keeps_standard_output_empty_and_logs_the_text", || {
            let ran = Kvm::with_guest("hello-serial").args(["--display", "none"]).run();
            ran.expect_exactly(&exact_output(0, "", HALTED_0))?;
            ran.check(ran.logged_lines("COM1") == ["Hello from the bare metal!"], "the line in the log")?;
            Ok(())
        }),
        guest_test("the_debug_console_writes_to_its_backend", || {
            let run = |end| Kvm::with_guest("post-and-e9").args(["--debugcon", end]).run();
            run("stdio").expect_out("E9 works\n")?;
            let log = run("log");
            log.expect_out("")?.check(log.logged_lines("port 0xE9") == ["E9 works"], "a line in the log")?;
            run("file:e9").expect_out("")?.expect_file("e9", "E9 works\n")?;
            let null = run("null");
            null.expect_out("")?;
            null.check(!null.folder.read("console.log").contains("E9 works"), "nothing in the log")?;
            Ok(())
        }),
        guest_test("the_layout_decides_which_key_types_a_character", || {
            for (layout, codes) in [("us", "0C 8C 01"), ("it", "35 B5 01")] {
                let ran = Kvm::new()
                    .arg(source("esempi-io/keyboard.elf"))
                    .args(["--dump-screen", "--keys", "keyboard", "--layout", layout])
                    .input(b"-\x1b")
                    .run();
                let end = format!("\n{codes}\n");
                ran.expect_status(0)?.check(ran.out.ends_with(&end), &format!("{codes} on the screen"))?;
            }
            Ok(())
        }),
    ]
}
