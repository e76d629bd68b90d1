//! What is reported as dirty, by the type itself and by a whole machine on the host's KVM.

use super::super::inputs::Input;
use super::super::testing::{ENTRY, machine, run_to_halt};
use super::super::{Event, PhysicalWatch};
use super::*;
use crate::memory::PAGE;

fn pages(addresses: &[u64]) -> PageSet {
    addresses.iter().copied().collect()
}

#[test]
fn nobody_misses_what_another_has_taken() {
    let mut followers = Followers::default();
    assert!(!followers.any());
    followers.0[Follower::Snapshots as usize] = Some(PageSet::default());
    assert_eq!(followers.take(Follower::Snapshots, pages(&[0x1000])), pages(&[0x1000]));
    followers.0[Follower::Migration as usize] = Some(PageSet::default());
    assert_eq!(followers.take(Follower::Snapshots, pages(&[0x2000])), pages(&[0x2000]));
    assert_eq!(followers.take(Follower::Migration, pages(&[0x3000])), pages(&[0x2000, 0x3000]));
    assert_eq!(followers.take(Follower::Migration, pages(&[])), pages(&[]));
    assert_eq!(followers.take(Follower::Snapshots, pages(&[])), pages(&[0x3000]));
}

#[test]
fn who_does_not_follow_is_told_nothing_and_takes_nothing_away() {
    let mut followers = Followers::default();
    followers.0[Follower::Migration as usize] = Some(PageSet::default());
    assert_eq!(followers.take(Follower::Snapshots, pages(&[0x1000])), pages(&[]));
    assert_eq!(followers.take(Follower::Migration, pages(&[])), pages(&[0x1000]));
}

/// A guest that sets a byte at each address and halts after each.
fn writer(addresses: &[u32]) -> Vec<u8> {
    let mut code = Vec::new();
    for address in addresses {
        // movb $1, address; hlt
        code.extend([0xC6, 0x04, 0x25]);
        code.extend(address.to_le_bytes());
        code.extend([1, 0xF4]);
    }
    code
}

/// What lies above the guest's code: below there are page tables, which some hosts count as written.
fn data(pages: &PageSet) -> Vec<u64> {
    pages.iter().filter(|address| *address > ENTRY + PAGE).collect()
}

const NONE: [u64; 0] = [];

/// In the second piece of RAM, which is attached when it is reached.
const FAR: u32 = 200 << 20;

#[test]
fn pages_the_guest_writes_are_told_once_also_in_ram_that_is_attached_later() {
    let Some(mut machine) =
        machine(256 << 20, &writer(&[0x30_0FFF, 0x30_5000, FAR, FAR + 0x1000, 0x30_9000]))
    else {
        return;
    };
    run_to_halt(&mut machine);
    assert!(machine.take_dirty(Follower::Snapshots).unwrap().is_empty(), "nobody has asked for it");
    machine.follow_writes(Follower::Snapshots).unwrap();
    run_to_halt(&mut machine);
    machine.memory().write(0x40_0FFF, &[1, 2]).unwrap();
    let dirty = machine.take_dirty(Follower::Snapshots).unwrap();
    assert_eq!(data(&dirty), [0x30_5000, 0x40_0000, 0x40_1000]);
    assert_eq!(data(&machine.take_dirty(Follower::Snapshots).unwrap()), NONE);
    // The first write there is carried out here; the second one KVM sees.
    run_to_halt(&mut machine);
    run_to_halt(&mut machine);
    let dirty = machine.take_dirty(Follower::Snapshots).unwrap();
    assert_eq!(data(&dirty), [u64::from(FAR), u64::from(FAR) + 0x1000]);
    machine.unfollow_writes(Follower::Snapshots).unwrap();
    run_to_halt(&mut machine);
    machine.follow_writes(Follower::Snapshots).unwrap();
    assert_eq!(
        data(&machine.take_dirty(Follower::Snapshots).unwrap()),
        NONE,
        "written while nobody followed"
    );
}

#[test]
fn nothing_is_lost_when_watchpoints_cut_the_memory_up() {
    let Some(mut machine) = machine(16 << 20, &writer(&[0x30_0000, 0x30_4000, 0x30_8000])) else { return };
    machine.follow_writes(Follower::Snapshots).unwrap();
    run_to_halt(&mut machine);
    let watch = PhysicalWatch { start: 0x30_4000, length: 8, reads: false, writes: true };
    machine.watch(vec![watch]).unwrap();
    assert!(matches!(machine.run_to_event(), Event::Touched(_)));
    run_to_halt(&mut machine);
    run_to_halt(&mut machine);
    machine.watch(Vec::new()).unwrap();
    let dirty = machine.take_dirty(Follower::Snapshots).unwrap();
    assert_eq!(data(&dirty), [0x30_0000, 0x30_4000, 0x30_8000]);
}

/// On a host that refuses instructions with vector registers they are emulated.
#[test]
fn pages_written_by_vector_instructions_are_told_whoever_carries_them_out() {
    // movhps %xmm0, 0x305ffc, which KVM never emulates; hlt
    let Some(mut machine) = machine(16 << 20, &[0x0F, 0x17, 0x04, 0x25, 0xFC, 0x5F, 0x30, 0, 0xF4]) else {
        return;
    };
    machine.follow_writes(Follower::Migration).unwrap();
    run_to_halt(&mut machine);
    assert_eq!(data(&machine.take_dirty(Follower::Migration).unwrap()), [0x30_5000, 0x30_6000]);
}

/// Its page may have been looked at while the breakpoint was in it.
#[test]
fn a_page_from_which_a_breakpoint_is_taken_out_counts_as_written() {
    let Some(mut machine) = machine(16 << 20, &[0xF4]) else { return };
    machine.memory().write(0x30_5000, &[0x90]).unwrap();
    machine.follow_writes(Follower::Migration).unwrap();
    assert!(machine.memory().insert_breakpoint(0x30_5000, 0xCC));
    machine.take_dirty(Follower::Migration).unwrap();
    machine.memory().remove_breakpoints();
    assert_eq!(data(&machine.take_dirty(Follower::Migration).unwrap()), [0x30_5000]);
}

#[test]
fn a_reset_changes_all_that_was_not_zero_and_goes_on_being_followed() {
    let Some(mut machine) = machine(16 << 20, &writer(&[0x30_0000, 0x30_4000])) else { return };
    run_to_halt(&mut machine);
    machine.follow_writes(Follower::Migration).unwrap();
    machine.inputs().push(Input::Reset);
    assert!(matches!(machine.wait(), Event::Reset));
    let dirty = machine.take_dirty(Follower::Migration).unwrap();
    assert!(dirty.contains(0x30_0000) && dirty.contains(ENTRY), "{dirty:?}");
    run_to_halt(&mut machine);
    run_to_halt(&mut machine);
    assert_eq!(data(&machine.take_dirty(Follower::Migration).unwrap()), [0x30_0000, 0x30_4000]);
}

#[test]
fn two_followers_are_each_told_everything_since_they_began() {
    let Some(mut machine) = machine(16 << 20, &writer(&[0x30_0000, 0x30_4000, 0x30_8000])) else { return };
    machine.follow_writes(Follower::Snapshots).unwrap();
    run_to_halt(&mut machine);
    machine.follow_writes(Follower::Migration).unwrap();
    run_to_halt(&mut machine);
    assert_eq!(data(&machine.take_dirty(Follower::Migration).unwrap()), [0x30_4000]);
    assert_eq!(data(&machine.take_dirty(Follower::Snapshots).unwrap()), [0x30_0000, 0x30_4000]);
    machine.unfollow_writes(Follower::Migration).unwrap();
    run_to_halt(&mut machine);
    assert_eq!(data(&machine.take_dirty(Follower::Snapshots).unwrap()), [0x30_8000]);
}
