//! The commit decision: which host runs the guest. Made once, at the destination.
//!
//! The source stops the guest, sends everything, and hands the guest over with [`FrameKind::Commit`]. After
//! that the source alone cannot determine the outcome, because the answer may be lost. The destination
//! therefore decides once, and every query gets the same answer. The first of three events decides:
//!
//! - The commit arrives: the guest runs on the destination.
//! - The connection ends without a commit: the guest never runs on the destination.
//! - The source queries over another connection: the guest never runs on the destination.
//!
//! A source queries only after it has sent its commit. Before that it may resume the guest without asking;
//! docs/migration.md explains the consequences.
//!
//! [`FrameKind::Commit`]: super::frame::FrameKind::Commit

use std::sync::atomic::{AtomicU8, Ordering};

const OPEN: u8 = 0;
const TAKEN: u8 = 1;
const GIVEN_UP: u8 = 2;

/// The commit decision of one migration, pending or made.
#[derive(Debug, Default)]
pub struct CommitDecision(AtomicU8);

impl CommitDecision {
    /// Decides that the guest runs here, unless the opposite is already decided. Returns true if it runs
    /// here.
    pub fn commit(&self) -> bool {
        self.decide(TAKEN) == TAKEN
    }

    /// Decides that the guest never runs here, unless the opposite is already decided. Returns true if it
    /// never does.
    pub fn abort(&self) -> bool {
        self.decide(GIVEN_UP) == GIVEN_UP
    }

    /// Returns the decision; makes it `wanted` if it is still pending.
    fn decide(&self, wanted: u8) -> u8 {
        match self.0.compare_exchange(OPEN, wanted, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => wanted,
            Err(decided) => decided,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn the_first_decision_stands() {
        let decision = CommitDecision::default();
        assert!(decision.commit());
        assert!(!decision.abort());
        assert!(decision.commit());
        let decision = CommitDecision::default();
        assert!(decision.abort());
        assert!(!decision.commit());
    }

    #[test]
    fn concurrent_decisions_agree() {
        for _ in 0..200 {
            let decision = Arc::new(CommitDecision::default());
            let other = decision.clone();
            let thread = thread::spawn(move || other.abort());
            let taken = decision.commit();
            assert_ne!(taken, thread.join().unwrap());
        }
    }
}
