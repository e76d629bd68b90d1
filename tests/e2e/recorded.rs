//! What has happened in the machine: the flight recorder and the exits, at the console and in crash reports.

use libtest_mimic::Trial;

use crate::support::console::KvmWithConsole;
use crate::support::debugger::expect;
use crate::support::{Kvm, guest_test};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![guest_test("a_triple_fault_is_reported_with_the_last_events", || {
        let ran = Kvm::with_guest("handled").args(["--append", "triple"]).run();
        ran.expect_status(8)?;
        let events = "out 0x0080: 0x42 'B' (post 0); out 0x01e0 (2 bytes): 0x1234";
        if ran.err.contains("reset the registers") {
            // The rest of the message is all that there is.
            ran.expect_err(events)?;
        } else {
            ran.expect_err("(last_place), instruction `ud2`")?;
            ran.check(!ran.err.contains("out 0x0080"), "the events in the log only")?;
        }
        for event in events.split("; ") {
            ran.expect_log(event)?;
        }
        ran.expect_log("  last events (number @ event of the journal):").map(drop)
    })]
}

/// Those that do not depend on the processor.
pub fn others() -> Vec<Trial> {
    vec![guest_test("the_console_shows_the_last_events_and_the_exits", || {
        let kvm = KvmWithConsole::start("serial-echo", &[])?;
        let mut client = kvm.connect()?;
        client.ask_until("events", "serial 0: ")?;
        let all = client.ask("events 256")?;
        expect(&all, "serial 0: 0x03fd read ")?;
        let exits = client.ask("exits")?;
        expect(&exits, " exits; rates of the ")?;
        expect(&exits, " s since the start\n  port reads ")?;
        expect(&exits, "\nports with most accesses:\n  0x03")?;
        expect(&client.ask("exits")?, " s since the last `exits`\n")
    })]
}
