//! Walks the guest's page tables as the processor does, in every paging mode. Reports, debuggers and the
//! emulator all translate addresses here.
//!
//! Manual: Intel SDM volume 3A, "Paging"; AMD APM volume 2, "Page Translation and Protection".

mod tables;

use super::{PhysicalMemory, Registers};
use crate::arch::flags::{
    CR0_PG, CR0_WP, CR4_LA57, CR4_PAE, CR4_PSE, CR4_SMAP, CR4_SMEP, EFER_LMA, EFER_NXE, RFLAGS_AC,
};
use entry_bits::{ACCESSED, ADDRESS, DIRTY, LARGE, NO_EXECUTE, PRESENT, USER, WRITABLE};

/// Bits of an entry of a paging structure (Intel SDM volume 3A, "Paging-Structure Entries").
pub mod entry_bits {
    /// P: the entry is valid.
    pub const PRESENT: u64 = 1 << 0;
    /// R/W: writes are allowed.
    pub const WRITABLE: u64 = 1 << 1;
    /// U/S: accesses from ring 3 are allowed.
    pub const USER: u64 = 1 << 2;
    /// PWT: page-level write-through.
    pub const WRITE_THROUGH: u64 = 1 << 3;
    /// PCD: page-level cache disable.
    pub const NO_CACHE: u64 = 1 << 4;
    /// A: used for a translation.
    pub const ACCESSED: u64 = 1 << 5;
    /// D, in an entry that maps a page: used for a write.
    pub const DIRTY: u64 = 1 << 6;
    /// PS, above the last level: the entry maps a large page.
    pub const LARGE: u64 = 1 << 7;
    /// XD: instruction fetches are not allowed (needs EFER.NXE).
    pub const NO_EXECUTE: u64 = 1 << 63;
    /// The physical address in an entry of eight bytes.
    pub const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;
}

/// Levels of the deepest paging mode.
const DEEPEST: usize = 5;

/// The kind of a memory access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// It writes.
    pub write: bool,
    /// It fetches an instruction.
    pub fetch: bool,
    /// It is made by ring 3.
    pub user: bool,
    /// It is made by the processor itself, to a descriptor table or a task state segment: RFLAGS.AC
    /// does not open user pages to it.
    pub implicit: bool,
}

/// A page fault, by the error code it pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFault {
    /// Error code (Intel SDM volume 3A, "Page-Fault Exceptions").
    pub code: u32,
}

/// Bits of a page fault's error code.
mod code {
    /// The page is mapped, but not for this.
    pub const PROTECTION: u32 = 1;
    pub const WRITE: u32 = 1 << 1;
    pub const USER: u32 = 1 << 2;
    pub const RESERVED: u32 = 1 << 3;
    pub const FETCH: u32 = 1 << 4;
}

/// How the processor translates linear addresses now.
#[derive(Clone, Copy, Debug)]
pub struct Paging {
    mode: PagingMode,
    root: u64,
    cr0: u64,
    cr4: u64,
    efer: u64,
    rflags: u64,
    /// First physical address bit that the processor does not have.
    width: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PagingMode {
    /// Linear addresses are physical ones.
    None,
    /// Two levels of four-byte entries.
    ThirtyTwoBit,
    /// Three levels of eight-byte entries; those of the first are plain.
    Pae,
    /// Four or five levels of eight-byte entries.
    Long(u32),
}

/// Where a linear address lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The guest-physical address.
    pub physical: u64,
    /// What all levels together allow.
    pub rights: Rights,
    /// Guest-physical addresses and values of the entries used, the first `depth` of them.
    entries: [(u64, u64); DEEPEST],
    depth: usize,
    /// Size of an entry in bytes.
    entry_size: u8,
    /// The entries of the first level of PAE paging have no accessed bit.
    plain_first: bool,
}

/// What the entries that lead to a page allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Writing.
    pub write: bool,
    /// Access from ring 3.
    pub user: bool,
    /// Execution.
    pub execute: bool,
}

/// An entry that a walk came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its table's level: 1 is the last, as the manuals count.
    pub level: u32,
    /// Its guest-physical address.
    pub address: u64,
    /// What it holds; `None` if it does not lie in RAM.
    pub value: Option<u64>,
}

/// True if the upper bits of `address` are all the same, so that the processor can hold it as an address in
/// long mode, whichever mode it is in now: breakpoints are set before the guest gets there.
/// The number of significant bits depends on `cr4` (Intel SDM volume 1, "Canonical Addressing").
pub fn is_canonical(cr4: u64, address: u64) -> bool {
    let unused = if cr4 & CR4_LA57 != 0 { 64 - 57 } else { 64 - 48 };
    (address << unused) as i64 >> unused == address as i64
}

impl Paging {
    /// Physical addresses have at most this many bits.
    pub const WIDEST: u32 = 52;

    /// The paging mode these registers select, on a processor with `width` physical address bits
    /// (CPUID.80000008H:EAX bits 7-0; [`Paging::WIDEST`] leaves the check out).
    pub fn new(registers: &Registers, width: u32) -> Paging {
        let system = &registers.system;
        let mode = if system.cr0 & CR0_PG == 0 {
            PagingMode::None
        } else if system.efer & EFER_LMA != 0 {
            PagingMode::Long(if system.cr4 & CR4_LA57 != 0 { 5 } else { 4 })
        } else if system.cr4 & CR4_PAE != 0 {
            PagingMode::Pae
        } else {
            PagingMode::ThirtyTwoBit
        };
        Paging {
            mode,
            root: system.cr3,
            cr0: system.cr0,
            cr4: system.cr4,
            efer: system.efer,
            rflags: registers.general.rflags,
            width: width.clamp(32, Paging::WIDEST),
        }
    }

    /// True if `linear` is an address that can be translated at all: in long mode the upper bits
    /// repeat the highest one that is translated.
    pub fn is_canonical(&self, linear: u64) -> bool {
        match self.mode {
            PagingMode::Long(_) => is_canonical(self.cr4, linear),
            _ => linear <= u64::from(u32::MAX),
        }
    }

    /// How many tables are walked; 0 without paging.
    pub fn levels(&self) -> u32 {
        match self.mode {
            PagingMode::None => 0,
            PagingMode::ThirtyTwoBit => 2,
            PagingMode::Pae => 3,
            PagingMode::Long(levels) => levels,
        }
    }

    /// Where `linear` lies, without a check of rights.
    ///
    /// # Errors
    ///
    /// [`PageFault`] without the bits that describe the access: nothing is mapped there, or a reserved bit
    /// is set. Tables outside of RAM map nothing.
    pub fn find(&self, memory: &dyn PhysicalMemory, linear: u64) -> Result<Mapping, PageFault> {
        self.walk(memory, linear, &mut |_| {})
    }

    /// As [`Paging::find`], passing every entry on the way to `seen`, from the first table on.
    ///
    /// # Errors
    ///
    /// As [`Paging::find`]; the entry passed last caused the fault, if there was any.
    pub fn walk(
        &self,
        memory: &dyn PhysicalMemory,
        linear: u64,
        seen: &mut dyn FnMut(Entry),
    ) -> Result<Mapping, PageFault> {
        let rights = Rights { write: true, user: true, execute: true };
        let mut mapping = Mapping {
            physical: linear,
            rights,
            entries: [(0, 0); DEEPEST],
            depth: 0,
            entry_size: 8,
            plain_first: self.mode == PagingMode::Pae,
        };
        let (levels, bits, mut table) = match self.mode {
            PagingMode::None => return Ok(mapping),
            PagingMode::ThirtyTwoBit => (2, 10, self.root & 0xFFFF_F000),
            PagingMode::Pae => (3, 9, self.root & 0xFFFF_FFE0),
            PagingMode::Long(levels) => (levels, 9, self.root & ADDRESS),
        };
        if !self.is_canonical(linear) {
            return Err(PageFault { code: 0 });
        }
        mapping.entry_size = if bits == 10 { 4 } else { 8 };
        for level in (0..levels).rev() {
            let shift = 12 + bits * level;
            let index = linear >> shift & ((1 << bits) - 1);
            let address = table + index * u64::from(mapping.entry_size);
            let found = memory.read_value(address, mapping.entry_size);
            seen(Entry { level: level + 1, address, value: found });
            let entry = found.ok_or(PageFault { code: 0 })?;
            if entry & PRESENT == 0 {
                return Err(PageFault { code: 0 });
            }
            let plain = mapping.plain_first && mapping.depth == 0;
            let last = level == 0 || (!plain && entry & LARGE != 0 && self.may_be_large(level));
            if entry & self.reserved(level, last, plain) != 0 {
                return Err(PageFault { code: code::RESERVED | code::PROTECTION });
            }
            if !plain {
                mapping.rights.write &= entry & WRITABLE != 0;
                mapping.rights.user &= entry & USER != 0;
                mapping.rights.execute &= entry & NO_EXECUTE == 0 || self.efer & EFER_NXE == 0;
            }
            if let Some(slot) = mapping.entries.get_mut(mapping.depth) {
                *slot = (address, entry);
                mapping.depth += 1;
            }
            if last {
                let offset = (1_u64 << shift) - 1;
                mapping.physical = self.base(entry, level) & !offset | linear & offset;
                return Ok(mapping);
            }
            table = self.base(entry, 0);
        }
        Err(PageFault { code: 0 })
    }

    /// Where `linear` lies for `access`; sets the accessed and dirty bits as the processor does.
    ///
    /// # Errors
    ///
    /// [`PageFault`] with its complete error code.
    pub fn translate(
        &self,
        memory: &dyn PhysicalMemory,
        linear: u64,
        access: Access,
    ) -> Result<u64, PageFault> {
        let mapping = self.check(memory, linear, access)?;
        mapping.mark_used(memory, access.write);
        Ok(mapping.physical)
    }

    /// As [`Paging::translate`], without a change to the tables.
    ///
    /// # Errors
    ///
    /// [`PageFault`] with its complete error code.
    pub fn check(
        &self,
        memory: &dyn PhysicalMemory,
        linear: u64,
        access: Access,
    ) -> Result<Mapping, PageFault> {
        let by = self.access_bits(access);
        let mapping = self.find(memory, linear).map_err(|fault| PageFault { code: fault.code | by })?;
        if mapping.depth > 0 && !self.allows(mapping.rights, access) {
            return Err(PageFault { code: code::PROTECTION | by });
        }
        Ok(mapping)
    }

    /// The bits of an error code that describe the access.
    fn access_bits(&self, access: Access) -> u32 {
        // Without NX and SMEP a fetch is reported as a read.
        let reports_fetches =
            self.efer & EFER_NXE != 0 && self.mode != PagingMode::ThirtyTwoBit || self.cr4 & CR4_SMEP != 0;
        let mut bits = 0;
        for (set, bit) in [
            (access.write, code::WRITE),
            (access.user, code::USER),
            (access.fetch && reports_fetches, code::FETCH),
        ] {
            if set {
                bits |= bit;
            }
        }
        bits
    }

    fn allows(&self, rights: Rights, access: Access) -> bool {
        if access.user && !rights.user {
            return false;
        }
        if access.fetch {
            return rights.execute && (access.user || !rights.user || self.cr4 & CR4_SMEP == 0);
        }
        if !access.user && rights.user && self.cr4 & CR4_SMAP != 0 {
            let opened = !access.implicit && self.rflags & RFLAGS_AC != 0;
            if !opened {
                return false;
            }
        }
        !access.write || rights.write || (!access.user && self.cr0 & CR0_WP == 0)
    }

    /// True if an entry of `level` (0 is the last) with the large bit maps a page.
    fn may_be_large(&self, level: u32) -> bool {
        match self.mode {
            PagingMode::ThirtyTwoBit => self.cr4 & CR4_PSE != 0,
            PagingMode::Pae => level == 1,
            _ => level == 1 || level == 2,
        }
    }

    /// Bits that must be clear in an entry.
    fn reserved(&self, level: u32, last: bool, plain: bool) -> u64 {
        if self.mode == PagingMode::ThirtyTwoBit {
            // Bits 20-13 of a 4 MiB page are its upper address bits.
            return if last && level == 1 { 1 << 21 } else { 0 };
        }
        let mut bits = ADDRESS & !((1 << self.width) - 1);
        if plain {
            return bits | 0x1E6 | NO_EXECUTE;
        }
        if self.efer & EFER_NXE == 0 {
            bits |= NO_EXECUTE;
        }
        if last && level > 0 {
            // Bit 12 is the page's memory type.
            bits |= ((1 << (12 + 9 * level)) - 1) & !0x1FFF;
        }
        if !last && level > 2 {
            bits |= LARGE;
        }
        bits
    }

    fn base(&self, entry: u64, level: u32) -> u64 {
        match (self.mode, level) {
            // PSE-36: bits 39-32 of the address of a 4 MiB page.
            (PagingMode::ThirtyTwoBit, 1) => entry & 0xFFC0_0000 | (entry >> 13 & 0xFF) << 32,
            _ => entry & ADDRESS,
        }
    }
}

impl Mapping {
    /// Sets the accessed bits, and for a write the dirty bit, where they are not set yet.
    fn mark_used(&self, memory: &dyn PhysicalMemory, write: bool) {
        for (level, (address, entry)) in self.entries[..self.depth].iter().enumerate() {
            if self.plain_first && level == 0 {
                continue;
            }
            let last = level + 1 == self.depth;
            let used = entry | ACCESSED | if last && write { DIRTY } else { 0 };
            if used != *entry {
                // The entry was just read from there.
                memory.write_bytes(*address, &used.to_le_bytes()[..usize::from(self.entry_size)]);
            }
        }
    }
}

#[cfg(test)]
#[path = "paging_test.rs"]
mod tests;
