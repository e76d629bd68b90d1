//! Migration of guests under gdb: gdb is notified, and its breakpoints are not migrated.

use std::io::Write;
use std::process::Command;

use libtest_mimic::{Failed, Trial};

use crate::gdb::gdb_test;
use crate::support::debugger::{InteractiveProgram, expect};
use crate::support::migration::{BreakPoint, Instance, Proxy, contains, free_port, kind, migrate};
use crate::support::{guest, source};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        gdb_test("gdb_is_notified_of_a_migration_and_its_breakpoints_are_not_migrated", || {
            let (source, mut gdb, port) = debugged("serial-echo", &echoing_lines()?)?;
            send(&mut gdb, "continue")?;
            gdb.until("Continuing.")?;
            let mut destination = Instance::destination(port, &["--keys", "serial"])?;
            contains(&source.ask(&[&migrate(port)])?, "migration complete")?;
            source.expect_migrated()?;
            gdb.until(&format!("kvm: the guest has moved to 127.0.0.1:{port} and runs on there."))?;
            gdb.until("exited normally]")?;
            gdb.finish()?;
            // This input takes the guest over every former breakpoint.
            destination.expect_out("Migration started")?;
            destination.send_input("over there\r")?;
            destination.expect_bytes("OVER THERE\n")
        }),
        gdb_test("a_guest_that_gdb_has_stopped_migrates_runs_on_and_gdb_is_notified", || {
            let (mut source, mut gdb, port) = debugged("serial-echo", &echoing_lines()?)?;
            send(&mut gdb, "continue")?;
            // Before this, the guest may read it without stopping.
            gdb.until("Continuing.")?;
            source.send_input("x")?;
            gdb.until("Breakpoint 1, ")?;
            let mut destination = Instance::destination(port, &["--keys", "serial"])?;
            send(&mut gdb, &format!("monitor {}", migrate(port)))?;
            gdb.until("migration to 127.0.0.1:")?;
            source.expect_migrated()?;
            send(&mut gdb, "stepi")?;
            let output = gdb.finish()?;
            expect(&output, "Remote connection closed")?;
            destination.expect_out("Migration started")?;
            destination.send_input("yz\r")?;
            destination.expect_bytes("XYZ\n")
        }),
        gdb_test("breakpoints_stop_a_guest_after_a_failed_migration", || {
            let (mut source, mut gdb, port) = debugged("serial-echo", &echoing_lines()?)?;
            send(&mut gdb, "continue")?;
            gdb.until("Continuing.")?;
            let destination = Instance::destination(port, &[])?;
            let proxy = Proxy::breaking(port, kind::STATE, BreakPoint::Middle)?;
            contains(&source.ask(&[&migrate(proxy.port)])?, "the guest keeps running on this host")?;
            destination.finish()?;
            source.send_input("x")?;
            gdb.until("Breakpoint 1, ")?;
            for _ in 0..2 {
                send(&mut gdb, "continue")?;
            }
            gdb.until("Breakpoint 3, ")?;
            send(&mut gdb, "delete\ncontinue")?;
            source.send_input("\r")?;
            source.expect_bytes("X\n")?;
            source.ask(&["quit"])?;
            gdb.finish().map(drop)
        }),
        gdb_test("writes_to_pages_of_a_watchpoint_are_migrated", || {
            let (mut source, mut gdb, port) = debugged("restless", &["watch pages[7][9]".to_owned()])?;
            send(&mut gdb, "continue")?;
            source.expect_out("writing")?;
            let mut destination = Instance::destination(port, &["--keys", "serial"])?;
            contains(&source.ask(&[&migrate(port)])?, "migration complete")?;
            source.expect_migrated()?;
            expect(&gdb.finish()?, "atchpoint 1: pages[7][9]")?;
            destination.send_input("?")?;
            destination.expect_out("wrong pages: 0")
        }),
        gdb_test("gdb_can_connect_to_a_destination_before_the_guest_arrives", || {
            let (port, gdb_port) = (free_port(), free_port());
            let mut source = Instance::source("serial-echo", &["--keys", "serial"])?;
            source.send_input("on")?;
            let gdb_option = format!("--gdb=127.0.0.1:{gdb_port}");
            let mut destination = Instance::destination(port, &["--keys", "serial", &gdb_option])?;
            contains(&source.ask(&[&migrate(port)])?, "migration complete")?;
            source.expect_migrated()?;
            destination.expect_err("waiting for gdb on ")?;
            let mut gdb = connected("serial-echo", gdb_port, &echoing_lines()?)?;
            send(&mut gdb, "print length\ncontinue")?;
            gdb.until("Continuing.")?;
            destination.send_input("e\r")?;
            gdb.until("Breakpoint 1, ")?;
            send(&mut gdb, "print/c character\ndelete\ncontinue")?;
            gdb.until("'e'")?;
            destination.expect_out("Migration started")?;
            destination.expect_bytes("ONE\n")?;
            destination.ask(&["quit"])?;
            gdb.finish().map(drop)
        }),
    ]
}

/// Breakpoints on lines that the echoing guest executes only for input: more of them than there are debug
/// registers.
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

/// A guest with gdb connected, after `commands`, and a port to migrate it to.
fn debugged(name: &str, commands: &[String]) -> Result<(Instance, InteractiveProgram, u16), Failed> {
    let (port, gdb_port) = (free_port(), free_port());
    let gdb_option = format!("--gdb=127.0.0.1:{gdb_port}");
    let source = Instance::source(name, &["--keys", "serial", "--gdb-nowait", &gdb_option])?;
    Ok((source, connected(name, gdb_port, commands)?, port))
}

fn connected(name: &str, gdb_port: u16, commands: &[String]) -> Result<InteractiveProgram, Failed> {
    // gdb prints the messages of the target on standard error.
    let mut command = Command::new("sh");
    command.args(["-c", "exec gdb \"$@\" 2>&1", "sh", "-nx", "-q"]);
    command.args(["-ex", "set confirm off", "-ex", "set pagination off"]);
    let mut gdb = InteractiveProgram::start(command.arg(guest(name)))?;
    send(&mut gdb, &format!("target remote 127.0.0.1:{gdb_port}"))?;
    for command in commands {
        send(&mut gdb, command)?;
    }
    Ok(gdb)
}

fn send(gdb: &mut InteractiveProgram, command: &str) -> Result<(), Failed> {
    Ok(writeln!(gdb.input, "{command}")?)
}
