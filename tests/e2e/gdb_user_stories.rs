//! Known complaints of kernel developers about debugging under KVM, each with a session that shows the opposite.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

use crate::gdb::{CTRL_C, debug, gdb_test};
use crate::support::debugger::{KvmWithGdb, answer, ask, expect, expect_times, send};
use crate::support::{Deadline, Folder, Kvm, TIMEOUT, guest_test, wait_until};

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
        let read = ["maintenance packet g", "print $cr0", "print $efer", "print $cs"];
        // Into the middle of what is done in real mode: a step more or less does not matter.
        let commands = [
            &["stepi 30"][..],
            &read,
            &["tbreak in_protected", "continue"],
            &read,
            &["print $rip == (long)in_protected", "tbreak in_long", "continue"],
            &read,
            &["print $rip == (long)in_long", "continue"],
        ];
        let (output, ran) = debug("three-modes", &[], &commands.concat())?;
        expect(&output, "$1 = [ MP ET NE WP ]\n$2 = [ NXE ]\n$3 = 4096\n")?;
        expect(&output, "$4 = [ PE MP ET NE WP ]\n$5 = [ NXE ]\n$6 = 8\n$7 = 1\n")?;
        expect(&output, "$8 = [ PE MP ET NE WP PG ]\n$9 = [ LME LMA NXE ]\n$10 = 40\n$11 = 1\n")?;
        let lengths: Vec<usize> =
            output.lines().filter(|line| line.starts_with("received: \"")).map(str::len).collect();
        if lengths.len() != 3 || lengths.iter().any(|length| *length != lengths[0] || *length < 500) {
            return Err(format!("three packets of one length expected: {lengths:?}\n{output}").into());
        }
        expect_not(&output, "too long")?;
        expect_not(&output, "Truncated register")?;
        ran.expect_status(0)?.expect_err("result (RAX) 291 (0x123)").map(drop)
    })]
}

fn breakpoints() -> Vec<Trial> {
    vec![
        gdb_test("continuing_from_a_breakpoint_makes_progress", || {
            // A guest that makes no progress would show the same call twice.
            let mut commands = vec!["break fibonacci", "continue"];
            commands.extend(["continue"; 5]);
            commands.extend(["ignore 1 100", "continue", "info breakpoints"]);
            let (output, ran) = debug("recursion", &[], &commands)?;
            let stops: Vec<&str> =
                output.lines().filter_map(|line| line.split("(n=n@entry=").nth(1)).collect();
            let starts: Vec<&str> = stops.iter().filter_map(|stop| stop.split(')').next()).collect();
            if starts.get(..6) != Some(&["15", "14", "13", "12", "11", "10"][..]) {
                return Err(format!("the calls were {starts:?}; gdb printed\n{output}").into());
            }
            expect(&output, "breakpoint already hit 107 times")?;
            ran.expect_status(0)?.expect_err("result (RAX) 610").map(drop)
        }),
        gdb_test("more_than_four_breakpoints_work_without_settings", || {
            // On every instruction from the entry of the function to its first branch.
            let (output, ran) = debug(
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
                expect(&output, &format!("\nBreakpoint {number}, "))?;
            }
            expect(&output, "$1 = (void (*)()) 0x20001e <fibonacci+14>")?;
            expect_not(&output, "Cannot insert")?;
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
            let (output, ran) = debug("recursion", &[], &commands)?;
            // gdb sends one packet to continue. A condition that gdb evaluates would cost hundreds of them.
            let continues = output.lines().filter(|line| line.contains("Sending packet: $vCont;c")).count();
            if continues != 1 {
                return Err(
                    format!("gdb has continued the guest {continues} times; it printed\n{output}").into()
                );
            }
            expect(&output, "hit once\n")?;
            expect(&output, "     reached 9")?;
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
            let (output, ran) = debug("own-int3", &[], &commands)?;
            expect(&output, "Breakpoint 1, handler ()")?;
            expect(&output, "$1 = 0\n")?;
            expect(&output, "Program received signal SIGTRAP")?;
            expect(&output, ":\tint3")?;
            expect(&output, "$2 = 1\n")?;
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
            let (output, ran) = debug("crash-in-pie", &[], &commands)?;
            expect(&output, "kvm: triple fault at ")?;
            expect(&output, "Program received signal SIGSEGV")?;
            expect(&output, "#0  fall_down ()")?;
            expect(&output, " guest_main (")?;
            expect(&output, " _start ()")?;
            expect(&output, ":\tud2")?;
            expect(&output, "of \"tests/guests/crash-in-pie.c\"")?;
            expect(&output, "$1 = [ PE MP ET NE WP PG ]\n")?;
            expect(&output, " (RAM): writable")?;
            expect(&output, "Privileged Registers")?;
            ran.expect_status(8).map(drop)
        }),
        gdb_test("a_crash_under_kvm_can_be_examined", || {
            // What KVM cannot do ends other debuggers' runs with "KVM internal error".
            let commands =
                ["continue", "monitor dis $rip 1", "x/2xb $pc", "print $cs", "backtrace 1", "kill"];
            let (output, _) = debug("refused-instruction", &[], &commands)?;
            expect(&output, "Program received signal SIGILL")?;
            expect(&output, "kvm: this host's KVM cannot execute")?;
            expect(&output, ": enter 0x0, 0x1 ; target-examples/refused-instruction.S:13\n")?;
            expect(&output, "$1 = 8\n")?;
            expect(&output, "#0  _start () at target-examples/refused-instruction.S:13")
        }),
    ]
}

fn memory_and_symbols() -> Vec<Trial> {
    vec![
        gdb_test("large_memory_reads_are_fast", || {
            let folder = Folder::new();
            let file = folder.file("memory");
            let dump = format!("dump binary memory {} 0x100000 0x500000", file.display());
            let (output, _) =
                debug("recursion", &[], &["set debug remote 1", &dump, "set debug remote 0", "kill"])?;
            let size = std::fs::metadata(&file)?.len();
            let requests = output
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
            let kvm = KvmWithGdb::start("recursion", &[], b"")?;
            let mut client = kvm.connect()?;
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
            kvm.finish()?.expect_status(0)?;
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
            let (output, _) = debug("higher-half", &[], &commands)?;
            expect(&output, "Breakpoint 1, guest_main ()")?;
            expect(&output, "$1 = (void (*)()) 0xffffffff80")?;
            expect(&output, "$2 = 1\n$3 = 0x1\n")?;
            expect(&output, " <guest_main>: ")?;
            expect(&output, "Value returned is $4 = 0\n")?;
            let commands = [
                "break guest_main",
                "continue",
                "info symbol $pc",
                "print table",
                "backtrace",
                "monitor sym guest_main",
                "print $pc == (void (*)())guest_main",
            ];
            let (output, _) = debug("static-pie", &[], &commands)?;
            expect(&output, "Breakpoint 1, guest_main ()")?;
            expect(&output, "guest_main in section .text")?;
            // Pointers that the loader has relocated.
            expect(&output, "\"relocated\", 0x")?;
            expect(&output, "#1  0x")?;
            expect(&output, " in _start ()")?;
            expect(&output, " (guest_main) at target-examples/")
        }),
    ]
}

fn connections() -> Vec<Trial> {
    vec![
        gdb_test("a_debugger_attaches_late_detaches_and_attaches_again", || {
            let kvm = KvmWithGdb::start("endless", &[], b"")?;
            kvm.gdb("endless", &["detach"])?;
            let mut before = 0;
            for _ in 0..3 {
                std::thread::sleep(Duration::from_millis(50));
                let commands = ["tbreak spin", "continue", "print $rax", "break spin", "detach"];
                let output = kvm.gdb("endless", &commands)?;
                expect(&output, "Temporary breakpoint 1, spin ()")?;
                let count = output.lines().find_map(|line| line.strip_prefix("$1 = ")).unwrap_or_default();
                let count: u64 = count.parse().map_err(|_| format!("gdb printed\n{output}"))?;
                if count <= before {
                    return Err(format!("{count} after {before}: the guest has not run on").into());
                }
                before = count;
            }
            kvm.gdb("endless", &["kill"])?;
            kvm.finish()?.expect_status(14).map(drop)
        }),
        guest_test("a_debugger_attaches_to_a_running_guest", || {
            let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
            let kvm = Kvm::with_guest("endless").arg(format!("--gdb={address}")).args([
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
                wait_until("a listening server", || {
                    client = TcpStream::connect(&address).ok();
                    client.is_some() || child.try_wait().is_ok_and(|ended| ended.is_some())
                })?;
                let mut client = client.ok_or("kvm has exited")?;
                client.set_nodelay(true)?;
                ask(&mut client, "?")?;
                // The first visit may come before the guest's first instruction.
                let count = counted(&mut client)?;
                if counts.last().is_some_and(|last| count > *last) {
                    counts.push(count);
                } else if began.elapsed() > TIMEOUT / 4 {
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
                // A thread that does not exist is answered with an error, and the session continues.
                "maintenance packet Hgp1.2",
                "maintenance packet vCont;s:p1.2",
                "maintenance packet qC",
            ];
            let (output, ran) = debug("recursion", &[], &commands)?;
            expect(&output, "* 1    Thread 1.1 \"CPU 0\" (running, 64-bit mode, ring 0) _start () at ")?;
            // One vCPU steps alone, and all of them continue; the stop reply names the vCPU.
            expect(&output, "Sending packet: $vCont;s:p1.1#")?;
            expect(&output, "Packet received: T05thread:p01.01;")?;
            expect(&output, "Sending packet: $vCont;c:p1.-1#")?;
            expect(&output, "Packet received: T0fthread:p01.01;")?;
            expect(
                &output,
                "Thread 1 (Thread 1.1 \"CPU 0\" (halted for good, 64-bit mode, ring 0)):\n$1 = 1\n",
            )?;
            expect_times(&output, "received: \"E16\"", 2)?;
            expect(&output, "received: \"QCp1.1\"")?;
            ran.expect_status(0).map(drop)
        }),
        gdb_test("a_vcpu_that_waits_for_an_interrupt_is_shown_as_halted", || {
            let (output, _) = debug("idle", &[], &[CTRL_C, "continue", "info threads", "kill"])?;
            expect(&output, "Program received signal SIGINT")?;
            expect(&output, "\"CPU 0\" (waiting in hlt, 64-bit mode, ring 0)")
        }),
        guest_test("continue_and_interrupt_can_be_repeated_indefinitely", || {
            let kvm = KvmWithGdb::start("endless", &[], b"")?;
            let mut client = kvm.connect()?;
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
            kvm.finish()?.expect_status(14).map(drop)
        }),
    ]
}

/// How far `endless` has counted, in RAX.
fn counted(client: &mut TcpStream) -> Result<u64, Failed> {
    Ok(u64::from_str_radix(&ask(client, "p0")?, 16)?.swap_bytes())
}

/// A debugger's `output` must not have `text` in it.
fn expect_not(output: &str, text: &str) -> Result<(), Failed> {
    if output.contains(text) {
        return Err(format!("{text:?} not expected; the debugger printed\n{output}").into());
    }
    Ok(())
}
