//! In-memory snapshots of machines on the host's KVM, compared with full copies.

use super::super::inputs::Input;
use super::super::testing::{machine, run_to_halt};
use super::super::{CpuId, Event, WatchRange};
use super::*;
use crate::arch::PAGE_SIZE;

/// Counts its rounds at [`COUNTER`] and in RBX, sets a byte in the page of that number behind it, and
/// halts after each.
const COUNTING: &[u8] = b"\
    \xFF\x04\x25\x00\x00\x30\x00\
    \x8B\x0C\x25\x00\x00\x30\x00\
    \x48\xFF\xC3\
    \xC1\xE1\x0C\
    \xC6\x81\x00\x00\x30\x00\x01\
    \xF4\
    \xEB\xE2";
const COUNTER: u64 = 0x30_0000;

/// The observable state of a machine: RAM, RBX, RIP and the devices.
fn observe(machine: &Machine) -> (Vec<u8>, u64, u64, Vec<u8>) {
    let mut bytes = vec![0; 64 * PAGE_SIZE as usize];
    machine.memory().read(COUNTER, &mut bytes).unwrap();
    let general = machine.cpu(CpuId::BOOT).registers().unwrap().general;
    let chips = machine.board().save().into_iter().flat_map(|(_, payload)| payload.bytes).collect();
    (bytes, general.rbx, general.rip, chips)
}

fn count(machine: &Machine) -> u64 {
    machine.memory().read_u64(COUNTER).unwrap()
}

#[test]
fn a_snapshot_can_be_restored_repeatedly() {
    let Some(mut machine) = machine(16 << 20, COUNTING) else { return };
    let mut snapshots = Snapshots::default();
    run_to_halt(&mut machine);
    let first = observe(&machine);
    let kept = snapshots.take(&mut machine, "first", None).unwrap();
    assert_eq!(kept.rip, first.2);
    for _ in 0..3 {
        run_to_halt(&mut machine);
        run_to_halt(&mut machine);
        assert_eq!(count(&machine), 3);
        let back = snapshots.restore(&mut machine, "first").unwrap();
        // Hosts may count page tables, too.
        assert!((3..=8).contains(&back.pages), "{} pages", back.pages);
        assert_eq!(observe(&machine), first);
    }
    assert_eq!(snapshots.restore(&mut machine, "first").unwrap().pages, 0);
}

#[test]
fn snapshots_stay_intact_through_random_operations() {
    let Some(mut machine) = machine(16 << 20, COUNTING) else { return };
    let mut snapshots = Snapshots::default();
    let mut copies: BTreeMap<String, _> = BTreeMap::new();
    let mut random = 12345_u32;
    for step in 0..150 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (what, which) = (random >> 24 & 0xF, random >> 20 & 3);
        let name = format!("s{which}");
        match what {
            0..=5 if count(&machine) < 60 => run_to_halt(&mut machine),
            6 => machine
                .memory()
                .write(COUNTER + 0x2_0000 + u64::from(which) * PAGE_SIZE, &[step as u8])
                .unwrap(),
            7 => _ = machine.board.port_out(0x80, 1, step),
            8 | 9 => {
                snapshots.take(&mut machine, &name, None).unwrap();
                copies.insert(name, observe(&machine));
            }
            10 => {
                let watch = WatchRange { start: 0x10_0000, length: 8, reads: false, writes: true };
                machine.watch(if which == 0 { vec![watch] } else { Vec::new() }).unwrap();
            }
            11 if which == 0 => {
                machine.inputs().push(Input::Reset);
                assert!(matches!(machine.wait(), Event::Reset));
            }
            12 if copies.len() > 1 && copies.remove(&name).is_some() => {
                snapshots.delete(&mut machine, &name).unwrap();
            }
            _ => match copies.get(&name) {
                Some(copy) => {
                    snapshots.restore(&mut machine, &name).unwrap();
                    assert!(observe(&machine) == *copy, "step {step}, {name}");
                }
                None => assert!(snapshots.restore(&mut machine, &name).is_err()),
            },
        }
    }
    assert!(!copies.is_empty());
    snapshots.delete_all(&mut machine).unwrap();
    assert_eq!((snapshots.bytes(), snapshots.list()), (0, Vec::new()));
    assert!(machine.take_dirty(DirtyTracker::Snapshots).unwrap().is_empty());
}

#[test]
fn restoring_a_snapshot_marks_pages_dirty_for_a_migration() {
    let Some(mut machine) = machine(16 << 20, COUNTING) else { return };
    let mut snapshots = Snapshots::default();
    snapshots.take(&mut machine, "start", None).unwrap();
    run_to_halt(&mut machine);
    machine.start_dirty_tracking(DirtyTracker::Migration).unwrap();
    snapshots.restore(&mut machine, "start").unwrap();
    let dirty = machine.take_dirty(DirtyTracker::Migration).unwrap();
    assert!(dirty.contains(COUNTER) && dirty.contains(COUNTER + PAGE_SIZE), "{dirty:?}");
    assert_eq!(snapshots.restore(&mut machine, "start").unwrap().pages, 0, "nothing has changed since");
}

#[test]
fn names_and_the_number_of_snapshots_are_bounded() {
    let Some(mut machine) = machine(4 << 20, b"\xF4") else { return };
    let mut snapshots = Snapshots::default();
    let error = |result: Result<SnapshotInfo, InMemorySnapshotError>| result.unwrap_err().to_string();
    for name in ["", "a b", "a/b", "\n", &"x".repeat(LONGEST_NAME + 1)] {
        let text = error(snapshots.take(&mut machine, name, None));
        assert!(text.contains("is no name for a snapshot"), "{text}");
    }
    assert!(error(snapshots.restore(&mut machine, "a")).contains("no snapshot `a`; `snapshots` lists all"));
    for number in 0..MOST {
        snapshots.take(&mut machine, &format!("before{number}"), None).unwrap();
    }
    assert!(error(snapshots.take(&mut machine, "one", None)).contains("as many as there can be"));
    snapshots.take(&mut machine, "before7", None).unwrap();
    assert_eq!(snapshots.list().last().unwrap().name, "before7", "the latest is listed last");
    assert!(error(snapshots.restore(&mut machine, "befor7")).contains("(there is `before7`)"));
}

#[test]
fn a_pending_action_is_part_of_the_snapshot() {
    let Some(mut machine) = machine(4 << 20, b"\xF4") else { return };
    let mut snapshots = Snapshots::default();
    snapshots.take(&mut machine, "pending", Some(PendingAction::Reset)).unwrap();
    for _ in 0..2 {
        assert!(machine.take_pending_action().is_none());
        snapshots.restore(&mut machine, "pending").unwrap();
        assert!(matches!(machine.take_pending_action(), Some(Event::ResetRequested)));
    }
}
