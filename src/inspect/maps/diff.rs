//! What has changed between two maps.

use std::fmt;

use serde::Serialize;

use super::{DescribedRange, MapRange, Maps, describer, write_limit};
use crate::inspect::hex;
use crate::inspect::names::Names;
use crate::memory::GuestMemory;

/// What the second of two maps has lost and gained, exactly: a page that is taken out of a large range is one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MapsDiff {
    /// The changes, by their virtual addresses; what is lost comes before what is gained there.
    pub changes: Vec<MapChange>,
    /// The paging modes, if they differ.
    pub modes: Option<(String, String)>,
    /// The values of CR3, if they differ.
    #[serde(serialize_with = "hex::pair")]
    pub roots: Option<(u64, u64)>,
    /// Where reading has stopped in one of the two; nothing is said about what lies behind.
    #[serde(serialize_with = "hex::optional")]
    pub stopped_at: Option<u64>,
}

/// A range that only one of two maps has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MapChange {
    /// It is gained, not lost.
    pub is_new: bool,
    /// The range.
    #[serde(flatten)]
    pub range: DescribedRange,
}

impl MapsDiff {
    /// What `after` has lost and gained since `before`.
    pub fn between(before: &Maps, after: &Maps, memory: &GuestMemory, names: &dyn Names) -> MapsDiff {
        let stopped_at = before.stopped_at.into_iter().chain(after.stopped_at).min();
        let end = stopped_at.map_or(u64::MAX, |at| at.saturating_sub(1));
        let mut lost = only_in(&before.ranges, &after.ranges, end);
        let mut gained = only_in(&after.ranges, &before.ranges, end);
        let describe = describer(memory, names);
        let mut changes: Vec<MapChange> = lost
            .drain(..)
            .map(|range| (false, range))
            .chain(gained.drain(..).map(|range| (true, range)))
            .map(|(is_new, range)| MapChange { is_new, range: describe(&range) })
            .collect();
        changes.sort_by_key(|change| (change.range.range.start, change.is_new));
        MapsDiff {
            changes,
            modes: (before.mode != after.mode).then(|| (before.mode.clone(), after.mode.clone())),
            roots: (before.cr3 != after.cr3).then_some((before.cr3, after.cr3)),
            stopped_at,
        }
    }
}

/// The parts of the ranges `of`, up to the address `end`, that `others` do not map in the same way. Both are ascending.
fn only_in(of: &[MapRange], others: &[MapRange], end: u64) -> Vec<MapRange> {
    let mut found: Vec<MapRange> = Vec::new();
    let mut first = 0;
    for range in of.iter().filter(|range| range.start <= end) {
        let last = range.last.min(end);
        // Ranges that end before this one are before all that follow, too.
        while others.get(first).is_some_and(|other| other.last < range.start) {
            first += 1;
        }
        let mut rest = Some(range.start);
        for other in others[first..].iter().take_while(|other| other.start <= last) {
            let Some(at) = rest else { break };
            if !range.is_mapped_like(other) {
                continue;
            }
            if other.start > at {
                found.push(range.part(at, other.start - 1));
            }
            rest = other.last.checked_add(1).filter(|next| *next <= last);
        }
        found.extend(rest.map(|at| range.part(at, last)));
    }
    found
}

impl MapRange {
    /// True if an address in both ranges is mapped to the same place in the same way.
    fn is_mapped_like(&self, other: &MapRange) -> bool {
        self.attributes == other.attributes
            && self.page_size == other.page_size
            && self.physical.wrapping_sub(self.start) == other.physical.wrapping_sub(other.start)
    }

    fn part(&self, start: u64, last: u64) -> MapRange {
        MapRange { start, last, physical: self.physical_of(start), ..*self }
    }
}

impl fmt::Display for MapsDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((before, after)) = &self.modes {
            writeln!(f, "- {before}\n+ {after}")?;
        }
        if let Some((before, after)) = self.roots {
            writeln!(f, "- CR3 {before:#x}\n+ CR3 {after:#x}")?;
        }
        for change in &self.changes {
            writeln!(f, "{} {}", if change.is_new { '+' } else { '-' }, change.range)?;
        }
        if self.changes.is_empty() && self.modes.is_none() && self.roots.is_none() {
            writeln!(f, "nothing has changed")?;
        }
        write_limit(f, self.stopped_at)
    }
}
