//! The 82093AA datasheet's register descriptions, and a transcript of QEMU's IOAPIC.

use super::*;
use crate::devices::transcript::accesses;
use crate::fuzzing::Random;

/// An entry's low half: unmasked, with vector 50h.
const FIXED: u32 = 0x50;
const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;
const REMOTE_IRR: u32 = 1 << 14;

fn write_register(apic: &mut IoApic, register: u8, value: u32) {
    let _ = apic.mmio_write(REGISTER_SELECT, 1, u64::from(register));
    let _ = apic.mmio_write(WINDOW, 4, u64::from(value));
}

fn read_register(apic: &mut IoApic, register: u8) -> u32 {
    let _ = apic.mmio_write(REGISTER_SELECT, 4, u64::from(register));
    apic.mmio_read(WINDOW, 4).unwrap().0 as u32
}

/// An IOAPIC with this entry for `pin`, sent to local APIC 3.
fn with(pin: u8, low: u32) -> IoApic {
    let mut apic = IoApic::default();
    write_register(&mut apic, FIRST_ENTRY + 2 * pin + 1, 0x0300_0000);
    write_register(&mut apic, FIRST_ENTRY + 2 * pin, low);
    apic
}

fn vectors(apic: &mut IoApic) -> Vec<u8> {
    apic.take_messages().map(|message| message.vector).collect()
}

#[test]
fn accesses_have_the_answers_of_qemu() {
    let mut apic = IoApic::default();
    for access in accesses(include_str!("transcript.txt")) {
        let offset = access.address.wrapping_sub(BASE);
        if access.is_input {
            apic.set_pin(access.address as u8, access.value == 1);
        } else if access.is_write {
            assert_eq!(apic.mmio_write(offset, access.size, access.value), Some(Action::NONE));
        } else {
            let read = apic.mmio_read(offset, access.size);
            assert_eq!(read, Some((access.value, Action::NONE)), "{}", access.line);
        }
        let _ = apic.take_messages();
    }
}

#[test]
fn an_entry_becomes_a_message() {
    for (bits, mode) in [
        (0x000, Some(DeliveryMode::Fixed)),
        (0x100, Some(DeliveryMode::LowestPriority)),
        (0x200, Some(DeliveryMode::Smi)),
        (0x300, None),
        (0x400, Some(DeliveryMode::Nmi)),
        (0x500, Some(DeliveryMode::Init)),
        (0x600, None),
        (0x700, Some(DeliveryMode::ExtInt)),
    ] {
        for (flags, logical, level) in [(0, false, false), (0x800, true, false), (LEVEL, false, true)] {
            let mut apic = with(5, FIXED | bits | flags);
            apic.set_pin(5, true);
            let expected = mode.map(|mode| InterruptMessage {
                destination: 3,
                logical,
                mode,
                vector: 0x50,
                level_triggered: level && mode.has_vector(),
            });
            assert_eq!(apic.take_messages().collect::<Vec<_>>(), Vec::from_iter(expected), "{bits:#x}");
            assert!(!apic.has_messages());
        }
    }
}

#[test]
fn an_edge_sends_one_message_and_a_masked_one_none() {
    let mut apic = with(7, FIXED);
    for _ in 0..3 {
        apic.set_pin(7, true);
    }
    assert_eq!(vectors(&mut apic), [0x50]);
    apic.set_pin(7, true);
    apic.set_pin(7, false);
    assert!(!apic.has_messages());
    // Two pulses before the machine takes the message are one interrupt, as in IRR.
    for level in [true, false, true, false] {
        apic.set_pin(7, level);
    }
    assert_eq!(vectors(&mut apic), [0x50]);
    write_register(&mut apic, 0x1E, FIXED | MASKED);
    apic.set_pin(7, true);
    write_register(&mut apic, 0x1E, FIXED);
    assert!(!apic.has_messages());
}

#[test]
fn a_level_requests_again_after_its_end_until_it_falls() {
    let mut apic = with(9, FIXED | LEVEL);
    apic.set_pin(9, true);
    assert_eq!(vectors(&mut apic), [0x50]);
    assert_eq!(read_register(&mut apic, 0x22), FIXED | LEVEL | REMOTE_IRR);
    assert!(!apic.can_interrupt(9));
    apic.set_pin(9, true);
    apic.end_of_interrupt(0x51);
    assert!(!apic.has_messages());
    apic.end_of_interrupt(0x50);
    assert_eq!(vectors(&mut apic), [0x50]);
    apic.set_pin(9, false);
    let _ = apic.mmio_write(END_OF_INTERRUPT, 4, 0x50);
    assert!(!apic.has_messages() && apic.can_interrupt(9));
    assert_eq!(read_register(&mut apic, 0x22), FIXED | LEVEL);
}

#[test]
fn a_level_waits_while_it_is_masked() {
    let mut apic = with(9, FIXED | LEVEL | MASKED);
    apic.set_pin(9, true);
    assert!(!apic.has_messages());
    write_register(&mut apic, 0x22, FIXED | LEVEL);
    assert!(apic.has_messages());
    // It goes if it falls, or is masked again, before it is taken.
    apic.set_pin(9, false);
    assert!(!apic.has_messages());
    apic.set_pin(9, true);
    write_register(&mut apic, 0x22, FIXED | LEVEL | MASKED);
    assert!(!apic.has_messages());
}

#[test]
fn the_edge_trigger_mode_clears_remote_irr() {
    let mut apic = with(9, FIXED | LEVEL);
    apic.set_pin(9, true);
    assert_eq!(vectors(&mut apic), [0x50]);
    write_register(&mut apic, 0x22, FIXED | MASKED);
    assert_eq!(read_register(&mut apic, 0x22), FIXED | MASKED);
    write_register(&mut apic, 0x22, FIXED | LEVEL);
    assert_eq!(vectors(&mut apic), [0x50]);
}

#[test]
fn isa_lines_have_their_pins() {
    let pins: Vec<_> = (0..18).map(pin_of_isa_line).collect();
    assert_eq!(pins[..4], [Some(2), Some(1), None, Some(3)]);
    assert!((3..16).all(|line| pins[usize::from(line)] == Some(line)));
    assert_eq!(pins[16..], [None, None]);
}

#[test]
fn the_description_shows_each_pin() {
    let mut apic = with(1, FIXED | LEVEL);
    apic.set_pin(1, true);
    let _ = apic.take_messages();
    let pins = apic.describe();
    assert!(pins[0].masked && !pins[0].level && pins[0].entry == 0x1_0000);
    assert!(!pins[1].masked && pins[1].level && pins[1].remote_irr);
    assert_eq!(pins[1].message.map(|message| message.vector), Some(0x50));
    assert!(!apic.can_interrupt(24));
}

fn operate(apic: &mut IoApic, random: &mut Random) -> Vec<InterruptMessage> {
    let size = *random.pick(&[1, 2, 4, 8]);
    match random.below(8) {
        0 | 1 => apic.set_pin(random.below(26) as u8, random.below(2) == 0),
        2 => apic.end_of_interrupt(random.below(4) as u8),
        3 => write_register(apic, random.next() as u8 & 0x3F, random.next() as u32 & 0x1_FF03),
        4 => {
            let offset = random.below(0x1000) as u64;
            let _ = apic.mmio_write(offset & *random.pick(&[0x50, 0xFFF]), size, random.next());
        }
        5 => return apic.take_messages().collect(),
        _ => {
            let _ = apic.mmio_read(random.below(0x1000) as u64, size);
        }
    }
    Vec::new()
}

#[test]
fn a_copy_restored_in_mid_operation_behaves_alike() {
    for seed in 0..100 {
        let random = &mut Random::new(seed);
        let mut apic = IoApic::default();
        for _ in 0..random.below(600) {
            let _ = operate(&mut apic, random);
        }
        let mut copy = IoApic::default();
        copy.restore(&apic.save()).unwrap();
        let [one, other] = &mut [Random::new(seed + 1000), Random::new(seed + 1000)];
        for _ in 0..300 {
            assert_eq!(operate(&mut apic, one), operate(&mut copy, other));
            assert_eq!(apic.fault(), None);
        }
        assert_eq!(copy, apic);
    }
}

#[test]
fn impossible_states_are_refused() {
    let changes: [fn(&mut IoApic); 7] = [
        |apic| apic.levels = 1 << 24,
        |apic| apic.identification = 1,
        |apic| apic.entries[0] |= entry::DELIVERY_STATUS,
        |apic| apic.entries[0] |= entry::REMOTE_IRR,
        |apic| (apic.entries[3], apic.levels) = (0x8050, 8),
        |apic| (apic.entries[3], apic.pending) = (0x8050, 8),
        |apic| apic.pending = 1,
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut state = IoApic::default();
        change(&mut state);
        let mut apic = with(4, FIXED);
        assert!(matches!(apic.set_state(state), Err(StateError::Damaged { .. })), "change {index}");
        assert_eq!(apic, with(4, FIXED));
    }
}
