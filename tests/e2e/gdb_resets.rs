//! gdb and a guest that requests a reset: it stops there, and continuing performs the reset.

use std::net::{TcpListener, TcpStream};

use libtest_mimic::{Failed, Trial};

use crate::gdb::{debug, gdb_test};
use crate::support::debugger::{KvmWithGdb, ask, expect, expect_times};
use crate::support::pty::Terminal;
use crate::support::{Kvm, guest_test, wait_until};

/// What gdb prints when the guest requests a reset.
const RESET_REQUESTED: &str = "kvm: the guest requested a reset; continuing performs it.\n";
/// The same with `--no-reboot`.
const RESET_ENDS_RUN: &str = "kvm: the guest requested a reset; continuing ends the run (--no-reboot).\n";
/// What gdb prints when the guest has stopped.
const STOPPED: &str = "\nProgram received signal SIGINT";

/// The guest's command line, and the value that it writes to request a reset, which stays in AL.
const WAYS: [(&str, &str); 3] = [("cf9", "$1 = 0x6\n"), ("keyboard", "$1 = 0xfe\n"), ("fast", "$1 = 0x3\n")];

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = WAYS
        .iter()
        .map(|(way, written)| {
            gdb_test(&format!("gdb_stops_where_the_guest_asks_for_a_reset_by_{way}"), || looks(way, written))
        })
        .collect();
    trials.extend(going_on());
    trials.push(guest_test("the_reset_key_resets_a_guest_that_gdb_has_stopped", || {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let terminal = Terminal::kvm(Kvm::with_guest("endless").arg(format!("--gdb={address}")), 80, 25);
        let mut client = None;
        wait_until("somebody listens", || {
            client = TcpStream::connect(&address).ok();
            client.is_some()
        })?;
        let mut client = client.ok_or("no server listens")?;
        client.set_nodelay(true)?;
        ask(&mut client, "?")?;
        let begin = ask(&mut client, "p10")?;
        for _ in 0..5 {
            ask(&mut client, "vCont;s")?;
        }
        assert_ne!(ask(&mut client, "p10")?, begin, "RIP has moved");
        terminal.type_keys("\x01r");
        wait_until("RIP is where it began", || ask(&mut client, "p10").is_ok_and(|now| now == begin))?;
        ask(&mut client, "vKill;1")?;
        terminal.end()?.expect_status(14).map(drop)
    }));
    trials
}

/// The machine has the state behind the instruction that requested the reset.
fn looks(way: &str, written: &str) -> Result<(), Failed> {
    let commands = [
        "break guest_main",
        "continue",
        "set var *(int *)0x300000 = 77",
        "continue",
        "print/x $al",
        "x/wx 0x300000",
        "bt",
        "continue",
        "x/wx 0x300000",
        "kill",
    ];
    let (output, ran) = debug("reset", &["--append", way], &commands)?;
    expect(&output, RESET_REQUESTED)?;
    expect_times(&output, STOPPED, 1)?;
    expect(&output, written)?;
    expect_times(&output, "0x300000:\t0x0000004d", 1)?;
    expect_times(&output, "0x300000:\t0x00000000", 1)?;
    expect(&output, "#1  guest_main (info=")?;
    expect_times(&output, "\nBreakpoint 1, guest_main", 2)?;
    ran.check(!ran.out.contains("Still here"), "a reset")?;
    ran.expect_status(14).map(drop)
}

fn going_on() -> Vec<Trial> {
    vec![
        gdb_test("a_step_after_the_guest_asked_for_a_reset_ends_at_its_first_instruction", || {
            let (output, _) = debug("reset", &[], &["continue", "stepi", "print $pc", "kill"])?;
            expect(&output, RESET_REQUESTED)?;
            expect(&output, "$1 = (void (*)()) 0x200000 <_start>")
        }),
        gdb_test("a_breakpoint_at_the_first_instruction_is_hit_after_a_reset", || {
            let (output, _) = debug("reset", &[], &["break *_start", "continue", "continue", "kill"])?;
            expect(&output, RESET_REQUESTED)?;
            expect_times(&output, "\nBreakpoint 1, _start", 1)
        }),
        gdb_test("steps_stop_where_the_guest_asks_for_a_reset", || {
            let commands = ["break guest_main", "continue", "next 100", "print/x $al", "kill"];
            let (output, ran) = debug("reset", &[], &commands)?;
            expect(&output, RESET_REQUESTED)?;
            expect_times(&output, STOPPED, 1)?;
            expect(&output, "$1 = 0x6\n")?;
            ran.expect_out("Reset by port 0xcf9 ...\n").map(drop)
        }),
        gdb_test("a_guest_whose_rip_gdb_sets_is_not_reset", || {
            let commands = ["continue", "set $pc = stop", "continue", "continue"];
            let (output, ran) = debug("reset", &["--timeout", "20"], &commands)?;
            expect_times(&output, RESET_REQUESTED, 1)?;
            expect(&output, "kvm: the guest halted")?;
            ran.expect_out("Reset by port 0xcf9 ...\n")?.expect_status(0).map(drop)
        }),
        gdb_test("a_reset_that_ends_the_run_first_stops_in_gdb", || {
            let (output, ran) = debug("reset", &["--no-reboot"], &["continue", "print/x $al", "continue"])?;
            expect(&output, RESET_ENDS_RUN)?;
            expect(&output, "$1 = 0x6\n")?;
            expect(&output, "exited with code 022]")?;
            ran.expect_status(18)?
                .expect_err("kvm: the guest reset the machine (--no-reboot) at 0x2")
                .map(drop)
        }),
        gdb_test("a_step_ends_the_run_after_a_reset_with_no_reboot", || {
            let (output, ran) = debug("reset", &["--no-reboot"], &["continue", "stepi"])?;
            expect(&output, "exited with code 022]")?;
            ran.expect_status(18).map(drop)
        }),
        gdb_test("detaching_performs_the_pending_reset", || {
            let kvm = KvmWithGdb::start("reset", &["--timeout", "4"], b"")?;
            let output = kvm.gdb("reset", &["continue", "detach"])?;
            expect(&output, RESET_REQUESTED)?;
            let ran = kvm.finish()?;
            ran.check(ran.out.matches("Reset by port").count() >= 3, "resets")?;
            ran.check(!ran.out.contains("Still here"), "a reset")?;
            ran.expect_status(12).map(drop)
        }),
        gdb_test("detaching_lets_the_pending_reset_end_the_run", || {
            let (output, ran) = debug("reset", &["--no-reboot"], &["continue", "detach"])?;
            expect(&output, RESET_ENDS_RUN)?;
            ran.expect_status(18).map(drop)
        }),
        gdb_test("a_watched_read_after_a_reset_stops_whatever_the_memory_held_before", || {
            let commands = [
                "break guest_main",
                "continue",
                "set $where = (char *)info->command_line",
                "delete",
                "continue",
                "set var *$where = 'X'",
                "rwatch -l *$where",
                "continue",
                "kill",
            ];
            let (output, _) = debug("reset", &["--append", "cf9"], &commands)?;
            expect(&output, RESET_REQUESTED)?;
            expect(&output, "\nHardware read watchpoint 2: -location *$where\n\nValue = 99 'c'\n")
        }),
        gdb_test("the_users_reset_replaces_the_guests_pending_one", || {
            let commands = ["break guest_main", "continue", "continue", "monitor reset", "continue", "kill"];
            let (output, ran) = debug("reset", &[], &commands)?;
            expect(&output, RESET_REQUESTED)?;
            expect_times(&output, "\nBreakpoint 1, guest_main", 2)?;
            ran.expect_log("kvm::machine: machine reset number 1\n")?;
            ran.expect_status(14).map(drop)
        }),
    ]
}
