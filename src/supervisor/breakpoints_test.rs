use super::*;

const NO_WATCH: [bool; 4] = [false; 4];

#[test]
fn there_are_four_hardware_breakpoints() {
    let mut breakpoints = Breakpoints::default();
    for address in 0..4 {
        assert!(breakpoints.add_hardware(address));
    }
    assert!(breakpoints.add_hardware(3), "it is there already");
    assert!(!breakpoints.add_hardware(4));
    assert!(breakpoints.remove_hardware(1));
    assert!(breakpoints.add_hardware(4));
    assert_eq!(breakpoints.registers(true, NO_WATCH, [9].into_iter()), [Some(0), Some(4), Some(2), Some(3)]);
}

#[test]
fn debug_registers_that_are_free_are_lent_to_software_breakpoints() {
    let mut breakpoints = Breakpoints::default();
    breakpoints.add_software(0x1000);
    breakpoints.add_software(0x2000);
    breakpoints.add_hardware(0x2000);
    let others = [0x1000, 0x3000, 0x4000, 0x5000];
    assert_eq!(
        breakpoints.registers(true, NO_WATCH, others.into_iter()),
        [Some(0x2000), Some(0x1000), Some(0x3000), Some(0x4000)]
    );
    assert_eq!(
        breakpoints.registers(true, [false, true, false, true], others.into_iter()),
        [Some(0x2000), None, Some(0x1000), None],
        "watchpoints keep theirs"
    );
    assert_eq!(breakpoints.registers(false, NO_WATCH, others.into_iter()), [Some(0x2000), None, None, None]);
    for address in [1, 2, 3] {
        assert!(breakpoints.add_hardware(address), "a hardware breakpoint has priority");
    }
    assert!(!breakpoints.registers(true, NO_WATCH, others.into_iter()).contains(&Some(0x1000)));
}

#[test]
fn there_may_be_thousands_of_software_breakpoints() {
    let mut breakpoints = Breakpoints::default();
    for address in 0..MOST_SOFTWARE as u64 {
        assert!(breakpoints.add_software(address));
    }
    assert!(!breakpoints.add_software(1 << 40));
    assert!(breakpoints.remove_software(5));
    assert!(!breakpoints.remove_software(5));
    assert!(breakpoints.add_software(1 << 40));
}
