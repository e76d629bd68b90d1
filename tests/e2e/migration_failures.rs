//! Migrations that fail or are cancelled: the guest runs on exactly one host.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

use crate::support::migration::{
    BreakPoint, Instance, Proxy, contains, expect_running, free_port, kind, migrate,
};
use crate::support::{Kvm, guest_test};

/// The tests of this file. They do not depend on the processor.
pub fn trials() -> Vec<Trial> {
    let mut trials = before_the_transfer();
    trials.extend(during_the_transfer());
    trials
}

const FAILED: &str = "migration failed, the guest keeps running on this host";

/// Every kind of frame, of both directions, in the order of their first occurrence.
const FRAMES: [u8; 12] = [
    kind::HELLO,
    kind::WELCOME,
    kind::ROUND_BEGIN,
    kind::PAGES,
    kind::ROUND_END,
    kind::ROUND_DONE,
    kind::STATE_BEGIN,
    kind::STATE,
    kind::READY,
    kind::COMMIT,
    kind::CONFIRM,
    kind::BYE,
];

/// A destination that receives no guest in time.
fn destination_times_out() -> Result<(), Failed> {
    let port = free_port();
    let ran = Kvm::new().args(["-migr", "-migrport", &port.to_string(), "--timeout", "300ms"]).run();
    ran.expect_status(12)?.expect_err("no guest has been received within the time of --timeout").map(drop)
}

/// Migrates a guest over a connection that breaks, which must leave it on exactly one host. True if that is
/// the destination.
fn breaks(kind: u8, at: BreakPoint) -> Result<bool, Failed> {
    let port = free_port();
    let mut source = Instance::source("serial-echo", &[])?;
    let mut destination = Instance::destination(port, &[])?;
    let answer = source.ask(&[&migrate(Proxy::breaking(port, kind, at)?.port)])?;
    // The connection to the console ends with the run.
    let moved = answer.contains("the guest has moved") || answer.contains("migration complete");
    if moved {
        source.expect_migrated()?;
        expect_running(&mut destination)?;
    } else {
        contains(&answer, FAILED)?;
        if kind == kind::READY {
            // For the destination, this looks like the loss of a Commit.
            destination.expect_err("waiting up to 20 s for the source to query the outcome")?;
        } else if kind != kind::HELLO || at == BreakPoint::After {
            let end = destination.finish()?;
            contains(&end.err, "migration failed, the guest keeps running on the source")?;
        }
        expect_running(&mut source)?;
    }
    Ok(moved)
}

fn before_the_transfer() -> Vec<Trial> {
    vec![
        guest_test("a_destination_obeys_the_timeout", destination_times_out),
        guest_test("a_guest_stays_at_the_source_when_no_destination_listens", || {
            let port = free_port();
            let mut source = Instance::source("serial-echo", &[])?;
            let answer = source.ask(&[&migrate(port), "migrate status"])?;
            contains(&answer, FAILED)?;
            contains(&answer, &format!("start `kvm -migr -migrport {port}` there"))?;
            expect_running(&mut source)
        }),
        guest_test("migration_to_another_host_requires_encryption", || {
            let mut source = Instance::source("serial-echo", &[])?;
            let answer = source.ask(&["migrate status", "migrate cancel", "migrate 192.0.2.1 8000"])?;
            contains(&answer, "no migration has been started; `migrate HOST PORT` starts one")?;
            contains(&answer, "no migration is in progress")?;
            contains(&answer, "migration without encryption is for this host only")?;
            for port in ["x", "0", "65536", "-1"] {
                let answer = source.ask(&[&format!("migrate 192.0.2.1 {port}")])?;
                contains(
                    &answer,
                    &format!("Invalid ip address or port: the port `{port}` is not a number from 1 to 65535"),
                )?;
                contains(&answer, "use: migrate [--with-disk] HOST PORT")?;
            }
            let answer = source.ask(&["migrate nosuchhost.invalid 8000"])?;
            contains(&answer, "the host name `nosuchhost.invalid` cannot be resolved: ")?;
            expect_running(&mut source)
        }),
        guest_test("port_scans_and_other_protocols_leave_the_destination_waiting", || {
            let port = free_port();
            let source = Instance::source("serial-echo", &[])?;
            let mut destination = Instance::destination(port, &[])?;
            drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?);
            let mut browser = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            browser.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            let mut answer = Vec::new();
            browser.set_read_timeout(Some(Duration::from_secs(20)))?;
            let start = Instant::now();
            let _ = BufReader::new(browser).read_until(0xFF, &mut answer);
            contains(&String::from_utf8_lossy(&answer), "does not speak the migration protocol")?;
            assert!(start.elapsed() < Duration::from_secs(15));
            contains(&source.ask(&[&migrate(port)])?, "-----> migration complete.")?;
            source.expect_migrated()?;
            expect_running(&mut destination)
        }),
        guest_test("silent_connections_do_not_delay_a_migration", || {
            let port = free_port();
            let source = Instance::source("serial-echo", &[])?;
            let mut destination = Instance::destination(port, &[])?;
            let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port));
            let _silent = [connect()?, connect()?, connect()?];
            contains(&source.ask(&[&migrate(port)])?, "-----> migration complete.")?;
            source.expect_migrated()?;
            expect_running(&mut destination)
        }),
        guest_test("too_little_memory_at_the_destination_is_reported_and_the_guest_stays", || {
            let port = free_port();
            let mut source = Instance::source("serial-echo", &["--memory", "4G"])?;
            let small = Kvm::new().in_shell("ulimit -v 3000000; exec \"$@\"");
            let destination = Instance::destination_with(small, port, &[])?;
            let answer = source.ask(&[&migrate(port)])?;
            contains(&answer, FAILED)?;
            contains(&answer, "the other host aborted the migration: ")?;
            contains(&answer, "4096 MiB")?;
            contains(&destination.finish()?.err, "migration failed, the guest keeps running on the source")?;
            expect_running(&mut source)
        }),
        guest_test("a_destination_that_dies_leaves_the_guest_at_the_source", || {
            let port = free_port();
            let mut source = Instance::source("serial-echo", &[])?;
            let mut destination = Instance::destination(port, &[])?;
            destination.kill()?;
            destination.finish()?;
            contains(&source.ask(&[&migrate(port)])?, FAILED)?;
            expect_running(&mut source)
        }),
    ]
}

fn during_the_transfer() -> Vec<Trial> {
    vec![
        guest_test("the_guest_runs_on_exactly_one_host_wherever_the_connection_breaks", || {
            for kind in FRAMES {
                let moved = breaks(kind, BreakPoint::Before)?;
                // The destination decides, and it does so when the Commit arrives.
                if moved != matches!(kind, kind::CONFIRM | kind::BYE) {
                    return Err(format!("before frame {kind}: moved is {moved}").into());
                }
            }
            for (kind, at) in [
                (kind::HELLO, BreakPoint::Header),
                (kind::HELLO, BreakPoint::Middle),
                (kind::HELLO, BreakPoint::After),
                (kind::PAGES, BreakPoint::Header),
                (kind::PAGES, BreakPoint::Middle),
                (kind::PAGES, BreakPoint::After),
                (kind::STATE, BreakPoint::Middle),
                (kind::COMMIT, BreakPoint::Header),
                (kind::COMMIT, BreakPoint::Middle),
                (kind::COMMIT, BreakPoint::After),
                (kind::CONFIRM, BreakPoint::Header),
            ] {
                let moved = breaks(kind, at)?;
                let decided = kind == kind::CONFIRM || kind == kind::COMMIT && at == BreakPoint::After;
                if moved != decided {
                    return Err(format!("{at:?} of frame {kind}: moved is {moved}").into());
                }
            }
            Ok(())
        }),
        guest_test("a_tunnel_that_ends_during_the_commit_does_not_duplicate_the_guest", || {
            let port = free_port();
            let mut source = Instance::source("serial-echo", &[])?;
            let mut destination = Instance::destination(port, &[])?;
            let tunnel = Proxy::tunnel(port, kind::CONFIRM)?;
            let _request = source.ask_in_background(&migrate(tunnel.port));
            source.ask_until("migrate status", "no answer was received")?;
            // While the source asks the destination, its state does not change.
            std::thread::sleep(Duration::from_millis(600));
            contains(&source.ask(&["migrate status"])?, "so the guest is paused")?;
            destination.expect_out("Migration started")?;
            destination.send_input("here\r")?;
            destination.expect_out("HERE")?;
            // The destination would wait for a question of the source, which cannot arrive.
            destination.kill()?;
            source.kill()
        }),
        guest_test("ctrl_c_ends_a_destination_that_waits_for_a_query", || {
            let port = free_port();
            let source = Instance::source("serial-echo", &[])?;
            let mut destination = Instance::destination(port, &[])?;
            let tunnel = Proxy::tunnel(port, kind::READY)?;
            let _request = source.ask_in_background(&migrate(tunnel.port));
            destination.expect_err(
                "waiting up to 20 s for the source to query the outcome (Ctrl-C ends the wait)",
            )?;
            let start = Instant::now();
            destination.signal("INT")?;
            let ran = destination.finish()?;
            assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
            ran.expect_status(6)?.expect_err("the wait is ended by a signal")?;
            ran.expect_err("migration failed, the guest keeps running on the source")?;
            Ok(())
        }),
        guest_test("the_user_resumes_a_guest_whose_destination_died_during_the_commit", || {
            let port = free_port();
            let mut source = Instance::source("serial-echo", &[])?;
            let destination = Instance::destination(port, &[])?;
            let proxy = Proxy::killing(port, destination.id())?;
            let _request = source.ask_in_background(&migrate(proxy.port));
            source.ask_until("migrate status", "no answer was received, so the guest is paused")?;
            contains(&source.ask(&["resume"])?, "the guest runs")?;
            expect_running(&mut source)
        }),
        guest_test("a_cancelled_migration_leaves_the_guest_running_and_can_be_repeated", || {
            let (ports, free) = ([free_port(), free_port()], Arc::new(AtomicBool::new(false)));
            let mut source = Instance::source("serial-echo", &[])?;
            let destination = Instance::destination(ports[0], &[])?;
            let proxy = Proxy::holding(ports[0], free.clone())?;
            let progress = source.ask_in_background(&migrate(proxy.port));
            source.ask_until("migrate status", "round 1, ")?;
            contains(&source.ask(&["migrate status"])?, "the guest runs")?;
            let answer = source.ask(&[&migrate(ports[1])])?;
            contains(&answer, "a migration is already in progress, to 127.0.0.1:")?;
            contains(&answer, "cancel it with `migrate cancel`")?;
            contains(&source.ask(&["migrate cancel"])?, "the guest stays on this host")?;
            free.store(true, Ordering::SeqCst);
            contains(&progress.join().map_err(|_| "the console")??, &format!("{FAILED}: cancelled"))?;
            contains(&destination.finish()?.err, "the other host aborted the migration: cancelled")?;
            contains(&source.ask(&["migrate status"])?, &format!("{FAILED}: cancelled"))?;
            source.send_input("later\r")?;
            source.expect_out("LATER")?;
            let mut destination = Instance::destination(ports[1], &[])?;
            contains(&source.ask(&[&migrate(ports[1])])?, "migration complete")?;
            source.expect_migrated()?;
            expect_running(&mut destination)
        }),
        guest_test("a_guest_that_writes_faster_than_the_network_is_throttled_and_migrates", || {
            let port = free_port();
            let mut source = Instance::source("restless", &["--keys", "serial"])?;
            source.expect_out("writing")?;
            let mut destination = Instance::destination(port, &["--keys", "serial"])?;
            // Its 64 pages take about 64 ms, and may take 30.
            let answer = source.ask(&[&migrate(Proxy::slow(port, 4096)?.port)])?;
            for line in [
                "the guest writes as fast as can be sent: throttled by 25 percent",
                "throttled by 99 percent",
                "the guest writes faster than can be sent, even throttled: it is paused for about ",
                "-----> migration complete.",
            ] {
                contains(&answer, line)?;
            }
            source.expect_migrated()?;
            destination.send_input("?")?;
            destination.expect_out("wrong pages: 0")
        }),
    ]
}
