//! RAM in pieces, so that KVM is told of a piece only when something happens in it.
//!
//! Making a gigabyte of RAM known to KVM takes time and host memory on hosts that shadow the
//! guest's page tables, whether the guest ever touches it or not. A piece is therefore attached
//! when the host side has written to it (the loader did), or when the guest first reaches it. Until
//! then it can only hold zeros, so nobody can tell.

use std::collections::BTreeSet;

use super::slot_holes::{PAGE, ProtectedPages, SlotMapping};
use super::{GuestMemory, HIGH_RAM_BASE, MemoryError};

/// Smallest piece in which RAM is made known to KVM, in bytes.
const SMALLEST_PIECE: u64 = 128 << 20;

/// Largest piece: the RAM below 4 GiB and that above it are numbered as pieces of their own.
const LARGEST_PIECE: u64 = HIGH_RAM_BASE;

/// Most pieces RAM is cut into, unless they would be too large; KVM has room for several times as many
/// slots.
const MOST_PIECES: u64 = 4096;

/// One piece of RAM as KVM needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySlot {
    /// Slot number.
    pub number: u32,
    /// First guest-physical address.
    pub guest: u64,
    /// Length in bytes.
    pub size: u64,
    /// Address of the host mapping.
    pub host: u64,
}

/// Size of the pieces for a machine whose RAM ends at `end`: a power of two.
pub(super) fn piece_size(end: u64) -> u64 {
    let mut size = SMALLEST_PIECE;
    while end.div_ceil(size) > MOST_PIECES && size < LARGEST_PIECE {
        size *= 2;
    }
    size
}

/// Which pieces of RAM KVM knows about.
#[derive(Clone, Debug, Default)]
pub struct AttachedSlots {
    pub(super) numbers: BTreeSet<u32>,
    /// Protected pages, ascending.
    pub(super) protected: Vec<ProtectedPages>,
    /// The parts of the pieces that are attached in parts.
    pub(super) carved: Vec<SlotMapping>,
}

impl AttachedSlots {
    /// The parts of the piece that holds `address`, if it is RAM and not attached yet; it counts as
    /// attached from now on.
    pub fn attach_at(&mut self, memory: &GuestMemory, address: u64) -> Vec<SlotMapping> {
        match memory.slot_at(address) {
            Some(piece) if self.numbers.insert(piece.number) => self.attach(memory, piece),
            _ => Vec::new(),
        }
    }

    /// All pieces that the host side has written to and that are not attached yet, and always the
    /// first; they count as attached from now on.
    pub fn attach_written(&mut self, memory: &GuestMemory) -> Vec<SlotMapping> {
        self.take(memory, |memory, slot| slot.number == 0 || memory.piece_written(slot.guest))
    }

    /// All pieces that are not attached yet; they count as attached from now on.
    pub fn attach_rest(&mut self, memory: &GuestMemory) -> Vec<SlotMapping> {
        self.take(memory, |_, _| true)
    }

    fn take(
        &mut self,
        memory: &GuestMemory,
        wanted: impl Fn(&GuestMemory, &MemorySlot) -> bool,
    ) -> Vec<SlotMapping> {
        let mut taken = Vec::new();
        for range in memory.ram() {
            let mut address = range.start;
            while let Some(slot) = memory.slot_at(address) {
                address = slot.guest + slot.size;
                if wanted(memory, &slot) && self.numbers.insert(slot.number) {
                    taken.extend(self.attach(memory, slot));
                }
                if address >= range.end {
                    break;
                }
            }
        }
        taken
    }
}

impl GuestMemory {
    /// The piece of RAM that holds `address`.
    pub fn slot_at(&self, address: u64) -> Option<MemorySlot> {
        let range = self.ram().iter().find(|range| range.contains(&address))?;
        let number = address / self.piece;
        let guest = (number * self.piece).max(range.start);
        let size = ((number + 1) * self.piece).min(range.end) - guest;
        let host = self.host_address(guest)?;
        Some(MemorySlot { number: number as u32, guest, size, host })
    }

    /// The piece with this number.
    pub(super) fn piece(&self, number: u32) -> Option<MemorySlot> {
        self.slot_at(u64::from(number) * self.piece)
    }

    /// The first slot number that no piece has.
    pub(super) fn first_free_slot(&self) -> u32 {
        self.ram().last().map_or(0, |range| range.end.div_ceil(self.piece) as u32)
    }

    /// True if `slot` is one of the pieces of this memory, or whole pages of one.
    pub fn has_slot(&self, slot: &MemorySlot) -> bool {
        let Some(piece) = self.slot_at(slot.guest) else { return false };
        let offset = slot.guest - piece.guest;
        let whole = [slot.guest, slot.size].iter().all(|n| n.is_multiple_of(PAGE));
        whole && slot.size > 0 && slot.size <= piece.size - offset && slot.host == piece.host + offset
    }

    /// Writes to RAM that the guest reached before KVM knew of it.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotRam`].
    pub fn write_word(&self, address: u64, value: u64, size: u8) -> Result<(), MemoryError> {
        self.write(address, &value.to_le_bytes()[..usize::from(size).min(8)])
    }

    /// Reads RAM that the guest reached before KVM knew of it.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotRam`].
    pub fn read_word(&self, address: u64, size: u8) -> Result<u64, MemoryError> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes[..usize::from(size).min(8)])?;
        Ok(u64::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LOW_RAM_LIMIT, MAX_RAM};
    use super::*;

    #[test]
    fn a_large_machine_starts_with_the_first_piece_and_what_the_loader_wrote() {
        let memory = GuestMemory::new(64 << 30).unwrap();
        memory.write(HIGH_RAM_BASE + (5 << 30), b"module").unwrap();
        let mut attached = AttachedSlots::default();
        let slots = attached.attach_written(&memory);
        assert_eq!(
            slots.iter().map(|part| part.slot.guest).collect::<Vec<_>>(),
            [0, HIGH_RAM_BASE + (5 << 30)]
        );
        assert_eq!(attached.attach_written(&memory), []);
    }

    #[test]
    fn reaching_a_piece_attaches_it_once() {
        let memory = GuestMemory::new(1 << 30).unwrap();
        let mut attached = AttachedSlots::default();
        let parts = attached.attach_at(&memory, (300 << 20) + 5);
        let found: Vec<_> = parts.iter().map(|part| (part.slot.guest, part.slot.size)).collect();
        assert_eq!(found, [(256 << 20, SMALLEST_PIECE)]);
        assert_eq!(attached.attach_at(&memory, 300 << 20), []);
        assert_eq!(attached.attach_at(&memory, 1 << 30), []);
    }

    #[test]
    fn all_pieces_together_are_exactly_ram() {
        let memory = GuestMemory::new(LOW_RAM_LIMIT + (129 << 20)).unwrap();
        let parts = AttachedSlots::default().attach_rest(&memory);
        let slots: Vec<MemorySlot> = parts.iter().map(|part| part.slot).collect();
        assert_eq!(slots.iter().map(|s| s.size).sum::<u64>(), memory.size());
        for pair in slots.windows(2) {
            assert!(pair[0].guest + pair[0].size <= pair[1].guest);
            assert!(pair[0].number < pair[1].number);
        }
        assert_eq!(slots.last().unwrap().size, 1 << 20);
    }

    #[test]
    fn ram_below_and_above_the_hole_has_numbers_of_its_own_whatever_its_size() {
        for size in [LOW_RAM_LIMIT + (1 << 20), 17 << 40, MAX_RAM] {
            let Ok(memory) = GuestMemory::new(size) else { return };
            let (low, high) = (memory.slot_at(0).unwrap(), memory.slot_at(HIGH_RAM_BASE).unwrap());
            assert_ne!(low.number, high.number, "{size:#x}");
            assert_eq!(memory.piece(low.number), Some(low));
            assert_eq!(memory.piece(high.number), Some(high));
        }
    }

    #[test]
    fn the_largest_machine_stays_within_the_slots_kvm_has() {
        assert_eq!(piece_size(1 << 30), SMALLEST_PIECE);
        let end = MAX_RAM + HIGH_RAM_BASE;
        assert!(end.div_ceil(piece_size(end)) <= 2 * MOST_PIECES + 1);
    }
}
