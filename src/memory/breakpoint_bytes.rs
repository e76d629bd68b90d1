//! Bytes that a debugger has inserted into guest code: its software breakpoints.
//!
//! [`crate::memory`] keeps the bytes that they replace, so that every reader can get the guest's bytes
//! ([`GuestMemory::read_original`]). Inserted bytes are in memory only while the guest runs: the caller removes them
//! at each stop, so they are never part of a snapshot or of what a debugger reads.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{GuestMemory, MemoryError};
use crate::arch::PAGE_SIZE;

/// The inserted bytes, by guest-physical address.
#[derive(Debug, Default)]
pub(super) struct BreakpointBytes {
    places: RwLock<BTreeMap<u64, Replaced>>,
}

/// An inserted byte and the guest's byte that it replaces.
#[derive(Clone, Copy, Debug)]
struct Replaced {
    inserted: u8,
    original: u8,
}

/// A page that breakpoints are inserted into.
struct Page {
    start: u64,
    bytes: [u8; PAGE_SIZE as usize],
    has_changed: bool,
}

impl BreakpointBytes {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Replaced>> {
        self.places.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, Replaced>> {
        self.places.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all of them, because memory no longer holds them.
    pub(super) fn clear(&self) {
        self.write().clear();
    }
}

impl GuestMemory {
    /// Inserts `byte` at `address`, unless there is an inserted byte already. Returns false if `address` is not RAM.
    pub fn insert_breakpoint(&self, address: u64, byte: u8) -> bool {
        let mut places = self.inserted.write();
        let Entry::Vacant(vacant) = places.entry(address) else { return true };
        let mut original = [0];
        if self.read(address, &mut original).is_err() || self.write(address, &[byte]).is_err() {
            return false;
        }
        vacant.insert(Replaced { inserted: byte, original: original[0] });
        true
    }

    /// Restores the guest's byte at `address`, for good. False if nothing was inserted there, or if the guest has written
    /// over it, which stays.
    pub fn remove_breakpoint(&self, address: u64) -> bool {
        let mut places = self.inserted.write();
        let Some(Replaced { inserted, original }) = places.remove(&address) else { return false };
        let mut byte = [0];
        self.read(address, &mut byte).is_ok()
            && byte[0] == inserted
            && self.write(address, &[original]).is_ok()
    }

    /// Inserts all bytes again that memory has lost because a snapshot without them was restored. No vCPU may be
    /// running.
    pub fn renew_breakpoints(&self) {
        let mut page = Page { start: u64::MAX, bytes: [0; PAGE_SIZE as usize], has_changed: false };
        for (address, replaced) in self.inserted.write().iter_mut() {
            let start = address - address % PAGE_SIZE;
            if page.start != start {
                self.write_back(&page);
                page.start = if self.read(start, &mut page.bytes).is_ok() { start } else { u64::MAX };
                page.has_changed = false;
            }
            if page.start == start {
                let byte = &mut page.bytes[(address % PAGE_SIZE) as usize];
                if *byte != replaced.inserted {
                    replaced.original = std::mem::replace(byte, replaced.inserted);
                    page.has_changed = true;
                }
            }
        }
        self.write_back(&page);
    }

    fn write_back(&self, page: &Page) {
        if page.has_changed {
            // Cannot fail: what can be read and has breakpoints is RAM.
            let _ = self.write(page.start, &page.bytes);
        }
    }

    /// True if a byte is inserted at `address`, also while it is lifted.
    pub fn has_breakpoint(&self, address: u64) -> bool {
        self.inserted.read().contains_key(&address)
    }

    /// Restores the guest's byte at `address` until [`Self::reinsert_breakpoint`], so that the guest can run the
    /// instruction.
    pub fn lift_breakpoint(&self, address: u64) {
        if let Some(replaced) = self.inserted.read().get(&address) {
            // Cannot fail: inserting has shown that it is RAM.
            let _ = self.write(address, &[replaced.original]);
        }
    }

    /// Inserts the lifted byte at `address` again. It replaces the byte that is there now.
    pub fn reinsert_breakpoint(&self, address: u64) {
        let mut places = self.inserted.write();
        let Some(replaced) = places.get_mut(&address) else { return };
        let mut byte = [0];
        if self.read(address, &mut byte).is_ok() && self.write(address, &[replaced.inserted]).is_ok() {
            replaced.original = byte[0];
        }
    }

    /// Calls `change`, which changes what the guest has at `range`, with the guest's own bytes in memory there. The
    /// inserted bytes are back afterwards, and replace the new ones.
    pub(super) fn beneath_breakpoints<T>(&self, range: Range<u64>, change: impl FnOnce() -> T) -> T {
        let inside: Vec<u64> = self.inserted.read().range(range).map(|(address, _)| *address).collect();
        inside.iter().for_each(|address| self.lift_breakpoint(*address));
        let result = change();
        inside.iter().for_each(|address| self.reinsert_breakpoint(*address));
        result
    }

    /// Restores the guest's bytes at all addresses. A byte that the guest has written over an inserted one stays.
    pub fn remove_breakpoints(&self) {
        let mut places = self.inserted.write();
        while let Some((address, Replaced { inserted, original })) = places.pop_first() {
            let mut byte = [0];
            if self.read(address, &mut byte).is_ok() && byte[0] == inserted {
                // Cannot fail: what can be read is RAM.
                let _ = self.write(address, &[original]);
            }
        }
    }

    /// Fills `bytes` from `start` with the guest's bytes, also where breakpoint bytes are inserted. Any thread may
    /// call it while the guest runs.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotRam`].
    pub fn read_original(&self, start: u64, bytes: &mut [u8]) -> Result<(), MemoryError> {
        // The lock keeps bytes from being inserted or removed between the copy and the correction.
        let places = self.inserted.read();
        self.read(start, bytes)?;
        for (address, replaced) in places.range(start..start.saturating_add(bytes.len() as u64)) {
            if let Some(byte) = bytes.get_mut((address - start) as usize)
                && *byte == replaced.inserted
            {
                *byte = replaced.original;
            }
        }
        Ok(())
    }

    /// Copies `bytes` to `start`. Breakpoint bytes stay where they are inserted: the guest's bytes behind them change.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotRam`]; nothing is written then.
    pub fn write_original(&self, start: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        let mut places = self.inserted.write();
        let range = start..start.saturating_add(bytes.len() as u64);
        // A byte that is lifted now, or that the guest has written over, is no longer there.
        let is_there = |address: u64, inserted: u8| {
            let mut byte = [0];
            self.read(address, &mut byte).is_ok() && byte[0] == inserted
        };
        let kept: Vec<u64> = places
            .range(range)
            .filter(|(address, replaced)| is_there(**address, replaced.inserted))
            .map(|(address, _)| *address)
            .collect();
        self.write(start, bytes)?;
        for address in kept {
            if let (Some(replaced), Some(byte)) =
                (places.get_mut(&address), bytes.get((address - start) as usize))
            {
                replaced.original = *byte;
                self.write(address, &[replaced.inserted])?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "breakpoint_bytes_test.rs"]
mod tests;
