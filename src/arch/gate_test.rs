use super::*;
use crate::arch::flags::{CR0_PE, EFER_LMA};

fn registers(cr0: u64, efer: u64) -> Registers {
    let mut registers = Registers::default();
    (registers.system.cr0, registers.system.efer) = (cr0, efer);
    (registers.system.idt.base, registers.system.idt.limit) = (0x1000, 0x3FF);
    registers
}

fn decode(registers: &Registers, low: u64, high: u64) -> Option<Gate> {
    let bytes = u128::from(high) << 64 | u128::from(low);
    GateEntry::of(registers, 0).unwrap().decode(bytes.to_le_bytes())
}

#[test]
fn entries_have_the_size_of_the_mode_and_end_at_the_limit() {
    for (registers, size) in
        [(registers(0, 0), 4), (registers(CR0_PE, 0), 8), (registers(CR0_PE, EFER_LMA), 16)]
    {
        let entry = GateEntry::of(&registers, 3).unwrap();
        assert_eq!((entry.address, entry.size() as u64), (0x1000 + 3 * size, size));
        let last = (0x400 / size - 1) as u8;
        assert!(GateEntry::of(&registers, last).is_some());
        assert_eq!(GateEntry::of(&registers, last.wrapping_add(1)).is_some(), last == 255);
        let mut shorter = registers;
        shorter.system.idt.limit -= 1;
        assert_eq!(GateEntry::of(&shorter, last), None);
    }
}

#[test]
fn real_mode_entries_are_offset_and_segment() {
    let gate = decode(&registers(0, 0), 0xFFFF_FFFF_F000_1234, 0).unwrap();
    assert_eq!((gate.offset, gate.selector, gate.width, gate.is_present), (0x1234, 0xF000, 2, true));
}

#[test]
fn gates_of_every_width_are_decoded() {
    let protected = registers(CR0_PE, 0);
    let gate = decode(&protected, 0x1234_EE00_0008_5678, u64::MAX).unwrap();
    assert_eq!((gate.kind, gate.offset, gate.selector), (GateKind::Interrupt, 0x1234_5678, 8));
    assert_eq!((gate.width, gate.dpl, gate.is_present, gate.ist), (4, 3, true, 0));
    let gate = decode(&protected, 0x1234_8700_0008_5678, 0).unwrap();
    assert_eq!((gate.kind, gate.offset, gate.width), (GateKind::Trap, 0x5678, 2));
    let gate = decode(&protected, 0x1234_0500_0030_5678, 0).unwrap();
    assert_eq!((gate.kind, gate.selector, gate.is_present), (GateKind::Task, 0x30, false));

    let long = registers(CR0_PE, EFER_LMA);
    let gate = decode(&long, 0x8010_8F05_0008_5678, 0xFFFF_FFFF).unwrap();
    assert_eq!((gate.kind, gate.offset), (GateKind::Trap, 0xFFFF_FFFF_8010_5678));
    assert_eq!((gate.width, gate.ist), (8, 5));
}

#[test]
fn other_types_are_no_gates() {
    let gates = |efer| {
        let of_type = move |kind: u64| decode(&registers(CR0_PE, efer), 0x8000_0000_0000 | kind << 40, 0);
        (0..32).filter(|kind| of_type(*kind).is_some()).collect::<Vec<u64>>()
    };
    assert_eq!(gates(0), [5, 6, 7, 14, 15]);
    assert_eq!(gates(EFER_LMA), [14, 15]);
}
