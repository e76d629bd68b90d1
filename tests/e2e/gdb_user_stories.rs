//! Complaints of kernel developers about debugging under KVM, each with a session in which it does not come true.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

use crate::gdb::{CTRL_C, debug, gdb_test};
use crate::support::debugger::{Waiting, answer, ask, expect, expect_times, send};
use crate::support::{Deadline, Folder, Kvm, PATIENCE, guest_test, wait_until};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = modes();
    trials.extend(breakpoints());
    trials.extend(crashes());
    trials.extend(memory_and_symbols());
    trials.extend(connections());
    trials
}

fn modes() -> Vec<Trial> {
    vec![gdb_test("the_g_packet_keeps_its_length_from_real_to_long_mode", || {
        let look = ["maintenance packet g", "print $cr0", "print $efer", "print $cs"];
        // Into the middle of what is done in real mode: a step more or less does not matter.
        let commands = [
            &["stepi 30"][..],
            &look,
            &["tbreak in_protected", "continue"],
            &look,
            &["print $rip == (long)in_protected", "tbreak in_long", "continue"],
            &look,
            &["print $rip == (long)in_long", "continue"],
        ];
        let (said, ran) = debug("three-modes", &[], &commands.concat())?;
        expect(&said, "$1 = [ MP ET NE WP ]\n$2 = [ NXE ]\n$3 = 4096\n")?;
        expect(&said, "$4 = [ PE MP ET NE WP ]\n$5 = [ NXE ]\n$6 = 8\n$7 = 1\n")?;
        expect(&said, "$8 = [ PE MP ET NE WP PG ]\n$9 = [ LME LMA NXE ]\n$10 = 40\n$11 = 1\n")?;
        let lengths: Vec<usize> =
            said.lines().filter(|line| line.starts_with("received: \"")).map(str::len).collect();
        if lengths.len() != 3 || lengths.iter().any(|length| *length != lengths[0] || *length < 500) {
            return Err(format!("three packets of one length wanted: {lengths:?}\n{said}").into());
        }
        expect_not(&said, "too long")?;
        expect_not(&said, "Truncated register")?;
        ran.expect_status(0)?.expect_err("result (RAX) 291 (0x123)").map(drop)
    })]
}

fn breakpoints() -> Vec<Trial> {
    vec![
        gdb_test("continuing_from_a_breakpoint_makes_progress", || {
            // Ten functions enter and leave; a guest that stands still would show the same one twice.
            let mut commands = vec!["break fibonacci", "continue"];
            commands.extend(["continue"; 5]);
            commands.extend(["ignore 1 100", "continue", "info breakpoints"]);
            let (said, ran) = debug("recursion", &[], &commands)?;
            let stops: Vec<&str> = said.lines().filter_map(|line| line.split("(n=n@entry=").nth(1)).collect();
            let starts: Vec<&str> = stops.iter().filter_map(|stop| stop.split(')').next()).collect();
            if starts.get(..6) != Some(&["15", "14", "13", "12", "11", "10"][..]) {
                return Err(format!("the calls were {starts:?}; gdb said\n{said}").into());
            }
            expect(&said, "breakpoint already hit 107 times")?;
            ran.expect_status(0)?.expect_err("result (RAX) 610").map(drop)
        }),
        gdb_test("more_than_four_breakpoints_work_without_settings", || {
            // On every instruction from the entry of the function to its first branch.
            let (said, ran) = debug(
                "recursion",
                &[],
                &[
                    "break *fibonacci",
                    "break *fibonacci+1",
                    "break *fibonacci+4",
                    "break *fibonacci+6",
                    "break *fibonacci+7",
                    "break *fibonacci+10",
                    "break *fibonacci+14",
                    "break guest_main",
                    "continue",
                    "continue",
                    "continue",
                    "continue",
                    "continue",
                    "continue",
                    "continue",
                    "continue",
                    "print $pc",
                    "delete",
                    "continue",
                ],
            )?;
            for number in 1..=8 {
                expect(&said, &format!("\nBreakpoint {number}, "))?;
            }
            expect(&said, "$1 = (void (*)()) 0x20001e <fibonacci+14>")?;
            expect_not(&said, "Cannot insert")?;
            ran.expect_status(0)?.expect_err("result (RAX) 610").map(drop)
        }),
        gdb_test("conditions_are_evaluated_without_a_round_trip", || {
            let commands = [
                "monitor break fibonacci if $rdi == 0 && $hits > 900",
                "set debug remote 1",
                "continue",
                "set debug remote 0",
                "monitor breaks",
                "monitor delete",
                "continue",
            ];
            let (said, ran) = debug("recursion", &[], &commands)?;
            // What is sent from `continue` on: that the guest is to go on, and that nobody listens to
            // more of it. gdb's own condition would cost hundreds of these.
            let goes = said.lines().filter(|line| line.contains("Sending packet: $vCont;c")).count();
            if goes != 1 {
                return Err(format!("gdb has sent the guest on {goes} times; it said\n{said}").into());
            }
            expect(&said, "hit once\n")?;
            expect(&said, "     reached 9")?;
            ran.expect_status(0)?.expect_err("result (RAX) 610").map(drop)
        }),
        gdb_test("the_guests_own_int3_reaches_its_handler_and_can_be_caught", || {
            let commands = [
                "break handler",
                "continue",
                "print $rbx",
                "delete",
                "monitor catch int3 on",
                "continue",
                "x/i $pc",
                "print $rbx",
                "monitor catch int3 off",
                "continue",
            ];
            let (said, ran) = debug("own-int3", &[], &commands)?;
            expect(&said, "Breakpoint 1, handler ()")?;
            expect(&said, "$1 = 0\n")?;
            expect(&said, "Program received signal SIGTRAP")?;
            expect(&said, ":\tint3")?;
            expect(&said, "$2 = 1\n")?;
            ran.expect_status(0)?.expect_err("result (RAX) 3 (0x3)").map(drop)
        }),
    ]
}

fn crashes() -> Vec<Trial> {
    vec![
        gdb_test("a_triple_fault_leaves_the_machine_to_examine", || {
            let commands = [
                "continue",
                "backtrace",
                "x/i $pc",
                "info line *$pc",
                "print $cr0",
                "monitor walk $rsp",
                "x/gx $rsp",
                "monitor regs",
                "continue",
            ];
            let (said, ran) = debug("crash-in-pie", &[], &commands)?;
            expect(&said, "kvm: triple fault at ")?;
            expect(&said, "Program received signal SIGSEGV")?;
            expect(&said, "#0  fall_down ()")?;
            expect(&said, " guest_main (")?;
            expect(&said, " _start ()")?;
            expect(&said, ":\tud2")?;
            expect(&said, "of \"tests/guests/crash-in-pie.c\"")?;
            expect(&said, "$1 = [ PE MP ET NE WP PG ]\n")?;
            expect(&said, " (RAM): writable")?;
            expect(&said, "Privileged Registers")?;
            ran.expect_status(8).map(drop)
        }),
        gdb_test("a_crash_under_kvm_can_be_examined", || {
            // What KVM cannot do ends other debuggers' runs with "KVM internal error".
            let commands =
                ["continue", "monitor dis $rip 1", "x/2xb $pc", "print $cs", "backtrace 1", "kill"];
            let (said, _) = debug("refused-instruction", &[], &commands)?;
            expect(&said, "Program received signal SIGILL")?;
            expect(&said, "kvm: this host's KVM cannot execute")?;
            expect(&said, ": femms\n")?;
            expect(&said, "$1 = 8\n")?;
            expect(&said, "#0  _start () at target-examples/refused-instruction.S:13")
        }),
    ]
}

fn memory_and_symbols() -> Vec<Trial> {
    vec![
        gdb_test("large_memory_reads_are_fast", || {
            let folder = Folder::new();
            let file = folder.file("memory");
            let dump = format!("dump binary memory {} 0x100000 0x500000", file.display());
            let (said, _) =
                debug("recursion", &[], &["set debug remote 1", &dump, "set debug remote 0", "kill"])?;
            let size = std::fs::metadata(&file)?.len();
            let requests = said
                .lines()
                .filter(|line| {
                    ["$m", "$x"].iter().any(|start| line.contains(&format!("Sending packet: {start}")))
                })
                .count();
            // Requests of a few KiB, as of other servers, would be more than a thousand.
            if size != 4 << 20 || requests == 0 || requests > 4 * 64 {
                return Err(format!("{size} bytes were read in {requests} requests").into());
            }
            Ok(())
        }),
        guest_test("reading_memory_in_large_pieces_is_much_faster_than_in_small_ones", || {
            let waiting = Waiting::start("recursion", &[], b"")?;
            let mut client = waiting.connect()?;
            ask(&mut client, "?")?;
            let mut time = |pieces: u32, length: u32| -> Result<Duration, Failed> {
                let start = Instant::now();
                for piece in 0..pieces {
                    let got = ask(&mut client, &format!("m{:x},{length:x}", 0x10_0000 + piece * length))?;
                    if got.len() != 2 * length as usize {
                        return Err(format!("{} characters for {length} bytes", got.len()).into());
                    }
                }
                Ok(start.elapsed())
            };
            // The same 64 KiB.
            let (small, large) = (time(2048, 32)?, time(2, 32 << 10)?);
            drop(client);
            waiting.finish()?.expect_status(0)?;
            if large * 2 < small { Ok(()) } else { Err(format!("{small:?} and {large:?}").into()) }
        }),
        gdb_test("symbols_of_a_higher_half_and_a_relocated_guest_are_right", || {
            let commands = [
                "break guest_main",
                "continue",
                "print $pc",
                "print $pc == (void (*)())guest_main",
                "monitor sym $rip",
                "print/x variable",
                "monitor dis guest_main 1",
                "finish",
            ];
            let (said, _) = debug("higher-half", &[], &commands)?;
            expect(&said, "Breakpoint 1, guest_main ()")?;
            expect(&said, "$1 = (void (*)()) 0xffffffff80")?;
            expect(&said, "$2 = 1\n$3 = 0x1\n")?;
            expect(&said, " <guest_main>: ")?;
            expect(&said, "Value returned is $4 = 0\n")?;
            let commands = [
                "break guest_main",
                "continue",
                "info symbol $pc",
                "print table",
                "backtrace",
                "monitor sym guest_main",
                "print $pc == (void (*)())guest_main",
            ];
            let (said, _) = debug("static-pie", &[], &commands)?;
            expect(&said, "Breakpoint 1, guest_main ()")?;
            expect(&said, "guest_main in section .text")?;
            // Pointers that the loader has relocated.
            expect(&said, "\"relocated\", 0x")?;
            expect(&said, "#1  0x")?;
            expect(&said, " in _start ()")?;
            expect(&said, " (guest_main)\n")
        }),
    ]
}

fn connections() -> Vec<Trial> {
    vec![
        gdb_test("a_debugger_attaches_late_detaches_and_attaches_again", || {
            let waiting = Waiting::start("endless", &[], b"")?;
            waiting.gdb("endless", &["detach"])?;
            let mut before = 0;
            for _ in 0..3 {
                std::thread::sleep(Duration::from_millis(50));
                let commands = ["tbreak spin", "continue", "print $rax", "break spin", "detach"];
                let said = waiting.gdb("endless", &commands)?;
                expect(&said, "Temporary breakpoint 1, spin ()")?;
                let count = said.lines().find_map(|line| line.strip_prefix("$1 = ")).unwrap_or_default();
                let count: u64 = count.parse().map_err(|_| format!("gdb said\n{said}"))?;
                if count <= before {
                    return Err(format!("{count} after {before}: the guest has not run on").into());
                }
                before = count;
            }
            waiting.gdb("endless", &["kill"])?;
            waiting.finish()?.expect_status(14).map(drop)
        }),
        guest_test("a_debugger_attaches_to_a_running_guest", || {
            let place = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
            let kvm = Kvm::with_guest("endless").arg(format!("--gdb={place}")).args([
                "--gdb-nowait",
                "--timeout",
                "120",
            ]);
            let mut child = kvm.start();
            let killer = Deadline::new(child.id());
            let mut counts = vec![0];
            let began = Instant::now();
            while counts.len() < 4 {
                let mut client = None;
                wait_until("somebody listens", || {
                    client = TcpStream::connect(&place).ok();
                    client.is_some() || child.try_wait().is_ok_and(|ended| ended.is_some())
                })?;
                let mut client = client.ok_or("kvm has ended and listens no longer")?;
                client.set_nodelay(true)?;
                ask(&mut client, "?")?;
                // The first visit may come before the guest's first instruction.
                let count = counted(&mut client)?;
                if counts.last().is_some_and(|last| count > *last) {
                    counts.push(count);
                } else if began.elapsed() > PATIENCE / 4 {
                    return Err(format!("{count} after {counts:?}").into());
                }
                ask(&mut client, if counts.len() == 4 { "vKill;1" } else { "D;1" })?;
                std::thread::sleep(Duration::from_millis(50));
            }
            let status = child.wait()?.code();
            if killer.stop() || status != Some(14) {
                return Err(format!("exit status {status:?}, not 14").into());
            }
            Ok(())
        }),
        gdb_test("each_vcpu_is_a_thread_with_a_name_its_own_registers_and_its_own_steps", || {
            let commands = [
                "info threads",
                "set debug remote 1",
                "set scheduler-locking on",
                "thread 1",
                "stepi 2",
                "set scheduler-locking off",
                "continue",
                "set debug remote 0",
                "thread apply all print $pc == (long)&stop + 2",
                "info threads",
                // No such thread: an error, and a session that goes on.
                "maintenance packet Hgp1.2",
                "maintenance packet vCont;s:p1.2",
                "maintenance packet qC",
            ];
            let (said, ran) = debug("recursion", &[], &commands)?;
            expect(&said, "* 1    Thread 1.1 \"vCPU 0\" (running, 64-bit mode, ring 0) _start () at ")?;
            // One vCPU alone steps, and all of them go on; the stop says which of them it is about.
            expect(&said, "Sending packet: $vCont;s:p1.1#")?;
            expect(&said, "Packet received: T05thread:p01.01;")?;
            expect(&said, "Sending packet: $vCont;c:p1.-1#")?;
            expect(&said, "Packet received: T0fthread:p01.01;")?;
            expect(
                &said,
                "Thread 1 (Thread 1.1 \"vCPU 0\" (halted for good, 64-bit mode, ring 0)):\n$1 = 1\n",
            )?;
            expect_times(&said, "received: \"E16\"", 2)?;
            expect(&said, "received: \"QCp1.1\"")?;
            ran.expect_status(0).map(drop)
        }),
        gdb_test("a_vcpu_that_waits_for_an_interrupt_is_shown_as_halted", || {
            let (said, _) = debug("idle", &[], &[CTRL_C, "continue", "info threads", "kill"])?;
            expect(&said, "Program received signal SIGINT")?;
            expect(&said, "\"vCPU 0\" (waiting in hlt, 64-bit mode, ring 0)")
        }),
        guest_test("continue_and_interrupt_can_be_repeated_indefinitely", || {
            let waiting = Waiting::start("endless", &[], b"")?;
            let mut client = waiting.connect()?;
            ask(&mut client, "?")?;
            for round in 0..100 {
                send(&mut client, "vCont;c")?;
                // Some interrupts come before the guest has begun to run.
                std::thread::sleep(Duration::from_millis([0, 1, 5, 50][round % 4]));
                client.write_all(&[3])?;
                let stop = answer(&mut client)?;
                if !stop.starts_with("T02") && !stop.starts_with("S02") {
                    return Err(format!("round {round}: {stop}").into());
                }
                let stop = ask(&mut client, "vCont;s:1")?;
                if !stop.starts_with("T05") {
                    return Err(format!("round {round}: {stop} after a step").into());
                }
            }
            // The steps alone would take it to 50.
            let count = counted(&mut client)?;
            if count < 200 {
                return Err(format!("the guest has counted to {count} only").into());
            }
            ask(&mut client, "vKill;1")?;
            drop(client);
            waiting.finish()?.expect_status(14).map(drop)
        }),
    ]
}

/// How far `endless` has counted, in RAX.
fn counted(client: &mut TcpStream) -> Result<u64, Failed> {
    Ok(u64::from_str_radix(&ask(client, "p0")?, 16)?.swap_bytes())
}

/// What a debugger `said` must not have `text` in it.
fn expect_not(said: &str, text: &str) -> Result<(), Failed> {
    if said.contains(text) {
        return Err(format!("{text:?} not expected; the debugger said\n{said}").into());
    }
    Ok(())
}
