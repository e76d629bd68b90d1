//! Pages of RAM that KVM is not to write, or not to know at all, so that accesses to them come out.
//!
//! KVM protects a slot as a whole. A piece of RAM with protected pages in it is therefore attached in
//! parts: plain ones, read-only ones, and none where a page is to be unknown. KVM neither cuts slots
//! nor changes how one is protected, so parts that are to be different ones are detached first and
//! attached anew; when the last protected page goes the piece is whole again.
//!
//! Manual: KVM_SET_USER_MEMORY_REGION in api.rst.

use std::ops::Range;

use crate::arch::PAGE_SIZE;

use super::{AttachedSlots, GuestMemory, MemoryError, MemorySlot};

/// Size of the smallest page in bytes: what can be protected by itself.
pub const PAGE: u64 = PAGE_SIZE;

/// Most ranges of pages that are protected at once. Each may cost two slots more, and Linux before 5.12
/// has 509 of them.
pub const MAX_PROTECTED_RANGES: usize = 128;

/// How pages are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// Writes come out as accesses to a device; reads and fetches are those of RAM.
    ReadOnly,
    /// Reads and writes come out as accesses to a device; no instruction can be fetched there.
    Removed,
}

/// Pages that are protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedPages {
    /// Guest-physical addresses, multiples of [`PAGE`].
    pub pages: Range<u64>,
    /// How they are protected.
    pub how: Protection,
}

/// A slot as KVM is to know it: a piece of RAM, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotMapping {
    /// Where it is.
    pub slot: MemorySlot,
    /// Whether writes to it come out.
    pub read_only: bool,
}

/// What is to be told to KVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotChange {
    /// It is to forget this part.
    Detach(SlotMapping),
    /// It is to know this part.
    Attach(SlotMapping),
}

impl AttachedSlots {
    /// Protects exactly the pages `wanted`, ascending and at most [`MAX_PROTECTED_RANGES`] ranges: what is to be
    /// told to KVM for that, in this order. Pieces that are attached later are protected, too.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotRam`] for pages that are not, or not whole or not ascending;
    /// [`MemoryError::TooManyRanges`] for too many. Nothing is changed then.
    pub fn protect(
        &mut self,
        memory: &GuestMemory,
        wanted: Vec<ProtectedPages>,
    ) -> Result<Vec<SlotChange>, MemoryError> {
        check(memory, &wanted)?;
        if wanted == self.protected {
            return Ok(Vec::new());
        }
        let before = std::mem::replace(&mut self.protected, wanted);
        let mut pieces: Vec<MemorySlot> = Vec::new();
        for ProtectedPages { pages, .. } in before.iter().chain(&self.protected) {
            let mut address = pages.start;
            while address < pages.end
                && let Some(piece) = memory.slot_at(address)
            {
                address = piece.guest + piece.size;
                if self.numbers.contains(&piece.number) && !pieces.contains(&piece) {
                    pieces.push(piece);
                }
            }
        }
        let mut changes = Vec::new();
        let mut wanted = Vec::new();
        for piece in pieces {
            let parts = self.parts(&piece);
            let known: Vec<SlotMapping> = if before.iter().any(|range| overlaps(range, &piece)) {
                self.carved.iter().filter(|part| lies_in(part, &piece)).copied().collect()
            } else {
                vec![SlotMapping { slot: piece, read_only: false }]
            };
            let same = |one: &SlotMapping, other: &SlotMapping| {
                (one.slot.guest, one.slot.size, one.read_only)
                    == (other.slot.guest, other.slot.size, other.read_only)
            };
            for part in &known {
                if !parts.iter().any(|other| same(part, other)) {
                    changes.push(SlotChange::Detach(*part));
                    self.carved.retain(|other| other != part);
                }
            }
            wanted.extend(parts.into_iter().filter(|part| !known.iter().any(|other| same(part, other))));
        }
        for part in wanted {
            changes.push(SlotChange::Attach(self.number(memory, part)));
        }
        Ok(changes)
    }

    /// What KVM is to know of a piece that it has not known so far.
    pub(super) fn attach(&mut self, memory: &GuestMemory, piece: MemorySlot) -> Vec<SlotMapping> {
        self.parts(&piece).into_iter().map(|part| self.number(memory, part)).collect()
    }

    /// All that KVM knows, as it was told.
    pub fn attached(&self, memory: &GuestMemory) -> Vec<SlotMapping> {
        let pieces = self.numbers.iter().filter_map(|number| memory.piece(*number));
        let told = |part: SlotMapping| {
            let carved = self.carved.iter().find(|carved| carved.slot.guest == part.slot.guest);
            carved.copied().unwrap_or(part)
        };
        pieces.flat_map(|piece| self.parts(&piece)).map(told).collect()
    }

    /// `piece` as its protected pages cut it.
    fn parts(&self, piece: &MemorySlot) -> Vec<SlotMapping> {
        let mut parts = Vec::new();
        let mut add = |from: u64, to: u64, read_only| {
            if from < to {
                let slot = MemorySlot {
                    guest: from,
                    size: to - from,
                    host: piece.host + (from - piece.guest),
                    number: piece.number,
                };
                parts.push(SlotMapping { slot, read_only });
            }
        };
        let (mut done, end) = (piece.guest, piece.guest + piece.size);
        for ProtectedPages { pages, how } in &self.protected {
            let (from, to) = (pages.start.max(done), pages.end.min(end));
            if from < to {
                add(done, from, false);
                if *how == Protection::ReadOnly {
                    add(from, to, true);
                }
                done = to;
            }
        }
        add(done, end, false);
        parts
    }

    /// Gives a part a number: a whole piece has its own, others get one that no piece has.
    fn number(&mut self, memory: &GuestMemory, part: SlotMapping) -> SlotMapping {
        if memory.slot_at(part.slot.guest) == Some(part.slot) && !part.read_only {
            return part;
        }
        let mut number = memory.first_free_slot();
        while self.carved.iter().any(|other| other.slot.number == number) {
            number += 1;
        }
        let part = SlotMapping { slot: MemorySlot { number, ..part.slot }, ..part };
        self.carved.push(part);
        part
    }
}

fn overlaps(range: &ProtectedPages, piece: &MemorySlot) -> bool {
    range.pages.start < piece.guest + piece.size && piece.guest < range.pages.end
}

fn lies_in(part: &SlotMapping, piece: &MemorySlot) -> bool {
    (piece.guest..piece.guest + piece.size).contains(&part.slot.guest)
}

fn check(memory: &GuestMemory, wanted: &[ProtectedPages]) -> Result<(), MemoryError> {
    if wanted.len() > MAX_PROTECTED_RANGES {
        return Err(MemoryError::TooManyRanges { ranges: wanted.len() });
    }
    let mut end = 0;
    for ProtectedPages { pages, .. } in wanted {
        let length = pages.end.saturating_sub(pages.start);
        let whole = pages.start.is_multiple_of(PAGE) && length.is_multiple_of(PAGE) && length > 0;
        if !whole || pages.start < end || !memory.is_ram(pages.start, length) {
            return Err(MemoryError::NotRam { start: pages.start, length });
        }
        end = pages.end;
    }
    Ok(())
}

#[cfg(test)]
#[path = "slot_holes_test.rs"]
mod tests;
