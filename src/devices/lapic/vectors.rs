//! A set of interrupt vectors: IRR, ISR and TMR of a local APIC, as eight 32-bit registers.

use serde::{Deserialize, Serialize};

/// The first vector that an APIC can deliver; the lower ones are illegal.
pub(super) const FIRST_LEGAL: u8 = 16;

/// A set of vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VectorSet([u32; 8]);

impl VectorSet {
    /// Register `index` (0 to 7), with vectors 32 * `index` and up.
    pub(super) fn register(&self, index: usize) -> u32 {
        self.0[index]
    }

    pub(super) fn contains(&self, vector: u8) -> bool {
        self.0[usize::from(vector / 32)] >> (vector % 32) & 1 == 1
    }

    pub(super) fn set(&mut self, vector: u8, member: bool) {
        let register = &mut self.0[usize::from(vector / 32)];
        *register = *register & !(1 << (vector % 32)) | u32::from(member) << (vector % 32);
    }

    pub(super) fn highest(&self) -> Option<u8> {
        let index = self.0.iter().rposition(|register| *register != 0)?;
        Some((index * 32) as u8 + self.0[index].ilog2() as u8)
    }

    /// Takes all members, in ascending order.
    pub(super) fn take(&mut self) -> impl Iterator<Item = u8> + use<> {
        let taken = std::mem::take(self);
        (0..=255).filter(move |vector| taken.contains(*vector))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0 == [0; 8]
    }

    /// True if no member is an illegal vector.
    pub(super) fn is_legal(&self) -> bool {
        self.0[0] & ((1 << FIRST_LEGAL) - 1) == 0
    }
}
