//! Exceptions that stop the guest in its own handlers, and those that are traced.

use libtest_mimic::Trial;

use crate::gdb::{debug, gdb_test};
use crate::support::console::KvmWithConsole;
use crate::support::debugger::{expect, expect_times};
use crate::support::{Kvm, guest_test};

/// What is printed for each exception of the guest `handled`, in their order.
const UNDEFINED: &str = "#UD at 0x200";
const PROTECTION: &str = ": error code 0x1000 (GDT selector 0x1000, index 512); handler 0x200";
const PAGE_FAULT: &str =
    ": error code 0x2 (not present, write, supervisor), CR2 0x700000000000; handler 0x200";

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        gdb_test("exceptions_that_are_caught_stop_gdb_at_their_handlers", || {
            let stop = ["continue", "print $pc"];
            let set = ["monitor catch all on"];
            let (output, _) = debug(
                "handled",
                &["--timeout", "20"],
                &[&set[..], &stop, &stop, &stop, &["continue"]].concat(),
            )?;
            for handler in ["<on_undefined>", "<on_protection>", "<on_page_fault>"] {
                expect(&output, handler)?;
            }
            for text in [UNDEFINED, PROTECTION, PAGE_FAULT, "(write_place)", "(selector_place)"] {
                expect(&output, text)?;
            }
            expect_times(&output, "caught #", 3)?;
            expect_times(&output, "Program received signal SIGTRAP", 3)?;
            expect(&output, "result (RAX) 3 (0x3)")
        }),
        gdb_test("only_exceptions_that_are_caught_stop_the_guest", || {
            let commands = [
                "monitor catch all on",
                "monitor catch ud off",
                "monitor catch 13 off",
                "continue",
                "continue",
            ];
            let (output, _) = debug("handled", &["--timeout", "20"], &commands)?;
            expect_times(&output, "caught #", 1)?;
            expect(&output, PAGE_FAULT)?;
            expect(&output, "result (RAX) 3 (0x3)")
        }),
        guest_test("exceptions_stop_a_guest_for_the_console", || {
            let kvm = KvmWithConsole::start("handled", &["--gdb=unix:gdb", "--timeout", "20"])?;
            let mut client = kvm.connect()?;
            expect(&client.ask("catch gp on")?, "of its handlers: #GP\n")?;
            expect(&client.ask("catch pf on")?, "of its handlers: #GP, #PF\n")?;
            client.ask("resume")?;
            // It names the exception, unless a notice of the stop has come before.
            client.ask("wait")?;
            let (mut late, notice) = kvm.connect_at_a_stop()?;
            let late = notice + &late.ask("wait")?;
            expect(&late, "caught #GP at 0x200")?;
            expect(&late, "\n=> 0x200")?;
            let events = client.ask("events 1")?;
            expect(&events, "#GP (error code 0x1000: GDT selector 0x1000, index 512) at 0x200")?;
            expect(&client.ask("dis $pc 1")?, "<on_protection>")?;
            client.ask("resume")?;
            client.ask("wait")?;
            expect(
                &client.ask("events 1")?,
                "#PF (error code 0x2: not present, write, supervisor) at 0x200",
            )?;
            client.ask("resume")?;
            kvm.finish()?.expect_err("result (RAX) 3 (0x3)").map(drop)
        }),
        guest_test("exceptions_are_traced_in_the_log", || {
            let ran =
                Kvm::with_guest("handled").args(["--trace", "exceptions,mode", "--timeout", "20"]).run();
            ran.expect_status(0)?.expect_err("result (RAX) 3 (0x3)")?;
            for text in [UNDEFINED, PROTECTION, PAGE_FAULT, "kvm::trace: CPU 0: 64-bit mode at 0x200"] {
                ran.expect_log(text)?;
            }
            let lines = ran.folder.read("console.log");
            ran.check(lines.matches("kvm::trace: #").count() == 3, "each exception once").map(drop)
        }),
    ]
}

/// Those that do not depend on the processor.
pub fn others() -> Vec<Trial> {
    vec![guest_test("accesses_to_devices_and_resets_are_traced_in_the_log", || {
        let ran = Kvm::with_guest("handled").args(["--append", "triple", "--trace", "io"]).run();
        ran.expect_log("INFO kvm::trace: out 0x0080: 0x42 'B'")?;
        ran.expect_log("INFO kvm::trace: out 0x01e0 (2 bytes): 0x1234")?;
        let reset = Kvm::with_guest("reset").args(["--trace", "mode", "--timeout", "20"]).run();
        reset.expect_log("INFO kvm::trace: reset")?;
        let without = Kvm::with_guest("handled").args(["--append", "triple"]).run();
        without.check(!without.folder.read("console.log").contains("kvm::trace"), "no trace").map(drop)
    })]
}
