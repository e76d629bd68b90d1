//! The timer in its three modes.

use super::*;

const PERIODIC: u32 = 1 << 17;
const DEADLINE: u32 = 2 << 17;

fn at(apics: &mut LocalApics, nanoseconds: u64) {
    assert_eq!(apics.advance(MachineTime::from_nanos(nanoseconds)), Action::NONE);
}

fn deadline(apics: &LocalApics) -> Option<u64> {
    apics.next_deadline().map(MachineTime::as_nanos)
}

/// Takes the pending interrupt, and ends it.
fn take(apics: &mut LocalApics) -> Option<u8> {
    let vector = pending(apics)?;
    assert_eq!(apics.apic_mut(0).acknowledge(), vector);
    write(apics, &[(EOI, 0)]);
    Some(vector)
}

#[test]
fn the_divider_has_eight_ratios() {
    for (code, ratio) in [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)] {
        let mut apics = machine(1);
        write(&mut apics, &[(LVT_TIMER, 0x40), (DIVIDE, code), (INITIAL, 100)]);
        assert_eq!(deadline(&apics), Some(100 * ratio), "code {code}");
        at(&mut apics, 40 * ratio);
        assert_eq!(read(&mut apics, CURRENT), 60);
        // With another ratio the count goes on from where it is.
        write(&mut apics, &[(DIVIDE, 11)]);
        assert_eq!((read(&mut apics, CURRENT), deadline(&apics)), (60, Some(40 * ratio + 60)));
    }
}

#[test]
fn one_shot_expires_once() {
    let mut apics = machine(1);
    at(&mut apics, 5000);
    write(&mut apics, &[(DIVIDE, 0xB), (LVT_TIMER, 0x40), (INITIAL, 1000)]);
    at(&mut apics, 5999);
    assert_eq!((read(&mut apics, CURRENT), pending(&apics)), (1, None));
    at(&mut apics, 6000);
    assert_eq!((read(&mut apics, CURRENT), take(&mut apics), deadline(&apics)), (0, Some(0x40), None));
    at(&mut apics, u64::MAX);
    assert_eq!((take(&mut apics), read(&mut apics, INITIAL)), (None, 1000));
    // Writing 0 stops it.
    write(&mut apics, &[(INITIAL, 1000), (INITIAL, 0)]);
    assert_eq!((deadline(&apics), read(&mut apics, CURRENT)), (None, 0));
}

#[test]
fn periodic_makes_no_tick_up_that_was_missed() {
    let mut apics = machine(1);
    write(&mut apics, &[(DIVIDE, 0xB), (LVT_TIMER, PERIODIC | 0x40), (INITIAL, 1000)]);
    for period in 1..=5 {
        at(&mut apics, period * 1000);
        assert_eq!(take(&mut apics), Some(0x40));
    }
    // Ten minutes later there is one interrupt, and the next one is in phase.
    let late = 600_000_000_300;
    at(&mut apics, late);
    assert_eq!((take(&mut apics), take(&mut apics), deadline(&apics)), (Some(0x40), None, Some(late + 700)));
    assert_eq!(read(&mut apics, CURRENT), 700);
    at(&mut apics, u64::MAX);
    assert_eq!(deadline(&apics), Some(u64::MAX));
}

#[test]
fn a_masked_timer_counts_without_interrupting() {
    let mut apics = machine(1);
    write(&mut apics, &[(DIVIDE, 0xB), (LVT_TIMER, MASKED | PERIODIC | 0x40), (INITIAL, 1000)]);
    at(&mut apics, 1400);
    assert_eq!((read(&mut apics, CURRENT), pending(&apics), deadline(&apics)), (600, None, None));
    assert!(!apics.apic(0).timer_can_interrupt());
    write(&mut apics, &[(LVT_TIMER, PERIODIC | 0x40)]);
    assert_eq!(deadline(&apics), Some(2000));
}

#[test]
fn writes_that_may_change_the_deadline_say_so() {
    let mut apics = machine(1);
    for (offset, changes) in
        [(INITIAL, true), (LVT_TIMER, true), (DIVIDE, true), (SVR, true), (TPR, false), (EOI, false)]
    {
        let action = apics.mmio_write(offset, 4, 0).unwrap();
        assert_eq!(action, Action { deadline: changes, ..Action::NONE }, "{offset:#x}");
    }
}

#[test]
fn the_tsc_deadline_expires_once() {
    let mut apics = machine(1);
    // 2.5 GHz; the counter was at 10,000 when the machine started.
    apics.apic_mut(0).set_tsc(2_500_000, 10_000);
    // In another mode the write does nothing.
    let _ = apics.write_msr(0, TSC_DEADLINE_MSR, 60_000).unwrap();
    assert_eq!((apics.read_msr(0, TSC_DEADLINE_MSR), deadline(&apics)), (Some(0), None));
    write(&mut apics, &[(LVT_TIMER, DEADLINE | 0x40)]);
    let action = apics.write_msr(0, TSC_DEADLINE_MSR, 60_001).unwrap();
    assert_eq!((action.deadline, deadline(&apics)), (true, Some(20_001)));
    // The count registers have no function.
    write(&mut apics, &[(INITIAL, 5)]);
    assert_eq!([INITIAL, CURRENT].map(|offset| read(&mut apics, offset)), [0, 0]);
    at(&mut apics, 20_000);
    assert_eq!((pending(&apics), apics.read_msr(0, TSC_DEADLINE_MSR)), (None, Some(60_001)));
    at(&mut apics, 20_001);
    assert_eq!((take(&mut apics), apics.read_msr(0, TSC_DEADLINE_MSR)), (Some(0x40), Some(0)));
    // 0 disarms; one that has passed expires at once.
    for (value, expected) in [(0, None), (5, Some(0x40)), (u64::MAX, None)] {
        let _ = apics.write_msr(0, TSC_DEADLINE_MSR, value).unwrap();
        assert_eq!(take(&mut apics), expected, "{value:#x}");
    }
}

#[test]
fn changing_between_counting_and_deadline_disarms() {
    for (from, to, running) in
        [(0, PERIODIC, true), (PERIODIC, 0, true), (0, DEADLINE, false), (DEADLINE, 0, false)]
    {
        let mut apics = machine(1);
        write(&mut apics, &[(LVT_TIMER, from | 0x40), (INITIAL, 1000)]);
        let _ = apics.write_msr(0, TSC_DEADLINE_MSR, 1_000_000).unwrap();
        assert!(deadline(&apics).is_some());
        write(&mut apics, &[(LVT_TIMER, to | 0x40)]);
        assert_eq!(deadline(&apics).is_some(), running, "{from:#x} to {to:#x}");
    }
}

#[test]
fn processors_have_their_own_timers() {
    let mut apics = machine(2);
    at(&mut apics, 100);
    apics.select(1);
    write(&mut apics, &[(DIVIDE, 0xB), (LVT_TIMER, 0x41), (INITIAL, 50)]);
    apics.select(0);
    write(&mut apics, &[(DIVIDE, 0xB), (LVT_TIMER, 0x40), (INITIAL, 70)]);
    assert_eq!(deadline(&apics), Some(150));
    at(&mut apics, 150);
    assert_eq!(
        (apics.apic(1).pending_vector(), pending(&apics), deadline(&apics)),
        (Some(0x41), None, Some(170))
    );
}
