//! Accesses to ports and addresses nobody claims: counted, told once, never fatal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::devices::{Snapshot, StateError};

/// Most different places that are told one by one; the rest is only counted.
const MOST_PLACES: usize = 256;

/// A place nobody claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Place {
    Port(u16),
    Memory(u64),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Port(port) => write!(f, "port {port:#06x}"),
            Place::Memory(address) => write!(f, "address {address:#x}"),
        }
    }
}

/// Reads and writes of one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    reads: u64,
    writes: u64,
}

/// What the guest tried where nobody answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unclaimed {
    counts: BTreeMap<Place, Count>,
    others: Count,
}

impl Unclaimed {
    /// The guest read a port nobody claims.
    pub fn port_read(&mut self, port: u16) {
        self.count(Place::Port(port), "read", |count| &mut count.reads);
    }

    /// The guest wrote a port nobody claims.
    pub fn port_write(&mut self, port: u16) {
        self.count(Place::Port(port), "write", |count| &mut count.writes);
    }

    /// The guest read an address nobody claims.
    pub fn memory_read(&mut self, address: u64) {
        self.count(Place::Memory(address), "read", |count| &mut count.reads);
    }

    /// The guest wrote an address nobody claims.
    pub fn memory_write(&mut self, address: u64) {
        self.count(Place::Memory(address), "write", |count| &mut count.writes);
    }

    fn count(&mut self, place: Place, access: &str, field: impl Fn(&mut Count) -> &mut u64) {
        let known = self.counts.len();
        match self.counts.entry(place) {
            std::collections::btree_map::Entry::Occupied(mut entry) => *field(entry.get_mut()) += 1,
            std::collections::btree_map::Entry::Vacant(entry) if known < MOST_PLACES => {
                warn!("nobody claims {place}: first {access} (told once; counted from here on)");
                *field(entry.insert(Count::default())) += 1;
            }
            std::collections::btree_map::Entry::Vacant(_) => *field(&mut self.others) += 1,
        }
    }

    /// Writes the totals to the log.
    pub fn log_totals(&self) {
        for (place, count) in &self.counts {
            warn!("nobody claims {place}: read {}, written {} times in all", count.reads, count.writes);
        }
        if self.others.reads + self.others.writes > 0 {
            warn!(
                "nobody claims more than {MOST_PLACES} places: others read {}, written {} times in all",
                self.others.reads, self.others.writes
            );
        }
    }
}

impl Snapshot for Unclaimed {
    const KIND: &'static str = "unclaimed";
    const VERSION: u16 = 1;
    type State = Unclaimed;

    fn state(&self) -> Unclaimed {
        self.clone()
    }

    fn set_state(&mut self, state: Unclaimed) -> Result<(), StateError> {
        if state.counts.len() > MOST_PLACES {
            let reason = format!("{} places; there are at most {MOST_PLACES}", state.counts.len());
            return Err(StateError::Damaged { kind: Self::KIND, reason });
        }
        *self = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_survives_save_and_restore() {
        let mut unclaimed = Unclaimed::default();
        unclaimed.port_read(0x61);
        unclaimed.memory_write(0xFEC0_0000);
        let mut copy = Unclaimed::default();
        copy.restore(&unclaimed.save()).unwrap();
        assert_eq!(copy, unclaimed);
        for place in 0..300 {
            unclaimed.counts.insert(Place::Port(place), Count::default());
        }
        assert!(copy.restore(&unclaimed.save()).is_err());
    }

    #[test]
    fn a_guest_that_tries_everything_does_not_grow_the_table_without_bound() {
        let mut unclaimed = Unclaimed::default();
        for address in 0..10_000 {
            unclaimed.memory_read(address * 8);
            unclaimed.port_write(0x61);
        }
        assert_eq!(unclaimed.counts.len(), MOST_PLACES);
        assert_eq!(unclaimed.counts[&Place::Port(0x61)].writes, 10_000);
        assert_eq!(unclaimed.others.reads, 10_000 - MOST_PLACES as u64 + 1);
    }
}
