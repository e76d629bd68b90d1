// SPDX-License-Identifier: MIT OR GPL-2.0
//! Page tables: AMD APM volume 2, chapter 5 (the guest's) and section 15.25 (nested paging).
//!
//! The C files read and write tables; these functions say where the next entry is and what is in it.

use crate::control::*;
use crate::{EFAULT, EINVAL};

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
/// Bits 51-12: the address of a table or page.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Access bits and error codes of page faults.
const FAULT_PRESENT: u32 = 1;
/// The access writes.
pub const WRITE: u32 = 2;
/// The access is the user's (CPL 3).
pub const FAULT_USER: u32 = 4;
const FAULT_RESERVED: u32 = 8;
/// The access fetches an instruction.
pub const FETCH: u32 = 16;

const RFLAGS_AC: u64 = 1 << 18;

/// `struct yakvm_walk`: a translation by the guest's page tables that is under way.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Walk {
    /// Guest-physical address of the entry to read; at the end that of the operand.
    pub gpa: u64,
    /// Bytes of the entry to read, 4 or 8; 0 at the end.
    pub entry_size: u32,
    /// Of the page fault, if there is one.
    pub error_code: u32,
    /// The address to translate.
    pub linear: u64,
    /// Registers of the guest.
    pub cr0: u64,
    /// See [`Walk::cr0`].
    pub cr3: u64,
    /// See [`Walk::cr0`].
    pub cr4: u64,
    /// See [`Walk::cr0`].
    pub efer: u64,
    /// See [`Walk::cr0`].
    pub rflags: u64,
    /// A set of [`WRITE`], [`FAULT_USER`] and [`FETCH`].
    pub access: u32,
    /// Bits of a physical address.
    pub physical_bits: u32,
    /// Of WRITABLE, USER and the complement of NO_EXECUTE: what all entries so far allow.
    pub allowed: u64,
    /// Of the table that the entry is in.
    pub level: u32,
    /// 1 at the end if the page tables allow to write.
    pub writable: u32,
}
const _: () = assert!(size_of::<Walk>() == 88);

impl Walk {
    fn begin(&mut self) -> i32 {
        self.allowed = WRITABLE | USER | NO_EXECUTE;
        self.error_code = 0;
        if self.efer & EFER_LMA != 0 {
            if !canonical(self.linear) {
                return EINVAL;
            }
            self.table(4, 8, self.cr3 & ADDRESS);
            return 0;
        }
        self.linear &= 0xffff_ffff;
        if self.cr0 & CR0_PG == 0 {
            self.gpa = self.linear;
            self.entry_size = 0;
            self.writable = 1;
        } else if self.cr4 & CR4_PAE != 0 {
            self.table(3, 8, self.cr3 & 0xffff_ffe0);
        } else {
            self.table(2, 4, self.cr3 & 0xffff_f000);
        }
        0
    }

    /// The address bits below those that select an entry of this level.
    fn shift(&self) -> u32 {
        let bits = if self.entry_size == 4 { 10 } else { 9 };
        12 + bits * (self.level.clamp(1, 4) - 1)
    }

    /// Continues in the table of `level` at `address`.
    fn table(&mut self, level: u32, entry_size: u32, address: u64) {
        self.level = level;
        self.entry_size = entry_size;
        let entries = if entry_size == 4 { 1024 } else { 512 };
        self.gpa = address + ((self.linear >> self.shift()) & (entries - 1)) * u64::from(entry_size);
    }

    fn fault(&mut self, error_code: u32) -> Result<(), i32> {
        // The fetch bit is only reported if fetches can be forbidden.
        let fetch = if self.efer & EFER_NXE != 0 || self.cr4 & CR4_SMEP != 0 { FETCH } else { 0 };
        self.error_code = error_code | self.access & (WRITE | FAULT_USER | fetch);
        Err(EFAULT)
    }

    /// Continues with the entry read at [`Walk::gpa`].
    pub fn step(&mut self, entry: u64) -> Result<(), i32> {
        if entry & PRESENT == 0 {
            return self.fault(0);
        }
        let legacy = self.entry_size == 4;
        let root_of_pae = self.level == 3 && self.efer & EFER_LMA == 0;
        let large = entry & LARGE != 0
            && !root_of_pae
            && matches!(self.level, 2 | 3)
            && (!legacy || self.cr4 & CR4_PSE != 0);
        if entry & self.reserved(legacy, large, root_of_pae) != 0 {
            return self.fault(FAULT_PRESENT | FAULT_RESERVED);
        }
        if !root_of_pae {
            self.allowed &= entry ^ NO_EXECUTE;
        }
        if self.level > 1 && !large {
            let address = if legacy { entry & 0xffff_f000 } else { entry & ADDRESS };
            self.table(self.level - 1, self.entry_size, address);
            return Ok(());
        }
        self.check()?;
        let offset = (1u64 << self.shift()) - 1;
        let mut address = if legacy { entry & 0xffff_f000 } else { entry & ADDRESS };
        if legacy && large {
            // Bits 20-13 of a 4 MiB entry are bits 39-32 of the address.
            address |= ((entry >> 13) & 0xff) << 32;
        }
        self.gpa = address & !offset | self.linear & offset;
        self.entry_size = 0;
        Ok(())
    }

    /// The bits that must be 0 in an entry of this level.
    fn reserved(&self, legacy: bool, large: bool, root_of_pae: bool) -> u64 {
        if legacy {
            return if large { 1 << 21 } else { 0 };
        }
        let mut reserved = beyond(self.physical_bits) & ADDRESS;
        if self.efer & EFER_NXE == 0 {
            reserved |= NO_EXECUTE;
        }
        if root_of_pae {
            // The four entries that CR3 refers to have no rights.
            reserved |= NO_EXECUTE | LARGE | 1 << 8 | WRITABLE | USER;
        }
        if self.level == 4 {
            reserved |= LARGE;
        }
        if large {
            // The address bits below the page, but for bit 12, the PAT bit.
            reserved |= ((1 << self.shift()) - 1) & ADDRESS & !(1 << 12);
        }
        reserved
    }

    /// Whether the entries allow the access.
    fn check(&mut self) -> Result<(), i32> {
        let user_page = self.allowed & USER != 0;
        let user = self.access & FAULT_USER != 0;
        let write = self.access & WRITE != 0;
        let fetch = self.access & FETCH != 0;
        self.writable = u32::from(self.allowed & WRITABLE != 0);
        let read_only = self.writable == 0 && (user || self.cr0 & CR0_WP != 0);
        let no_execute = self.allowed & NO_EXECUTE == 0;
        let smep = self.cr4 & CR4_SMEP != 0 && !user && user_page;
        let smap = self.cr4 & CR4_SMAP != 0 && !user && user_page && !fetch && self.rflags & RFLAGS_AC == 0;
        if (user && !user_page) || (write && read_only) || (fetch && (no_execute || smep)) || smap {
            return self.fault(FAULT_PRESENT);
        }
        Ok(())
    }
}

/// Starts the translation of `walk.linear`; `EINVAL` if that is not canonical.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_walk_begin(walk: &mut Walk) -> i32 {
    walk.begin()
}

/// Continues with the entry that was read; `EFAULT` for a page fault.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_walk_step(walk: &mut Walk, entry: u64) -> i32 {
    walk.step(entry).err().unwrap_or(0)
}

/// The position in a nested table of level 4 to 1.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_npt_index(gpa: u64, level: u32) -> u32 {
    (gpa / yakvm_npt_size(level) % 512) as u32
}

/// Bytes that an entry of a nested table maps.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_npt_size(level: u32) -> u64 {
    1 << (12 + 9 * (level.clamp(1, 4) - 1))
}

/// An entry that refers to the next table. Nested tables are walked as the user's: bit 2 is needed.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_npt_table(pa: u64) -> u64 {
    pa & ADDRESS | PRESENT | WRITABLE | USER | ACCESSED
}

/// An entry that maps a page. Accessed and dirty are set: the driver does its own bookkeeping.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_npt_page(pa: u64, writable: bool, large: bool) -> u64 {
    let writable = if writable { WRITABLE | DIRTY } else { 0 };
    let large = if large { LARGE } else { 0 };
    pa & ADDRESS | PRESENT | USER | ACCESSED | writable | large
}

/// The address of the table or page in an entry.
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_npt_address(entry: u64) -> u64 {
    entry & ADDRESS
}
