//! Progress of a migration, and its statistics at the end.

use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tracing::info;

use super::pages::PAGE;
use crate::supervisor::notice::Notice;

/// Statistics of a migration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MigrationStatistics {
    /// Time from the connection until the destination is ready.
    pub total: Duration,
    /// Downtime: how long the guest was stopped.
    pub downtime: Duration,
    /// Rounds in which pages were sent.
    pub rounds: u32,
    /// Pages sent; a page sent twice counts twice.
    pub pages: u64,
    /// Pages of disk images sent; a page sent twice counts twice.
    pub disk_pages: u64,
    /// Bytes sent.
    pub bytes: u64,
}

impl std::fmt::Display for MigrationStatistics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.disk_pages > 0 {
            write!(f, "{} of disk images and ", size(self.disk_pages * PAGE as u64))?;
        }
        write!(
            f,
            "{} pages in {} rounds, {} sent in {} ms; downtime {:.1} ms",
            self.pages,
            self.rounds,
            size(self.bytes),
            self.total.as_millis(),
            self.downtime.as_secs_f64() * 1000.0
        )
    }
}

/// Phase of a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MigrationPhase {
    /// Connecting to the destination.
    Connecting,
    /// Pages are sent while the guest runs.
    Running,
    /// The guest is stopped; the remaining pages and the machine state are sent.
    Stopped,
    /// The commit was sent, and no answer has been received.
    InDoubt,
    /// The migration is over, with this result.
    Over(String),
}

#[derive(Debug)]
struct State {
    phase: MigrationPhase,
    round: u32,
    pages: u64,
    bytes: u64,
    /// Bytes sent when the round began.
    bytes_before: u64,
    cancelled: bool,
    started: Instant,
    listener: Option<Sender<Notice>>,
}

/// Progress of a migration; can be read from any thread.
#[derive(Debug)]
pub struct MigrationProgress {
    /// Address of the destination.
    pub to: String,
    state: Mutex<State>,
}

impl MigrationProgress {
    /// Starts the progress of a migration; `listener` also receives each progress line.
    pub fn new(to: String, listener: Option<Sender<Notice>>) -> MigrationProgress {
        let state = State {
            phase: MigrationPhase::Connecting,
            round: 0,
            pages: 0,
            bytes: 0,
            bytes_before: 0,
            cancelled: false,
            started: Instant::now(),
            listener,
        };
        MigrationProgress { to, state: Mutex::new(state) }
    }

    /// Enters another phase.
    pub fn enter(&self, phase: MigrationPhase) {
        let mut state = self.state();
        if matches!(phase, MigrationPhase::Over(_)) {
            // If this fails, the listener has disconnected.
            state.listener = None;
        }
        state.phase = phase;
    }

    /// Begins a round.
    pub fn round(&self, number: u32, pages: u64) {
        let mut state = self.state();
        (state.round, state.pages, state.bytes_before) = (number, pages, state.bytes);
        if state.phase == MigrationPhase::Connecting {
            state.phase = MigrationPhase::Running;
        }
    }

    /// Adds to the number of bytes sent.
    pub fn sent(&self, bytes: u64) {
        self.state().bytes += bytes;
    }

    /// Reports a progress line.
    pub fn note(&self, line: &str) {
        info!("{}", line.trim());
        if let Some(listener) = &self.state().listener {
            // The client that started the migration may have disconnected.
            let _ = listener.send(line.into());
        }
    }

    /// Cancels the migration; false if it is too late.
    pub fn cancel(&self) -> bool {
        let mut state = self.state();
        let in_time = matches!(state.phase, MigrationPhase::Connecting | MigrationPhase::Running);
        state.cancelled |= in_time;
        in_time
    }

    /// True if the user has cancelled the migration.
    pub fn is_cancelled(&self) -> bool {
        self.state().cancelled
    }

    /// True if the migration is over.
    pub fn is_over(&self) -> bool {
        matches!(self.state().phase, MigrationPhase::Over(_))
    }

    /// The progress in one line.
    pub fn text(&self) -> String {
        let state = self.state();
        let seconds = state.started.elapsed().as_secs_f64();
        let to = &self.to;
        match &state.phase {
            MigrationPhase::Connecting => format!("to {to}: connecting, for {seconds:.1} s"),
            MigrationPhase::Running | MigrationPhase::Stopped => {
                let how = if state.phase == MigrationPhase::Running {
                    "the guest runs"
                } else {
                    "the guest is stopped"
                };
                let in_round = state.bytes - state.bytes_before;
                format!(
                    "to {to}: round {}, {} of at most {}; {} sent in {seconds:.1} s; {how}",
                    state.round,
                    size(in_round),
                    size(state.pages * PAGE as u64),
                    size(state.bytes)
                )
            }
            MigrationPhase::InDoubt => format!(
                "to {to}: the commit was sent and no answer was received, so the guest is paused; {to} is \
                 queried. If you know that it does not run there, `resume` it here; if it does, `quit`"
            ),
            MigrationPhase::Over(end) => end.clone(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// How the last line of a migration that has failed begins.
const FAILURE: &str = "migration failed, ";

/// The last line of a migration that has failed for the reason `why`; the guest keeps running.
pub fn failure(why: &dyn std::fmt::Display) -> String {
    format!("{FAILURE}the guest keeps running on this host: {why}")
}

/// The last line of a migration whose failure `why` ends the run.
pub fn end_of_run(why: &dyn std::fmt::Display) -> String {
    format!("{FAILURE}and the run ends: {why}")
}

/// True for the last line of a migration that has failed.
pub fn is_failure(line: &str) -> bool {
    line.starts_with(FAILURE)
}

/// Formats a number of bytes with a unit.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..0x10_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn the_text_shows_the_current_phase() {
        let (sender, lines) = channel();
        let progress = MigrationProgress::new("127.0.0.1:8000".into(), Some(sender));
        assert!(progress.text().starts_with("to 127.0.0.1:8000: connecting"));
        progress.note("-----> starting migration");
        progress.round(1, 512);
        progress.sent(1 << 20);
        let text = progress.text();
        assert!(
            text.starts_with("to 127.0.0.1:8000: round 1, 1.0 MiB of at most 2.0 MiB; 1.0 MiB sent"),
            "{text}"
        );
        assert!(text.ends_with("the guest runs"), "{text}");
        assert!(progress.cancel() && progress.is_cancelled());
        progress.enter(MigrationPhase::Stopped);
        assert!(!progress.cancel(), "too late");
        progress.enter(MigrationPhase::Over("done".into()));
        assert_eq!((progress.text(), progress.is_over()), ("done".into(), true));
        assert_eq!(lines.iter().collect::<Vec<_>>(), ["-----> starting migration".into()]);
    }

    #[test]
    fn failures_are_recognized_whether_the_run_goes_on_or_ends() {
        assert!(is_failure(&failure(&"cancelled")) && is_failure(&end_of_run(&"memory is lost")));
        assert!(!is_failure("-----> migration complete.") && !is_failure("the guest has moved to a:1"));
    }
}
