//! What has happened in the machine: the flight recorder and the exits, at the console and in crash reports.

use libtest_mimic::Trial;
use serde_json::Value;

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
    vec![
        guest_test("the_time_of_exits_is_measured_on_request", || {
            let kvm = KvmWithConsole::start("serial-echo", &[])?;
            let mut client = kvm.connect()?;
            client.ask_until("events", "serial 0: ")?;
            let exits = client.ask("exits")?;
            if exits.contains("us each") {
                return Err(format!("nothing is measured without `exits time on`: {exits}").into());
            }
            expect(&client.ask("exits time on")?, "each exit is measured from now on")?;
            client.ask_until("exits", " us each\n")?;
            expect(&client.ask("exits")?, "\ntime since `exits time on`; in the guest and in KVM ")?;
            let exits: Value = serde_json::from_str(&client.ask("exits --json")?)?;
            let measured = exits.pointer("/reasons/0/measured/seconds").and_then(Value::as_f64);
            if measured.is_none_or(|seconds| seconds <= 0.0) {
                return Err(format!("no time in {exits:#}").into());
            }
            expect(&client.ask("exits time off")?, "exits are not measured\n")?;
            expect(&client.ask("exits time never")?, "`time never` is neither `time on` nor `time off`")
        }),
        guest_test("commands_and_traces_say_that_kvm_reports_no_interrupts", || {
            let ran =
                Kvm::with_guest("busy-timer").args(["--irqchip", "kernel", "--trace", "interrupts"]).run();
            let note = "interrupts are not shown: with --irqchip kernel KVM delivers them, and reports none";
            ran.expect_status(0)?.expect_err(&format!("kvm: --trace: {note}\n"))?.expect_log(note)?;
            let kvm = KvmWithConsole::start("serial-echo", &["--irqchip", "kernel"])?;
            let mut client = kvm.connect()?;
            client.ask_until("events", "serial 0: ")?;
            for command in ["events", "exits"] {
                expect(&client.ask(command)?, &format!("\n{note}\n"))?;
            }
            let events: Value = serde_json::from_str(&client.ask("events --json")?)?;
            expect(&events["notes"][0].to_string(), note)
        }),
        guest_test("the_console_shows_the_last_events_and_the_exits", || {
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
        }),
    ]
}
