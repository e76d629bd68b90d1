//! Accesses to unassigned ports and addresses: answered as an idle bus would, counted, logged once per port or
//! address, never fatal.
//!
//! The board routes here whatever its other devices do not decode; offsets are port numbers and addresses.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{Action, Device, OPEN_BUS, Snapshot, StateError};

/// Most places that are logged and counted one by one; accesses to others are only counted together.
const MAX_PLACES: usize = 256;

/// An unassigned port or address.
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

/// What an unassigned address in memory reads as.
const OPEN_MEMORY: u64 = 0;

/// Counts of the guest's accesses to unassigned ports and addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnassignedAccesses {
    counts: BTreeMap<Place, Count>,
    others: Count,
}

impl UnassignedAccesses {
    fn count(&mut self, place: Place, access: &str, field: impl Fn(&mut Count) -> &mut u64) {
        let known = self.counts.len();
        match self.counts.entry(place) {
            std::collections::btree_map::Entry::Occupied(mut entry) => *field(entry.get_mut()) += 1,
            std::collections::btree_map::Entry::Vacant(entry) if known < MAX_PLACES => {
                warn!("unassigned {place}: first {access} (logged once; further accesses are counted)");
                *field(entry.insert(Count::default())) += 1;
            }
            std::collections::btree_map::Entry::Vacant(_) => *field(&mut self.others) += 1,
        }
    }

    /// Writes the totals to the log.
    pub fn log_totals(&self) {
        for (place, count) in &self.counts {
            warn!("unassigned {place}: read {}, written {} times in all", count.reads, count.writes);
        }
        if self.others.reads + self.others.writes > 0 {
            warn!(
                "unassigned places beyond the first {MAX_PLACES}: read {}, written {} times in all",
                self.others.reads, self.others.writes
            );
        }
    }
}

impl Device for UnassignedAccesses {
    fn read(&mut self, port: u16) -> (u8, Action) {
        self.count(Place::Port(port), "read", |count| &mut count.reads);
        (OPEN_BUS, Action::NONE)
    }

    fn write(&mut self, port: u16, _value: u8) -> Action {
        self.count(Place::Port(port), "write", |count| &mut count.writes);
        Action::NONE
    }

    fn mmio_read(&mut self, address: u64, _size: u8) -> Option<(u64, Action)> {
        self.count(Place::Memory(address), "read", |count| &mut count.reads);
        Some((OPEN_MEMORY, Action::NONE))
    }

    fn mmio_write(&mut self, address: u64, _size: u8, _value: u64) -> Option<Action> {
        self.count(Place::Memory(address), "write", |count| &mut count.writes);
        Some(Action::NONE)
    }
}

impl Snapshot for UnassignedAccesses {
    /// The name it has in snapshot files since their first version.
    const KIND: &'static str = "unclaimed";
    const VERSION: u16 = 1;
    type State = UnassignedAccesses;

    fn state(&self) -> UnassignedAccesses {
        self.clone()
    }

    fn set_state(&mut self, state: UnassignedAccesses) -> Result<(), StateError> {
        if state.counts.len() > MAX_PLACES {
            let reason = format!("{} places; there are at most {MAX_PLACES}", state.counts.len());
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
    fn counts_survive_save_and_restore() {
        let mut unassigned = UnassignedAccesses::default();
        let _ = unassigned.read(0x61);
        let _ = unassigned.mmio_write(0xFEC0_0000, 4, 0);
        let mut copy = UnassignedAccesses::default();
        copy.restore(&unassigned.save()).unwrap();
        assert_eq!(copy, unassigned);
        for place in 0..300 {
            unassigned.counts.insert(Place::Port(place), Count::default());
        }
        assert!(copy.restore(&unassigned.save()).is_err());
    }

    #[test]
    fn accesses_everywhere_do_not_grow_the_table_without_bound() {
        let mut unassigned = UnassignedAccesses::default();
        for address in 0..10_000 {
            let _ = unassigned.mmio_read(address * 8, 4);
            let _ = unassigned.write(0x61, 0);
        }
        assert_eq!(unassigned.counts.len(), MAX_PLACES);
        assert_eq!(unassigned.counts[&Place::Port(0x61)].writes, 10_000);
        assert_eq!(unassigned.others.reads, 10_000 - MAX_PLACES as u64 + 1);
    }
}
