//! The changes that are returned, applied like KVM does.

use super::*;

/// The slots of a KVM that every change is applied to.
#[derive(Default)]
struct FakeKvm(Vec<SlotMapping>);

impl FakeKvm {
    fn apply(&mut self, changes: &[SlotChange]) {
        for change in changes {
            match change {
                SlotChange::Detach(mapping) => {
                    let at = self
                        .0
                        .iter()
                        .position(|known| known == mapping)
                        .expect("only a mapped slot is detached");
                    self.0.remove(at);
                }
                SlotChange::Attach(mapping) => {
                    let end = mapping.slot.guest + mapping.slot.size;
                    for known in &self.0 {
                        assert_ne!(known.slot.number, mapping.slot.number, "the number is taken");
                        assert!(
                            known.slot.guest >= end
                                || known.slot.guest + known.slot.size <= mapping.slot.guest,
                            "{mapping:?} overlaps {known:?}"
                        );
                    }
                    self.0.push(*mapping);
                }
            }
        }
        self.0.sort_by_key(|mapping| mapping.slot.guest);
    }

    fn map(&self) -> Vec<(u64, u64, bool)> {
        self.0.iter().map(|mapping| (mapping.slot.guest, mapping.slot.size, mapping.read_only)).collect()
    }
}

fn read_only(start: u64, end: u64) -> ProtectedPages {
    ProtectedPages { pages: start..end, how: Protection::ReadOnly }
}

fn removed(start: u64, end: u64) -> ProtectedPages {
    ProtectedPages { pages: start..end, how: Protection::Removed }
}

fn attached(memory: &GuestMemory) -> (AttachedSlots, FakeKvm) {
    let (mut slots, mut kvm) = (AttachedSlots::default(), FakeKvm::default());
    let mappings: Vec<SlotChange> =
        slots.attach_written(memory).into_iter().map(SlotChange::Attach).collect();
    kvm.apply(&mappings);
    (slots, kvm)
}

#[test]
fn a_block_is_split_around_protected_pages_and_is_one_slot_again_without_them() {
    let memory = GuestMemory::new(16 << 20).unwrap();
    let (mut slots, mut kvm) = attached(&memory);
    let whole = kvm.map();
    let wanted = vec![read_only(0x5000, 0x6000), removed(0x6000, 0x8000)];
    kvm.apply(&slots.protect(&memory, wanted).unwrap());
    assert_eq!(kvm.map(), [(0, 0x5000, false), (0x5000, 0x1000, true), (0x8000, (16 << 20) - 0x8000, false)]);
    for mapping in &kvm.0 {
        assert!(memory.has_slot(&mapping.slot), "{mapping:?}");
        assert_eq!(mapping.slot.host - kvm.0[0].slot.host, mapping.slot.guest);
    }
    kvm.apply(&slots.protect(&memory, Vec::new()).unwrap());
    assert_eq!(kvm.map(), whole);
    assert_eq!(kvm.0[0].slot.number, 0);
}

#[test]
fn attached_slots_are_listed_however_blocks_were_split() {
    let memory = GuestMemory::new(256 << 20).unwrap();
    let (mut slots, mut kvm) = attached(&memory);
    let border = 128 << 20;
    let steps = [
        vec![],
        vec![read_only(0x5000, 0x6000), removed(0x6000, 0x8000)],
        vec![removed(0, border)],
        vec![removed(0x6000, 0x7000), read_only(border, border + 0x1000)],
        vec![],
    ];
    for (number, wanted) in steps.into_iter().enumerate() {
        kvm.apply(&slots.protect(&memory, wanted).unwrap());
        assert_eq!(slots.attached(&memory), kvm.0, "step {number}");
        if number == 2 {
            let mappings = slots.attach_at(&memory, border);
            kvm.apply(&mappings.into_iter().map(SlotChange::Attach).collect::<Vec<_>>());
        }
    }
    assert_eq!(kvm.map(), [(0, border, false), (border, border, false)]);
}

#[test]
fn slots_that_stay_as_they_are_do_not_change() {
    let memory = GuestMemory::new(16 << 20).unwrap();
    let (mut slots, mut kvm) = attached(&memory);
    let first = read_only(0x5000, 0x6000);
    kvm.apply(&slots.protect(&memory, vec![first.clone()]).unwrap());
    assert_eq!(slots.protect(&memory, vec![first.clone()]).unwrap(), []);
    let changes = slots.protect(&memory, vec![first, removed(0x100000, 0x101000)]).unwrap();
    // Two slots replace the one behind the first page.
    assert_eq!(changes.len(), 3);
    kvm.apply(&changes);
}

#[test]
fn every_page_up_to_both_ends_of_a_block_can_be_protected() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let (mut slots, mut kvm) = attached(&memory);
    let end = 1 << 20;
    kvm.apply(&slots.protect(&memory, vec![removed(0, 0x1000), read_only(end - 0x1000, end)]).unwrap());
    assert_eq!(kvm.map(), [(0x1000, end - 0x2000, false), (end - 0x1000, 0x1000, true)]);
    kvm.apply(&slots.protect(&memory, vec![removed(0, end)]).unwrap());
    assert_eq!(kvm.map(), []);
    kvm.apply(&slots.protect(&memory, vec![read_only(0, end)]).unwrap());
    assert_eq!(kvm.map(), [(0, end, true)]);
    kvm.apply(&slots.protect(&memory, Vec::new()).unwrap());
    assert_eq!(kvm.map(), [(0, end, false)]);
}

#[test]
fn protected_pages_stay_protected_in_a_block_that_is_attached_later() {
    let memory = GuestMemory::new(256 << 20).unwrap();
    let (mut slots, mut kvm) = attached(&memory);
    let border = 128 << 20;
    let wanted = vec![read_only(border - 0x1000, border + 0x1000)];
    kvm.apply(&slots.protect(&memory, wanted).unwrap());
    assert_eq!(kvm.map(), [(0, border - 0x1000, false), (border - 0x1000, 0x1000, true)]);
    let mappings = slots.attach_at(&memory, border + 5);
    kvm.apply(&mappings.into_iter().map(SlotChange::Attach).collect::<Vec<_>>());
    assert_eq!(kvm.map()[2..], [(border, 0x1000, true), (border + 0x1000, border - 0x1000, false)]);
    assert_eq!(slots.attach_at(&memory, border + 5), []);
    kvm.apply(&slots.protect(&memory, Vec::new()).unwrap());
    assert_eq!(kvm.map(), [(0, border, false), (border, border, false)]);
}

#[test]
fn ranges_that_cannot_be_protected_change_nothing() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let (mut slots, _) = attached(&memory);
    for wrong in [
        vec![read_only(0x10, 0x1010)],
        vec![read_only(0x1000, 0x1000)],
        vec![read_only(0x2000, 0x1000)],
        vec![read_only(1 << 20, (1 << 20) + 0x1000)],
        vec![read_only(0x2000, 0x3000), removed(0x2000, 0x3000)],
        vec![read_only(0, u64::MAX - 0xFFF)],
    ] {
        assert!(slots.protect(&memory, wrong).is_err());
    }
    let many =
        (0..=MAX_PROTECTED_RANGES as u64).map(|n| read_only(n * 0x2000, n * 0x2000 + 0x1000)).collect();
    assert!(matches!(slots.protect(&memory, many), Err(MemoryError::TooManyRanges { ranges: 129 })));
    assert_eq!(slots.protect(&memory, Vec::new()).unwrap(), []);
}
