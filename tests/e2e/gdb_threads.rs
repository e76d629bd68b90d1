//! vCPUs as gdb's threads. A machine has one today, and packets name it by its number.

use libtest_mimic::{Failed, Trial};

use crate::gdb::{debug, gdb_test};
use crate::support::debugger::{KvmWithGdb, answer, ask, expect, expect_times, send};
use crate::support::guest_test;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = with_gdb();
    trials.extend(by_hand());
    trials
}

fn with_gdb() -> Vec<Trial> {
    vec![
        gdb_test("info_threads_shows_the_state_and_mode_of_each_vcpu", || {
            let commands = [
                "stepi 30",
                "info threads",
                "tbreak in_protected",
                "continue",
                "info threads",
                "delete",
                "continue",
                "info threads",
            ];
            let (output, ran) = debug("three-modes", &["--timeout", "20"], &commands)?;
            expect(&output, "\"CPU 0\" (running, real mode)")?;
            expect(&output, "\"CPU 0\" (running, 32-bit protected mode, ring 0)")?;
            expect(&output, "\"CPU 0\" (halted for good, 64-bit mode, ring 0)")?;
            ran.expect_status(0)?;
            let (output, ran) = debug("wild-pointer", &[], &["continue", "info threads"])?;
            expect(&output, "\"CPU 0\" (shut down by a triple fault, ")?;
            ran.expect_status(8).map(drop)
        }),
        gdb_test("a_thread_can_be_named_found_and_selected", || {
            let commands = [
                "thread find CPU",
                "thread name boot",
                "thread find boot",
                "info threads",
                "thread 1",
                "thread apply all info registers rip rsp",
                "thread apply all -q print $cs",
                "thread 2",
            ];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(&output, "Thread 1 has target name 'CPU 0'\n")?;
            expect(&output, "Thread 1 has name 'boot'\n")?;
            expect(&output, "* 1    Thread 1.1 \"boot\" (running, ")?;
            expect(&output, "[Switching to thread 1 (Thread 1.1)]")?;
            expect(&output, "\nrip            0x200000            0x200000 <_start>\n")?;
            expect(&output, "\nrsp            0x")?;
            expect(&output, "$1 = 8\n")?;
            expect(&output, "Unknown thread 2.")
        }),
        gdb_test("a_gdb_without_thread_lists_reads_threads_one_by_one", || {
            // gdb reads the threads while `debug` connects, and again on this command.
            let commands =
                ["set remote threads-packet off", "info threads", "thread 1", "stepi", "print $pc"];
            let (output, _) = debug("recursion", &[], &commands)?;
            expect(&output, "Thread 1.1 (CPU 0: running, 64-bit mode, ring 0)")?;
            expect(&output, "$1 = (void (*)()) 0x200002 <_start+2>\n")
        }),
        gdb_test("scheduler_locking_continues_only_the_selected_vcpu", || {
            let commands = [
                "set debug remote 1",
                "set scheduler-locking on",
                "stepi",
                "tbreak guest_main",
                "continue",
                "set scheduler-locking step",
                "stepi",
                "set scheduler-locking off",
                "tbreak fibonacci if n == 9",
                "continue",
                "set debug remote 0",
                "print $pc == (long)&fibonacci && $rdi == 9",
            ];
            let (output, ran) = debug("recursion", &[], &commands)?;
            let sent = |packet: &str| format!("Sending packet: $vCont;{packet}#");
            // The process and thread alone, and then with all others.
            expect(&output, &sent("s:p1.1"))?;
            expect(&output, &sent("c:p1.1"))?;
            expect(&output, &sent("c:p1.-1"))?;
            expect(&output, "Temporary breakpoint 1, ")?;
            expect(&output, "Temporary breakpoint 2, ")?;
            expect(&output, "$1 = 1\n")?;
            ran.expect_status(0)?.expect_err("result (RAX) 610").map(drop)
        }),
    ]
}

fn by_hand() -> Vec<Trial> {
    vec![
        guest_test("wrong_threads_are_refused_and_change_nothing", || {
            let kvm = KvmWithGdb::start("recursion", &[], b"")?;
            let mut client = kvm.connect()?;
            ask(&mut client, "?")?;
            let pc = ask(&mut client, "p10")?;
            for packet in [
                "Hg2",
                "Hgp1.2",
                "Hgp2.1",
                "Hg-1",
                "Hg",
                "Hgx",
                "Hc2",
                "Hcffffffffffffffff",
                "T2",
                "T0",
                "T-1",
                "Tp2.1",
                "T",
                "qThreadExtraInfo,2",
                "qThreadExtraInfo,-1",
                "vCont;s:2",
                "vCont;s:1;c:2",
                "vCont;c:p2.1",
                "vCont;r0,10:2",
                "vCont;t",
                "vCont;",
                "qXfer:threads:read::10000,10",
            ] {
                expect_answer(packet, &ask(&mut client, packet)?, "E16")?;
                expect_answer(packet, &ask(&mut client, "p10")?, &pc)?;
            }
            for (packet, answer) in [
                ("Hg0", "OK"),
                ("Hg1", "OK"),
                ("Hgp1.1", "OK"),
                ("Hc-1", "OK"),
                ("T1", "OK"),
                ("Tp1.1", "OK"),
                ("qfThreadInfo", "m01"),
                ("qsThreadInfo", "l"),
                ("qC", "QC1"),
                ("p10", &pc),
            ] {
                expect_answer(packet, &ask(&mut client, packet)?, answer)?;
            }
            drop(client);
            kvm.finish()?.expect_status(0)?.expect_err("result (RAX) 610").map(drop)
        }),
        guest_test("every_way_to_name_the_stepped_thread_is_one_step", || {
            let kvm = KvmWithGdb::start("recursion", &[], b"")?;
            let mut client = kvm.connect()?;
            ask(&mut client, "?")?;
            // The code of _start, up to the call.
            let ways = ["vCont;s:1;c", "vCont;s:p1.1", "vCont;s", "s"];
            ask(&mut client, "vCont;r200000,200002:1")?;
            let mut before = count(&mut client)?;
            for choice in ["Hc-1", "Hc0", "Hc1"] {
                expect_answer(choice, &ask(&mut client, choice)?, "OK")?;
                for way in ways {
                    let stop = ask(&mut client, way)?;
                    if !stop.starts_with("T05thread:01;") {
                        return Err(format!("{way} after {choice}: {stop}").into());
                    }
                    let now = count(&mut client)?;
                    if now == before {
                        return Err(format!("{way} after {choice}: still at {now:#x}").into());
                    }
                    before = now;
                }
            }
            send(&mut client, "c")?;
            let stop = answer(&mut client)?;
            // The message about the end of the guest comes first.
            let stop = if stop.starts_with('O') { answer(&mut client)? } else { stop };
            if !stop.starts_with("T0fthread:01;") {
                return Err(format!("{stop} at the end").into());
            }
            drop(client);
            kvm.finish()?.expect_status(0).map(drop)
        }),
        guest_test("a_multiprocess_client_sees_one_process", || {
            let kvm = KvmWithGdb::start("idle", &[], b"")?;
            let mut client = kvm.connect()?;
            expect(&ask(&mut client, "qSupported:multiprocess+")?, "qXfer:threads:read+")?;
            expect_answer("qC", &ask(&mut client, "qC")?, "QCp1.1")?;
            let whole = ask(&mut client, "qXfer:threads:read::0,1000")?;
            expect_times(&whole, "<thread ", 1)?;
            expect(&whole, "<thread id=\"p1.1\" name=\"CPU 0\">running, 64-bit mode, ring 0</thread>")?;
            // In pieces it is the same.
            let mut pieces = String::new();
            loop {
                let piece = ask(&mut client, &format!("qXfer:threads:read::{:x},10", pieces.len()))?;
                pieces += piece.get(1..).unwrap_or_default();
                match piece.get(..1) {
                    Some("m") => {}
                    Some("l") => break,
                    _ => return Err(format!("{piece:?} after {pieces}").into()),
                }
            }
            expect_answer("pieces", &pieces, whole.strip_prefix('l').unwrap_or_default())?;
            drop(client);
            // The next client has not negotiated `multiprocess`.
            let mut client = kvm.connect()?;
            ask(&mut client, "?")?;
            expect_answer("qC", &ask(&mut client, "qC")?, "QC1")?;
            ask(&mut client, "vKill;1")?;
            drop(client);
            kvm.finish()?.expect_status(14).map(drop)
        }),
    ]
}

/// Where the guest is.
fn count(client: &mut std::net::TcpStream) -> Result<u64, Failed> {
    Ok(u64::from_str_radix(&ask(client, "p10")?, 16)?.swap_bytes())
}

fn expect_answer(packet: &str, got: &str, answer: &str) -> Result<(), Failed> {
    if got == answer { Ok(()) } else { Err(format!("{packet}: `{answer}` expected, got `{got}`").into()) }
}
