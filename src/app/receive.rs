//! Receiving a guest from another kvm, with progress for the user.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tracing::info;

use super::disks::ReceivedDisks;
use super::{Failure, user_interface};
use crate::arch::PAGE_SIZE;
use crate::frontends::messages::{escaped, tell};
use crate::kvm::{HostError, Kvm};
use crate::machine::Machine;
use crate::machine::inputs::Inputs;
use crate::machine::outcome::status;
use crate::machine::output::OutputQueue;
use crate::migration::incoming::{
    HostFeatures, IncomingError, IncomingEvent, IncomingMigration, ReceivedGuest,
};
use crate::migration::progress::size;
use crate::migration::security::Credentials;
use crate::settings::Settings;
use crate::state::ReceivedMachine;

/// Width of the progress bar in characters.
const BAR: u64 = 30;
/// Refresh interval of the bar.
const FRAME: Duration = Duration::from_millis(50);

/// Waits at `place` until a guest has been received, for at most the time of --timeout. It may run here once it has
/// been taken over.
pub(super) fn wait(
    place: SocketAddr,
    credentials: Credentials,
    settings: &Settings,
) -> Result<(IncomingMigration, ReceivedGuest, ReceivedDisks), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(status::HOST, error);
    // A host that cannot run guests is reported before the wait.
    let features =
        Kvm::open(&settings.device).and_then(|kvm| kvm.features()).map_err(|e: HostError| failed(&e))?;
    let incoming =
        IncomingMigration::open(place, credentials, HostFeatures { features }).map_err(|e| failed(&e))?;
    info!("waiting for a guest on {}", incoming.address());
    say("Waiting for network migration connections...");
    let mut bar = Bar::new();
    let mut disks = ReceivedDisks::default();
    let deadline = settings.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let arrived = incoming.wait(deadline, &mut |event| match event {
        IncomingEvent::Started { from, guest, memory } => {
            say("Migration started");
            tell(&format!(
                "receiving {} with {} MiB of memory from {from}",
                escaped(guest, &[]),
                memory >> 20
            ));
        }
        IncomingEvent::Disks { offers, answer } => {
            let prepared = ReceivedDisks::prepare(settings, offers);
            // A receiver that has gone reports why by itself.
            let _ = answer.send(prepared.map(|(prepared, targets)| {
                disks = prepared;
                targets
            }));
        }
        IncomingEvent::DiskRound(round) => {
            bar.begin(&format!("disk {} round {}", round.unit, round.number), round.pages);
        }
        IncomingEvent::Round { number, pages } => bar.begin(&format!("round {number}"), *pages),
        IncomingEvent::Pages(pages) => bar.add(*pages),
        IncomingEvent::Complete(_) | IncomingEvent::Failed(_) => {}
    });
    bar.end();
    match arrived {
        Ok(arrived) => Ok((incoming, arrived, disks)),
        Err(error @ IncomingError::TimedOut) => Err(Failure::new(status::TIMED_OUT, error)),
        Err(error) => Err(failed(&error)),
    }
}

/// The machine of a received guest.
pub(super) fn into_machine(
    arrived: ReceivedGuest,
    settings: &Settings,
    inputs: Inputs,
    outputs: OutputQueue,
) -> Result<Machine, Failure> {
    ReceivedMachine::read("the received guest", &arrived.state)
        .and_then(|received| received.into_machine(arrived.memory, user_interface(settings), inputs, outputs))
        .map_err(|error| Failure::new(status::HOST, error))
}

/// Prints the lines that existing tools wait for.
fn say(line: &str) {
    // Without standard output there is no reader.
    let _ = stdout().write_all(format!("{line}\n").as_bytes());
}

/// Progress of the transfer, on a terminal; without one, only the log reports rounds.
struct Bar {
    shown: bool,
    round: String,
    pages: u64,
    arrived: u64,
    drawn: Instant,
}

impl Bar {
    fn new() -> Bar {
        Bar {
            shown: stderr().is_terminal(),
            round: String::new(),
            pages: 0,
            arrived: 0,
            drawn: Instant::now(),
        }
    }

    fn begin(&mut self, round: &str, pages: u64) {
        info!("{round}: {pages} pages");
        (self.round, self.pages, self.arrived) = (round.to_owned(), pages, 0);
        self.draw();
    }

    fn add(&mut self, pages: u64) {
        self.arrived += pages;
        if self.drawn.elapsed() >= FRAME {
            self.draw();
        }
    }

    fn draw(&mut self) {
        if !self.shown {
            return;
        }
        self.drawn = Instant::now();
        let line = bar(&self.round, self.arrived, self.pages);
        let _ = stderr().write_all(format!("\r{line}\x1b[K").as_bytes());
    }

    fn end(&self) {
        if self.shown && !self.round.is_empty() {
            let _ = stderr().write_all(b"\r\x1b[K");
        }
    }
}

fn bar(round: &str, arrived: u64, pages: u64) -> String {
    // A source may send more than it has announced.
    let (arrived, pages) = (arrived.min(pages), pages.clamp(1, u64::MAX / 100));
    let full = (arrived.min(pages) * BAR / pages) as usize;
    format!(
        "{round} [{}{}] {:3}% of {}",
        "#".repeat(full),
        " ".repeat(BAR as usize - full),
        arrived.min(pages) * 100 / pages,
        size(pages.saturating_mul(PAGE_SIZE))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows_and_is_never_too_wide() {
        assert_eq!(bar("round 1", 0, 256), format!("round 1 [{}]   0% of 1.0 MiB", " ".repeat(30)));
        assert_eq!(
            bar("round 2", 128, 256),
            format!("round 2 [{}{}]  50% of 1.0 MiB", "#".repeat(15), " ".repeat(15))
        );
        assert!(bar("round 3", u64::MAX, u64::MAX).contains("100%"));
        assert!(bar("round 3", 7, 0).contains("  0%"));
    }
}
