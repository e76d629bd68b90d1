use super::*;
use crate::devices::Payload;
use crate::devices::keyboard::Key;
use crate::devices::scratch;

#[test]
fn bytes_leave_through_the_queue_of_their_device() {
    let mut board = Board::default();
    assert_eq!(board.port_out(0x2F8, 1, 0x41).output, Some((OutputSource::Serial(1), b'A')));
    assert_eq!(board.port_out(0xE9, 1, 0x42).output, Some((OutputSource::DebugConsole, b'B')));
}

#[test]
fn the_debug_exit_port_takes_all_widths() {
    let mut board = Board::default();
    for (size, value) in [(1, 0x10), (2, 0x1010), (4, 0x1010_1010)] {
        assert_eq!(board.port_out(0xF4, size, value).request, Some(MachineRequest::Exit(value)));
    }
}

#[test]
fn unassigned_ports_and_addresses_read_as_documented_every_time() {
    let mut board = Board::default();
    for _ in 0..2 {
        assert_eq!(board.port_in(0x1234, 1).0, 0xFFFF_FFFF);
        assert_eq!(board.port_in(0x1234, 4).0, 0xFFFF_FFFF);
        assert_eq!(board.port_in(0x08, 1).0 & 0xFF, 0);
        assert_eq!(board.port_in(0xCFC, 4).0, 0xFFFF_FFFF);
        assert_eq!(board.memory_read(0xFEC0_0010, 4).0, 0);
    }
    assert_eq!(board.port_in(0xFFFF, 4).0, 0xFFFF_FFFF);
}

#[test]
fn a_dword_write_to_the_pci_address_port_does_not_reset() {
    let mut board = Board::default();
    assert_eq!(board.port_out(0xCF8, 4, 0x8000_0004).request, None);
    assert_eq!(board.port_out(0xCF9, 1, 0x06).request, Some(MachineRequest::Reset));
}

#[test]
fn the_local_apic_answers_in_its_page() {
    let mut board = Board::default();
    let _ = board.memory_write(0xFEE0_0080, 4, 0x20);
    assert_eq!(board.memory_read(0xFEE0_0080, 4).0, 0x20);
}

fn busy() -> Board {
    let mut board = Board::default();
    let _ = board.port_out(0x3EF, 1, 0x5A);
    let _ = board.receive(1, b'x');
    let _ = board.port_out(0x64, 1, 0x60);
    let _ = board.port_out(0x3D4, 1, 0x0E);
    let _ = board.port_out(0x80, 1, 0x42);
    let _ = board.port_out(0xCF9, 1, 2);
    let _ = board.port_out(0x92, 1, 0);
    let _ = board.memory_write(0xFEE0_0080, 4, 0x20);
    let _ = board.port_in(0x61, 1);
    board
}

#[test]
fn every_device_is_restored_from_payloads_in_any_order() {
    let mut saved = busy().save();
    let restored = Board::restored(&saved).unwrap();
    assert_eq!(restored.save(), saved);
    assert_ne!(Board::default().save(), saved);
    saved.reverse();
    assert_eq!(Board::restored(&saved).unwrap().save(), busy().save());
}

#[test]
fn missing_and_surplus_devices_are_named() {
    let saved = busy().save();
    for left_out in 0..saved.len() {
        let mut less = saved.clone();
        let (number, payload) = less.remove(left_out);
        // Earlier versions did not have the device.
        if TABLE.iter().any(|entry| entry.kind == payload.kind && entry.may_be_missing) {
            assert!(Board::restored(&less).is_ok(), "{}", payload.kind);
            continue;
        }
        let text = Board::restored(&less).unwrap_err().to_string();
        assert!(text.contains(&payload.kind) && text.contains(&number.to_string()), "{text}");
    }
    let mut more = saved.clone();
    more.push((0, Payload { kind: "ide".into(), version: 1, bytes: Vec::new() }));
    assert!(Board::restored(&more).unwrap_err().to_string().contains("`ide`"));
    let mut twice = saved;
    twice.push(twice[0].clone());
    assert!(Board::restored(&twice).unwrap_err().to_string().contains("`serial`"));
}

#[test]
fn accesses_are_counted_once_whatever_their_width_and_across_a_reset() {
    let mut board = Board::default();
    let _ = board.port_out(0x80, 1, 1);
    let _ = board.port_out(0x1F0, 4, 1);
    let _ = board.port_in(0x3F8, 2);
    let _ = board.memory_read(0xFEE0_0080, 4);
    let _ = board.memory_write(0xFEC0_0000, 8, 0);
    assert_eq!(board.accesses(), 5);
    board.reset();
    assert_eq!((board.accesses(), board.post_code()), (5, None));
    assert_eq!(board.save(), Board::default().save());
}

#[test]
fn interrupt_levels_reach_the_line_of_the_table_and_are_restored() {
    let mut board = Board::default();
    for (port, value) in [(0x3FC, 0x08), (0x3F9, 0x01), (0x64, 0x60), (0x60, 0x45)] {
        let _ = board.port_out(port, 1, value);
    }
    let levels = |board: &Board| [1, 3, 4].map(|line| board.interrupts().level(line));
    assert_eq!(levels(&board), [false, false, false]);
    let _ = board.receive(0, b'x');
    board.key(KeyEvent::press(Key::A));
    assert_eq!(levels(&board), [true, false, true]);
    assert_eq!(levels(&Board::restored(&board.save()).unwrap()), [true, false, true]);
    let _ = board.port_in(0x3F8, 1);
    assert_eq!(levels(&board), [true, false, false]);
    board.reset();
    assert_eq!(levels(&board), [false, false, false]);
}

/// The machine's devices and one more.
fn board_with_scratch() -> Board {
    let table: Vec<Registration> = TABLE.iter().cloned().chain([scratch::ENTRY]).collect();
    Board::new(table.leak())
}

#[test]
fn an_entry_in_the_table_gives_a_device_its_ports_line_deadline_state_and_reset() {
    let mut board = board_with_scratch();
    assert_eq!(board.port_in(scratch::PORT, 1).0 as u8, 0);
    let _ = board.port_out(scratch::PORT, 1, 0x5A);
    let effect = board.port_out(scratch::PORT + 1, 1, 20);
    assert!(effect.deadline);
    assert_eq!(board.next_deadline(), Some(MachineTime::from_nanos(20_000)));
    let line = |board: &Board| board.interrupts().level(scratch::LINE);
    board.advance(MachineTime::from_nanos(19_999), |effect| assert_eq!(effect, Effect::default()));
    assert!(!line(&board));

    let saved = board.save();
    assert!(saved.iter().any(|(number, payload)| *number == 0 && payload.kind == "scratch"));
    let mut copy = board_with_scratch();
    copy.restore(&saved).unwrap();
    assert_eq!(copy.save(), saved);
    assert_eq!(copy.next_deadline(), board.next_deadline());
    copy.advance(MachineTime::from_nanos(20_000), |_| {});
    assert!(line(&copy) && copy.next_deadline().is_none());
    assert_eq!(copy.port_in(scratch::PORT, 1).0 as u8, 0x5A);

    copy.reset();
    assert!(!line(&copy));
    // The clock goes on.
    let but_the_clock = |board: &Board| -> Vec<_> {
        board.save().into_iter().filter(|(_, payload)| payload.kind != "rtc").collect()
    };
    assert_eq!(but_the_clock(&copy), but_the_clock(&board_with_scratch()));
    assert!(Board::restored(&saved).unwrap_err().to_string().contains("`scratch`"));
}

#[test]
fn an_optional_device_has_ports_only_if_it_is_connected() {
    let mut board = Board::default();
    let _ = board.port_out(0x8A00, 2, 0x8A00);
    assert_eq!(board.port_in(0x8A00, 2).0, 0xFFFF_FFFF);
    assert_eq!(board.port_out(0x8A00, 2, 0x8AE0).request, None);
    board.connect_debugger_port();
    assert_eq!(board.port_in(0x8A00, 2).0 & 0xFFFF, 0);
    let _ = board.port_out(0x8A00, 2, 0x8A00);
    assert_eq!(board.port_out(0x8A00, 2, 0x8AE0).request, Some(MachineRequest::Stop));
    assert_eq!(board.port_in(0x8A00, 2).0 & 0xFFFF, 0x8A00);
}

#[test]
fn an_optional_device_is_saved_only_after_it_was_used() {
    let has_section =
        |saved: &[(u16, Payload)]| saved.iter().any(|(_, payload)| payload.kind == "debugger-port");
    let mut board = Board::default();
    board.connect_debugger_port();
    let unused = board.save();
    assert!(!has_section(&unused));
    let _ = board.port_out(0x8A00, 2, 0x8A00);
    let used = board.save();
    assert!(has_section(&used));
    let mut restored = Board::restored(&used).unwrap();
    restored.connect_debugger_port();
    assert_eq!(restored.port_in(0x8A00, 2).0 & 0xFFFF, 0x8A00);
    restored.restore(&unused).unwrap();
    assert_eq!(restored.port_in(0x8A00, 2).0 & 0xFFFF, 0, "files of earlier versions do not have it");
}

#[test]
fn wide_reads_reach_a_device_whole_or_byte_by_byte() {
    let mut board = Board::default();
    let _ = board.port_out(0xCF8, 4, 0x8000_0800);
    assert_eq!((board.port_in(0xCF8, 4).0, board.port_in(0xCFC, 4).0), (0x8000_0800, 0x7000_8086));
    let _ = board.port_out(0xCF9, 1, 0x02);
    assert_eq!(
        board.port_in(0xCF8, 2).0 & 0xFFFF,
        0x02FF,
        "the reset control register is in the second byte"
    );
    assert_eq!(board.port_in(0xCFA, 4).0, 0x8086_FFFF, "half of it is in the data ports");
    assert_eq!(board.port_in(0xCFF, 2).0 & 0xFFFF, 0xFF70, "and here the other half is beyond them");
    let _ = board.port_out(0xCF8, 4, 0x8000_0860);
    let _ = board.port_out(0xCFA, 4, 0x0B0A_0000);
    assert_eq!(board.port_in(0xCFC, 4).0, 0x8080_0B0A);
}

#[test]
fn after_a_reset_or_a_restore_each_processor_reaches_its_own_local_apic() {
    // The destination format register.
    const REGISTER: u64 = 0xFEE0_00E0;
    let check = |board: &mut Board| {
        board.select_cpu(1);
        let _ = board.memory_write(REGISTER, 4, 0x0FFF_FFFF);
        board.select_cpu(0);
        assert_eq!(board.memory_read(REGISTER, 4).0 as u32, u32::MAX);
        board.select_cpu(1);
        assert_eq!(board.memory_read(REGISTER, 4).0 as u32, 0x0FFF_FFFF);
    };
    let mut board = Board::default();
    board.set_cpus(2);
    let saved = board.save();
    check(&mut board);
    board.reset();
    board.set_cpus(2);
    check(&mut board);
    board.restore(&saved).unwrap();
    check(&mut board);
}
