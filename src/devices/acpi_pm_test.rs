use super::*;
use crate::fuzzing::Random;

const POWER_OFF: Action = Action { request: Some(MachineRequest::PowerOff), ..Action::NONE };

fn at(nanos: u64) -> MachineTime {
    MachineTime::from_nanos(nanos)
}

fn read(pm: &mut AcpiPm, port: u16, size: u16) -> u32 {
    (0..size).map(|byte| u32::from(pm.read(port + byte).0) << (8 * byte)).sum()
}

fn write(pm: &mut AcpiPm, port: u16, value: u16) -> [Action; 2] {
    let [low, high] = value.to_le_bytes();
    [pm.write(port, low), pm.write(port + 1, high)]
}

#[test]
fn the_timer_has_24_bits_at_its_frequency() {
    let mut pm = AcpiPm::default();
    for (nanos, value) in [
        (279, 0),
        (280, 1),
        (1_000_000_000, 3_579_545),
        (2_343_484_436, 8_388_607),
        (4_686_969_152, 0),
        (10_000_000_000, 35_795_450 % (1 << 24)),
    ] {
        let _ = pm.advance(at(nanos));
        assert_eq!(read(&mut pm, PM_TIMER, 4), value, "at {nanos} ns");
    }
    let _ = pm.write(PM_TIMER, 0xFF);
    assert_eq!(read(&mut pm, PM_TIMER, 4), 35_795_450 % (1 << 24));
}

#[test]
fn carries_of_the_timer_raise_the_interrupt_until_the_status_is_cleared() {
    let mut pm = AcpiPm::default();
    assert_eq!(pm.next_deadline(), None);
    let actions = write(&mut pm, PM1_EVENT + 2, 0x0001);
    assert!(actions[0].deadline);
    for carry in 1..=3_u128 {
        let deadline = pm.next_deadline().unwrap();
        assert_eq!(u128::from(deadline.as_nanos()), (carry * 8_388_608 * 1_000_000_000).div_ceil(3_579_545));
        assert_eq!(pm.advance(at(deadline.as_nanos() - 1)), Action::NONE);
        assert_eq!(pm.advance(deadline).line, Some(true));
        assert_eq!((read(&mut pm, PM1_EVENT, 2), pm.next_deadline()), (1, None));
        let [action, _] = write(&mut pm, PM1_EVENT, 0x0001);
        assert_eq!((action.line, action.deadline), (Some(false), true));
    }
    // The status is set without being enabled, and a long stop is one event.
    let _ = write(&mut pm, PM1_EVENT + 2, 0);
    assert_eq!(pm.advance(at(600_000_000_000)), Action::NONE);
    assert_eq!(write(&mut pm, PM1_EVENT + 2, 1)[0].line, Some(true));
    let _ = write(&mut pm, PM1_EVENT, 0xFFFF);
    assert_eq!(read(&mut pm, PM1_EVENT, 2), 0);
    let _ = pm.advance(at(u64::MAX));
    let _ = write(&mut pm, PM1_EVENT, 1);
    assert_eq!(pm.next_deadline(), None, "after the end of time");
}

#[test]
fn the_power_button_is_an_event() {
    let mut pm = AcpiPm::default();
    assert_eq!(pm.press_power_button().line, Some(false));
    assert_eq!(read(&mut pm, PM1_EVENT, 2), 0x0100);
    assert_eq!(write(&mut pm, PM1_EVENT + 2, 0x0100)[1].line, Some(true));
    assert_eq!(write(&mut pm, PM1_EVENT, 0x0100)[1].line, Some(false));
}

#[test]
fn registers_keep_the_bits_that_exist() {
    let mut pm = AcpiPm::default();
    assert_eq!(read(&mut pm, PM1_CONTROL, 2), 0x0001);
    let _ = write(&mut pm, PM1_EVENT + 2, 0xFFFF);
    let _ = write(&mut pm, PM1_CONTROL, 0xDFFE);
    assert_eq!(read(&mut pm, PM1_EVENT, 4), 0x0521_0000);
    assert_eq!(read(&mut pm, PM1_CONTROL, 4), 0x1C03);
    for port in [GPE0, GPE0 + 3, OLD_PM1_CONTROL, SHUTDOWN_PORT] {
        let _ = pm.write(port, 0x11);
        assert_eq!(pm.read(port).0, 0);
    }
}

#[test]
fn sleep_enable_powers_the_machine_off() {
    for port in [PM1_CONTROL, OLD_PM1_CONTROL] {
        for value in [0x2000, 0x2001, 0x3400, 0x3C00] {
            assert_eq!(write(&mut AcpiPm::default(), port, value), [Action::NONE, POWER_OFF]);
        }
        assert_eq!(write(&mut AcpiPm::default(), port, 0x1C20), [Action::NONE; 2]);
    }
}

#[test]
fn the_string_shutdown_powers_the_machine_off() {
    let requests = |text: &[u8]| {
        let mut pm = AcpiPm::default();
        text.iter().filter(|byte| pm.write(SHUTDOWN_PORT, **byte) == POWER_OFF).count()
    };
    for (text, count) in [
        (&b"Shutdown"[..], 1),
        (b"Shutdow", 0),
        (b"shutdown", 0),
        (b"ShutShutdown", 1),
        (b"Shut down", 0),
        (b"SShutdown", 1),
        (b"ShutdownShutdown", 2),
    ] {
        assert_eq!(requests(text), count, "{text:?}");
    }
}

#[test]
fn half_a_shutdown_survives_save_and_restore() {
    let mut pm = AcpiPm::default();
    let _ = pm.advance(at(3_000_000_000));
    let _ = write(&mut pm, PM1_EVENT + 2, 1);
    let first = b"Shut".map(|byte| pm.write(SHUTDOWN_PORT, byte));
    assert_eq!(first, [Action::NONE; 4]);
    let mut copy = AcpiPm::default();
    copy.restore(&pm.save()).unwrap();
    assert_eq!((&copy, copy.line()), (&pm, true));
    let last = b"down".map(|byte| copy.write(SHUTDOWN_PORT, byte));
    assert_eq!(last[3], POWER_OFF);
}

#[test]
fn impossible_states_are_refused() {
    let changes: [fn(&mut AcpiPm); 4] =
        [|pm| pm.status = 2, |pm| pm.enable = 2, |pm| pm.control = 1, |pm| pm.shutdown_bytes = 8];
    for change in changes {
        let mut state = AcpiPm::default();
        change(&mut state);
        assert!(matches!(AcpiPm::default().set_state(state), Err(StateError::Damaged { .. })));
    }
}

#[test]
fn any_sequence_of_accesses_and_times_is_saved_and_restored() {
    let mut random = Random::new(5);
    let mut next = || random.next();
    let mut pm = AcpiPm::default();
    let mut level = false;
    for _ in 0..40_000 {
        let port = match next() % 8 {
            0 => SHUTDOWN_PORT,
            1 => GPE0 + next() as u16 % 4,
            2 => OLD_PM1_CONTROL + next() as u16 % 2,
            _ => PM1_EVENT + next() as u16 % 12,
        };
        let action = match next() % 4 {
            0 => pm.read(port).1,
            1 => pm.advance(at(pm.now.as_nanos().saturating_add(next() >> (20 + next() % 44)))),
            2 => pm.write(port, next() as u8),
            _ => pm.write(port, 1),
        };
        level = action.line.unwrap_or(level);
        assert_eq!(level, pm.line());
        assert!(pm.next_deadline().is_none_or(|deadline| deadline > pm.now));
        let mut copy = AcpiPm::default();
        copy.restore(&pm.save()).unwrap();
        assert_eq!(copy, pm);
        if pm.now.as_nanos() > 1 << 62 {
            pm.now = MachineTime::default();
        }
    }
}
