//! Who has the guest: decided once, at the destination.
//!
//! The source stops the guest, sends everything, and lets go with [`FrameKind::Commit`]. From then on it cannot
//! know by itself what has become of it: the answer may be lost. So the destination alone decides, once,
//! and whoever asks is told the same for ever. Three things decide, whichever comes first:
//!
//! - the commit has arrived: the guest runs here;
//! - the connection has ended without one: it never will;
//! - the source asks over another connection: it never will.
//!
//! Nothing asks before the source has sent its commit, and before that it may go on by itself; see
//! docs/migration.md for what follows from this.
//!
//! [`FrameKind::Commit`]: super::frame::FrameKind::Commit

use std::sync::atomic::{AtomicU8, Ordering};

const OPEN: u8 = 0;
const TAKEN: u8 = 1;
const GIVEN_UP: u8 = 2;

/// A decision that is still to be made, or has been.
#[derive(Debug, Default)]
pub struct CommitDecision(AtomicU8);

impl CommitDecision {
    /// The guest runs here, unless it has been decided otherwise. True if it does.
    pub fn commit(&self) -> bool {
        self.settle(TAKEN) == TAKEN
    }

    /// The guest will never run here, unless it has been decided otherwise. True if it will not.
    pub fn abort(&self) -> bool {
        self.settle(GIVEN_UP) == GIVEN_UP
    }

    /// The decision, which is `wanted` if there was none.
    fn settle(&self, wanted: u8) -> u8 {
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
    fn two_who_decide_at_once_agree() {
        for _ in 0..200 {
            let decision = Arc::new(CommitDecision::default());
            let other = decision.clone();
            let thread = thread::spawn(move || other.abort());
            let taken = decision.commit();
            assert_ne!(taken, thread.join().unwrap());
        }
    }
}
