//! Guests that move while gdb looks on: what it is told, and that nothing of its own goes with them.

use std::io::Write;
use std::process::Command;

use libtest_mimic::{Failed, Trial};

use crate::gdb::gdb_test;
use crate::support::debugger::{Talk, expect};
use crate::support::migration::{Between, Side, Where, contains, free_port, kind, migrate};
use crate::support::{guest, source};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        gdb_test("gdb_is_notified_of_a_migration_and_its_breakpoints_are_not_migrated", || {
            let (here, mut gdb, port) = debugged("serial-echo", &echoing_lines()?)?;
            say(&mut gdb, "continue")?;
            gdb.until("Continuing.")?;
            let mut there = Side::receiver(port, &["--keys", "serial"])?;
            contains(&here.ask(&[&migrate(port)])?, "migration complete")?;
            here.has_moved()?;
            gdb.until(&format!("kvm: the guest has moved to 127.0.0.1:{port} and runs on there."))?;
            gdb.until("exited normally]")?;
            gdb.finish()?;
            // Over every place where there was a breakpoint.
            there.expect_out("Migration started")?;
            there.type_in("over there\r")?;
            there.expect_bytes("OVER THERE\n")
        }),
        gdb_test("a_guest_that_gdb_has_stopped_migrates_runs_on_and_gdb_is_notified", || {
            let (mut here, mut gdb, port) = debugged("serial-echo", &echoing_lines()?)?;
            say(&mut gdb, "continue")?;
            // Before this, the guest may read it without stopping.
            gdb.until("Continuing.")?;
            here.type_in("x")?;
            gdb.until("Breakpoint 1, ")?;
            let mut there = Side::receiver(port, &["--keys", "serial"])?;
            say(&mut gdb, &format!("monitor {}", migrate(port)))?;
            gdb.until("the guest is on its way to 127.0.0.1:")?;
            here.has_moved()?;
            say(&mut gdb, "stepi")?;
            let said = gdb.finish()?;
            expect(&said, "Remote connection closed")?;
            there.expect_out("Migration started")?;
            there.type_in("yz\r")?;
            there.expect_bytes("XYZ\n")
        }),
        gdb_test("breakpoints_stop_a_guest_after_a_failed_migration", || {
            let (mut here, mut gdb, port) = debugged("serial-echo", &echoing_lines()?)?;
            say(&mut gdb, "continue")?;
            gdb.until("Continuing.")?;
            let there = Side::receiver(port, &[])?;
            let between = Between::breaks(port, kind::STATE, Where::Middle)?;
            contains(&here.ask(&[&migrate(between.port)])?, "the guest keeps running on this host")?;
            there.finish()?;
            here.type_in("x")?;
            gdb.until("Breakpoint 1, ")?;
            for _ in 0..2 {
                say(&mut gdb, "continue")?;
            }
            gdb.until("Breakpoint 3, ")?;
            say(&mut gdb, "delete\ncontinue")?;
            here.type_in("\r")?;
            here.expect_bytes("X\n")?;
            here.ask(&["quit"])?;
            gdb.finish().map(drop)
        }),
        gdb_test("writes_to_pages_of_a_watchpoint_are_migrated", || {
            let (mut here, mut gdb, port) = debugged("restless", &["watch pages[7][9]".to_owned()])?;
            say(&mut gdb, "continue")?;
            here.expect_out("writing")?;
            let mut there = Side::receiver(port, &["--keys", "serial"])?;
            contains(&here.ask(&[&migrate(port)])?, "migration complete")?;
            here.has_moved()?;
            expect(&gdb.finish()?, "atchpoint 1: pages[7][9]")?;
            there.type_in("?")?;
            there.expect_out("wrong pages: 0")
        }),
        gdb_test("gdb_can_connect_to_a_destination_before_the_guest_arrives", || {
            let (port, place) = (free_port(), free_port());
            let mut here = Side::source("serial-echo", &["--keys", "serial"])?;
            here.type_in("on")?;
            let gdb_place = format!("--gdb=127.0.0.1:{place}");
            let mut there = Side::receiver(port, &["--keys", "serial", &gdb_place])?;
            contains(&here.ask(&[&migrate(port)])?, "migration complete")?;
            here.has_moved()?;
            there.expect_err("waiting for gdb on ")?;
            let mut gdb = connected("serial-echo", place, &echoing_lines()?)?;
            say(&mut gdb, "print length\ncontinue")?;
            gdb.until("Continuing.")?;
            there.type_in("e\r")?;
            gdb.until("Breakpoint 1, ")?;
            say(&mut gdb, "print/c character\ndelete\ncontinue")?;
            gdb.until("'e'")?;
            there.expect_out("Migration started")?;
            there.expect_bytes("ONE\n")?;
            there.ask(&["quit"])?;
            gdb.finish().map(drop)
        }),
    ]
}

/// Breakpoints on lines that the echoing guest comes to only when something is typed: more of them than
/// there are debug registers.
fn echoing_lines() -> Result<Vec<String>, Failed> {
    let text = std::fs::read_to_string(source("target-examples/serial-echo.c"))?;
    let number = |part: &str| -> Result<String, Failed> {
        let line = text.lines().position(|line| line.contains(part));
        Ok(format!("break serial-echo.c:{}", line.ok_or(format!("no line with {part:?}"))? + 1))
    };
    [
        "if (character == CTRL_D)",
        "if (character == '\\r'",
        "int small =",
        "line[length++]",
        "line[length] = 0",
        "serial_print(COM1, line)",
        "lines++",
    ]
    .map(number)
    .into_iter()
    .collect()
}

/// A guest with gdb connected, which has been told `commands`, and a port to move it to.
fn debugged(name: &str, commands: &[String]) -> Result<(Side, Talk, u16), Failed> {
    let (port, place) = (free_port(), free_port());
    let gdb_place = format!("--gdb=127.0.0.1:{place}");
    let here = Side::source(name, &["--keys", "serial", "--gdb-nowait", &gdb_place])?;
    Ok((here, connected(name, place, commands)?, port))
}

fn connected(name: &str, place: u16, commands: &[String]) -> Result<Talk, Failed> {
    // What the guest's side prints comes out on standard error.
    let mut command = Command::new("sh");
    command.args(["-c", "exec gdb \"$@\" 2>&1", "sh", "-nx", "-q"]);
    command.args(["-ex", "set confirm off", "-ex", "set pagination off"]);
    let mut gdb = Talk::start(command.arg(guest(name)))?;
    say(&mut gdb, &format!("target remote 127.0.0.1:{place}"))?;
    for command in commands {
        say(&mut gdb, command)?;
    }
    Ok(gdb)
}

fn say(gdb: &mut Talk, command: &str) -> Result<(), Failed> {
    Ok(writeln!(gdb.input, "{command}")?)
}
