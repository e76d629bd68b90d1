//! Live migration of guests from one `kvm` to another.

use libtest_mimic::{Failed, Trial};

use crate::support::migration::{Instance, Proxy, contains, free_port, key, migrate};
use crate::support::pty::Terminal;
use crate::support::{Folder, Kvm, Lane, guest_test, lane};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = with_input();
    trials.extend(computing());
    trials
}

fn computing() -> Vec<Trial> {
    vec![
        guest_test("a_guest_migrates_to_another_kvm_and_runs_on_there", || migrates_with(&[], &[])),
        guest_test("a_migrated_guest_computes_the_same_result", || {
            let port = free_port();
            let whole = Kvm::with_guest("two-thousand-lines").run();
            let mut source = Instance::source("two-thousand-lines", &[])?;
            let destination = Instance::destination(port, &[])?;
            source.ask(&[&migrate(port)])?;
            let first = source.rest()?;
            source.expect_migrated()?;
            let end = destination.finish()?;
            let second = end.out.replacen("Migration started\n", "", 1);
            if end.status != whole.status || first + &second != whole.out {
                return Err(format!("a different end: {:?}, {}", end.status, end.err).into());
            }
            Ok(())
        }),
        guest_test("vector_registers_are_migrated_completely", || {
            let port = free_port();
            // The AMD-V that QEMU emulates forgets which of them XCR0 has switched on.
            let append = if lane() == Lane::Amd { "--append=narrow" } else { "--append=wide" };
            let mut source = Instance::source("vectors", &["--keys", "serial", append])?;
            source.expect_out("computing")?;
            source.send_input("?")?;
            source.expect_out(" bytes, wrong: 0, rounds: ")?;
            let mut destination = Instance::destination(port, &["--keys", "serial"])?;
            contains(&source.ask(&[&migrate(port)])?, "migration complete")?;
            source.expect_migrated()?;
            destination.send_input("?")?;
            destination.expect_out(" bytes, wrong: 0, rounds: ")?;
            // It still computes.
            destination.send_input("?\x04")?;
            destination.expect_out(" bytes, wrong: 0, rounds: ")?;
            let end = destination.finish()?;
            if end.status == Some(0) { Ok(()) } else { Err(format!("{:?}: {}", end.status, end.err).into()) }
        }),
        guest_test("the_last_writes_of_a_busy_guest_are_migrated", || {
            let port = free_port();
            let mut source = Instance::source("restless", &["--keys", "serial", "--append=many"])?;
            source.expect_out("writing")?;
            let mut destination = Instance::destination(port, &["--keys", "serial"])?;
            contains(&source.ask(&[&migrate(port)])?, "migration complete")?;
            source.expect_migrated()?;
            // The guest checks its last writes in the round after the one in which it was stopped.
            for _ in 0..2 {
                destination.send_input("?")?;
                destination.expect_out("wrong pages: 0")?;
            }
            Ok(())
        }),
    ]
}

/// Tests that do not depend on the processor.
pub fn others() -> Vec<Trial> {
    vec![
        guest_test("a_guest_migrates_with_a_shared_key", || {
            let folder = Folder::new();
            let file = key(&folder, "key", 7)?;
            let key = ["--migr-key", file.to_str().ok_or("a path")?];
            migrates_with(&key, &key)
        }),
        guest_test("a_guest_migrates_away_and_back", || {
            let ports = [free_port(), free_port()];
            let source = Instance::source("serial-echo", &[])?;
            let destination = Instance::destination(ports[0], &[])?;
            source.ask(&[&migrate(ports[0])])?;
            source.expect_migrated()?;
            let mut back = Instance::destination(ports[1], &[])?;
            destination.ask(&[&migrate(ports[1])])?;
            destination.expect_migrated()?;
            back.send_input("again\r")?;
            back.expect_out("AGAIN")
        }),
        guest_test("a_progress_bar_shows_an_incoming_migration", || {
            let port = free_port();
            let receiver = Kvm::new().args(["-migr", "-migrport", &port.to_string(), "--display", "serial"]);
            let terminal = Terminal::kvm(receiver, 80, 25);
            terminal.wait_for_text("Waiting for network migration connections...")?;
            let source = Instance::source("restless", &[])?;
            // At this speed, some hundred pages take a second.
            let answer = source.ask_in_background(&migrate(Proxy::slow(port, 2048)?.port));
            terminal.wait_for("a bar that is not empty", |shown| {
                let screen = shown.screen().contents();
                screen.contains("round 1 [#") && screen.contains("% of ")
            })?;
            contains(&answer.join().map_err(|_| "the console")??, "migration complete")?;
            source.expect_migrated()?;
            terminal.wait_for("no bar any more", |shown| !shown.screen().contents().contains("round "))?;
            terminal.type_keys("\x01x");
            terminal.end()?.expect_status(14)?.expect_text("Migration started")?.expect_restored().map(drop)
        }),
    ]
}

/// Migrates a guest that echoes lines, and checks that it runs at the destination only, with its state.
pub fn migrates_with(source_options: &[&str], destination_options: &[&str]) -> Result<(), Failed> {
    let port = free_port();
    let mut source = Instance::source("serial-echo", source_options)?;
    source.send_input("one\r")?;
    source.expect_out("ONE")?;
    let mut destination = Instance::destination(port, destination_options)?;
    let answer = source.ask(&[&migrate(port)])?;
    for line in [
        "-----> starting migration",
        "-----> first memory transfer completed",
        "-----> diff dirty page transfer completed",
        "-----> CPU context transfer completed",
        "-----> IO context transfer completed",
        "-----> migration complete.",
    ] {
        contains(&answer, line)?;
    }
    contains(
        &source.expect_migrated()?.err,
        &format!("the guest has moved to 127.0.0.1:{port} and runs on there."),
    )?;
    destination.expect_out("Migration started")?;
    destination.send_input("two\r")?;
    destination.expect_out("TWO")?;
    contains(&destination.ask(&["status", "quit"])?, "the guest runs")?;
    let end = destination.finish()?;
    // Every kernel these tests run on has at least one of both.
    contains(&end.err, "the thread that reads from the network is confined by ")?;
    if end.status == Some(14) { Ok(()) } else { Err(format!("{:?}: {}", end.status, end.err).into()) }
}

fn with_input() -> Vec<Trial> {
    vec![
        guest_test("a_line_begun_at_the_source_is_completed_at_the_destination", || {
            let port = free_port();
            let mut source = Instance::source("serial-echo", &["--keys", "serial"])?;
            source.send_input("first\r")?;
            source.expect_out("FIRST")?;
            source.send_input("sec")?;
            // Wherever these bytes are by now, they are migrated.
            let mut destination = Instance::destination(port, &["--keys", "serial"])?;
            contains(&source.ask(&[&migrate(port)])?, "migration complete")?;
            source.expect_migrated()?;
            destination.expect_out("Migration started")?;
            destination.send_input("ond\r")?;
            destination.expect_bytes("SECOND\n")
        }),
        guest_test("unread_input_of_a_paused_guest_is_migrated", || {
            let port = free_port();
            let mut source = Instance::source("serial-echo", &["--keys", "serial"])?;
            source.ask(&["pause"])?;
            // More than a serial port can hold.
            let line = "0123456789abcdefghijklmnopqrstuvwxyz";
            source.send_input(line)?;
            source.ask(&[&format!("type {line}")])?;
            let mut destination = Instance::destination(port, &["--keys", "serial"])?;
            contains(&source.ask(&[&migrate(port)])?, "migration complete")?;
            source.expect_migrated()?;
            destination.expect_out("Migration started")?;
            destination.send_input("\r")?;
            destination.expect_bytes(&format!("{}\n", line.repeat(2).to_uppercase()))
        }),
        guest_test("queued_keys_and_a_pressed_shift_are_migrated", || {
            let port = free_port();
            let ends = ["--keys", "keyboard", "--serial", "1=log", "--serial", "2=stdio"];
            let mut source = Instance::source("keyboard-echo", &ends)?;
            source.expect_out("Type; Escape ends.")?;
            source.send_input("ab")?;
            source.expect_bytes("ab")?;
            let mut destination = Instance::destination(port, &ends)?;
            // The migration begins in the middle of this, often with a shift key pressed.
            source.send_input(&"Cd".repeat(40))?;
            contains(&source.ask(&[&migrate(port)])?, "migration complete")?;
            let first = source.rest()?;
            source.expect_migrated()?;
            destination.expect_out("Migration started")?;
            destination.send_input("e\x1b")?;
            let typed = first + &destination.rest()?;
            contains(&format!("|{typed}|"), &format!("|{}e\n|", "Cd".repeat(40)))?;
            let end = destination.finish()?;
            contains(&end.err, "result (RAX) 83 ")
        }),
    ]
}
