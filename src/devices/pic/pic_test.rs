//! The statements of the 8259A datasheet and of the chipset's registers, and a transcript of QEMU's controllers.

use super::chip::Initialization;
use super::*;
use crate::devices::transcript::accesses;
use crate::fuzzing::Random;

const MASTER: [u16; 2] = [0x20, 0x21];
const SLAVE: [u16; 2] = [0xA0, 0xA1];

fn write(pic: &mut DualPic, writes: &[(u16, u8)]) {
    for (port, value) in writes {
        assert_eq!(pic.write(*port, *value), Action::NONE);
    }
}

/// Both controllers with vectors 20h and 28h, and these values of ICW4.
fn initialized(icw4: [u8; 2]) -> DualPic {
    let mut pic = DualPic::default();
    for ([command, data], base, icw3, icw4) in [(MASTER, 0x20, 4, icw4[0]), (SLAVE, 0x28, 2, icw4[1])] {
        write(&mut pic, &[(command, 0x11), (data, base), (data, icw3), (data, icw4)]);
    }
    pic
}

fn pulse(pic: &mut DualPic, line: u8) {
    pic.set_line(line, true);
    pic.set_line(line, false);
}

/// Requests, then inputs in service, of both controllers.
fn registers(pic: &mut DualPic) -> [u8; 4] {
    [(0x20, 0x0A), (0xA0, 0x0A), (0x20, 0x0B), (0xA0, 0x0B)].map(|(port, select)| {
        write(pic, &[(port, select)]);
        pic.read(port).0
    })
}

#[test]
fn accesses_have_the_answers_of_qemu() {
    let mut pic = DualPic::default();
    for access in accesses(include_str!("transcript.txt")) {
        if access.is_input {
            pic.set_line(access.address as u8, access.value == 1);
        } else if access.is_write {
            write(&mut pic, &[(access.address as u16, access.value as u8)]);
        } else {
            assert_eq!(u64::from(pic.read(access.address as u16).0), access.value, "{}", access.line);
        }
    }
}

#[test]
fn nothing_is_requested_before_a_controller_has_its_vectors() {
    let mut pic = DualPic::default();
    pulse(&mut pic, 1);
    assert_eq!((registers(&mut pic)[0], pic.output(), pic.describe().vector_bases), (2, false, [None; 2]));
    write(&mut pic, &[(0x20, 0x11)]);
    pulse(&mut pic, 1);
    assert!(!pic.output());
    write(&mut pic, &[(0x21, 0x37)]);
    assert_eq!((pic.output(), pic.describe().vector_bases), (true, [Some(0x30), None]));
    assert_eq!(pic.acknowledge(), 0x31);
}

#[test]
fn each_line_has_its_vector() {
    for line in (0..16).filter(|line| *line != 2) {
        let mut pic = initialized([1, 1]);
        pulse(&mut pic, line);
        assert!(pic.output());
        assert_eq!((pic.acknowledge(), pic.output()), (0x20 + line, false));
        let bit = 1_u16 << line;
        let cascade = if line > 7 { 4 } else { 0 };
        assert_eq!(registers(&mut pic), [0, 0, bit as u8 | cascade, (bit >> 8) as u8]);
        write(&mut pic, &[(0xA0, 0x20), (0x20, 0x20)]);
        assert_eq!(registers(&mut pic), [0; 4]);
    }
    let mut pic = initialized([1, 1]);
    pic.set_line(2, true);
    pic.set_line(16, true);
    assert_eq!((pic.output(), registers(&mut pic)), (false, [0; 4]));
}

#[test]
fn the_slaves_lines_come_between_1_and_3() {
    let mut pic = initialized([3, 3]);
    let lines = [0, 1, 8, 9, 10, 11, 12, 13, 14, 15, 3, 4, 5, 6, 7];
    for line in lines.iter().rev() {
        pulse(&mut pic, *line);
    }
    // Automatic end of interrupt: each acknowledgement makes room for the next.
    assert_eq!(lines.map(|_| pic.acknowledge() - 0x20), lines);
    assert!(!pic.output());
}

#[test]
fn a_level_triggered_line_requests_again_until_it_falls() {
    for (level, vectors) in [(true, [0x25, 0x25]), (false, [0x25, 0x27])] {
        let mut pic = initialized([3, 1]);
        write(&mut pic, &[(0x4D0, if level { 0x20 } else { 0 })]);
        pic.set_line(5, true);
        assert_eq!([pic.acknowledge(), pic.acknowledge()], vectors);
        assert_eq!(pic.output(), level);
        pic.set_line(5, false);
        assert!(!pic.output());
    }
    // LTIM makes all lines level-triggered.
    let mut pic = DualPic::default();
    write(&mut pic, &[(0x20, 0x19), (0x21, 0x20), (0x21, 4), (0x21, 1)]);
    pulse(&mut pic, 0);
    assert!(!pic.output());
    pic.set_line(0, true);
    assert_eq!((pic.output(), pic.describe().lines[0].level_triggered), (true, true));
}

#[test]
fn a_request_that_has_gone_is_spurious() {
    // On the master: vector 7, and nothing is in service.
    let mut pic = initialized([1, 1]);
    write(&mut pic, &[(0x4D0, 0x08)]);
    pic.set_line(3, true);
    pic.set_line(3, false);
    assert_eq!((pic.acknowledge(), registers(&mut pic)), (0x27, [0; 4]));
    // The mask withdraws, too; the request is there when the mask has gone.
    pulse(&mut pic, 4);
    write(&mut pic, &[(0x21, 0x10)]);
    assert_eq!((pic.output(), pic.acknowledge()), (false, 0x27));
    write(&mut pic, &[(0x21, 0)]);
    assert_eq!((pic.output(), pic.acknowledge()), (true, 0x24));
    write(&mut pic, &[(0x20, 0x20)]);
    // On the slave: its vector 7, and input 2 of the master is in service.
    pulse(&mut pic, 9);
    write(&mut pic, &[(0xA1, 0x02)]);
    assert_eq!((pic.output(), pic.acknowledge()), (true, 0x2F));
    assert_eq!(registers(&mut pic), [0, 2, 4, 0]);
    // A real interrupt 15 is in service on both.
    write(&mut pic, &[(0x20, 0x20)]);
    pulse(&mut pic, 15);
    assert_eq!((pic.acknowledge(), registers(&mut pic)), (0x2F, [0, 2, 4, 0x80]));
}

#[test]
fn a_higher_priority_interrupts_and_a_lower_one_waits() {
    let mut pic = initialized([1, 1]);
    pulse(&mut pic, 4);
    assert_eq!(pic.acknowledge(), 0x24);
    pulse(&mut pic, 4);
    pulse(&mut pic, 5);
    assert!(!pic.output());
    pulse(&mut pic, 9);
    assert_eq!(pic.acknowledge(), 0x29);
    // The slave is blocked as a whole: its own higher priority does not reach the master.
    pulse(&mut pic, 8);
    assert_eq!((pic.output(), registers(&mut pic)), (false, [0x34, 1, 0x14, 2]));
    write(&mut pic, &[(0xA0, 0x61), (0x20, 0x62)]);
    assert_eq!((pic.output(), pic.acknowledge()), (true, 0x28));
}

#[test]
fn special_fully_nested_mode_admits_the_slaves_higher_priorities() {
    let mut pic = initialized([0x11, 1]);
    pulse(&mut pic, 9);
    assert_eq!(pic.acknowledge(), 0x29);
    pulse(&mut pic, 3);
    pulse(&mut pic, 10);
    assert!(!pic.output());
    pulse(&mut pic, 8);
    assert_eq!((pic.output(), pic.acknowledge()), (true, 0x28));
    // The guest ends the master's interrupt when nothing is in service in the slave.
    write(&mut pic, &[(0xA0, 0x20), (0xA0, 0x20), (0x20, 0x20)]);
    assert_eq!([pic.acknowledge(), registers(&mut pic)[2]], [0x2A, 4]);
}

#[test]
fn special_mask_mode_admits_lower_priorities_and_protects_what_it_masks() {
    let mut pic = initialized([1, 1]);
    pulse(&mut pic, 3);
    let _ = pic.acknowledge();
    pulse(&mut pic, 6);
    assert!(!pic.output() && !pic.can_interrupt(6));
    write(&mut pic, &[(0x21, 0x08), (0x20, 0x68)]);
    assert!(pic.output() && pic.can_interrupt(6) && !pic.can_interrupt(3));
    assert_eq!(pic.acknowledge(), 0x26);
    write(&mut pic, &[(0x20, 0x20), (0x20, 0x20)]);
    assert_eq!(registers(&mut pic)[2], 0x08);
    write(&mut pic, &[(0x20, 0x48), (0x20, 0x20)]);
    assert_eq!(registers(&mut pic)[2], 0);
}

#[test]
fn the_order_of_priorities_rotates() {
    // Each command with input 3 in service and input 0 at the top, and the order afterwards.
    for (command, in_service, order) in [
        (0x20, 0x00, [0, 1, 3, 4, 5, 6, 7]),
        (0x40, 0x08, [0, 1, 3, 4, 5, 6, 7]),
        (0x63, 0x00, [0, 1, 3, 4, 5, 6, 7]),
        (0xA0, 0x00, [4, 5, 6, 7, 0, 1, 3]),
        (0xC5, 0x08, [6, 7, 0, 1, 3, 4, 5]),
        (0xE3, 0x00, [4, 5, 6, 7, 0, 1, 3]),
        (0xE6, 0x08, [7, 0, 1, 3, 4, 5, 6]),
    ] {
        let mut pic = initialized([1, 1]);
        pulse(&mut pic, 3);
        assert_eq!(pic.acknowledge(), 0x23);
        write(&mut pic, &[(0x20, command)]);
        assert_eq!(registers(&mut pic)[2], in_service, "{command:#x}");
        write(&mut pic, &[(0x20, 0x63)]);
        order.iter().for_each(|line| pulse(&mut pic, *line));
        for line in order {
            assert_eq!(pic.acknowledge(), 0x20 + line, "{command:#x}");
            write(&mut pic, &[(0x20, 0x60 | line)]);
        }
    }
}

#[test]
fn automatic_end_of_interrupt_rotates_if_told_to() {
    for (command, vectors) in [(0x00, [0x23, 0x23]), (0x80, [0x23, 0x26])] {
        let mut pic = initialized([3, 1]);
        write(&mut pic, &[(0x20, command)]);
        let taken = [(); 2].map(|()| {
            pulse(&mut pic, 3);
            pulse(&mut pic, 6);
            pic.acknowledge()
        });
        assert_eq!((taken, registers(&mut pic)[2]), (vectors, 0));
    }
}

#[test]
fn a_poll_acknowledges_and_the_master_forgets_the_slaves_request() {
    let mut pic = initialized([1, 1]);
    pulse(&mut pic, 12);
    write(&mut pic, &[(0xA0, 0x0C)]);
    assert_eq!((pic.read(0xA0).0, pic.output()), (0x84, false));
    assert_eq!(registers(&mut pic), [0, 0, 0, 0x10]);
    // Only the next read is the answer, at either port.
    pulse(&mut pic, 1);
    write(&mut pic, &[(0x20, 0x0C)]);
    assert_eq!([pic.read(0x21).0, pic.read(0x21).0, pic.read(0x20).0], [0x81, 0, 2]);
}

#[test]
fn edge_detection_starts_anew_with_icw1() {
    let mut pic = initialized([1, 1]);
    pic.set_line(5, true);
    write(&mut pic, &[(0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1)]);
    pic.set_line(5, true);
    assert!(!pic.output());
    pic.set_line(5, false);
    pic.set_line(5, true);
    assert_eq!(pic.acknowledge(), 0x25);
}

#[test]
fn initialising_the_master_again_forgets_the_slaves_request_until_the_slave_changes() {
    let start = |pic: &mut DualPic| write(pic, &[(0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1)]);
    let mut pic = initialized([1, 1]);
    pulse(&mut pic, 12);
    start(&mut pic);
    assert!(!pic.output());
    pulse(&mut pic, 9);
    assert_eq!((pic.output(), pic.acknowledge()), (true, 0x29));
    // With the slave initialised as well, nothing is left, not even a spurious interrupt.
    let mut pic = initialized([1, 1]);
    pulse(&mut pic, 12);
    start(&mut pic);
    write(&mut pic, &[(0xA0, 0x11), (0xA1, 0x28), (0xA1, 2), (0xA1, 1)]);
    assert_eq!((pic.output(), registers(&mut pic)), (false, [0; 4]));
}

#[test]
fn the_description_shows_each_line() {
    let mut pic = initialized([1, 1]);
    write(&mut pic, &[(0x21, 0x80), (0xA1, 0xFE), (0x4D1, 0x02)]);
    pulse(&mut pic, 7);
    pulse(&mut pic, 1);
    let _ = pic.acknowledge();
    let shown = pic.describe();
    assert_eq!(shown.vector_bases, [Some(0x20), Some(0x28)]);
    let line = PicLine::default();
    assert_eq!(shown.lines[0], PicLine { can_interrupt: true, ..line });
    assert_eq!(shown.lines[1], PicLine { in_service: true, ..line });
    assert_eq!(shown.lines[7], PicLine { masked: true, requested: true, ..line });
    assert_eq!(shown.lines[9], PicLine { masked: true, level_triggered: true, ..line });
    assert_eq!((pic.can_interrupt(8), pic.can_interrupt(2), pic.can_interrupt(99)), (false, false, false));
    write(&mut pic, &[(0x20, 0x20)]);
    assert!(pic.can_interrupt(8) && !pic.can_interrupt(9));
}

/// A random access, line change or acknowledgement.
fn operate(pic: &mut DualPic, random: &mut Random) -> u8 {
    let port = *random.pick(&[0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x4D1, 0x22, 0xFFFF]);
    match random.below(8) {
        0 => pic.acknowledge(),
        1 => pic.read(port).0,
        2 | 3 => {
            // Short of ICW1, which would end most sequences early.
            let mask = if random.below(8) == 0 { 0xFF } else { 0xEF };
            let _ = pic.write(port, random.next() as u8 & mask);
            0
        }
        _ => {
            pic.set_line(random.below(18) as u8, random.below(2) == 0);
            0
        }
    }
}

#[test]
fn a_copy_restored_in_mid_operation_behaves_alike() {
    for seed in 0..200 {
        let random = &mut Random::new(seed);
        let mut pic = if seed % 2 == 0 { initialized([1, 3]) } else { DualPic::default() };
        for _ in 0..random.below(300) {
            operate(&mut pic, random);
        }
        let mut copy = DualPic::default();
        copy.restore(&pic.save()).unwrap();
        assert_eq!(copy, pic);
        let again = &mut Random::new(seed + 1000);
        let random = &mut Random::new(seed + 1000);
        for _ in 0..300 {
            assert_eq!((operate(&mut pic, random), pic.output()), (operate(&mut copy, again), copy.output()));
            assert_eq!(pic.output(), pic.master.pending().is_some());
            assert_eq!(pic.master.fault(SETTABLE_ELCR[0]).or(pic.slave.fault(SETTABLE_ELCR[1])), None);
        }
        assert_eq!(copy, pic);
    }
}

#[test]
fn impossible_states_are_refused() {
    let good = initialized([1, 1]);
    let changes: [fn(&mut DualPicState); 6] = [
        |state| state.master.vector_base = 0x21,
        |state| state.slave.highest = 8,
        |state| state.master.elcr = 0x01,
        |state| (state.slave.elcr, state.slave.edges) = (0x02, 0x02),
        |state| state.master.levels = 0x04,
        |state| state.slave.initialization = Initialization::AwaitsIcw4,
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut state = DualPic::default().state();
        change(&mut state);
        let mut pic = good.clone();
        assert!(matches!(pic.set_state(state), Err(StateError::Damaged { .. })), "change {index}");
        assert_eq!(pic, good);
    }
}
