//! RAM in blocks, each of which becomes a memory slot of KVM on first access.
//!
//! On hosts that shadow the guest's page tables, a slot costs time and host memory for each page, whether the guest
//! accesses it or not. A block is therefore attached (mapped as a slot) when the host has written to it, as the loader
//! does, or when the guest first accesses it: an access to a block that is not attached is an MMIO exit, which the
//! caller answers from RAM. Until then the block holds zeros.
//!
//! [`AttachedSlots`] decides; the caller maps and unmaps the slots with KVM.

use std::collections::BTreeSet;

use super::slot_holes::{ProtectedPages, SlotMapping};
use super::{GuestMemory, HIGH_RAM_BASE, MemoryError, VIDEO_MEMORY};
use crate::arch::PAGE_SIZE;

/// Smallest size of a block in bytes.
const MIN_BLOCK: u64 = 128 << 20;

/// Largest size of a block: RAM below 4 GiB and RAM above it are never in one block.
const MAX_BLOCK: u64 = HIGH_RAM_BASE;

/// Largest number of blocks, unless they would be larger than [`MAX_BLOCK`]; KVM has several times as many slots.
const MAX_BLOCKS: u64 = 4096;

/// A memory slot of KVM: a block of RAM, or whole pages of one.
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

/// Size of the blocks for a machine whose RAM ends at `end`: a power of two.
pub(super) fn block_size(end: u64) -> u64 {
    let mut size = MIN_BLOCK;
    while end.div_ceil(size) > MAX_BLOCKS && size < MAX_BLOCK {
        size *= 2;
    }
    size
}

/// Which blocks of RAM are attached, and which of their pages are protected.
#[derive(Clone, Debug, Default)]
pub struct AttachedSlots {
    /// Slot numbers of the attached blocks.
    pub(super) numbers: BTreeSet<u32>,
    /// Protected pages, ascending.
    pub(super) protected: Vec<ProtectedPages>,
    /// The mappings of blocks that are split into several slots.
    pub(super) split: Vec<SlotMapping>,
}

impl AttachedSlots {
    /// Attaches the block that holds `address`: the mappings for it, none if it is not RAM or attached already.
    pub fn attach_at(&mut self, memory: &GuestMemory, address: u64) -> Vec<SlotMapping> {
        match memory.slot_at(address) {
            Some(block) if self.numbers.insert(block.number) => self.attach(memory, block),
            _ => Vec::new(),
        }
    }

    /// Attaches the first block and all blocks that the host has written to: the mappings for those that were not
    /// attached.
    pub fn attach_written(&mut self, memory: &GuestMemory) -> Vec<SlotMapping> {
        self.attach_where(memory, |memory, slot| slot.number == 0 || memory.is_block_written(slot.guest))
    }

    /// Attaches all blocks: the mappings for those that were not attached.
    pub fn attach_rest(&mut self, memory: &GuestMemory) -> Vec<SlotMapping> {
        self.attach_where(memory, |_, _| true)
    }

    fn attach_where(
        &mut self,
        memory: &GuestMemory,
        wanted: impl Fn(&GuestMemory, &MemorySlot) -> bool,
    ) -> Vec<SlotMapping> {
        let mut mappings = Vec::new();
        for range in memory.parts() {
            let mut address = range.start;
            while let Some(slot) = memory.slot_at(address) {
                address = slot.guest + slot.size;
                if wanted(memory, &slot) && self.numbers.insert(slot.number) {
                    mappings.extend(self.attach(memory, slot));
                }
                if address >= range.end {
                    break;
                }
            }
        }
        mappings
    }
}

impl GuestMemory {
    /// The slot of the block of RAM that holds `address`. Video memory is a block.
    pub fn slot_at(&self, address: u64) -> Option<MemorySlot> {
        let range = self.parts().find(|range| range.contains(&address))?;
        let host = |guest| self.host_address(guest);
        if *range == VIDEO_MEMORY {
            let (guest, size) = (range.start, range.end - range.start);
            return Some(MemorySlot { number: self.ram_blocks(), guest, size, host: host(guest)? });
        }
        let number = address / self.block_size;
        let guest = (number * self.block_size).max(range.start);
        let size = ((number + 1) * self.block_size).min(range.end) - guest;
        Some(MemorySlot { number: number as u32, guest, size, host: host(guest)? })
    }

    /// The block with this slot number.
    pub(super) fn block(&self, number: u32) -> Option<MemorySlot> {
        let is_video = self.has_video_memory() && number == self.ram_blocks();
        self.slot_at(if is_video { VIDEO_MEMORY.start } else { u64::from(number) * self.block_size })
    }

    /// The number of blocks up to the end of RAM.
    fn ram_blocks(&self) -> u32 {
        self.ram().last().map_or(0, |range| range.end.div_ceil(self.block_size) as u32)
    }

    /// The first slot number that no block has.
    pub(super) fn first_free_slot(&self) -> u32 {
        self.ram_blocks() + u32::from(self.has_video_memory())
    }

    /// True if `slot` is a block of this memory, whole pages of one, or the ROM below 4 GiB.
    pub fn has_slot(&self, slot: &MemorySlot) -> bool {
        if self.has_rom() && self.rom_slot().is_some_and(|rom| rom.slot == *slot) {
            return true;
        }
        let Some(block) = self.slot_at(slot.guest) else { return false };
        let offset = slot.guest - block.guest;
        let whole = [slot.guest, slot.size].iter().all(|n| n.is_multiple_of(PAGE_SIZE));
        whole && slot.size > 0 && slot.size <= block.size - offset && slot.host == block.host + offset
    }

    /// Carries out a write of the guest to RAM that is not mapped, or to ROM, which ignores it: the low `size` bytes of `value`, at most 8.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotRam`].
    pub fn write_word(&self, address: u64, value: u64, size: u8) -> Result<(), MemoryError> {
        self.write_for_guest(address, &value.to_le_bytes()[..usize::from(size).min(8)])
    }

    /// Carries out a read of the guest from RAM that is not mapped: `size` bytes, at most 8.
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
#[path = "slots_test.rs"]
mod tests;
