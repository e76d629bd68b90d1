//! Every example guest behaves as its documentation says.

use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

use crate::support::{
    ExactOutput, FinishedRun, HALTED_0, Kvm, Lane, exact_output, guest, guest_test, halted, lane,
    low_memory_map, resets_registers,
};

/// The message on hosts whose registers are reset by the triple fault.
const TRIPLE_FAULT_SOMEWHERE: &str =
    "triple fault; this host has already reset the registers, so where it happened is not known.";

/// The final screen of `hello-vga`.
const HELLO_VGA: &str = "
  Hello from the VGA text screen!

  black               background
  blue                background
  green               background
  cyan                background
  red                 background
  magenta             background
  brown               background
  light grey          background
  dark grey
  light blue
  light green
  light cyan
  light red
  pink
  yellow
  white

  blinking

  The cursor is here:
";

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = printing_guests();
    trials.extend(crashing_guests());
    trials.extend(waiting_guests());
    trials.extend(memory_sizes());
    trials
}

/// A guest that only prints, with and without `--strict`.
fn prints(guest: &'static str, out: &'static str, paragraph: String) -> [Trial; 2] {
    [false, true].map(|strict| {
        let paragraph = paragraph.clone();
        let name = format!("{guest}_prints{}", if strict { "_with_strict" } else { "" });
        guest_test(&name, move || {
            let kvm = Kvm::with_guest(guest);
            let ran = if strict { kvm.arg("--strict").run() } else { kvm.run() };
            ran.expect_exactly(&exact_output(0, out, paragraph))?;
            Ok(())
        })
    })
}

fn printing_guests() -> Vec<Trial> {
    let squares = "Hello from Rust!\n1 4 9 16 25\n";
    let unassigned = "port 0x0008 reads 0x00\nport 0x02e0 reads 0xff\naddress 0x0fe00000 reads 0x00000000\n";
    let mut trials = Vec::new();
    trials.extend(prints("hello-serial", "Hello from the bare metal!\n", HALTED_0.into()));
    trials.extend(prints("rust-hello", squares, halted(55)));
    trials.extend(prints("unclaimed-ports", unassigned, HALTED_0.into()));
    trials.extend(prints("recursion", "", halted(610)));
    trials.extend(prints("multi-com", "This is COM1.\n", HALTED_0.into()));
    trials.extend([
        guest_test("the_result_is_in_the_log", || {
            Kvm::with_guest("recursion").run().expect_log("Program result (keycode): 610")?;
            Ok(())
        }),
        guest_test("hello_vga_leaves_its_screen", || {
            for strict in ["--strict=no", "--strict=yes"] {
                let ran = Kvm::with_guest("hello-vga").args(["--dump-screen", strict]).run();
                ran.expect_exactly(&exact_output(0, HELLO_VGA, HALTED_0))?;
            }
            Ok(())
        }),
        guest_test("multi_com_writes_to_four_backends", || {
            let ran = Kvm::with_guest("multi-com")
                .args(["--serial", "1=stdio", "--serial", "2=file:com2.txt"])
                .args(["--serial", "3=log", "--serial", "4=null"])
                .run();
            ran.expect_exactly(&exact_output(0, "This is COM1.\n", HALTED_0))?;
            ran.expect_file("com2.txt", "This is COM2.\n")?;
            ran.check(ran.logged_lines("COM3") == ["This is COM3."], "COM3's line in the log")?;
            ran.check(ran.logged_lines("COM4").is_empty(), "nothing of COM4 in the log")?;
            Ok(())
        }),
        guest_test("multi_com_writes_to_four_files", || {
            let kvm = (1..=4).fold(Kvm::with_guest("multi-com"), |kvm, port| {
                kvm.arg("--serial").arg(format!("{port}=file:com{port}.txt"))
            });
            let ran = kvm.run();
            ran.expect_exactly(&exact_output(0, "", HALTED_0))?;
            for port in 1..=4 {
                ran.expect_file(&format!("com{port}.txt"), &format!("This is COM{port}.\n"))?;
            }
            Ok(())
        }),
        guest_test("serial_echo_answers_in_upper_case", || {
            let ran = Kvm::with_guest("serial-echo")
                .args(["--keys", "serial"])
                .input(b"first line\nsecond\n\x04")
                .run();
            ran.expect_exactly(&exact_output(0, "FIRST LINE\nSECOND\n", halted(2)))?;
            Ok(())
        }),
        guest_test("keyboard_echo_echoes_the_typed_characters", || {
            let ran = Kvm::with_guest("keyboard-echo")
                .args(["--keys", "keyboard", "--serial", "1=log", "--serial", "2=stdio"])
                .input(b"Hi, \"You\" & 2 more!\x1b")
                .run();
            ran.expect_exactly(&exact_output(0, "Type; Escape ends.\nHi, \"You\" & 2 more!\n", halted(19)))?;
            Ok(())
        }),
        guest_test("post_codes_and_port_e9_output_are_logged", || {
            let ran = Kvm::with_guest("post-and-e9").args(["--log-level", "debug"]).run();
            ran.expect_exactly(&exact_output(0, "E9 works\n", halted(3)))?;
            for code in ["0x01", "0x02", "0x03"] {
                ran.expect_log(&format!("DEBUG kvm::devices::post: POST code {code}"))?;
            }
            Ok(())
        }),
        guest_test("start_info_shows_memory_command_line_and_modules", || {
            for strict in ["--strict=no", "--strict=yes"] {
                start_info(strict)?;
            }
            Ok(())
        }),
        guest_test("start_info_without_command_line_and_modules_is_empty", || {
            let ran = Kvm::with_guest("start-info").run();
            let map = low_memory_map(64 << 20);
            let out = format!("start info version 1\nmemory map:\n{map}command line: \nmodules: 0\n");
            ran.expect_exactly(&exact_output(0, &out, HALTED_0))?;
            Ok(())
        }),
        guest_test("higher_half_runs_at_its_virtual_addresses", || {
            for strict in ["--strict=no", "--strict=yes"] {
                let ran = Kvm::with_guest("higher-half").arg(strict).run();
                ran.expect_status(0)?.expect_err(HALTED_0)?;
                expect_lines(
                    &ran,
                    &[
                        "code at      0xffffffff8010....",
                        "variable at  0xffffffff8010....",
                        "and also at  0x000000000010....",
                        "the same memory",
                    ],
                )?;
            }
            Ok(())
        }),
        guest_test("static_pie_is_relocated", || {
            for strict in ["--strict=no", "--strict=yes"] {
                let ran = Kvm::with_guest("static-pie").arg(strict).run();
                ran.expect_status(0)?.expect_err(HALTED_0)?;
                expect_lines(&ran, &["guest_main is at 0x0000000000......", "relocated by the loader"])?;
            }
            Ok(())
        }),
        guest_test("debug_exit_chooses_the_exit_status", || {
            for strict in ["--strict=no", "--strict=yes"] {
                let ran = Kvm::with_guest("debug-exit").arg(strict).run();
                let message = "the guest ended the run with 0x10 at the debug exit port; exit status 33.";
                ran.expect_exactly(&exact_output(33, "", message))?;
            }
            Ok(())
        }),
    ]);
    trials
}

fn start_info(strict: &str) -> Result<(), Failed> {
    let ran = Kvm::with_guest("start-info")
        .file("a", "first line of a\nsecond\n")
        .file("b", "only\tline")
        .args(["--append", "colour=blue  quiet", "--module", "a=text for a=1", "--module", "b"])
        .args(["--memory", "7", strict])
        .run();
    let map = low_memory_map(7 << 20);
    let out = format!(
        "start info version 1\nmemory map:\n{map}\
         command line: colour=blue  quiet\nmodules: 2\n  \
         0x0000006ff000 + 0x000000000017\n    command line: text for a=1\n    \
         first line:   first line of a\n  \
         0x0000006fe000 + 0x000000000009\n    command line: \n    first line:   only.line\n"
    );
    ran.expect_exactly(&exact_output(0, &out, HALTED_0))?;
    Ok(())
}

/// Standard output must have these lines, in which a dot stands for any character.
fn expect_lines(ran: &FinishedRun, pattern: &[&str]) -> Result<(), Failed> {
    let fits = |line: &str, pattern: &str| {
        line.len() == pattern.len() && line.bytes().zip(pattern.bytes()).all(|(c, p)| p == b'.' || p == c)
    };
    let lines: Vec<&str> = ran.out.lines().collect();
    let matches = lines.len() == pattern.len() && lines.iter().zip(pattern).all(|(line, p)| fits(line, p));
    ran.check(matches, &format!("lines {pattern:?}")).map(|_| ())
}

/// The messages allowed for a triple fault: `here`, or on AMD-V that the location is not known.
fn triple_fault(here: &str) -> Vec<ExactOutput> {
    let (known, unknown) = (exact_output(8, "", here), exact_output(8, "", TRIPLE_FAULT_SOMEWHERE));
    match lane() {
        Lane::Amd if resets_registers() => vec![unknown],
        Lane::Amd | Lane::Emulated | Lane::Intel => vec![known],
        Lane::Other => vec![known, unknown],
    }
}

fn crashing_guests() -> Vec<Trial> {
    vec![
        guest_test("a_crash_in_a_relocated_guest_names_the_function", || {
            let ran = Kvm::with_guest("crash-in-pie").run();
            let reported = ran.err.starts_with("kvm: triple fault at 0x20")
                && ran.err.contains(" (fall_down), instruction `ud2`: invalid opcode, #UD (vector 6).");
            ran.check(reported, "the function's name")?;
            Ok(())
        }),
        guest_test("a_crash_outside_the_guests_code_names_no_function", || {
            let ran = Kvm::with_guest("crash-in-pie").arg("--append=x").run();
            let reported = ran.err.starts_with(
                "kvm: triple fault at 0x900000, instruction `ud2`: invalid opcode, #UD (vector 6).",
            );
            ran.check(reported, "no name")?;
            Ok(())
        }),
        guest_test("a_first_write_to_unmapped_ram_is_complete", || {
            let ran = Kvm::with_guest("far-memory").arg("--memory=1024").run();
            ran.expect_exactly(&exact_output(0, "", halted(1)))?;
            Ok(())
        }),
        guest_test("guests_of_older_supervisors_find_the_state_they_rely_on", || {
            let ran = Kvm::with_guest("old-habits").arg("--memory=10").run();
            ran.expect_exactly(&exact_output(0, "", HALTED_0))?;
            Ok(())
        }),
        guest_test("a_triple_fault_is_reported_with_its_location", || {
            for strict in ["--strict=no", "--strict=yes"] {
                let ran = Kvm::with_guest("triple-fault").arg(strict).run();
                let here = "triple fault at 0x200007 (_start+0x7), instruction `ud2`: invalid opcode, #UD \
                            (vector 6). No usable IDT is loaded, so the first exception ends the machine. The \
                            log console.log has all registers.\n  \
                            #0   0x200007 (_start+0x7) at target-examples/triple-fault.S:13";
                ran.expect_one_of(&triple_fault(here))?;
                ran.expect_log("kvm: TRIPLE FAULT. Shutting down")?.expect_log("Target program dump:")?;
            }
            Ok(())
        }),
        guest_test("escape_sequences_in_a_symbol_name_do_not_reach_the_terminal", || {
            let kvm = Kvm::new().arg("red.elf");
            let mut file = std::fs::read(guest("triple-fault"))?;
            let at = file.windows(8).position(|name| name == b"\0_start\0").ok_or("no symbol _start")?;
            file[at..at + 8].copy_from_slice(b"\0\x1b[31mX\0");
            std::fs::write(kvm.folder.file("red.elf"), file)?;
            let ran = kvm.run();
            let here = "triple fault at 0x200007 ([31mX+0x7), instruction `ud2`: invalid opcode, #UD \
                        (vector 6). No usable IDT is loaded, so the first exception ends the machine. The log \
                        console.log has all registers.\n  \
                        #0   0x200007 ([31mX+0x7) at target-examples/triple-fault.S:13";
            ran.expect_one_of(&triple_fault(here))?;
            ran.check(!ran.folder.read("console.log").contains('\x1b'), "no escape sequence in the log")?;
            Ok(())
        }),
        guest_test("a_triple_fault_by_a_breakpoint_instruction_is_reported", || {
            let ran = Kvm::with_guest("triple-fault-int3").run();
            let fault = |place, instruction, after, line| {
                format!(
                    "triple fault at {place}, instruction {instruction}: breakpoint, #BP (vector 3){after}. No usable IDT is \
                     loaded, so the first exception ends the machine. The log console.log has all registers.\n  \
                     #0   {place} at target-examples/triple-fault-int3.S:{line}"
                )
            };
            ran.expect_one_of(&[
                exact_output(8, "", TRIPLE_FAULT_SOMEWHERE),
                // Processors differ in whether the breakpoint instruction counts as done.
                exact_output(8, "", fault("0x200007 (_start+0x7)", "`int3`", "", 13)),
                exact_output(
                    8,
                    "",
                    fault("0x200008 (_start+0x8)", "`hlt`", ": `int3` is the instruction before", 14),
                ),
            ])?;
            ran.expect_log("Target program dump:")?;
            Ok(())
        }),
        guest_test("a_refused_instruction_is_named_with_the_reason_and_the_remedy", || {
            let ran = Kvm::with_guest("refused-instruction").run();
            let refused = "this host's KVM cannot execute what the guest wants (internal error 1) at 0x200005 \
                           (_start+0x5), instruction `enter 0x0, 0x1`. It is not one of those emulated in place \
                           of KVM (docs/refused-instructions.md): build the guest without it or run it on a \
                           host with VT-x or AMD-V (`scripts/lab run` emulates one). The log console.log has all registers.\n  \
                           #0   0x200005 (_start+0x5) at target-examples/refused-instruction.S:13";
            let here = exact_output(10, "", refused);
            let done = exact_output(0, "", halted(3));
            match lane() {
                Lane::Emulated => ran.expect_exactly(&here)?,
                Lane::Amd | Lane::Intel => ran.expect_exactly(&done)?,
                Lane::Other => ran.expect_one_of(&[here, done])?,
            };
            Ok(())
        }),
        guest_test("a_wild_pointer_is_reported_with_its_address", || {
            for strict in ["--strict=no", "--strict=yes"] {
                let ran = Kvm::with_guest("wild-pointer").arg(strict).run();
                ran.expect_status(8)?.expect_out("Reading at 0x700000000000 ...\n")?;
                let reported = ran.err.starts_with("kvm: triple fault at 0x2000")
                    && ran.err.contains(" (guest_main+")
                    && ran.err.contains(
                        ": page fault, #PF (vector 14, error code 0x0: not present, read, supervisor): a read of \
                         0x700000000000, where nothing is mapped. No usable IDT is loaded, so the first exception ends the machine. \
                         The log console.log has all registers.\n",
                    )
                    && ran.err.contains(") at target-examples/wild-pointer.c:13\n  #1   0x200007 (_start+0x7) at ");
                ran.check(reported, "the location and CR2")?;
            }
            Ok(())
        }),
        guest_test("strict_catches_every_stray_pointer", || {
            for way in ["null-read", "null-write", "code-write", "data-call", "stack-overflow"] {
                let lenient = Kvm::with_guest("stray").args(["--append", way, "--no-guards"]).run();
                lenient.expect_exactly(&exact_output(0, "", halted(7)))?;
                let strict = Kvm::with_guest("stray").args(["--append", way, "--strict"]).run();
                strict.expect_status(8)?.expect_err("kvm: triple fault")?.expect_out("")?;
            }
            Ok(())
        }),
    ]
}

fn waiting_guests() -> Vec<Trial> {
    let ends_in_time = |guest: &'static str, instruction: &'static [(&'static str, &'static str)]| {
        guest_test(&format!("{guest}_is_ended_by_the_timeout"), move || {
            let started = Instant::now();
            let ran = Kvm::with_guest(guest).args(["--timeout", "0.3"]).run();
            let took = started.elapsed();
            let message = |(place, frame)| {
                let line = format!("  #0   {frame}");
                format!("the run took longer than --timeout allows{place}.\n{line}")
            };
            let allowed: Vec<_> =
                instruction.iter().map(|place| exact_output(12, "", message(*place))).collect();
            ran.expect_one_of(&allowed)?.expect_log("Target program dump:")?;
            let (least, most) = (Duration::from_millis(300), Duration::from_secs(2));
            ran.check(least <= took && took < most, &format!("an end after 0.3 s, not after {took:?}"))?;
            Ok(())
        })
    };
    vec![
        // It can be caught at either of the two instructions of its loop.
        ends_in_time(
            "endless",
            &[
                (
                    " at 0x200002 (spin), instruction `inc rax`",
                    "0x200002 (spin) at target-examples/endless.S:12",
                ),
                (
                    " at 0x200005 (spin+0x3), instruction `jmp short 0x200002`",
                    "0x200005 (spin+0x3) at target-examples/endless.S:13",
                ),
            ],
        ),
        ends_in_time(
            "idle",
            &[(
                ": the guest waits in `hlt` for an interrupt; the next instruction is 0x200002 (_start+0x2), \
                instruction `jmp short 0x200000`. Nothing is set up that could wake it: no timer runs, and neither \
                the keyboard nor a serial port has its interrupt on; the interrupt controllers pass no line on",
                "0x200002 (_start+0x2) at target-examples/idle.S:13",
            )],
        ),
        guest_test("a_waiting_guest_costs_no_processor_time", || {
            // What the shell reports are minutes and seconds in user mode and in the kernel.
            let ran =
                Kvm::with_guest("idle").args(["--timeout", "1"]).in_shell("\"$@\"; times | tail -n 1").run();
            let times = &ran.out;
            let spent: f64 = times.split_whitespace().filter_map(seconds).sum();
            if times.split_whitespace().filter_map(seconds).count() == 2 && spent < 0.4 {
                return Ok(());
            }
            Err(format!("a second of waiting took {spent} s of processor time: {times:?}").into())
        }),
    ]
}

/// The seconds in a time like `0m0.123s`.
fn seconds(time: &str) -> Option<f64> {
    let (minutes, seconds) = time.strip_suffix('s')?.split_once('m')?;
    Some(60.0 * minutes.parse::<f64>().ok()? + seconds.parse::<f64>().ok()?)
}

/// `--memory`, and the memory map of the start info: bytes below 4 GiB, and the rest.
const SIZES: [(&str, u64, &str); 8] = [
    ("3", 0x30_0000, ""),
    ("63", 0x3F0_0000, ""),
    ("64", 0x400_0000, ""),
    ("1021", 0x3FD0_0000, ""),
    ("3072", 0xC000_0000, ""),
    ("3073", 0xC000_0000, "  0x000100000000 + 0x000000100000 RAM\n"),
    ("5000", 0xC000_0000, "  0x000100000000 + 0x000078800000 RAM\n"),
    ("65536", 0xC000_0000, "  0x000100000000 + 0x000f40000000 RAM\n"),
];

fn memory_sizes() -> Vec<Trial> {
    vec![
        guest_test("the_guest_finds_its_memory_size_for_every_size", || {
            for (size, low, high) in SIZES {
                let ranges = low_memory_map(low) + high;
                for strict in ["--strict=no", "--strict=yes"] {
                    let ran = Kvm::with_guest("start-info").args(["--memory", size, strict]).run();
                    let out =
                        format!("start info version 1\nmemory map:\n{ranges}command line: \nmodules: 0\n");
                    ran.expect_exactly(&exact_output(0, &out, HALTED_0))?;
                }
            }
            Ok(())
        }),
        guest_test("a_guest_for_one_megabyte_runs_in_one", || {
            let ran = Kvm::with_guest("low").args(["--memory", "1"]).run();
            ran.expect_exactly(&exact_output(0, "", halted(1)))?;
            Ok(())
        }),
        guest_test("a_guest_that_does_not_fit_is_refused_with_the_memory_size_it_needs", || {
            let ran = Kvm::with_guest("start-info").args(["--memory", "1"]).run();
            ran.expect_status(4)?.expect_out("")?;
            ran.expect_err(" is outside the 1 MiB of guest memory; `--memory 3M` is enough\n")?;
            Ok(())
        }),
        guest_test("a_large_guest_starts_as_fast_as_a_small_one", || {
            let mut times = [Vec::new(), Vec::new()];
            for _ in 0..5 {
                for (times, size) in times.iter_mut().zip(["64", "65536"]) {
                    let started = Instant::now();
                    Kvm::with_guest("hello-serial").args(["--memory", size]).run().expect_status(0)?;
                    times.push(started.elapsed());
                }
            }
            times.iter_mut().for_each(|times| times.sort());
            let [little, much] = [times[0][2], times[1][2]];
            if much < 3 * little {
                return Ok(());
            }
            Err(format!("64 MiB: {little:?}, 65536 MiB: {much:?} (medians)").into())
        }),
    ]
}
