//! A real gdb with real guests, and raw protocol clients.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

use crate::gdb_breakpoints::UNUSED;
use crate::support::debugger::{KvmWithGdb, ask, expect};
use crate::support::{FinishedRun, Kvm, Lane, guest_test, lane, no_kvm};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = stopping();
    trials.extend(stepping());
    trials.extend(coming_and_going());
    trials
}

/// Those to which no processor makes a difference.
pub fn connections() -> Vec<Trial> {
    let mut trials = endings();
    trials.extend(strangers());
    trials
}

fn stopping() -> Vec<Trial> {
    vec![
        gdb_test("gdb_stops_at_a_function_and_shows_its_callers", || {
            let (output, ran) = debug("recursion", &[], &["break fibonacci if n == 3", "continue", "bt"])?;
            expect(&output, "Breakpoint 1, fibonacci (n=n@entry=3)")?;
            expect(&output, "#12 0x")?;
            expect(&output, "in fibonacci (n=n@entry=15)")?;
            expect(&output, "in guest_main ()")?;
            ran.expect_status(0)?.expect_err("result (RAX) 610")?;
            Ok(())
        }),
        gdb_test("gdb_finishes_a_call_and_sees_its_value", || {
            let commands = ["break fibonacci if n == 3", "continue", "delete", "finish"];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(&output, "Value returned is $1 = 2\n")
        }),
        gdb_test("gdb_stops_at_every_call_until_the_breakpoint_is_deleted", || {
            let commands = [
                "break fibonacci",
                "ignore 1 401",
                "continue",
                "info breakpoints",
                "print $rdi",
                "delete",
                "continue",
            ];
            let (output, ran) = debug("recursion", &[], &commands)?;
            expect(&output, "breakpoint already hit 402 times")?;
            // The argument of the 402nd of the calls that fibonacci(15) makes.
            expect(&output, "$1 = 8\n")?;
            expect(&output, "kvm: the guest halted; result (RAX) 610")?;
            ran.expect_status(0).map(drop)
        }),
        gdb_test("gdb_has_four_hardware_breakpoints_and_says_so_when_they_are_used_up", || {
            let commands = [
                "hbreak fibonacci",
                "continue",
                "continue",
                "print $rdi",
                "hbreak *fibonacci+6",
                "hbreak guest_main",
                "hbreak stop",
                "continue",
                "print $pc",
                "hbreak _start",
                "continue",
            ];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(&output, "$1 = 14\n")?;
            expect(&output, "$2 = (void (*)()) 0x200016 <fibonacci+6>")?;
            expect(&output, "\nCannot insert hardware breakpoint ")
        }),
        gdb_test("gdb_never_sees_its_own_breakpoints_in_memory", || {
            let mut commands = UNUSED.to_vec();
            commands.extend([
                "set breakpoint always-inserted on",
                "break fibonacci",
                "continue",
                "x/4xb $pc",
            ]);
            commands.extend(["monitor xp 0x200010 4", "monitor dis 0x200010 1"]);
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(&output, "0x55\t0x48\t0x89\t0xe5")?;
            expect(&output, "0000200010  55 48 89 e5 ")?;
            expect(&output, "0x200010 <fibonacci>: push rbp ; target-examples/recursion.c:10\n")
        }),
        gdb_test("gdb_reads_and_writes_memory_and_registers", || {
            let commands = [
                "print *(int *)0x300000 = 77",
                "x/wx 0x300000",
                "set $r12 = 0x1122334455667788",
                "set $xmm1.uint128 = 7",
                "stepi",
                "p/x $r12",
                "p $xmm1.uint128",
                "x/x 0x40000000",
                "x/x 0x7fffffffffff0000",
                "set var *(int *)0x40000000 = 1",
                "set $cs = 16",
                "info registers cs",
            ];
            let (output, ran) = debug("recursion", &[], &commands)?;
            expect(&output, "0x300000:\t0x0000004d")?;
            expect(&output, "= 0x1122334455667788\n")?;
            expect(&output, "$3 = 7\n")?;
            expect(&output, "Cannot access memory at address 0x40000000")?;
            expect(&output, "Cannot access memory at address 0x7fffffffffff0000")?;
            expect(&output, "the segment 0x10 is no code segment, and CS takes nothing else")?;
            expect(&output, "cs             0x8 ")?;
            ran.expect_status(0).map(drop)
        }),
        gdb_test("monitor_prints_control_registers", || {
            let (output, _) = debug("recursion", &[], &["monitor regs", "monitor help", "monitor fly"])?;
            expect(&output, "Privileged Registers (Custom command):\nCR4 0x0000000000000620\nCR3 0x")?;
            expect(&output, "\nCR0 0x0000000080010033\nEFER 0x0000000000000d00\n")?;
            expect(&output, "\nregs                        show the control registers and EFER\n")?;
            expect(&output, "`fly` is no command; `help` lists all\n")
        }),
        gdb_test("gdb_can_examine_the_guest_after_a_triple_fault", || {
            let (output, ran) = debug("triple-fault", &[], &["continue", "x/i $pc", "continue"])?;
            expect(&output, "kvm: triple fault at 0x200007")?;
            expect(&output, "Program received signal SIGSEGV")?;
            expect(&output, "ud2")?;
            expect(&output, "exited with code 010]")?;
            ran.expect_status(8).map(drop)
        }),
        gdb_test("breakpoints_survive_a_reset_of_the_machine", || {
            // Every other time gdb stops where the guest asks for the reset.
            let commands =
                ["break guest_main", "continue", "continue", "continue", "continue", "continue", "kill"];
            let (output, ran) = debug("reset", &[], &commands)?;
            if output.matches("\nBreakpoint 1, guest_main").count() != 3 {
                return Err(format!("three stops expected, gdb printed\n{output}").into());
            }
            ran.expect_out(&"Reset by port 0xcf9 ...\n".repeat(2))?.expect_status(14).map(drop)
        }),
    ]
}

fn stepping() -> Vec<Trial> {
    vec![
        gdb_test("steps_are_one_instruction_each", || {
            let commands =
                ["break fibonacci", "continue", "stepi", "stepi 2", "print $pc", "nexti", "print $pc"];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(&output, "$1 = (void (*)()) 0x200016 <fibonacci+6>")?;
            expect(&output, "$2 = (void (*)()) 0x200017 <fibonacci+7>")
        }),
        gdb_test("next_steps_over_a_whole_call", || {
            let commands = [
                "break *fibonacci+0x14",
                "continue",
                "delete",
                "x/i $pc",
                "nexti",
                "print $rax",
                "print $pc",
            ];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(&output, "call   0x200010 <fibonacci>")?;
            expect(&output, "$1 = 377\n$2 = (void (*)()) 0x200029")
        }),
        gdb_test("ctrl_c_ends_a_long_series_of_steps", || {
            let commands = ["break spin", "continue", "delete", CTRL_C, "stepi 1000000", "print $rax > 10"];
            let (output, _) = debug("endless", &["--timeout", "4"], &commands)?;
            expect(&output, "Program received signal SIGINT")?;
            expect(&output, "$1 = 1\n")
        }),
        gdb_test("until_and_advance_run_to_a_location", || {
            let commands = [
                "break fibonacci if n == 3",
                "continue",
                "delete",
                "until 13",
                "advance fibonacci",
                "print n",
                "kill",
            ];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(&output, "fibonacci (n=n@entry=3) at target-examples/recursion.c:13\n")?;
            expect(&output, "fibonacci (n=n@entry=2) at target-examples/recursion.c:11\n")?;
            expect(&output, "$1 = 2\n")
        }),
        gdb_test("load_restarts_the_guest_from_its_entry_point", || {
            let commands = [
                "tbreak fibonacci",
                "continue",
                "set var *(char *)fibonacci = 0xf4",
                "load",
                "print $pc == (long)&_start",
                "continue",
                "continue",
            ];
            let (output, ran) = debug("recursion", &[], &commands)?;
            expect(&output, "Loading section .text, size 0x60 lma 0x200000\n")?;
            expect(&output, "$1 = 1\n")?;
            ran.expect_status(0)?.expect_err("result (RAX) 610").map(drop)
        }),
        gdb_test("source_lines_are_stepped_with_breakpoints_in_them_respected", || {
            let commands = ["break guest_main", "continue", "break *fibonacci+6", "next", "print $pc"];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(&output, "$1 = (void (*)()) 0x200016 <fibonacci+6>")
        }),
        gdb_test("stepping_through_port_output_sends_each_byte_once", || {
            let text = "x".repeat(60);
            let arguments = ["--append", text.as_str()];
            let plain = Kvm::with_guest("start-info").args(arguments).run();
            let commands = ["break print_range", "continue", "delete", "stepi 450", "break *$pc", "continue"];
            let (_, ran) = debug("start-info", &arguments, &commands)?;
            ran.expect_out(&plain.out)?.expect_status(0).map(drop)
        }),
        gdb_test("the_halt_at_the_end_can_be_stepped_to", || {
            let commands = ["tbreak stop", "continue", "stepi", "stepi", "print $rax", "stepi"];
            let (output, ran) = debug("recursion", &[], &commands)?;
            expect(&output, "Program received signal SIGTERM")?;
            expect(&output, "$1 = 610\n")?;
            expect(&output, "exited normally]")?;
            ran.expect_status(0).map(drop)
        }),
        gdb_test("a_variable_can_be_watched_by_stepping", || {
            let commands = [
                "set can-use-hw-watchpoints 0",
                "break fibonacci",
                "continue",
                "delete",
                "watch *(long *)0x14fa0",
                "continue",
                "print $pc",
            ];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(&output, "Old value = 0\nNew value = 15\n")?;
            expect(&output, "$1 = (void (*)()) 0x200017 <fibonacci+7>")
        }),
        gdb_test("a_step_over_a_jump_to_itself_is_one_instruction", || {
            let commands = [
                "tbreak *again",
                "continue",
                "stepi",
                "print $pc == (long)&again",
                "print $rsp",
                "stepi 2",
                "print $rsp",
                "kill",
            ];
            let (output, _) = debug("int-to-itself", &["--timeout", "5"], &commands)?;
            // Hosts whose processor runs guests itself step over handlers, and this one never ends.
            if output.contains("exited with code 014]") {
                return Ok(());
            }
            expect(&output, "$1 = 1\n")?;
            // Each time RSP is aligned to 16, and five words are pushed.
            expect(&output, "$2 = (void *) 0x2fffd8\n")?;
            expect(&output, "$3 = (void *) 0x2fff78\n")
        }),
        gdb_test("a_refused_instruction_can_be_skipped", || {
            let commands = ["continue", "set $pc = $pc + 4", "continue"];
            let (output, ran) = debug("refused-instruction", &[], &commands)?;
            if lane() == Lane::Emulated {
                expect(&output, "Program received signal SIGILL")?;
            }
            expect(&output, "Program received signal SIGTERM")?;
            ran.expect_status(0).map(drop)
        }),
    ]
}

fn endings() -> Vec<Trial> {
    vec![
        gdb_test("gdb_is_notified_of_the_guests_exit_status", || {
            let (output, ran) = debug("debug-exit", &[], &["continue"])?;
            expect(&output, "exited with code 041]")?;
            ran.expect_status(33).map(drop)
        }),
        gdb_test("kill_ends_the_run", || {
            let (output, ran) = debug("endless", &[], &["stepi 5", "kill"])?;
            expect(&output, "killed]")?;
            ran.expect_status(14)?.expect_err("ended by the user").map(drop)
        }),
        gdb_test("the_timeout_ends_a_run_that_gdb_has_stopped", || {
            let (_, ran) = debug("endless", &["--timeout", "1"], &["stepi", "shell sleep 2", "stepi"])?;
            ran.expect_status(12).map(drop)
        }),
        guest_test("the_timeout_ends_a_run_that_waits_for_gdb", || {
            let kvm = KvmWithGdb::start("endless", &["--timeout", "1"], b"")?;
            kvm.finish()?.expect_status(12).map(drop)
        }),
        gdb_test("a_signal_ends_a_run_that_gdb_has_stopped", || {
            let kvm = KvmWithGdb::start("endless", &[], b"")?;
            let end = format!("shell kill -TERM {}", kvm.id());
            kvm.gdb("endless", &["stepi", &end, "shell sleep 0.5"])?;
            kvm.finish()?.expect_status(16).map(drop)
        }),
    ]
}

/// Sends gdb a Ctrl-C in a while.
pub const CTRL_C: &str = "shell (sleep 1; kill -INT $PPID) &";

fn coming_and_going() -> Vec<Trial> {
    vec![
        gdb_test("ctrl_c_stops_an_endless_guest", || {
            let commands = [CTRL_C, "continue", "print $rax > 1000", "stepi", "stepi", "kill"];
            let (output, ran) = debug("endless", &[], &commands)?;
            expect(&output, "Program received signal SIGINT")?;
            expect(&output, "$1 = 1\n")?;
            ran.expect_status(14).map(drop)
        }),
        gdb_test("a_guest_that_waits_still_waits_after_ctrl_c", || {
            let commands = [CTRL_C, "continue", "print $pc", CTRL_C, "continue", "print $pc", "kill"];
            let (output, _) = debug("idle", &[], &commands)?;
            expect(&output, "$1 = (void (*)()) 0x200002")?;
            expect(&output, "$2 = (void (*)()) 0x200002")
        }),
        gdb_test("stepping_a_wait_waits_until_ctrl_c", || {
            let commands = ["stepi", CTRL_C, "stepi", "print $pc", "kill"];
            let (output, _) = debug("idle", &[], &commands)?;
            expect(&output, "Program received signal SIGINT")?;
            expect(&output, "$1 = (void (*)()) 0x200002")
        }),
        gdb_test("after_detach_the_guest_runs_on_and_can_be_attached_to_again", || {
            let kvm = KvmWithGdb::start("endless", &[], b"")?;
            let first = kvm.gdb("endless", &["break spin", "continue", "print $rax", "detach"])?;
            expect(&first, "$1 = 0\n")?;
            std::thread::sleep(Duration::from_millis(200));
            let second = kvm.gdb("endless", &["print $rax > 1000", "x/2xb spin", "kill"])?;
            expect(&second, "$1 = 1\n")?;
            expect(&second, "0x48\t0xff")?;
            kvm.finish()?.expect_status(14).map(drop)
        }),
        gdb_test("serial_input_reaches_a_guest_under_gdb", || {
            let kvm = KvmWithGdb::start("serial-echo", &["--keys", "serial"], b"typed\n\x04")?;
            kvm.gdb("serial-echo", &["break guest_main", "continue", "stepi 40", "continue"])?;
            let ran = kvm.finish()?;
            ran.expect_out("TYPED\n").map(drop)
        }),
    ]
}

fn strangers() -> Vec<Trial> {
    vec![
        guest_test("a_client_that_sends_malformed_packets_is_disconnected_and_the_guest_runs_on", || {
            for malformed in [&b"$m0,1#00"[..], b"$vCont;x#ff", b"-", &[b'$'; 40_000]] {
                let kvm = KvmWithGdb::start("recursion", &[], b"")?;
                kvm.connect()?.write_all(malformed)?;
                kvm.finish()?.expect_status(0)?;
            }
            Ok(())
        }),
        guest_test("an_impossible_request_is_answered_with_an_error", || {
            let kvm = KvmWithGdb::start("recursion", &[], b"")?;
            let mut client = kvm.connect()?;
            expect(&ask(&mut client, "qSupported")?, "PacketSize=20000;")?;
            for (packet, answer) in [
                ("m0,ffffffffffffffff", "E16"),
                ("mfffffffffffffff0,20", "E0e"),
                ("M40000000,1:00", "E0e"),
                ("Z2,200000,0", "E1c"),
                ("z2,200000,1", "E16"),
                ("z0,200000,1", "E16"),
            ] {
                let got = ask(&mut client, packet)?;
                if got != answer {
                    return Err(format!("{packet}: `{answer}` expected, got `{got}`").into());
                }
            }
            drop(client);
            kvm.finish()?.expect_status(0).map(drop)
        }),
        guest_test("the_guest_runs_on_when_the_client_disconnects", || {
            let kvm = KvmWithGdb::start("recursion", &[], b"")?;
            let mut client = kvm.connect()?;
            // A breakpoint that would be hit, and the guest set going.
            ask(&mut client, "Z0,200010,1")?;
            drop(client);
            kvm.finish()?.expect_status(0)?.expect_err("result (RAX) 610").map(drop)
        }),
        guest_test("a_port_scan_and_a_browser_do_not_start_the_guest", || {
            let kvm = KvmWithGdb::start("recursion", &["--timeout", "1"], b"")?;
            drop(kvm.connect()?);
            kvm.connect()?.write_all(b"GET / HTTP/1.1\r\n\r\n$c#63")?;
            kvm.finish()?.expect_status(12).map(drop)
        }),
        guest_test("a_second_client_is_rejected_with_the_reason", || {
            let kvm = KvmWithGdb::start("recursion", &[], b"")?;
            let mut first = kvm.connect()?;
            ask(&mut first, "?")?;
            let mut second = kvm.connect()?;
            let answer = ask(&mut second, "qSupported")?;
            expect(&answer, "E.another debugger is connected")?;
            let count = second.read(&mut [0; 16]).unwrap_or(0);
            if count != 0 {
                return Err("the second client got another answer".into());
            }
            ask(&mut first, "?")?;
            drop(first);
            kvm.finish()?.expect_status(0).map(drop)
        }),
        guest_test("further_clients_do_not_delay_each_other", || {
            let kvm = KvmWithGdb::start("recursion", &[], b"")?;
            let mut first = kvm.connect()?;
            ask(&mut first, "?")?;
            // Port scanners, and debuggers that have frozen.
            let silent = (0..10).map(|_| kvm.connect()).collect::<Result<Vec<_>, _>>()?;
            let start = Instant::now();
            let answer = ask(&mut kvm.connect()?, "qSupported")?;
            expect(&answer, "E.another debugger is connected")?;
            if start.elapsed() > Duration::from_secs(3) {
                return Err(format!("the rejection took {:?}", start.elapsed()).into());
            }
            drop((silent, first));
            kvm.finish()?.expect_status(0).map(drop)
        }),
        gdb_test("a_second_gdb_shows_why_it_is_rejected", || {
            let kvm = KvmWithGdb::start("recursion", &[], b"")?;
            let mut first = kvm.connect()?;
            ask(&mut first, "?")?;
            let output = kvm.gdb("recursion", &[])?;
            expect(&output, "another debugger is connected to this guest; end or detach it first")?;
            drop(first);
            kvm.finish()?.expect_status(0).map(drop)
        }),
        guest_test("a_gdb_port_in_use_is_named", || {
            let taken = TcpListener::bind("127.0.0.1:0")?;
            let address = taken.local_addr()?.to_string();
            let ran = Kvm::with_guest("recursion").arg(format!("--gdb={address}")).run();
            ran.expect_status(6)?.expect_err(&format!("kvm: cannot wait for gdb on {address}: ")).map(drop)
        }),
    ]
}

/// A test that needs gdb, too.
pub fn gdb_test(name: &str, body: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    let missing = MISSING.get_or_init(|| {
        let found = Command::new("gdb").arg("--version").stdout(Stdio::null()).status();
        found.err().map(|error| format!("gdb: {error}"))
    });
    match missing {
        Some(reason) if no_kvm().is_none() => {
            Trial::test(format!("{name} (skipped: {reason})"), body).with_ignored_flag(true)
        }
        _ => guest_test(name, body),
    }
}

/// Runs a guest under gdb: what gdb printed, and how the run went.
pub fn debug(name: &str, arguments: &[&str], commands: &[&str]) -> Result<(String, FinishedRun), Failed> {
    let kvm = KvmWithGdb::start(name, arguments, b"")?;
    let output = kvm.gdb(name, commands)?;
    Ok((output, kvm.finish()?))
}
