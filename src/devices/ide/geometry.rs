//! Cylinders, heads and sectors.

use serde::{Deserialize, Serialize};

/// Sectors that an address of 28 bits reaches at most; IDENTIFY DEVICE reports no more as its capacity.
pub(super) const MOST_28: u64 = 0x0FFF_FFFF;
/// Sectors that the default translation reaches: 16,383 cylinders.
const MOST_CHS: u64 = 16_383 * 16 * 63;

/// A translation of sector numbers into cylinders, heads and sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Translation {
    pub(super) cylinders: u16,
    pub(super) heads: u8,
    pub(super) sectors: u8,
}

impl Translation {
    /// The default translation of a disk with this many sectors (ATA/ATAPI-6, annex C: 63 sectors, 16 heads and at
    /// most 16,383 cylinders). A disk that is smaller than a cylinder has one that is not all there.
    pub(super) fn default_of(capacity: u64) -> Translation {
        Translation::new(capacity, 16, 63)
    }

    /// The translation with this many heads (1 to 16) and sectors (1 to 255) of a disk with `capacity` sectors.
    pub(super) fn new(capacity: u64, heads: u8, sectors: u8) -> Translation {
        let cylinders = capacity.min(MOST_CHS) / (u64::from(heads) * u64::from(sectors));
        Translation { cylinders: cylinders.clamp(1, 65_535) as u16, heads, sectors }
    }

    /// Sectors that it reaches on a disk with `capacity` sectors.
    pub(super) fn reach(self, capacity: u64) -> u64 {
        capacity.min(u64::from(self.cylinders) * u64::from(self.heads) * u64::from(self.sectors))
    }

    /// Number of a sector; `None` if the translation has none of this address.
    pub(super) fn lba(self, (cylinder, head, sector): (u16, u8, u8)) -> Option<u64> {
        let exists = cylinder < self.cylinders && head < self.heads && (1..=self.sectors).contains(&sector);
        let track = u64::from(cylinder) * u64::from(self.heads) + u64::from(head);
        exists.then(|| track * u64::from(self.sectors) + u64::from(sector) - 1)
    }

    /// Address of a sector; the cylinder is cut off if the translation does not reach it.
    pub(super) fn chs(self, lba: u64) -> (u16, u8, u8) {
        let (track, sector) = (lba / u64::from(self.sectors), lba % u64::from(self.sectors));
        let (cylinder, head) = (track / u64::from(self.heads), track % u64::from(self.heads));
        (cylinder as u16, head as u8, sector as u8 + 1)
    }

    pub(super) fn check(self) -> Result<(), &'static str> {
        let possible = self.cylinders > 0 && (1..=16).contains(&self.heads) && self.sectors > 0;
        possible.then_some(()).ok_or("the translation has no sectors")
    }
}
