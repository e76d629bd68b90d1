//! Snapshots of whole machines on the host's KVM, compared with full copies.

use super::super::inputs::Input;
use super::super::testing::{machine, run_to_halt};
use super::super::{CpuId, Event, PhysicalWatch};
use super::*;
use crate::memory::PAGE;

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

/// What can be seen of a machine: what its RAM holds, RBX, RIP and the POST code of the last round.
fn seen(machine: &Machine) -> (Vec<u8>, u64, u64, Vec<u8>) {
    let mut bytes = vec![0; 64 * PAGE as usize];
    machine.memory().read(COUNTER, &mut bytes).unwrap();
    let general = machine.cpu(CpuId::BOOT).registers().unwrap().general;
    let chips = machine.board().save().into_iter().flat_map(|(_, payload)| payload.bytes).collect();
    (bytes, general.rbx, general.rip, chips)
}

fn count(machine: &Machine) -> u64 {
    machine.memory().read_u64(COUNTER).unwrap()
}

#[test]
fn a_guest_goes_back_as_often_as_one_likes_and_goes_on_from_there() {
    let Some(mut machine) = machine(16 << 20, COUNTING) else { return };
    let mut snapshots = Snapshots::default();
    run_to_halt(&mut machine);
    let first = seen(&machine);
    let kept = snapshots.take(&mut machine, "first", None).unwrap();
    assert_eq!(kept.rip, first.2);
    for _ in 0..3 {
        run_to_halt(&mut machine);
        run_to_halt(&mut machine);
        assert_eq!(count(&machine), 3);
        let back = snapshots.go_back(&mut machine, "first").unwrap();
        // Hosts may count page tables, too.
        assert!((3..=8).contains(&back.pages), "{} pages", back.pages);
        assert_eq!(seen(&machine), first);
    }
    assert_eq!(snapshots.go_back(&mut machine, "first").unwrap().pages, 0);
}

#[test]
fn whatever_happens_in_between_each_snapshot_is_what_it_was() {
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
            6 => machine.memory().write(COUNTER + 0x2_0000 + u64::from(which) * PAGE, &[step as u8]).unwrap(),
            7 => _ = machine.board.port_out(0x80, 1, step),
            8 | 9 => {
                snapshots.take(&mut machine, &name, None).unwrap();
                copies.insert(name, seen(&machine));
            }
            10 => {
                let watch = PhysicalWatch { start: 0x10_0000, length: 8, reads: false, writes: true };
                machine.watch(if which == 0 { vec![watch] } else { Vec::new() }).unwrap();
            }
            11 if which == 0 => {
                machine.inputs().push(Input::Reset);
                assert!(matches!(machine.wait(), Event::Reset));
            }
            12 if copies.len() > 1 && copies.remove(&name).is_some() => {
                snapshots.forget(&mut machine, &name).unwrap();
            }
            _ => match copies.get(&name) {
                Some(copy) => {
                    snapshots.go_back(&mut machine, &name).unwrap();
                    assert!(seen(&machine) == *copy, "step {step}, {name}");
                }
                None => assert!(snapshots.go_back(&mut machine, &name).is_err()),
            },
        }
    }
    assert!(!copies.is_empty());
    snapshots.forget_all(&mut machine).unwrap();
    assert_eq!((snapshots.kept(), snapshots.list()), (0, Vec::new()));
    assert!(machine.take_dirty(Follower::Snapshots).unwrap().is_empty());
}

#[test]
fn a_migration_is_told_what_going_back_has_written() {
    let Some(mut machine) = machine(16 << 20, COUNTING) else { return };
    let mut snapshots = Snapshots::default();
    snapshots.take(&mut machine, "start", None).unwrap();
    run_to_halt(&mut machine);
    machine.follow_writes(Follower::Migration).unwrap();
    snapshots.go_back(&mut machine, "start").unwrap();
    let told = machine.take_dirty(Follower::Migration).unwrap();
    assert!(told.contains(COUNTER) && told.contains(COUNTER + PAGE), "{told:?}");
    assert_eq!(snapshots.go_back(&mut machine, "start").unwrap().pages, 0, "it is where it was");
}

#[test]
fn names_and_numbers_are_bounded_and_mistakes_are_explained() {
    let Some(mut machine) = machine(4 << 20, b"\xF4") else { return };
    let mut snapshots = Snapshots::default();
    let error = |result: Result<Kept, KeepError>| result.unwrap_err().to_string();
    for name in ["", "a b", "a/b", "\n", &"x".repeat(LONGEST_NAME + 1)] {
        let text = error(snapshots.take(&mut machine, name, None));
        assert!(text.contains("is no name for a snapshot"), "{text}");
    }
    assert!(error(snapshots.go_back(&mut machine, "a")).contains("no snapshot `a`; `snapshots` lists all"));
    for number in 0..MOST {
        snapshots.take(&mut machine, &format!("before{number}"), None).unwrap();
    }
    assert!(error(snapshots.take(&mut machine, "one", None)).contains("as many as there can be"));
    snapshots.take(&mut machine, "before7", None).unwrap();
    assert_eq!(snapshots.list().last().unwrap().name, "before7", "the latest is listed last");
    assert!(error(snapshots.go_back(&mut machine, "befor7")).contains("(there is `before7`)"));
}

#[test]
fn what_is_due_comes_again() {
    let Some(mut machine) = machine(4 << 20, b"\xF4") else { return };
    let mut snapshots = Snapshots::default();
    snapshots.take(&mut machine, "asked", Some(PendingAction::Reset)).unwrap();
    for _ in 0..2 {
        assert!(machine.take_pending_action().is_none());
        snapshots.go_back(&mut machine, "asked").unwrap();
        assert!(matches!(machine.take_pending_action(), Some(Event::ResetAsked)));
    }
}
