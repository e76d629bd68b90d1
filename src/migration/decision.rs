//! Who has the guest: decided once, at the destination.
//!
//! The source stops the guest, sends everything, and lets go with [`Kind::Commit`]. From then on it cannot
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
//! [`Kind::Commit`]: super::frame::Kind::Commit

use std::sync::atomic::{AtomicU8, Ordering};

const OPEN: u8 = 0;
const TAKEN: u8 = 1;
const GIVEN_UP: u8 = 2;

/// A decision that is still to be made, or has been.
#[derive(Debug, Default)]
pub struct Decision(AtomicU8);

impl Decision {
    /// The guest runs here, unless it has been decided otherwise. True if it does.
    pub fn take(&self) -> bool {
        self.settle(TAKEN) == TAKEN
    }

    /// The guest will never run here, unless it has been decided otherwise. True if it will not.
    pub fn give_up(&self) -> bool {
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
        let decision = Decision::default();
        assert!(decision.take());
        assert!(!decision.give_up());
        assert!(decision.take());
        let decision = Decision::default();
        assert!(decision.give_up());
        assert!(!decision.take());
    }

    #[test]
    fn two_who_decide_at_once_agree() {
        for _ in 0..200 {
            let decision = Arc::new(Decision::default());
            let other = decision.clone();
            let thread = thread::spawn(move || other.give_up());
            let taken = decision.take();
            assert_ne!(taken, thread.join().unwrap());
        }
    }
}
