//! Builds 4-level page tables (Intel SDM volume 3, 5.5; AMD APM volume 2, 5.3).
//!
//! Pages are 2 MiB where both addresses allow it and 4 KiB otherwise. There are no 1 GiB pages,
//! because not every host lets its guests use them.

use std::ops::Range;

use super::elf64::Access;
use crate::arch::PAGE_SIZE;
use crate::arch::paging::entry_bits as bits;
use crate::memory::{GuestMemory, MemoryError};

/// Size of a large page.
pub(super) const LARGE_PAGE_SIZE: u64 = 2 << 20;

/// Entries in a table.
const ENTRIES: usize = 512;

/// Flags of entries that lead to another table: they forbid nothing.
const TABLE: u64 = bits::PRESENT | bits::WRITABLE | bits::USER;

/// The kind of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// An access faults.
    Absent,
    /// Memory. It can always be read: x86 pages have no bit against that.
    Ram(Access),
    /// The same, not for ring 3.
    Supervisor(Access),
    /// Registers of a chip: not cached, not executable.
    Device,
}

impl Page {
    fn flags(self) -> u64 {
        match self {
            Page::Absent => 0,
            Page::Ram(access) => {
                let write = if access.write { bits::WRITABLE } else { 0 };
                let no_execute = if access.execute { 0 } else { bits::NO_EXECUTE };
                bits::PRESENT | bits::USER | write | no_execute
            }
            Page::Supervisor(access) => Page::Ram(access).flags() & !bits::USER,
            Page::Device => TABLE | bits::WRITE_THROUGH | bits::NO_CACHE | bits::NO_EXECUTE,
        }
    }
}

/// The tables would need more memory than is available.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooManyTables;

/// Page tables under construction, without an address yet.
#[derive(Debug)]
pub(super) struct PageTables {
    /// The PML4 first, the others in the order in which they were needed.
    tables: Vec<Table>,
    limit: u64,
}

#[derive(Debug)]
struct Table {
    /// What the entries lead to.
    level: Level,
    /// Entries that lead to a table hold its index in place of its page number.
    entries: [u64; ENTRIES],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// PML4 or page-directory-pointer table: every entry leads to a table.
    Upper,
    /// Page directory: 2 MiB pages and page tables.
    Directory,
    /// Page table: 4 KiB pages.
    Last,
}

impl PageTables {
    /// Tables that map nothing yet; `limit` is the maximum number of tables. Up to `expected` of them are
    /// built without moving the earlier ones.
    pub fn new(limit: u64, expected: u64) -> PageTables {
        let mut tables = Vec::with_capacity(expected.min(limit) as usize);
        tables.push(Table { level: Level::Upper, entries: [0; ENTRIES] });
        PageTables { tables, limit }
    }

    /// Size of the tables in bytes.
    pub fn size(&self) -> u64 {
        self.tables.len() as u64 * PAGE_SIZE
    }

    /// Maps the virtual range to physical memory from `physical`, replacing earlier mappings. All three
    /// addresses are multiples of [`PAGE_SIZE`].
    pub fn map(&mut self, range: Range<u64>, physical: u64, page: Page) -> Result<(), TooManyTables> {
        let flags = page.flags();
        let to_physical = physical.wrapping_sub(range.start);
        let mut at = range.start;
        while at < range.end {
            let directory = self.directory(at)?;
            // The directory covers 1 GiB; its entries are filled without walking again.
            let end = (at | ((1 << 30) - 1)).min(range.end - 1) + 1;
            while at < end {
                let next = ((at | (LARGE_PAGE_SIZE - 1)) + 1).min(end);
                let target = at.wrapping_add(to_physical);
                let slot = index(at, 21);
                let old = self.tables[directory].entries[slot];
                let is_table = old != 0 && old & bits::LARGE == 0;
                if next - at == LARGE_PAGE_SIZE && target.is_multiple_of(LARGE_PAGE_SIZE) && !is_table {
                    let entry = if flags == 0 { 0 } else { target | flags | bits::LARGE };
                    self.tables[directory].entries[slot] = entry;
                } else {
                    let table = self.page_table(directory, slot)?;
                    let count = ((next - at) / PAGE_SIZE) as usize;
                    let first = index(at, 12);
                    let entries = &mut self.tables[table].entries[first..first + count];
                    for (address, entry) in (target..).step_by(PAGE_SIZE as usize).zip(entries) {
                        *entry = if flags == 0 { 0 } else { address | flags };
                    }
                }
                at = next;
            }
        }
        Ok(())
    }

    /// Writes the tables to guest memory from `base` on; the PML4 lies at `base`.
    pub fn write(&self, memory: &GuestMemory, base: u64) -> Result<(), MemoryError> {
        let mut bytes = [0; PAGE_SIZE as usize];
        for (table, address) in self.tables.iter().zip((base..).step_by(PAGE_SIZE as usize)) {
            for (entry, place) in table.entries.iter().zip(bytes.chunks_exact_mut(8)) {
                let leads_to_table = match table.level {
                    Level::Upper => true,
                    Level::Directory => entry & bits::LARGE == 0,
                    Level::Last => false,
                };
                let shift = if *entry != 0 && leads_to_table { base } else { 0 };
                place.copy_from_slice(&(entry + shift).to_le_bytes());
            }
            memory.write(address, &bytes)?;
        }
        Ok(())
    }

    /// Index of the page directory for `address`.
    fn directory(&mut self, address: u64) -> Result<usize, TooManyTables> {
        let pointers = self.below(0, index(address, 39), Level::Upper)?;
        self.below(pointers, index(address, 30), Level::Directory)
    }

    /// Index of the page table in a slot of a page directory. A large page in the slot is split into small
    /// ones.
    fn page_table(&mut self, directory: usize, slot: usize) -> Result<usize, TooManyTables> {
        let old = self.tables[directory].entries[slot];
        if old & bits::LARGE == 0 {
            return self.below(directory, slot, Level::Last);
        }
        self.tables[directory].entries[slot] = 0;
        let table = self.below(directory, slot, Level::Last)?;
        let first = old & !bits::LARGE;
        for (entry, piece) in self.tables[table].entries.iter_mut().zip((first..).step_by(PAGE_SIZE as usize))
        {
            *entry = piece;
        }
        Ok(table)
    }

    /// Index of the table that an entry leads to; created if it is absent.
    fn below(&mut self, table: usize, slot: usize, level: Level) -> Result<usize, TooManyTables> {
        let entry = self.tables[table].entries[slot];
        if entry != 0 {
            return Ok((entry / PAGE_SIZE) as usize);
        }
        let new = self.tables.len();
        if new as u64 >= self.limit {
            return Err(TooManyTables);
        }
        self.tables.push(Table { level, entries: [0; ENTRIES] });
        self.tables[table].entries[slot] = (new as u64 * PAGE_SIZE) | TABLE;
        Ok(new)
    }
}

/// The nine bits of a virtual address from bit `shift` on.
fn index(address: u64, shift: u32) -> usize {
    (address >> shift) as usize % ENTRIES
}
