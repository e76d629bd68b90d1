//! Guests that move from one kvm to another, and go on there as if nothing had happened.

use libtest_mimic::{Failed, Trial};

use crate::support::migration::{Between, Side, contains, free_port, key, migrate};
use crate::support::pty::Terminal;
use crate::support::{Folder, Kvm, Lane, guest_test, lane};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = typing();
    trials.extend(computing());
    trials
}

fn computing() -> Vec<Trial> {
    vec![
        guest_test("a_guest_migrates_to_another_kvm_and_runs_on_there", || moves_with(&[], &[])),
        guest_test("a_migrated_guest_computes_the_same_result", || {
            let port = free_port();
            let whole = Kvm::with_guest("two-thousand-lines").run();
            let mut here = Side::source("two-thousand-lines", &[])?;
            let there = Side::receiver(port, &[])?;
            here.ask(&[&migrate(port)])?;
            let first = here.rest()?;
            here.has_moved()?;
            let end = there.finish()?;
            let second = end.out.replacen("Migration started\n", "", 1);
            if end.status != whole.status || first + &second != whole.out {
                return Err(format!("another end: {:?}, {}", end.status, end.err).into());
            }
            Ok(())
        }),
        guest_test("vector_registers_are_migrated_completely", || {
            let port = free_port();
            // The AMD-V that QEMU emulates forgets which of them XCR0 has switched on.
            let append = if lane() == Lane::Amd { "--append=narrow" } else { "--append=wide" };
            let mut here = Side::source("vectors", &["--keys", "serial", append])?;
            here.expect_out("computing")?;
            here.type_in("?")?;
            here.expect_out(" bytes, wrong: 0, rounds: ")?;
            let mut there = Side::receiver(port, &["--keys", "serial"])?;
            contains(&here.ask(&[&migrate(port)])?, "migration complete")?;
            here.has_moved()?;
            there.type_in("?")?;
            there.expect_out(" bytes, wrong: 0, rounds: ")?;
            // It still computes.
            there.type_in("?\x04")?;
            there.expect_out(" bytes, wrong: 0, rounds: ")?;
            let end = there.finish()?;
            if end.status == Some(0) { Ok(()) } else { Err(format!("{:?}: {}", end.status, end.err).into()) }
        }),
        guest_test("the_last_writes_of_a_busy_guest_are_migrated", || {
            let port = free_port();
            let mut here = Side::source("restless", &["--keys", "serial", "--append=many"])?;
            here.expect_out("writing")?;
            let mut there = Side::receiver(port, &["--keys", "serial"])?;
            contains(&here.ask(&[&migrate(port)])?, "migration complete")?;
            here.has_moved()?;
            // What it wrote just before it was stopped is looked at in the round after the one it was in.
            for _ in 0..2 {
                there.type_in("?")?;
                there.expect_out("wrong pages: 0")?;
            }
            Ok(())
        }),
    ]
}

/// Those to which no processor makes a difference.
pub fn others() -> Vec<Trial> {
    vec![
        guest_test("a_guest_migrates_with_a_shared_key", || {
            let folder = Folder::new();
            let file = key(&folder, "key", 7)?;
            let key = ["--migr-key", file.to_str().ok_or("a path")?];
            moves_with(&key, &key)
        }),
        guest_test("a_guest_migrates_away_and_back", || {
            let ports = [free_port(), free_port()];
            let here = Side::source("serial-echo", &[])?;
            let there = Side::receiver(ports[0], &[])?;
            here.ask(&[&migrate(ports[0])])?;
            here.has_moved()?;
            let mut back = Side::receiver(ports[1], &[])?;
            there.ask(&[&migrate(ports[1])])?;
            there.has_moved()?;
            back.type_in("again\r")?;
            back.expect_out("AGAIN")
        }),
        guest_test("a_progress_bar_shows_an_incoming_migration", || {
            let port = free_port();
            let receiver = Kvm::new().args(["-migr", "-migrport", &port.to_string(), "--display", "serial"]);
            let terminal = Terminal::kvm(receiver, 80, 25);
            terminal.wait_for_text("Waiting for network migration connections...")?;
            let here = Side::source("restless", &[])?;
            // Some hundred pages take a second.
            let told = here.ask_meanwhile(&migrate(Between::slow(port, 2048)?.port));
            terminal.wait_for("a bar that is not empty", |shown| {
                let screen = shown.screen().contents();
                screen.contains("round 1 [#") && screen.contains("% of ")
            })?;
            contains(&told.join().map_err(|_| "the console")??, "migration complete")?;
            here.has_moved()?;
            terminal.wait_for("no bar any more", |shown| !shown.screen().contents().contains("round "))?;
            terminal.type_keys("\x01x");
            terminal.end()?.expect_status(14)?.expect_text("Migration started")?.expect_given_back().map(drop)
        }),
    ]
}

/// Moves a guest that echoes lines, and checks that it runs there, only there, and as it was.
pub fn moves_with(source: &[&str], receiver: &[&str]) -> Result<(), Failed> {
    let port = free_port();
    let mut here = Side::source("serial-echo", source)?;
    here.type_in("one\r")?;
    here.expect_out("ONE")?;
    let mut there = Side::receiver(port, receiver)?;
    let said = here.ask(&[&migrate(port)])?;
    for line in [
        "-----> starting migration",
        "-----> first memory transfer completed",
        "-----> diff dirty page transfer completed",
        "-----> CPU context transfer completed",
        "-----> IO context transfer completed",
        "-----> migration complete.",
    ] {
        contains(&said, line)?;
    }
    contains(&here.has_moved()?.err, &format!("the guest has moved to 127.0.0.1:{port} and runs on there."))?;
    there.expect_out("Migration started")?;
    there.type_in("two\r")?;
    there.expect_out("TWO")?;
    contains(&there.ask(&["status", "quit"])?, "the guest runs")?;
    let end = there.finish()?;
    // Every kernel these tests run on has at least one of both.
    contains(&end.err, "the thread that reads from the network is confined by ")?;
    if end.status == Some(14) { Ok(()) } else { Err(format!("{:?}: {}", end.status, end.err).into()) }
}

fn typing() -> Vec<Trial> {
    vec![
        guest_test("a_line_begun_at_the_source_is_completed_at_the_destination", || {
            let port = free_port();
            let mut here = Side::source("serial-echo", &["--keys", "serial"])?;
            here.type_in("first\r")?;
            here.expect_out("FIRST")?;
            here.type_in("sec")?;
            // Wherever these are by now: they come with the guest.
            let mut there = Side::receiver(port, &["--keys", "serial"])?;
            contains(&here.ask(&[&migrate(port)])?, "migration complete")?;
            here.has_moved()?;
            there.expect_out("Migration started")?;
            there.type_in("ond\r")?;
            there.expect_bytes("SECOND\n")
        }),
        guest_test("unread_input_of_a_paused_guest_is_migrated", || {
            let port = free_port();
            let mut here = Side::source("serial-echo", &["--keys", "serial"])?;
            here.ask(&["pause"])?;
            // More than a serial port can hold.
            let line = "0123456789abcdefghijklmnopqrstuvwxyz";
            here.type_in(line)?;
            here.ask(&[&format!("type {line}")])?;
            let mut there = Side::receiver(port, &["--keys", "serial"])?;
            contains(&here.ask(&[&migrate(port)])?, "migration complete")?;
            here.has_moved()?;
            there.expect_out("Migration started")?;
            there.type_in("\r")?;
            there.expect_bytes(&format!("{}\n", line.repeat(2).to_uppercase()))
        }),
        guest_test("queued_keys_and_a_pressed_shift_are_migrated", || {
            let port = free_port();
            let ends = ["--keys", "keyboard", "--serial", "1=log", "--serial", "2=stdio"];
            let mut here = Side::source("keyboard-echo", &ends)?;
            here.expect_out("Type; Escape ends.")?;
            here.type_in("ab")?;
            here.expect_bytes("ab")?;
            let mut there = Side::receiver(port, &ends)?;
            // In the middle of this, with a shift key down as often as not.
            here.type_in(&"Cd".repeat(40))?;
            contains(&here.ask(&[&migrate(port)])?, "migration complete")?;
            let first = here.rest()?;
            here.has_moved()?;
            there.expect_out("Migration started")?;
            there.type_in("e\x1b")?;
            let typed = first + &there.rest()?;
            contains(&format!("|{typed}|"), &format!("|{}e\n|", "Cd".repeat(40)))?;
            let end = there.finish()?;
            contains(&end.err, "result (RAX) 83 ")
        }),
    ]
}
