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
mod tests {
    use super::*;
    use crate::arch::Registers;
    use crate::arch::test_ram::TestRam;

    fn long_mode() -> Registers {
        let mut registers = Registers::default();
        (registers.system.cr0, registers.system.cr3) = (1 << 31 | 1, 0x1018);
        (registers.system.cr4, registers.system.efer) = (1 << 5, 1 << 10);
        registers
    }

    #[test]
    fn tables_are_found_and_mapped_pages_are_not_among_them() {
        let memory = TestRam::new(1 << 20);
        for (at, entry) in [
            (0x1000, 0x2003),
            // A table of tables that is its own.
            (0x1FF8, 0x1003),
            (0x2000, 0x3003),
            (0x3000, 0x4003),
            (0x3008, 0x20_0083),
            (0x3010, 0x8002),
            (0x4000, 0x9003),
        ] {
            memory.write_u64(at, entry);
        }
        let paging = Paging::new(&long_mode(), Paging::WIDEST);
        let pages = paging.table_pages(&memory).unwrap();
        assert_eq!(pages.into_iter().collect::<Vec<_>>(), [0x1000, 0x2000, 0x3000, 0x4000]);
    }

    #[test]
    fn walking_stops_at_the_limit_of_tables() {
        let memory = TestRam::new(64 << 20);
        memory.write_u64(0x1000, 0x2003);
        for table in 0..512 {
            memory.write_u64(0x2000 + table * 8, 0x10_0003 + table * PAGE_SIZE);
            for last in 0..512 {
                let entry = 0x100_0003 + (table * 512 + last) % 8192 * PAGE_SIZE;
                memory.write_u64(0x10_0000 + table * PAGE_SIZE + last * 8, entry);
            }
        }
        assert_eq!(Paging::new(&long_mode(), Paging::WIDEST).table_pages(&memory), None);
        assert!(Paging::new(&Registers::default(), Paging::WIDEST).table_pages(&memory).unwrap().is_empty());
    }
}
