//! Protected pages of RAM: holes in memory slots, so that accesses to them are exits.
//!
//! KVM protects a slot as a whole. A block of RAM with protected pages is therefore split into several slots: writable
//! ones, read-only ones, and a hole where accesses of any kind should exit. KVM neither splits a slot nor changes
//! its protection, so slots that change are detached and attached anew. A block without protected pages is one slot
//! again.
//!
//! Manual: KVM_SET_USER_MEMORY_REGION in api.rst.

use std::ops::Range;

use crate::arch::PAGE_SIZE;

use super::{AttachedSlots, GuestMemory, MemoryError, MemorySlot};

/// Largest number of ranges of pages that are protected at a time. Each may take two more slots, and Linux before
/// 5.12 has 509 of them.
pub const MAX_PROTECTED_RANGES: usize = 128;

/// How pages are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// Writes are MMIO exits; reads and fetches access RAM.
    ReadOnly,
    /// Reads and writes are MMIO exits; instructions cannot be fetched.
    Removed,
}

/// A range of protected pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedPages {
    /// Guest-physical addresses, multiples of [`PAGE_SIZE`].
    pub pages: Range<u64>,
    /// How they are protected.
    pub how: Protection,
}

/// How KVM maps a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotMapping {
    /// The slot.
    pub slot: MemorySlot,
    /// Writes to it are exits.
    pub read_only: bool,
}

/// A step by which KVM gets from one set of mappings to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotChange {
    /// Unmap this slot.
    Detach(SlotMapping),
    /// Map this slot.
    Attach(SlotMapping),
}

impl AttachedSlots {
    /// Protects exactly the pages `wanted`, ascending and at most [`MAX_PROTECTED_RANGES`] ranges. Returns the
    /// changes that the caller has to make, in this order. Blocks that are attached later are protected, too.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotRam`] for ranges that are not RAM, not whole pages or not ascending;
    /// [`MemoryError::TooManyRanges`] for too many of them. Nothing has changed then.
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
        let mut blocks: Vec<MemorySlot> = Vec::new();
        for ProtectedPages { pages, .. } in before.iter().chain(&self.protected) {
            let mut address = pages.start;
            while address < pages.end
                && let Some(block) = memory.slot_at(address)
            {
                address = block.guest + block.size;
                if self.numbers.contains(&block.number) && !blocks.contains(&block) {
                    blocks.push(block);
                }
            }
        }
        let mut changes = Vec::new();
        let mut wanted = Vec::new();
        for block in blocks {
            let mappings = self.split(&block);
            let known: Vec<SlotMapping> = if before.iter().any(|range| overlaps(range, &block)) {
                self.split.iter().filter(|mapping| lies_in(mapping, &block)).copied().collect()
            } else {
                vec![SlotMapping { slot: block, read_only: false }]
            };
            let same = |one: &SlotMapping, other: &SlotMapping| {
                (one.slot.guest, one.slot.size, one.read_only)
                    == (other.slot.guest, other.slot.size, other.read_only)
            };
            for mapping in &known {
                if !mappings.iter().any(|other| same(mapping, other)) {
                    changes.push(SlotChange::Detach(*mapping));
                    self.split.retain(|other| other != mapping);
                }
            }
            wanted.extend(
                mappings.into_iter().filter(|mapping| !known.iter().any(|other| same(mapping, other))),
            );
        }
        for mapping in wanted {
            changes.push(SlotChange::Attach(self.numbered(memory, mapping)));
        }
        Ok(changes)
    }

    /// The mappings for a block that becomes attached.
    pub(super) fn attach(&mut self, memory: &GuestMemory, block: MemorySlot) -> Vec<SlotMapping> {
        self.split(&block).into_iter().map(|mapping| self.numbered(memory, mapping)).collect()
    }

    /// All mappings that there are, as they were returned.
    pub fn attached(&self, memory: &GuestMemory) -> Vec<SlotMapping> {
        let blocks = self.numbers.iter().filter_map(|number| memory.block(*number));
        let returned = |mapping: SlotMapping| {
            let known = self.split.iter().find(|known| known.slot.guest == mapping.slot.guest);
            known.copied().unwrap_or(mapping)
        };
        blocks.flat_map(|block| self.split(&block)).map(returned).collect()
    }

    /// Splits a block at its protected pages. All mappings have the number of the block.
    fn split(&self, block: &MemorySlot) -> Vec<SlotMapping> {
        let mut mappings = Vec::new();
        let mut add = |from: u64, to: u64, read_only| {
            if from < to {
                let slot = MemorySlot {
                    guest: from,
                    size: to - from,
                    host: block.host + (from - block.guest),
                    number: block.number,
                };
                mappings.push(SlotMapping { slot, read_only });
            }
        };
        let (mut done, end) = (block.guest, block.guest + block.size);
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
        mappings
    }

    /// Gives a mapping its slot number: that of the block if it is a whole one, else a number that no other slot has.
    fn numbered(&mut self, memory: &GuestMemory, mapping: SlotMapping) -> SlotMapping {
        if memory.slot_at(mapping.slot.guest) == Some(mapping.slot) && !mapping.read_only {
            return mapping;
        }
        let mut number = memory.first_free_slot() + u32::from(memory.has_rom());
        while self.split.iter().any(|other| other.slot.number == number) {
            number += 1;
        }
        let mapping = SlotMapping { slot: MemorySlot { number, ..mapping.slot }, ..mapping };
        self.split.push(mapping);
        mapping
    }
}

fn overlaps(range: &ProtectedPages, block: &MemorySlot) -> bool {
    range.pages.start < block.guest + block.size && block.guest < range.pages.end
}

fn lies_in(mapping: &SlotMapping, block: &MemorySlot) -> bool {
    (block.guest..block.guest + block.size).contains(&mapping.slot.guest)
}

fn check(memory: &GuestMemory, wanted: &[ProtectedPages]) -> Result<(), MemoryError> {
    if wanted.len() > MAX_PROTECTED_RANGES {
        return Err(MemoryError::TooManyRanges { ranges: wanted.len() });
    }
    let mut end = 0;
    for ProtectedPages { pages, .. } in wanted {
        let length = pages.end.saturating_sub(pages.start);
        let whole = pages.start.is_multiple_of(PAGE_SIZE) && length.is_multiple_of(PAGE_SIZE) && length > 0;
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
