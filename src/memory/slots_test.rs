//! Which blocks are attached when, and how they divide RAM.

use super::super::{LOW_RAM_LIMIT, MAX_RAM};
use super::*;

#[test]
fn the_first_block_and_those_the_loader_wrote_are_attached_at_the_start() {
    let memory = GuestMemory::new(64 << 30).unwrap();
    memory.write(HIGH_RAM_BASE + (5 << 30), b"module").unwrap();
    let mut attached = AttachedSlots::default();
    let slots = attached.attach_written(&memory);
    assert_eq!(
        slots.iter().map(|mapping| mapping.slot.guest).collect::<Vec<_>>(),
        [0, HIGH_RAM_BASE + (5 << 30)]
    );
    assert_eq!(attached.attach_written(&memory), []);
}

#[test]
fn the_first_access_attaches_a_block_once() {
    let memory = GuestMemory::new(1 << 30).unwrap();
    let mut attached = AttachedSlots::default();
    let mappings = attached.attach_at(&memory, (300 << 20) + 5);
    let found: Vec<_> = mappings.iter().map(|mapping| (mapping.slot.guest, mapping.slot.size)).collect();
    assert_eq!(found, [(256 << 20, MIN_BLOCK)]);
    assert_eq!(attached.attach_at(&memory, 300 << 20), []);
    assert_eq!(attached.attach_at(&memory, 1 << 30), []);
}

#[test]
fn all_blocks_together_are_exactly_ram() {
    let memory = GuestMemory::new(LOW_RAM_LIMIT + (129 << 20)).unwrap();
    let mappings = AttachedSlots::default().attach_rest(&memory);
    let slots: Vec<MemorySlot> = mappings.iter().map(|mapping| mapping.slot).collect();
    assert_eq!(slots.iter().map(|s| s.size).sum::<u64>(), memory.size());
    for pair in slots.windows(2) {
        assert!(pair[0].guest + pair[0].size <= pair[1].guest);
        assert!(pair[0].number < pair[1].number);
    }
    assert_eq!(slots.last().unwrap().size, 1 << 20);
}

#[test]
fn ram_below_and_above_4_gib_is_never_in_one_block() {
    for size in [LOW_RAM_LIMIT + (1 << 20), 17 << 40, MAX_RAM] {
        let Ok(memory) = GuestMemory::new(size) else { return };
        let (low, high) = (memory.slot_at(0).unwrap(), memory.slot_at(HIGH_RAM_BASE).unwrap());
        assert_ne!(low.number, high.number, "{size:#x}");
        assert_eq!(memory.block(low.number), Some(low));
        assert_eq!(memory.block(high.number), Some(high));
    }
}

#[test]
fn the_largest_machine_needs_no_more_slots_than_kvm_has() {
    assert_eq!(block_size(1 << 30), MIN_BLOCK);
    let end = MAX_RAM + HIGH_RAM_BASE;
    assert!(end.div_ceil(block_size(end)) <= 2 * MAX_BLOCKS + 1);
}
