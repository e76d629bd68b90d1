//! The page-table walk of a virtual address, entry by entry.
//!
//! Manual: Intel SDM volume 3A, "Paging".

use std::fmt;

use serde::Serialize;

use super::hex;
use crate::arch::Registers;
use crate::arch::paging::{Entry, Paging, Rights, entry_bits};
use crate::memory::GuestMemory;

/// Names of the entries of page tables, from the last level on.
const ENTRY_NAMES: [&str; 5] = ["PTE", "PDE", "PDPTE", "PML4E", "PML5E"];

/// Bits of entries, and their names.
const FLAGS: [(u64, &str); 8] = [
    (entry_bits::PRESENT, "present"),
    (entry_bits::WRITABLE, "writable"),
    (entry_bits::USER, "user"),
    (entry_bits::WRITE_THROUGH, "write-through"),
    (entry_bits::NO_CACHE, "uncached"),
    (entry_bits::ACCESSED, "accessed"),
    (entry_bits::DIRTY, "dirty"),
    (entry_bits::NO_EXECUTE, "no-execute"),
];

/// A walk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WalkView {
    /// The virtual address.
    #[serde(serialize_with = "hex::hex")]
    pub address: u64,
    /// Levels of tables; 0 if paging is off.
    pub levels: u32,
    /// CR3.
    #[serde(serialize_with = "hex::hex")]
    pub cr3: u64,
    /// The entries that the walk came to.
    pub entries: Vec<WalkEntry>,
    /// The guest-physical address; `None` if the address is not mapped.
    #[serde(serialize_with = "hex::optional")]
    pub physical: Option<u64>,
    /// RAM lies there.
    pub is_ram: bool,
    /// What all entries together allow; `None` without paging, and if the address is not mapped.
    pub rights: Option<WalkRights>,
    /// Why the address is not mapped.
    pub problem: Option<&'static str>,
}

/// An entry of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WalkEntry {
    /// What the manual calls it: `PTE`.
    pub name: &'static str,
    /// Its guest-physical address.
    #[serde(serialize_with = "hex::hex")]
    pub address: u64,
    /// What it holds; `None` if it does not lie in RAM.
    #[serde(serialize_with = "hex::optional")]
    pub value: Option<u64>,
    /// Its bits in words.
    pub bits: Vec<&'static str>,
}

/// What the entries of a walk allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WalkRights {
    /// Writing.
    pub write: bool,
    /// Access from ring 3.
    pub user: bool,
    /// Execution.
    pub execute: bool,
}

impl WalkView {
    /// The walk of `address` by the tables that `registers` select.
    pub fn of(memory: &GuestMemory, registers: &Registers, address: u64) -> WalkView {
        let paging = Paging::new(registers, Paging::WIDEST);
        let levels = paging.levels();
        let mut entries = Vec::new();
        let mut last = None;
        let found = paging.walk(memory, address, &mut |entry| {
            last = Some(entry);
            entries.push(WalkEntry::new(&entry));
        });
        let mapping = found.ok();
        let problem = match (mapping, last) {
            (Some(_), _) => None,
            (None, None) if levels < 4 => Some("is no address: in this mode they have 32 bits"),
            (None, None) => {
                Some("is no address: its upper bits do not repeat the highest one that is translated")
            }
            (None, Some(Entry { value: None, .. })) => Some("is not mapped: that table does not lie in RAM"),
            (None, Some(Entry { value: Some(value), .. })) if value & entry_bits::PRESENT == 0 => {
                Some("is not mapped: that entry is not present")
            }
            (None, Some(_)) => Some("is not mapped: a reserved bit of that entry is set"),
        };
        let rights = |Rights { write, user, execute }| WalkRights { write, user, execute };
        WalkView {
            address,
            levels,
            cr3: registers.system.cr3,
            entries,
            physical: mapping.map(|mapping| mapping.physical),
            is_ram: mapping.is_some_and(|mapping| memory.is_ram(mapping.physical, 1)),
            rights: mapping.filter(|_| levels > 0).map(|mapping| rights(mapping.rights)),
            problem,
        }
    }
}

impl WalkEntry {
    fn new(entry: &Entry) -> WalkEntry {
        let index = (entry.level as usize).saturating_sub(1);
        let value = entry.value.unwrap_or(0);
        let mut bits: Vec<&str> =
            FLAGS.iter().filter(|(bit, _)| value & bit != 0).map(|(_, word)| *word).collect();
        if entry.level > 1 && value & entry_bits::LARGE != 0 {
            bits.push("large page");
        }
        if bits.is_empty() {
            bits.push("not present");
        }
        let name = ENTRY_NAMES.get(index).copied().unwrap_or("entry");
        WalkEntry { name, address: entry.address, value: entry.value, bits }
    }
}

impl fmt::Display for WalkView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.levels {
            0 => writeln!(f, "paging is off: addresses are guest-physical ones")?,
            levels => writeln!(f, "{levels} levels, CR3 {:#x}", self.cr3)?,
        }
        for WalkEntry { name, address, value, bits } in &self.entries {
            match value {
                Some(value) => writeln!(f, "  {name:<5} at {address:#x}: {value:#018x} {}", bits.join(", "))?,
                None => writeln!(f, "  {name:<5} at {address:#x}: not RAM")?,
            }
        }
        let address = self.address;
        if let Some(physical) = self.physical {
            let what = if self.is_ram { "RAM" } else { "not RAM" };
            write!(f, "{address:#x} is guest-physical {physical:#x} ({what})")?;
        }
        if let Some(WalkRights { write, user, execute }) = self.rights {
            write!(
                f,
                ": {}, {}, {}",
                if write { "writable" } else { "read-only" },
                if user { "for user and supervisor" } else { "for the supervisor" },
                if execute { "executable" } else { "not executable" }
            )?;
        }
        match self.problem {
            Some(problem) => writeln!(f, "{address:#x} {problem}"),
            None => writeln!(f),
        }
    }
}
