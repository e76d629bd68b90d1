//! The pages that hold the page tables in use.

use std::collections::BTreeSet;

use super::entry_bits::{ADDRESS, LARGE, PRESENT};
use super::{Paging, PagingMode};
use crate::arch::{PAGE_SIZE, PhysicalMemory};

/// Most tables that are visited; a large guest with many address spaces may have more.
const MOST_TABLES: usize = 4096;

impl Paging {
    /// Guest-physical addresses of the pages that hold the tables in use;
    /// `None` if there are more than 4096.
    pub fn table_pages(&self, memory: &dyn PhysicalMemory) -> Option<BTreeSet<u64>> {
        let mut pages = BTreeSet::new();
        let (levels, entry_size) = match self.mode {
            PagingMode::None => return Some(pages),
            PagingMode::ThirtyTwoBit => (2, 4),
            PagingMode::Pae => (3, 8),
            PagingMode::Long(levels) => (levels, 8),
        };
        // Of each table its address and its level; 0 is the last.
        let mut waiting = vec![(self.root & ADDRESS, levels - 1)];
        while let Some((table, level)) = waiting.pop() {
            if !pages.insert(table) || level == 0 {
                continue;
            }
            if pages.len() > MOST_TABLES {
                return None;
            }
            let mut bytes = [0; PAGE_SIZE as usize];
            if !memory.read_bytes(table, &mut bytes) {
                continue;
            }
            let plain = self.mode == PagingMode::Pae && level == 2;
            // The first table of PAE paging is a part of its page: four entries.
            let start = (self.root & 0xFE0) as usize;
            let entries = if plain { &bytes[start..start + 32] } else { &bytes[..] };
            for entry in entries.chunks_exact(entry_size) {
                let entry = entry.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
                let large = !plain && entry & LARGE != 0 && self.may_be_large(level);
                if entry & PRESENT != 0 && !large {
                    waiting.push((self.base(entry, 0), level - 1));
                }
            }
        }
        Some(pages)
    }
}

#[cfg(test)]
#[path = "tables_test.rs"]
mod tests;
