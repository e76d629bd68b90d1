//! Guests that stop themselves in a debugger as in Bochs: `xchg bx, bx`, and port 0x8A00.

use libtest_mimic::{Failed, Trial};

use crate::gdb::gdb_test;
use crate::support::console::{Client, KvmWithConsole};
use crate::support::debugger::{KvmWithGdb, expect, expect_times};
use crate::support::{Kvm, Running, guest, guest_test};

/// What is printed for the guest's magic breakpoint.
const MAGIC: &str = "magic breakpoint at 0x200029 (magic)";
/// The instruction behind it.
const BEHIND_MAGIC: &str = "=> 0x20002c <magic+0x3>: ret ; target-examples/magic-break.S:33\n";
/// What is printed when the guest has stopped itself by the port.
const PORT: &str = "the guest has written 0x8ae0 to port 0x8a00, before 0x200040 (by_port+0x13)";
/// The instruction behind that.
const BEHIND_PORT: &str = "=> 0x200040 <by_port+0x13>: ret ; target-examples/magic-break.S:42\n";
/// How the guest ends.
const END: &str = "result (RAX) 3 (0x3)";
/// The guest's code and data as they are, to be read in gdb and at the console.
const BYTES: [(&str, &str); 2] = [("magic", "0x66\t0x87\t0xdb\t0xc3"), ("data", "0x66\t0x87\t0xdb\t0x00")];

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = under_gdb();
    trials.extend(under_the_console());
    trials.push(guest_test("without_magic_break_the_guest_stops_nowhere", || {
        let ran = Kvm::with_guest("magic-break").args(["--gdb-nowait", "--gdb=unix:gdb"]).run();
        ran.expect_status(0)?.expect_err(END)?.expect_log("unassigned port 0x8a00")?;
        ran.check(!ran.err.contains("magic breakpoint"), "no stop").map(drop)
    }));
    trials
}

fn under_gdb() -> Vec<Trial> {
    vec![
        gdb_test("gdb_stops_behind_magic_breakpoints_and_continue_leads_past_them", || {
            let kvm = KvmWithGdb::start("magic-break", &["--magic-break"], b"")?;
            let stop = ["continue", "print/x $pc", "x/4xb magic", "continue", "print/x $pc", "x/4xb data"];
            let output =
                kvm.gdb("magic-break", &[&stop[..], &stop[..], &stop[..], &["continue"]].concat())?;
            expect_times(&output, "Program received signal SIGTRAP", 6)?;
            for text in [MAGIC, PORT, " = 0x20002c\n", " = 0x200040\n", BYTES[0].1, BYTES[1].1] {
                expect_times(&output, text, 3)?;
            }
            kvm.finish()?.expect_status(0)?.expect_err(END).map(drop)
        }),
        gdb_test("magic_breakpoints_stop_the_guest_also_without_a_debug_register", || {
            let kvm = KvmWithGdb::start("magic-break", &["--magic-break"], b"")?;
            let mut commands: Vec<String> =
                (0..4).map(|byte| format!("hbreak *((char *) changed + {byte})")).collect();
            commands.extend(["continue", "x/4xb magic", "x/4xb data"].map(String::from));
            commands.extend(["continue"; 6].map(String::from));
            let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
            let output = kvm.gdb("magic-break", &commands)?;
            for (_, bytes) in BYTES {
                expect(&output, bytes)?;
            }
            expect_times(&output, MAGIC, 3)?;
            expect_times(&output, PORT, 3)?;
            kvm.finish()?.expect_status(0)?.expect_err(END).map(drop)
        }),
        gdb_test("gdb_connects_to_a_guest_that_has_stopped_itself", || {
            let kvm =
                Kvm::with_guest("magic-break").args(["--magic-break", "--gdb-nowait", "--gdb=unix:gdb"]);
            let mut kvm = Running::start(kvm);
            kvm.end_input();
            let waits = |stop: &str| format!("kvm: {stop}; the guest waits for gdb on gdb\n");
            kvm.until(&waits(MAGIC))?;
            let socket = kvm.file("gdb");
            let gdb = |commands: &[&str]| -> Result<String, Failed> {
                let mut gdb = std::process::Command::new("gdb");
                gdb.args(["-nx", "-batch", "-ex"]).arg(format!("target remote {}", socket.display()));
                gdb.args(commands.iter().flat_map(|command| ["-ex", command])).arg(guest("magic-break"));
                crate::support::debugger::output(&mut gdb)
            };
            expect(&gdb(&["print/x $pc", "detach"])?, "$1 = 0x20002c\n")?;
            kvm.until(&waits(PORT))?;
            let output = gdb(&["continue", "continue", "print/x $pc", "detach"])?;
            expect(&output, "$1 = 0x200040\n")?;
            kvm.until(&waits(MAGIC))?;
            expect(&gdb(&["continue", "kill"])?, "SIGTRAP")?;
            kvm.finish()?.expect_status(14).map(drop)
        }),
        gdb_test("a_breakpoint_of_gdb_at_a_magic_breakpoint_stops_before_it", || {
            let kvm = KvmWithGdb::start("magic-break", &["--magic-break"], b"")?;
            let commands =
                ["break *magic", "continue", "delete", "stepi", "print/x $pc", "continue", "continue"];
            let output = kvm.gdb("magic-break", &[&commands[..], &["kill"]].concat())?;
            expect(&output, "Breakpoint 1, magic ()")?;
            expect(&output, "$1 = 0x20002c\n")?;
            expect_times(&output, PORT, 1)?;
            expect_times(&output, MAGIC, 1)?;
            kvm.finish()?.expect_status(14).map(drop)
        }),
    ]
}

/// Waits for the guest to stop, and checks where.
fn expect_stop(client: &mut Client, place: &str) -> Result<(), Failed> {
    client.ask_until("status", "the guest is paused")?;
    // The notice precedes one of the answers.
    client.ask_until("dis $pc 1", place)
}

fn under_the_console() -> Vec<Trial> {
    vec![
        guest_test("the_console_stops_behind_magic_breakpoints_and_resume_leads_past_them", || {
            let kvm = KvmWithConsole::start("magic-break", &["--magic-break"])?;
            let mut client = kvm.connect()?;
            for (number, place) in (1..).zip([BEHIND_MAGIC, BEHIND_PORT].repeat(3)) {
                expect_stop(&mut client, place)?;
                for (symbol, bytes) in BYTES {
                    expect(&client.ask(&format!("x/4xb {symbol}"))?, &format!("<{symbol}>:\t{bytes}\n"))?;
                }
                if number < 6 {
                    client.answer_to_resume()?;
                }
            }
            client.send(b"resume\n")?;
            expect(&client.rest()?, END)?;
            let ran = kvm.finish()?;
            for stop in [MAGIC, PORT] {
                let line = format!("kvm: {stop}; the guest waits for `resume` on the console at console\n");
                ran.check(ran.err.matches(&line).count() == 3, &line)?;
                ran.expect_log(&format!("the guest has stopped: {stop}"))?;
            }
            ran.expect_status(0).map(drop)
        }),
        guest_test("a_breakpoint_of_the_console_at_a_magic_breakpoint_stops_before_it", || {
            let kvm = KvmWithConsole::start("magic-break", &["--magic-break"])?;
            let mut client = kvm.connect()?;
            expect_stop(&mut client, BEHIND_MAGIC)?;
            expect(&client.ask("break magic if $rbx == 2")?, "breakpoint 1 at 0x200029 (magic)\n")?;
            for place in [
                BEHIND_PORT,
                "=> 0x200029 <magic>: xchg bx, bx ; target-examples/magic-break.S:32\n",
                BEHIND_MAGIC,
                BEHIND_PORT,
            ] {
                client.answer_to_resume()?;
                expect_stop(&mut client, place)?;
            }
            client.answer_to_resume()?;
            expect_stop(&mut client, BEHIND_MAGIC)?;
            expect(&client.ask("breaks")?, "reached 2 times, hit once")?;
            client.send(b"quit\n")?;
            kvm.finish()?.expect_status(14).map(drop)
        }),
        guest_test("magic_breakpoints_hold_after_a_reset_and_in_a_restored_guest", || {
            let kvm = KvmWithConsole::start("magic-break", &["--magic-break"])?;
            let mut client = kvm.connect()?;
            expect_stop(&mut client, BEHIND_MAGIC)?;
            expect(&client.ask("reset")?, "reset")?;
            client.ask_until("status", "the guest is paused")?;
            client.answer_to_resume()?;
            expect_stop(&mut client, BEHIND_MAGIC)?;
            client.answer_to_resume()?;
            expect_stop(&mut client, BEHIND_PORT)?;
            expect(&client.ask("snapshot stopped.kvmstate")?, "stopped.kvmstate")?;
            let again = Kvm::new().arg("--restore").arg(kvm.file("stopped.kvmstate"));
            let again =
                KvmWithConsole::run(again.args(["--magic-break", "--console=unix:console"]), "console")?;
            let mut restored = again.connect()?;
            for place in [BEHIND_MAGIC, BEHIND_PORT] {
                expect_stop(&mut restored, place)?;
                restored.answer_to_resume()?;
            }
            expect_stop(&mut restored, BEHIND_MAGIC)?;
            client.send(b"quit\n")?;
            restored.send(b"quit\n")?;
            again.finish()?.expect_status(14)?;
            kvm.finish()?.expect_status(14).map(drop)
        }),
    ]
}

impl Client {
    /// Resumes the guest, and reads the answer.
    fn answer_to_resume(&mut self) -> Result<(), Failed> {
        expect(&self.ask("resume")?, "the guest runs\n")
    }
}
