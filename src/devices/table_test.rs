use super::*;
use crate::devices::decode::PortDecoder;

fn kind_and_number(port: u16) -> (&'static str, u16) {
    let unassigned = TABLE.len() as u8 - 1;
    let entry = &TABLE[usize::from(PortDecoder::new(TABLE, unassigned).port(port))];
    (entry.kind, entry.number)
}

#[test]
fn well_known_ports_decode_to_their_devices() {
    for (number, base) in (0..).zip(serial::BASE_PORTS) {
        assert_eq!(kind_and_number(base), ("serial", number));
        assert_eq!(kind_and_number(base + 7), ("serial", number));
        assert_eq!(kind_and_number(base + 8).0, "unclaimed");
    }
    for (port, kind) in [
        (0x60, "i8042"),
        (0x64, "i8042"),
        (0x3D5, "vga"),
        (0x3BA, "vga"),
        (0xCF9, "reset-control"),
        (0xCF8, "pci"),
        (0xCFC, "pci"),
        (0x61, "pit"),
        (0x63, "unclaimed"),
        (0xF4, "debug-exit"),
        (0xF7, "debug-exit"),
        (0xE9, "debug-console"),
        (0x0F, "dma"),
        (0x80, "post"),
        (0x92, "system-control-a"),
        (0xFFFF, "unclaimed"),
    ] {
        assert_eq!(kind_and_number(port).0, kind, "port {port:#x}");
    }
}

#[test]
fn memory_windows_decode_to_device_and_offset() {
    let decoder = PortDecoder::new(TABLE, 0);
    let (device, offset) = decoder.address(0xFEE0_0080).unwrap();
    assert_eq!((TABLE[usize::from(device)].kind, offset), ("lapic", 0x80));
    assert_eq!(decoder.address(0xFEE0_1000), None);
    assert_eq!(decoder.address(0xFEDF_FFFF), None);
}

#[test]
fn no_two_devices_share_a_port_a_window_or_a_section() {
    let mut ports = std::collections::BTreeMap::new();
    let mut sections = std::collections::BTreeSet::new();
    for entry in TABLE {
        assert!(sections.insert((entry.kind, entry.number)), "{} {} twice", entry.kind, entry.number);
        for port in entry.ports.iter().cloned().flatten() {
            assert!(port >= entry.base, "{}: port {port:#x} lies below the base", entry.kind);
            if let Some(other) = ports.insert(port, entry.kind) {
                panic!("port {port:#x} belongs to {other} and {}", entry.kind);
            }
        }
        assert!(entry.interrupt.is_none_or(|line| line < 16), "{}", entry.kind);
    }
    let windows: Vec<_> = TABLE.iter().filter_map(|entry| entry.mmio.clone()).collect();
    for (index, one) in windows.iter().enumerate() {
        assert!(windows[..index].iter().all(|other| one.end <= other.start || other.end <= one.start));
    }
}

#[test]
fn every_device_restores_what_it_saves_and_resets_to_its_power_on_state() {
    for entry in TABLE {
        let mut device = (entry.create)();
        let saved = device.save_state();
        assert_eq!(saved.is_some(), entry.has_state, "{}", entry.kind);
        device.reset();
        assert_eq!(device.save_state(), saved, "{}", entry.kind);
        if let Some(payload) = saved {
            assert_eq!(payload.kind, entry.kind);
            device.restore_state(&payload).unwrap();
        }
    }
}
