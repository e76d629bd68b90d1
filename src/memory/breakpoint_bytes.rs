//! Bytes that stand in the place of the guest's own while it runs: breakpoints of a debugger.
//!
//! Memory knows what they replace, so that whoever looks at it while the guest runs sees the guest's own
//! bytes ([`GuestMemory::read_original`]).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{GuestMemory, MemoryError};

/// What is planted, by guest-physical address.
#[derive(Debug, Default)]
pub(super) struct BreakpointBytes {
    places: RwLock<BTreeMap<u64, Replaced>>,
}

#[derive(Clone, Copy, Debug)]
struct Replaced {
    planted: u8,
    original: u8,
}

impl BreakpointBytes {
    fn look(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Replaced>> {
        self.places.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, Replaced>> {
        self.places.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of RAM holds something else now.
    pub(super) fn forget(&self) {
        self.change().clear();
    }
}

impl GuestMemory {
    /// Puts `byte` in the place of the guest's own at `address`, unless something is planted there
    /// already; false if that is no RAM.
    pub fn insert_breakpoint(&self, address: u64, byte: u8) -> bool {
        let mut places = self.planted.change();
        let Entry::Vacant(vacant) = places.entry(address) else { return true };
        let mut original = [0];
        if self.read(address, &mut original).is_err() || self.write(address, &[byte]).is_err() {
            return false;
        }
        vacant.insert(Replaced { planted: byte, original: original[0] });
        true
    }

    /// True if something is planted at `address`, or was and is lifted.
    pub fn has_breakpoint(&self, address: u64) -> bool {
        self.planted.look().contains_key(&address)
    }

    /// Takes out what is planted at `address`, until [`Self::reinsert_breakpoint`].
    pub fn lift_breakpoint(&self, address: u64) {
        if let Some(replaced) = self.planted.look().get(&address) {
            // Readable memory is writable.
            let _ = self.write(address, &[replaced.original]);
        }
    }

    /// Plants what was lifted at `address` again, over whatever is there now.
    pub fn reinsert_breakpoint(&self, address: u64) {
        let mut places = self.planted.change();
        let Some(replaced) = places.get_mut(&address) else { return };
        let mut byte = [0];
        if self.read(address, &mut byte).is_ok() && self.write(address, &[replaced.planted]).is_ok() {
            replaced.original = byte[0];
        }
    }

    /// Puts back what was there before something was planted, everywhere. What the guest has written
    /// over it stays.
    pub fn remove_breakpoints(&self) {
        let mut places = self.planted.change();
        while let Some((address, Replaced { planted, original })) = places.pop_first() {
            let mut byte = [0];
            if self.read(address, &mut byte).is_ok() && byte[0] == planted {
                // Readable memory is writable.
                let _ = self.write(address, &[original]);
            }
        }
    }

    /// Fills `bytes` from `start` with what the guest has there, also while something is planted. Any
    /// thread may do so while the guest runs.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotRam`].
    pub fn read_original(&self, start: u64, bytes: &mut [u8]) -> Result<(), MemoryError> {
        // Nothing is planted or taken out between the copy and the look at what is planted.
        let places = self.planted.look();
        self.read(start, bytes)?;
        for (address, replaced) in places.range(start..start.saturating_add(bytes.len() as u64)) {
            if let Some(byte) = bytes.get_mut((address - start) as usize)
                && *byte == replaced.planted
            {
                *byte = replaced.original;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(memory: &GuestMemory, start: u64) -> [u8; 4] {
        let mut bytes = [0; 4];
        memory.read_original(start, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn who_looks_at_memory_sees_the_guests_own_bytes() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        memory.write(0x1000, &[0x90, 0x91, 0x92, 0x93]).unwrap();
        for address in [0x1000, 0x1003, 0x1003, 0xF_FFFF] {
            assert!(memory.insert_breakpoint(address, 0xCC));
        }
        assert_eq!(memory.read_u64(0x1000).unwrap(), 0xCC92_91CC);
        assert_eq!(own(&memory, 0x1000), [0x90, 0x91, 0x92, 0x93]);
        assert_eq!(own(&memory, 0x1001), [0x91, 0x92, 0x93, 0]);
        assert_eq!(own(&memory, 0xF_FFFC), [0; 4]);
        memory.write(0x1000, &[0x55]).unwrap();
        assert_eq!(own(&memory, 0x1000), [0x55, 0x91, 0x92, 0x93], "the guest has written over it");
        memory.lift_breakpoint(0x1003);
        memory.write(0x1003, &[0x66]).unwrap();
        assert_eq!(own(&memory, 0x1000), [0x55, 0x91, 0x92, 0x66]);
        memory.reinsert_breakpoint(0x1003);
        assert_eq!(own(&memory, 0x1000), [0x55, 0x91, 0x92, 0x66]);
        memory.remove_breakpoints();
        assert_eq!(memory.read_u64(0x1000).unwrap(), 0x6692_9155);
        assert!(!memory.has_breakpoint(0x1000));
    }

    #[test]
    fn what_is_no_ram_is_neither_planted_nor_read() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        assert!(!memory.insert_breakpoint(1 << 20, 0xCC));
        assert!(!memory.insert_breakpoint(u64::MAX, 0xCC));
        assert!(memory.read_original(u64::MAX, &mut [0; 2]).is_err());
        assert!(memory.read_original((1 << 20) - 1, &mut [0; 2]).is_err());
    }

    #[test]
    fn a_reset_leaves_nothing_planted() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        memory.write(0x1000, &[0x90]).unwrap();
        memory.insert_breakpoint(0x1000, 0xCC);
        memory.discard().unwrap();
        memory.write(0x1000, &[0xCC]).unwrap();
        memory.remove_breakpoints();
        assert_eq!(own(&memory, 0x1000), [0xCC, 0, 0, 0], "an instruction of the guest's own");
    }
}
