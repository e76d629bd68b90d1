//! What happens to a guest that moves when something goes wrong on the way, or its user changes his mind.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

use crate::support::migration::{Between, Side, Where, contains, free_port, kind, migrate, runs_here};
use crate::support::{Kvm, guest_test};

/// The tests of this file. No processor makes a difference to them.
pub fn trials() -> Vec<Trial> {
    let mut trials = before();
    trials.extend(on_the_way());
    trials
}

const FAILED: &str = "migration failed, the guest keeps running on this host";

/// Every kind of frame, of both sides, in the order in which the first of it comes.
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

/// Moves a guest over a connection that breaks, which must leave it on exactly one side. True if that is
/// the destination.
fn breaks(kind: u8, place: Where) -> Result<bool, Failed> {
    let port = free_port();
    let mut here = Side::source("serial-echo", &[])?;
    let mut there = Side::receiver(port, &[])?;
    let said = here.ask(&[&migrate(Between::breaks(port, kind, place)?.port)])?;
    // Who is told at the console loses the connection when the run is over.
    let moved = said.contains("the guest has moved") || said.contains("migration complete");
    if moved {
        here.has_moved()?;
        runs_here(&mut there)?;
    } else {
        contains(&said, FAILED)?;
        if kind == kind::READY {
            // It cannot know that this is not the loss of a Commit.
            there.expect_err("the guest's source may ask who has it")?;
        } else if kind != kind::HELLO || place == Where::Behind {
            let end = there.finish()?;
            contains(&end.err, "migration failed, the guest keeps running on the source")?;
        }
        runs_here(&mut here)?;
    }
    Ok(moved)
}

fn before() -> Vec<Trial> {
    vec![
        guest_test("a_guest_stays_at_the_source_when_no_destination_listens", || {
            let port = free_port();
            let mut here = Side::source("serial-echo", &[])?;
            let said = here.ask(&[&migrate(port), "migrate status"])?;
            contains(&said, FAILED)?;
            contains(&said, &format!("`kvm -migr -migrport {port}` has a kvm wait there"))?;
            runs_here(&mut here)
        }),
        guest_test("migration_to_another_host_requires_encryption", || {
            let mut here = Side::source("serial-echo", &[])?;
            let said = here.ask(&["migrate status", "migrate cancel", "migrate 192.0.2.1 8000"])?;
            contains(&said, "no migration has been started; `migrate HOST PORT` starts one")?;
            contains(&said, "no migration is in progress")?;
            contains(&said, "migration without encryption is for this host only")?;
            contains(&here.ask(&["migrate 192.0.2.1 x"])?, "Invalid ip address or port")?;
            runs_here(&mut here)
        }),
        guest_test("port_scans_and_other_protocols_leave_the_destination_waiting", || {
            let port = free_port();
            let here = Side::source("serial-echo", &[])?;
            let mut there = Side::receiver(port, &[])?;
            drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?);
            let mut browser = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            browser.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            let mut told = Vec::new();
            browser.set_read_timeout(Some(Duration::from_secs(20)))?;
            let start = Instant::now();
            let _ = BufReader::new(browser).read_until(0xFF, &mut told);
            contains(&String::from_utf8_lossy(&told), "does not speak the migration protocol")?;
            assert!(start.elapsed() < Duration::from_secs(15));
            contains(&here.ask(&[&migrate(port)])?, "-----> migration complete.")?;
            here.has_moved()?;
            runs_here(&mut there)
        }),
        guest_test("too_little_memory_at_the_destination_is_reported_and_the_guest_stays", || {
            let port = free_port();
            let mut here = Side::source("serial-echo", &["--memory", "4G"])?;
            let small = Kvm::new().in_shell("ulimit -v 3000000; exec \"$@\"");
            let there = Side::receiver_like(small, port, &[])?;
            let said = here.ask(&[&migrate(port)])?;
            contains(&said, FAILED)?;
            contains(&said, "the other host aborted the migration: ")?;
            contains(&said, "4096 MiB")?;
            contains(&there.finish()?.err, "migration failed, the guest keeps running on the source")?;
            runs_here(&mut here)
        }),
        guest_test("a_destination_that_dies_leaves_the_guest_at_the_source", || {
            let port = free_port();
            let mut here = Side::source("serial-echo", &[])?;
            let mut there = Side::receiver(port, &[])?;
            there.kill()?;
            there.finish()?;
            contains(&here.ask(&[&migrate(port)])?, FAILED)?;
            runs_here(&mut here)
        }),
    ]
}

fn on_the_way() -> Vec<Trial> {
    vec![
        guest_test("the_guest_runs_on_exactly_one_host_wherever_the_connection_breaks", || {
            for kind in FRAMES {
                let moved = breaks(kind, Where::Before)?;
                // The destination decides, and it does so when the Commit arrives.
                if moved != matches!(kind, kind::CONFIRM | kind::BYE) {
                    return Err(format!("before frame {kind}: moved is {moved}").into());
                }
            }
            for (kind, place) in [
                (kind::HELLO, Where::Header),
                (kind::HELLO, Where::Middle),
                (kind::HELLO, Where::Behind),
                (kind::PAGES, Where::Header),
                (kind::PAGES, Where::Middle),
                (kind::PAGES, Where::Behind),
                (kind::STATE, Where::Middle),
                (kind::COMMIT, Where::Header),
                (kind::COMMIT, Where::Middle),
                (kind::COMMIT, Where::Behind),
                (kind::CONFIRM, Where::Header),
            ] {
                let moved = breaks(kind, place)?;
                let decided = kind == kind::CONFIRM || kind == kind::COMMIT && place == Where::Behind;
                if moved != decided {
                    return Err(format!("{place:?} of frame {kind}: moved is {moved}").into());
                }
            }
            Ok(())
        }),
        guest_test("a_tunnel_that_ends_during_the_commit_does_not_duplicate_the_guest", || {
            let port = free_port();
            let mut here = Side::source("serial-echo", &[])?;
            let mut there = Side::receiver(port, &[])?;
            let tunnel = Between::tunnel(port, kind::CONFIRM)?;
            let _asking = here.ask_meanwhile(&migrate(tunnel.port));
            here.ask_until("migrate status", "no answer has come")?;
            // As long as it asks, it does not change its mind.
            std::thread::sleep(Duration::from_millis(600));
            contains(&here.ask(&["migrate status"])?, "it runs nowhere")?;
            there.expect_out("Migration started")?;
            there.type_in("here\r")?;
            there.expect_out("HERE")?;
            // It would wait for a question, which cannot come.
            there.kill()?;
            here.kill()
        }),
        guest_test("the_user_resumes_a_guest_whose_destination_died_during_the_commit", || {
            let port = free_port();
            let mut here = Side::source("serial-echo", &[])?;
            let there = Side::receiver(port, &[])?;
            let between = Between::kills(port, there.id())?;
            let _asking = here.ask_meanwhile(&migrate(between.port));
            here.ask_until("migrate status", "it runs nowhere")?;
            contains(&here.ask(&["resume"])?, "the guest runs")?;
            runs_here(&mut here)
        }),
        guest_test("a_cancelled_migration_leaves_the_guest_running_and_can_be_repeated", || {
            let (ports, free) = ([free_port(), free_port()], Arc::new(AtomicBool::new(false)));
            let mut here = Side::source("serial-echo", &[])?;
            let there = Side::receiver(ports[0], &[])?;
            let between = Between::holds(ports[0], free.clone())?;
            let story = here.ask_meanwhile(&migrate(between.port));
            here.ask_until("migrate status", "round 1, ")?;
            contains(&here.ask(&["migrate status"])?, "the guest runs")?;
            let said = here.ask(&[&migrate(ports[1])])?;
            contains(&said, "a migration is already in progress, to 127.0.0.1:")?;
            contains(&said, "cancel it with `migrate cancel`")?;
            contains(&here.ask(&["migrate cancel"])?, "the guest stays here")?;
            free.store(true, Ordering::SeqCst);
            contains(&story.join().map_err(|_| "the console")??, &format!("{FAILED}: cancelled"))?;
            contains(&there.finish()?.err, "the other host aborted the migration: cancelled")?;
            contains(&here.ask(&["migrate status"])?, &format!("{FAILED}: cancelled"))?;
            here.type_in("later\r")?;
            here.expect_out("LATER")?;
            let mut there = Side::receiver(ports[1], &[])?;
            contains(&here.ask(&[&migrate(ports[1])])?, "migration complete")?;
            here.has_moved()?;
            runs_here(&mut there)
        }),
        guest_test("a_guest_that_writes_faster_than_the_network_is_throttled_and_migrates", || {
            let port = free_port();
            let mut here = Side::source("restless", &["--keys", "serial"])?;
            here.expect_out("writing")?;
            let mut there = Side::receiver(port, &["--keys", "serial"])?;
            // Its 64 pages take about 64 ms, and may take 30.
            let said = here.ask(&[&migrate(Between::slow(port, 4096)?.port)])?;
            for line in [
                "the guest writes as fast as can be sent: throttled by 25 percent",
                "throttled by 99 percent",
                "the guest writes faster than can be sent, even throttled: it is paused for about ",
                "-----> migration complete.",
            ] {
                contains(&said, line)?;
            }
            here.has_moved()?;
            there.type_in("?")?;
            there.expect_out("wrong pages: 0")
        }),
    ]
}
