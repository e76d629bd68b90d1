//! Parts of a piece are counted like KVM does: by what is told to it.

use super::*;

/// What a KVM that is told everything knows: address, size and read-only, ascending.
#[derive(Default)]
struct Known(Vec<SlotMapping>);

impl Known {
    fn tell(&mut self, changes: &[SlotChange]) {
        for change in changes {
            match change {
                SlotChange::Detach(part) => {
                    let at = self.0.iter().position(|known| known == part).expect("only a known slot goes");
                    self.0.remove(at);
                }
                SlotChange::Attach(part) => {
                    let end = part.slot.guest + part.slot.size;
                    for known in &self.0 {
                        assert_ne!(known.slot.number, part.slot.number, "the number is taken");
                        assert!(
                            known.slot.guest >= end || known.slot.guest + known.slot.size <= part.slot.guest,
                            "{part:?} overlaps {known:?}"
                        );
                    }
                    self.0.push(*part);
                }
            }
        }
        self.0.sort_by_key(|part| part.slot.guest);
    }

    fn map(&self) -> Vec<(u64, u64, bool)> {
        self.0.iter().map(|part| (part.slot.guest, part.slot.size, part.read_only)).collect()
    }
}

fn read_only(start: u64, end: u64) -> ProtectedPages {
    ProtectedPages { pages: start..end, how: Protection::ReadOnly }
}

fn removed(start: u64, end: u64) -> ProtectedPages {
    ProtectedPages { pages: start..end, how: Protection::Removed }
}

fn started(memory: &GuestMemory) -> (AttachedSlots, Known) {
    let (mut slots, mut known) = (AttachedSlots::default(), Known::default());
    let parts: Vec<SlotChange> = slots.attach_written(memory).into_iter().map(SlotChange::Attach).collect();
    known.tell(&parts);
    (slots, known)
}

#[test]
fn a_piece_is_cut_around_protected_pages_and_is_whole_again_without_them() {
    let memory = GuestMemory::new(16 << 20).unwrap();
    let (mut slots, mut known) = started(&memory);
    let whole = known.map();
    let wanted = vec![read_only(0x5000, 0x6000), removed(0x6000, 0x8000)];
    known.tell(&slots.protect(&memory, wanted).unwrap());
    assert_eq!(
        known.map(),
        [(0, 0x5000, false), (0x5000, 0x1000, true), (0x8000, (16 << 20) - 0x8000, false)]
    );
    for part in &known.0 {
        assert!(memory.has_slot(&part.slot), "{part:?}");
        assert_eq!(part.slot.host - known.0[0].slot.host, part.slot.guest);
    }
    known.tell(&slots.protect(&memory, Vec::new()).unwrap());
    assert_eq!(known.map(), whole);
    assert_eq!(known.0[0].slot.number, 0);
}

#[test]
fn what_kvm_knows_can_be_listed_however_pieces_were_cut() {
    let memory = GuestMemory::new(256 << 20).unwrap();
    let (mut slots, mut known) = started(&memory);
    let border = 128 << 20;
    let steps = [
        vec![],
        vec![read_only(0x5000, 0x6000), removed(0x6000, 0x8000)],
        vec![removed(0, border)],
        vec![removed(0x6000, 0x7000), read_only(border, border + 0x1000)],
        vec![],
    ];
    for (number, wanted) in steps.into_iter().enumerate() {
        known.tell(&slots.protect(&memory, wanted).unwrap());
        assert_eq!(slots.attached(&memory), known.0, "step {number}");
        if number == 2 {
            let parts = slots.attach_at(&memory, border);
            known.tell(&parts.into_iter().map(SlotChange::Attach).collect::<Vec<_>>());
        }
    }
    assert_eq!(known.map(), [(0, border, false), (border, border, false)]);
}

#[test]
fn what_stays_as_it_is_is_not_told_again() {
    let memory = GuestMemory::new(16 << 20).unwrap();
    let (mut slots, mut known) = started(&memory);
    let first = read_only(0x5000, 0x6000);
    known.tell(&slots.protect(&memory, vec![first.clone()]).unwrap());
    assert_eq!(slots.protect(&memory, vec![first.clone()]).unwrap(), []);
    let changes = slots.protect(&memory, vec![first, removed(0x100000, 0x101000)]).unwrap();
    // The part behind the first page goes, and two take its place.
    assert_eq!(changes.len(), 3);
    known.tell(&changes);
}

#[test]
fn every_page_up_to_both_ends_of_a_piece_can_be_protected() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let (mut slots, mut known) = started(&memory);
    let end = 1 << 20;
    known.tell(&slots.protect(&memory, vec![removed(0, 0x1000), read_only(end - 0x1000, end)]).unwrap());
    assert_eq!(known.map(), [(0x1000, end - 0x2000, false), (end - 0x1000, 0x1000, true)]);
    known.tell(&slots.protect(&memory, vec![removed(0, end)]).unwrap());
    assert_eq!(known.map(), []);
    known.tell(&slots.protect(&memory, vec![read_only(0, end)]).unwrap());
    assert_eq!(known.map(), [(0, end, true)]);
    known.tell(&slots.protect(&memory, Vec::new()).unwrap());
    assert_eq!(known.map(), [(0, end, false)]);
}

#[test]
fn pages_across_two_pieces_are_protected_in_the_one_that_is_attached_later_too() {
    let memory = GuestMemory::new(256 << 20).unwrap();
    let (mut slots, mut known) = started(&memory);
    let border = 128 << 20;
    let wanted = vec![read_only(border - 0x1000, border + 0x1000)];
    known.tell(&slots.protect(&memory, wanted).unwrap());
    assert_eq!(known.map(), [(0, border - 0x1000, false), (border - 0x1000, 0x1000, true)]);
    let parts = slots.attach_at(&memory, border + 5);
    known.tell(&parts.into_iter().map(SlotChange::Attach).collect::<Vec<_>>());
    assert_eq!(known.map()[2..], [(border, 0x1000, true), (border + 0x1000, border - 0x1000, false)]);
    assert_eq!(slots.attach_at(&memory, border + 5), []);
    known.tell(&slots.protect(&memory, Vec::new()).unwrap());
    assert_eq!(known.map(), [(0, border, false), (border, border, false)]);
}

#[test]
fn what_cannot_be_protected_changes_nothing() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let (mut slots, _) = started(&memory);
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
